"""What Dagster's events may hold of one tenant: its name, days, reasons and counts."""

from __future__ import annotations

from datetime import date

import pytest

from stax_pipeline.domain.event_privacy import summed_up, without_figures

DAY = date(2026, 11, 20)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("unit mismatch: tokens × price say $1,234.50, the cost report says $-12.3.",
         "unit mismatch: tokens × price say $…, the cost report says $…."),
        ("unknown model 'claude-secret-9', 3 times", "unknown model, 3 times"),
        ("unknown model 'claude-secret-9', 1 time", "unknown model, 1 time"),
        ("unknown model 'claude-secret-9', 1,234 times", "unknown model, 1,234 times"),
        ("unknown model 'claude-secret-9'", "unknown model"),
        ("cost missing for 2026-11-20: not settled", "cost missing for 2026-11-20: not settled"),
    ],
)  # fmt: skip
def test_dollars_and_unknown_values_are_left_out(words: str, told: str) -> None:
    assert without_figures(words) == told


def test_violations_are_counted_by_tenant_and_day() -> None:
    columns = ("tenant", "usage_date", "model", "token_type", "tokens")
    rows = [
        ("acme", DAY, "m-1", "output_tokens", 7),
        ("acme", DAY, "m-2", "output_tokens", 8),
        ("globex", DAY, "m", "", 1),
    ]
    assert summed_up(columns, rows) == (
        ["tenant", "usage_date", "violations"],
        [("acme", DAY, 2), ("globex", DAY, 1)],
    )

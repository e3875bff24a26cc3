"""What an operator is told to do about a failed tenant: commands of that tenant and those days alone."""

from __future__ import annotations

from datetime import date

import pytest

from stax_pipeline.domain.next_step import accept_shrink, next_step


@pytest.mark.parametrize(
    ("reason", "key_rejected", "step"),
    [
        ("Anthropic answered 401 to GET /v1/x", True, "Ask for a new Admin key, then `stax rotate-key acme`."),
        (
            "Anthropic answered 529 to GET /v1/x after 8 tries",
            False,
            "The next sync tries again; `stax sync acme` does",
        ),
        ("unit mismatch: far apart", False, "Compare a day with the Console; if the Console is right, a price"),
        ("shrunk: 2026-11-20: 9.00 → 0.00 dollars", False, "Compare these days with the Console; if they are right,"),
        (
            "Anthropic answered 403 to GET /v1/organizations/users; the key is valid but lacks the scope read:x",
            False,
            "Ask for an Admin key with that scope, then `stax rotate-key acme`. All else is fetched.",
        ),
        (
            "Anthropic answered 403 to GET /v1/organizations/analytics/cost; the key is valid but lacks the scope x",
            False,
            "Ask for an Admin key with that scope, then `stax rotate-key acme`, or `stax tenants set acme --source",
        ),
        (
            "this organization does not have Anthropic's newer source",
            False,
            "`stax tenants set acme --source reports` reads the reports alone.",
        ),
        ("another organisation; `stax rotate-key acme` with the right one", False, ""),
    ],
)
def test_each_reason_has_its_own_step(reason: str, key_rejected: bool, step: str) -> None:
    said = next_step("acme", reason, key_rejected=key_rejected)
    assert said.startswith(step) and bool(said) == bool(step)
    assert "tries again" not in said or "529" in reason


def test_a_shrink_is_accepted_for_one_tenant_and_its_days_alone() -> None:
    days = [date(2026, 11, 22), date(2026, 11, 20)]
    assert accept_shrink("globex", days) == "`stax sync globex --from 2026-11-20 --to 2026-11-22 --accept-shrink`"

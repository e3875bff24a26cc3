"""Figures and instants as people read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from stax_pipeline.app import wording

NOW = datetime(2026, 11, 28, 16, 11, tzinfo=UTC)


def test_the_banner_of_the_design() -> None:
    found = wording.data_through(NOW - timedelta(minutes=5), datetime(2026, 11, 28, tzinfo=UTC), NOW)
    assert found == "Usage through 16:06 UTC (5 minutes ago) · billed dollars through 27 Nov"


@pytest.mark.parametrize(
    ("usage", "billed", "words"),
    [
        (None, None, "No data yet"),
        (None, datetime(2026, 11, 28, tzinfo=UTC), "No usage yet · billed dollars through 27 Nov"),
        (NOW, None, "Usage through 16:11 UTC (just now) · no billed dollars yet"),
        (
            datetime(2026, 11, 26, 9, 30, tzinfo=UTC), datetime(2026, 11, 26, 9, 0, tzinfo=UTC),
            "Usage through 26 Nov 09:30 UTC (2 days ago) · billed dollars through 26 Nov 09:00 UTC (2 days ago)",
        ),
    ],
)  # fmt: skip
def test_data_through(usage: datetime | None, billed: datetime | None, words: str) -> None:
    assert wording.data_through(usage, billed, NOW) == words


@pytest.mark.parametrize(
    ("minutes", "words"),
    [(-3, "just now"), (0, "just now"), (1, "1 minute ago"), (119, "119 minutes ago"), (120, "2 hours ago"),
     (47 * 60, "47 hours ago"), (48 * 60, "2 days ago")],
)  # fmt: skip
def test_how_long_ago(minutes: int, words: str) -> None:
    assert wording.ago(timedelta(minutes=minutes)) == words


@pytest.mark.parametrize(
    ("usd", "words"),
    [("1234567.891", "$1,234,567.89"), ("0", "$0.00"), ("0.004", "<$0.01"), ("-0.004", "−<$0.01"), ("-12", "−$12.00"),
     ("0.005", "<$0.01"), ("0.015", "$0.02")],
)  # fmt: skip
def test_dollars(usd: str, words: str) -> None:
    assert wording.dollars(Decimal(usd)) == words
    assert wording.dollars(None) == "unknown"


def test_dollars_of_an_axis() -> None:
    assert [wording.dollars(Decimal(one), short=True) for one in ("1500", "2.5", "-200")] == [
        "$1,500",
        "$2.50",
        "−$200",
    ]


def test_ratios() -> None:
    assert wording.ratio(Decimal("0.99984")) == "99.98 %"
    assert wording.ratio(None) == "nothing to compare"

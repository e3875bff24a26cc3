"""The rules that read a price book: which row holds on a day, exact amounts, a version that tells books apart."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stax_pipeline.pricing.prices import PriceBook, Usage, shipped_prices
from stax_pipeline_tests.derive.builders import (
    DAY,
    INPUT,
    MILLION,
    OPUS,
    OUTPUT,
    READ,
    WRITE_1H,
    WRITE_5M,
    book,
    list_price,
)

TYPES = (INPUT, WRITE_5M, WRITE_1H, READ, OUTPUT)


def test_amounts_are_exact() -> None:
    found = book().service_price("web_search", DAY)
    assert found and found.amount(1) == (Decimal("0.01"), Decimal("0.01"))
    tokens = book().token_price(Usage(DAY, OPUS, READ, "batch", "", "us", ""))
    assert tokens and tokens.amount(1)[0] == Decimal("0.00000011")
    assert tokens.amount(2**63 - 1)[0] == Decimal(2**63 - 1) * Decimal("0.00000011")


def test_the_latest_price_not_after_the_day_holds_and_a_window_of_its_own_wins_the_tie() -> None:
    made = PriceBook.of(
        [
            list_price("1"),
            list_price("2", effective_from=date(2026, 6, 1)),
            list_price("3", effective_from=date(2026, 6, 1), context_window="200k-1M"),
            list_price("4", effective_from=date(2026, 7, 1)),
        ]
    )

    def at(day: date, window: str = "0-200k") -> Decimal:
        found = made.token_price(Usage(day, OPUS, INPUT, "standard", window, "", "standard"))
        assert found
        return found.low

    assert at(date(2026, 5, 31)) == 1
    assert at(date(2026, 6, 1)) == 2
    assert at(date(2026, 6, 1), "200k-1M") == 3
    assert at(date(2026, 6, 30), "200k-1M") == 3
    assert at(date(2026, 7, 1), "200k-1M") == 4


@settings(max_examples=15, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_version_does_not_depend_on_row_order(random: Any) -> None:
    rows = list(shipped_prices())
    random.shuffle(rows)
    assert PriceBook.of(rows).version == book().version


@pytest.mark.parametrize(
    "change",
    [
        {"usd_per_unit": Decimal("10.000001")},
        {"us_multiplier": Decimal("1.1")},
        {"effective_from": date(2026, 1, 2)},
        {"token_type": OUTPUT},
        {"context_window": "0-200k"},
        {"speed": "fast"},
        {"model": "claude-x"},
        {"pricing_unit": "hour"},
        {"cost_type": "web_search"},
    ],
)
def test_the_version_changes_with_whatever_changes_a_figure(change: dict[str, Any]) -> None:
    assert PriceBook.of([list_price(**change)]).version != PriceBook.of([list_price()]).version


@settings(max_examples=40, deadline=None)
@given(st.integers(0, len(shipped_prices()) - 1))
def test_the_version_changes_with_any_price_and_any_missing_row(index: int) -> None:
    rows = list(shipped_prices())
    dearer = [*rows]
    dearer[index] = rows[index]._replace(usd_per_unit=rows[index].usd_per_unit + Decimal("0.001"))
    assert PriceBook.of(dearer).version != book().version
    assert PriceBook.of(rows[:index] + rows[index + 1 :]).version != book().version


@given(st.integers(0, 10**18), st.sampled_from(TYPES))
def test_amount_is_price_times_millions(tokens: int, token_type: str) -> None:
    found = book().token_price(Usage(DAY, "claude-haiku-5-5", token_type, "batch", "", "us", ""))
    assert found
    low, high = found.amount(tokens)
    assert low * MILLION == found.low * tokens
    assert high == low * 5

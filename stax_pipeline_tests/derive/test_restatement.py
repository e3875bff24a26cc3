"""What changed: every difference told once, nothing told that stayed the same."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from stax_pipeline.derive.cost_lines import CostLine
from stax_pipeline.derive.restatement import Later, Repricing, Restatement
from stax_pipeline.derive.terms import Terms
from stax_pipeline.derive.usage_lines import UsageLine
from stax_pipeline.domain.money import EXACT, sum_usd
from stax_pipeline.pricing.commitments import Commitment
from stax_pipeline.pricing.prices import PriceBook
from stax_pipeline_tests.derive.builders import (
    DAY,
    MILLION,
    OPUS,
    OUTPUT,
    book,
    cost,
    cost_lines_,
    list_price,
    terms,
    usage,
    usage_lines_,
)
from stax_pipeline_tests.derive.one_tenant import restated_cost, restated_prices, restated_usage, spend_lines

OLD, NEW = UUID(int=1), UUID(int=2)
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
NEXT = DAY + timedelta(days=1)
LATER = Later(NEW, NOW, {DAY: OLD})
CHANGE = Repricing(NOW, "a", "b")


def test_equal_rows_are_summed_before_they_are_compared() -> None:
    old = [cost("1"), cost("2", occurrence=2)]
    assert restated_cost(old, [cost("2"), cost("1", occurrence=2)], LATER) == []
    [found] = restated_cost(old, [cost("5")], LATER)
    assert (found.old_usd, found.new_usd, found.old_quantity, found.seen_at) == (3, 5, None, NOW)
    assert (found.old_extraction_id, found.new_extraction_id) == (OLD, NEW)


def test_days_that_had_nothing_to_restate_are_left_out() -> None:
    assert restated_cost([], [cost("5", usage_date=NEXT)], LATER) == []
    assert restated_usage([usage(1, usage_date=NEXT)], [usage(2, usage_date=NEXT)], LATER) == []


def test_searches_and_token_types_stand_apart() -> None:
    found = restated_usage([usage(5)], [usage(5, output_tokens=3, web_search_requests=2)], LATER)
    assert [(row.cost_type, row.token_type, row.old_quantity, row.new_quantity) for row in found] == [
        ("tokens", OUTPUT, None, 3), ("web_search", "", None, 2),
    ]  # fmt: skip


@settings(deadline=None, max_examples=50)
@given(st.lists(cost_lines_, max_size=8), st.lists(cost_lines_, max_size=8))
def test_the_differences_of_a_day_sum_to_its_change(old: list[CostLine], new: list[CostLine]) -> None:
    found = restated_cost(old, new, LATER)
    told = sum_usd(EXACT.subtract(row.new_usd or Decimal(0), row.old_usd or Decimal(0)) for row in found)
    before, after = (sum_usd(line.amount_usd for line in lines if line.usage_date == DAY) for lines in (old, new))
    assert told == EXACT.subtract(after, before)
    assert len({row[:11] for row in found}) == len(found)
    assert all(row.old_usd != row.new_usd for row in found)


@settings(deadline=None, max_examples=50)
@given(st.lists(usage_lines_, max_size=8), st.lists(usage_lines_, max_size=8))
def test_the_differences_of_a_day_sum_to_its_change_in_counts(old: list[UsageLine], new: list[UsageLine]) -> None:
    found = restated_usage(old, new, LATER)
    told = sum((row.new_quantity or 0) - (row.old_quantity or 0) for row in found)
    before, after = (sum(sum(line.counts) for line in lines if line.usage_date == DAY) for lines in (old, new))
    assert told == after - before


def prices(usd: str | None, *meters: UsageLine, costs: tuple[CostLine, ...] = ()) -> list[Restatement]:
    """What changes when the price of input goes from $10 to `usd`, None for no price before."""
    old = PriceBook.of([list_price("10")] if usd else [])
    new = PriceBook.of([list_price(usd or "10")])
    lines = (spend_lines(costs, meters, Terms(one), frozenset()) for one in (old, new))
    return restated_prices(*lines, CHANGE)


def told(found: list[Restatement]) -> dict[str, tuple[Decimal | None, Decimal | None]]:
    return {row.description: (row.old_usd, row.new_usd) for row in found}


def test_reconstructed_dollars_move_with_the_price_in_every_figure() -> None:
    found = prices("12", usage(MILLION, service_tier="priority"))
    assert told(found) == dict.fromkeys(("cost_usd", "contracted_cost_usd", "effective_cost_usd"), (10, 12))
    assert {(row.old_quantity, row.new_quantity) for row in found} == {(MILLION, MILLION)}
    assert found[0].reason == "cost_usd under new list prices, a → b"


def test_reported_dollars_stay_and_their_list_cost_moves() -> None:
    assert told(prices("12", usage(MILLION), costs=(cost("9"),))) == {"contracted_cost_usd": (10, 12)}


def test_a_first_price_turns_nothing_into_dollars() -> None:
    assert told(prices(None, usage(MILLION, service_tier="priority")))["cost_usd"] == (None, 10)


def test_an_unused_part_comes_and_goes_with_its_commitment() -> None:
    fee = Commitment("c", OPUS, 1000, 0, Decimal(30), DAY, DAY + timedelta(days=29))
    own = Terms(book(), commitments=(fee,))
    unused = spend_lines([], [], own, frozenset(), {DAY: 1440})
    change = Repricing(NOW, "a", "a+1")
    [came], [gone] = restated_prices([], unused, change), restated_prices(unused, [], change)
    assert (came.description, came.old_usd, came.new_usd) == ("effective_cost_usd", None, 1)
    assert (gone.old_usd, gone.new_usd) == (1, 0)
    assert came.reason == "effective_cost_usd under new rates or commitments, a → a+1"


def test_the_same_terms_restate_nothing() -> None:
    lines = spend_lines([cost("9")], [usage(MILLION), usage(9, service_tier="priority")], terms(), frozenset())
    assert restated_prices(lines, lines, CHANGE) == []

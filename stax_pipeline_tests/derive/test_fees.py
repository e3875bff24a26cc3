"""A commitment's fee, spread over what burned it: the parts sum to the fee of the day, whatever was burned."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from stax_pipeline.derive.spend import CostSource, SpendLine
from stax_pipeline.derive.terms import Terms
from stax_pipeline.derive.usage_lines import UsageLine
from stax_pipeline.domain.money import sum_usd
from stax_pipeline.pricing.commitments import MINUTES_OF_DAY, Commitment, burned, overlapping
from stax_pipeline.pricing.prices import PriceBook
from stax_pipeline_tests.derive.builders import DAY, MILLION, OPUS, book, cost, usage, usage_lines_
from stax_pipeline_tests.derive.one_tenant import spend_lines

WHOLE = {DAY: MINUTES_OF_DAY}
TERM = 30


def commitment(fee: str = "720", into: int = 1000, out: int = 200, **changes: Any) -> Commitment:
    made = Commitment("c-1", OPUS, into, out, Decimal(fee), DAY, DAY + timedelta(days=TERM - 1))
    return made._replace(**changes)


def priority(uncached: int = 0, **changes: Any) -> UsageLine:
    return usage(uncached, service_tier="priority", **changes)


def spread(
    *meters: UsageLine, fee: Commitment | None = None, minutes: dict[date, int] | None = None
) -> list[SpendLine]:
    terms = Terms(book(), commitments=(fee or commitment(),))
    return spend_lines([], meters, terms, frozenset(), WHOLE if minutes is None else minutes)


def unused(lines: list[SpendLine]) -> dict[str, SpendLine]:
    return {line.token_type: line for line in lines if line.cost_source == CostSource.COMMITMENT_UNUSED}


def test_without_a_commitment_nothing_changes() -> None:
    lines = spend_lines([], [priority(MILLION)], Terms(book()), frozenset())
    assert spend_lines([], [priority(MILLION)], Terms(book()), frozenset(), WHOLE) == lines
    assert lines[0].effective_cost_usd == lines[0].cost_usd == 4


def test_a_direction_without_capacity_and_fee_stays_at_list() -> None:
    lines = spread(priority(output_tokens=MILLION), fee=commitment(out=0))
    (output,) = [line for line in lines if line.token_type == "output_tokens"]
    assert (output.cost_source, output.commitment_id) == ("priority-reconstructed", "")
    assert output.effective_cost_usd == output.cost_usd == 20
    (idle,) = unused(lines).values()
    assert (idle.token_type, idle.effective_cost_usd) == ("uncached_input_tokens", 24)


def test_an_idle_day_is_all_unused_and_split_by_capacity_times_list_price() -> None:
    # 720 / 30 = 24 a day; 1000 × $4 to 200 × $20 is one to one
    lines = spread()
    assert {line.token_type: line.effective_cost_usd for line in lines} == {
        "uncached_input_tokens": 12, "output_tokens": 12,
    }  # fmt: skip
    assert all(line.cost_usd == 0 and line.quantity is None for line in lines)
    assert unused(lines)["uncached_input_tokens"].burndown_units == 1000 * 1440


def test_a_line_bears_its_share_of_what_was_committed() -> None:
    half = 1000 * 1440 // 2
    lines = spread(priority(half))
    line = next(line for line in lines if line.cost_source == CostSource.PRIORITY_RECONSTRUCTED)
    assert (line.effective_cost_usd, line.commitment_id) == (6, "c-1")
    assert line.cost_usd == Decimal(half) * 4 / MILLION
    assert unused(lines)["uncached_input_tokens"].effective_cost_usd == 6
    assert unused(lines)["output_tokens"].effective_cost_usd == 12


def test_more_burned_than_committed_shares_the_fee_and_leaves_nothing() -> None:
    twice = 2 * 1000 * 1440
    lines = spread(priority(twice, workspace_id="a"), priority(2 * twice, workspace_id="b"))
    shares = {line.workspace_id: line.effective_cost_usd for line in lines if line.quantity}
    assert shares == {"a": 4, "b": 8}
    rest = unused(lines)["uncached_input_tokens"]
    assert (rest.effective_cost_usd, rest.burndown_units) == (0, 0)


def test_the_open_day_counts_its_elapsed_minutes() -> None:
    lines = spread(priority(1000 * 360), minutes={DAY: 720})
    assert sum_usd(line.effective_cost_usd or Decimal(0) for line in lines) == 12
    assert unused(lines)["uncached_input_tokens"].effective_cost_usd == 3


def test_a_day_out_of_the_term_or_not_covered_bears_no_fee() -> None:
    after = DAY + timedelta(days=TERM)
    [line] = spread(priority(MILLION, usage_date=after), minutes={after: MINUTES_OF_DAY})
    assert (line.effective_cost_usd, line.commitment_id) == (line.cost_usd, "")
    assert spread(minutes={}) == []


def test_another_model_or_tier_and_reported_priority_burn_nothing() -> None:
    others = (priority(MILLION, model="claude-opus-5"), usage(MILLION))
    lines = spread(*others)
    assert {line.commitment_id for line in lines if line.quantity} == {""}
    terms = Terms(book(), commitments=(commitment(),))
    billed = spend_lines([cost("4", service_tier="priority")], [priority(MILLION)], terms, frozenset(), WHOLE)
    told = [line for line in billed if line.quantity]
    assert [(line.cost_source, line.effective_cost_usd, line.commitment_id) for line in told] == [("reported", 4, "")]


def test_a_line_without_price_bears_its_share_all_the_same() -> None:
    empty = Terms(PriceBook.of([]), commitments=(commitment(into=1000, out=1000),))
    lines = spend_lines([], [priority(1000 * 1440)], empty, frozenset(), WHOLE)
    line = next(line for line in lines if line.quantity)
    assert (line.cost_source, line.cost_usd, line.effective_cost_usd) == ("unpriced", None, 12)


def test_units_are_those_of_the_service_tiers_page() -> None:
    assert burned("priority", "cache_read_input_tokens", "global", 10) == 1
    assert burned("priority", "cache_creation.ephemeral_5m_input_tokens", "us", 1000) == Decimal("1375")
    assert burned("standard", "output_tokens", "global", 10) is None
    assert burned("priority", "output_tokens", "global", None) is None


@settings(deadline=None, max_examples=50)
@given(
    st.lists(usage_lines_.map(lambda line: line._replace(service_tier="priority", model=OPUS)), max_size=8),
    st.integers(0, 10**15).map(lambda n: Decimal(n).scaleb(-6)),
    st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)),
    st.integers(1, MINUTES_OF_DAY),
)
def test_the_shares_of_a_day_sum_to_its_fee(
    meters: list[UsageLine], fee: Decimal, capacity: tuple[int, int], minutes: int
) -> None:
    made = commitment(str(fee), *capacity)
    days = {DAY: minutes, DAY + timedelta(days=1): MINUTES_OF_DAY}
    lines = spread(*meters, fee=made, minutes=days)
    for day, elapsed in days.items():
        shares = [line.effective_cost_usd for line in lines if line.usage_date == day and line.commitment_id]
        assert sum_usd(share for share in shares if share is not None) == made.fee_of(day, elapsed)
    before = spend_lines([], meters, Terms(book()), frozenset())
    assert sum(line.quantity or 0 for line in lines) == sum(line.quantity or 0 for line in before)
    assert sum_usd(line.cost_usd or Decimal(0) for line in lines) == sum_usd(
        line.cost_usd or Decimal(0) for line in before
    )


@given(st.integers(1, 400), st.integers(0, 10**18).map(lambda n: Decimal(n).scaleb(-7)))
def test_the_days_of_a_term_sum_to_the_fee(days: int, fee: Decimal) -> None:
    made = commitment(str(fee), ends_on=DAY + timedelta(days=days - 1))
    whole = sum_usd(made.fee_of(DAY + timedelta(days=n)) for n in range(days))
    assert whole == fee


def test_two_for_one_model_may_not_share_a_day() -> None:
    first, touching = commitment(), commitment(commitment_id="c-2", starts_on=DAY + timedelta(days=TERM - 1),
                                               ends_on=DAY + timedelta(days=2 * TERM))  # fmt: skip
    assert overlapping([first, touching]) == (first, touching)
    apart = touching._replace(starts_on=DAY + timedelta(days=TERM))
    assert overlapping([first, apart]) is None
    assert overlapping([first, touching._replace(model="claude-opus-5")]) is None

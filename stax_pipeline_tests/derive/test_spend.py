"""The join: every row of the cost-source table, the rules of meeting, what one line shows."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from stax_pipeline.derive.cost_lines import CostLine
from stax_pipeline.derive.spend import CostSource, SpendLine
from stax_pipeline.derive.terms import Terms
from stax_pipeline.derive.usage_lines import UsageLine
from stax_pipeline.pricing.contract_rates import ContractRate, ContractRates
from stax_pipeline.pricing.prices import PriceBook
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
    cost,
    terms,
    usage,
)
from stax_pipeline_tests.derive.one_tenant import spend_lines

SETTLED, OPEN = frozenset({DAY}), frozenset[date]()


def join(*lines: CostLine | UsageLine, settled: frozenset[date] = OPEN) -> list[SpendLine]:
    costs = [line for line in lines if isinstance(line, CostLine)]
    meters = [line for line in lines if isinstance(line, UsageLine)]
    return spend_lines(costs, meters, terms(), settled)


def one(*lines: CostLine | UsageLine, settled: frozenset[date] = OPEN) -> SpendLine:
    (line,) = join(*lines, settled=settled)
    return line


def test_credits_are_told_also_where_a_charge_meets_them() -> None:
    refunded = one(cost("100"), cost("-60"), usage(MILLION))
    assert (refunded.cost_usd, refunded.credits_usd) == (40, -60)
    service = one(cost("-5", cost_type="", token_type="", model="", description="Service credit"))
    assert (service.cost_usd, service.credits_usd) == (-5, -5)
    assert one(cost("1"), usage(MILLION)).credits_usd == 0


def test_a_credit_for_web_searches_is_a_line_of_its_own() -> None:
    searches = {"cost_type": "web_search", "token_type": "", "model": ""}
    lines = join(cost("10", **searches), cost("-60", **searches), usage(0, web_search_requests=1000))
    credited, charged = sorted(lines, key=lambda line: line.credits_usd)
    assert (credited.cost_usd, credited.credits_usd, credited.quantity) == (-60, -60, None)
    assert (charged.cost_usd, charged.credits_usd, charged.quantity) == (10, 0, 1000)


def test_the_labels_are_what_people_query_for() -> None:
    assert {source.value for source in CostSource} == {
        "reported", "priority-reconstructed", "unbilled", "usage-estimated", "unpriced", "commitment-unused",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("tier", "billed", "priced", "settled", "source", "usd"),
    [
        ("standard", True, True, True, "reported", 7),
        ("batch", True, False, False, "reported", 7),
        ("priority", True, True, True, "reported", 7),
        ("flex", True, False, True, "reported", 7),
        ("priority", False, True, True, "priority-reconstructed", 3),
        ("priority", False, True, False, "priority-reconstructed", 3),
        ("priority", False, False, True, "unpriced", None),
        ("standard", False, True, True, "unbilled", 0),
        ("batch", False, True, True, "unbilled", 0),
        ("standard", False, False, True, "unbilled", 0),
        ("standard", False, True, False, "usage-estimated", 3),
        ("batch", False, True, False, "usage-estimated", 3),
        ("standard", False, False, False, "unpriced", None),
        ("flex", False, False, True, "unpriced", None),
        ("flex_discount", False, False, False, "unpriced", None),
        ("priority_on_demand", False, False, True, "unpriced", None),
        ("brand_new", False, False, False, "unpriced", None),
        ("flex", False, True, True, "usage-estimated", 3),
        ("priority_on_demand", False, True, False, "usage-estimated", 3),
    ],
)
def test_first_match_wins(tier: str, billed: bool, priced: bool, settled: bool, source: str, usd: int | None) -> None:
    costs = [cost("8", service_tier=tier), cost("-1", service_tier=tier)] if billed else []
    rates = [ContractRate("claude-*", tier, INPUT, DAY, None, None, Decimal(3))] if priced else []
    own = Terms(PriceBook.of([]), ContractRates.of(rates))
    (line,) = spend_lines(costs, [usage(MILLION, service_tier=tier)], own, SETTLED if settled else OPEN)
    assert (line.cost_source, line.cost_usd) == (source, usd)


def test_reported_dollars_are_exact_and_meet_their_tokens() -> None:
    line = one(cost("3.999999999999999999", description="Input"), usage(MILLION), settled=SETTLED)
    assert (line.cost_source, line.cost_usd) == ("reported", Decimal("3.999999999999999999"))
    assert (line.quantity, line.unit, line.cost_line_count, line.description) == (MILLION, "tokens", 1, "Input")
    assert (line.list_cost_usd, line.list_unit_price_usd, line.pricing_quantity) == (4, 4, 1)
    assert line.effective_cost_usd == line.cost_usd
    assert (line.usage_date, line.workspace_id, line.model, line.token_type) == (DAY, "default", OPUS, INPUT)
    assert line.price_book_version == terms().version_of(DAY, frozenset({OPUS}))


def test_priority_is_reconstructed_and_says_so() -> None:
    line = one(usage(MILLION // 2, service_tier="priority"), settled=SETTLED)
    assert line.cost_source == "priority-reconstructed"
    assert line.cost_usd == line.effective_cost_usd == line.list_cost_usd == line.contracted_cost_usd == 2


@pytest.mark.parametrize("tier", ["flex", "flex_discount", "priority_on_demand", "brand_new", "standard", "priority"])
@pytest.mark.parametrize("model", [OPUS, "claude-nobody-knows"])
def test_an_absolute_contract_price_is_a_known_price(tier: str, model: str) -> None:
    rate = ContractRate("claude-*", tier, INPUT, DAY, None, None, Decimal("1.5"))
    own = Terms(book(), ContractRates.of([rate]))
    (line,) = spend_lines([], [usage(2 * MILLION, service_tier=tier, model=model)], own, frozenset())
    assert line.cost_source == ("priority-reconstructed" if tier == "priority" else "usage-estimated")
    assert line.cost_usd == line.effective_cost_usd == line.contracted_cost_usd == 3
    assert (line.contracted_unit_price_usd, line.price_source) == (Decimal("1.5"), "contract")


def test_a_discount_on_no_known_price_is_none() -> None:
    rate = ContractRate("claude-*", "flex", INPUT, DAY, None, Decimal("0.5"), None)
    own = Terms(book(), ContractRates.of([rate]))
    (line,) = spend_lines([], [usage(MILLION, service_tier="flex")], own, frozenset())
    assert (line.cost_source, line.cost_usd) == ("unpriced", None)


def test_a_cost_on_priority_beats_the_reconstruction() -> None:
    line = one(cost("1", service_tier="priority"), usage(MILLION, service_tier="priority"))
    assert (line.cost_source, line.cost_usd) == ("reported", 1)


@pytest.mark.parametrize("tier", ["standard", "batch", ""])
def test_missing_cost_is_an_estimate_until_the_day_is_settled_then_zero(tier: str) -> None:
    expected = 2 if tier == "batch" else 4
    meter = usage(MILLION, service_tier=tier)
    assert (one(meter).cost_source, one(meter).cost_usd) == ("usage-estimated", expected)
    settled = one(meter, settled=SETTLED)
    assert (settled.cost_source, settled.cost_usd, settled.quantity) == ("unbilled", 0, MILLION)
    assert settled.list_cost_usd == expected  # listed, never priced


def test_only_the_settled_day_becomes_zero() -> None:
    other = usage(MILLION, usage_date=DAY + timedelta(days=1))
    assert [line.cost_source for line in join(usage(MILLION), other, settled=SETTLED)] == [
        "unbilled", "usage-estimated",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "meter",
    [
        usage(5, model="claude-nobody-knows"), usage(5, service_tier="flex"),
        usage(5, service_tier="priority_on_demand"),
        usage(5, service_tier="priority", model="claude-nobody-knows"), usage(5, usage_date=date(2026, 9, 21)),
        usage(5, model="claude-sonnet-5-5", speed="fast"),
    ],
)  # fmt: skip
def test_what_has_no_price_keeps_its_tokens_and_no_dollars(meter: UsageLine) -> None:
    line = one(meter)
    assert (line.cost_source, line.quantity, line.cost_usd, line.list_cost_usd) == ("unpriced", 5, None, None)
    assert (line.effective_cost_usd, line.list_unit_price_usd, line.price_source) == (None, None, "")


@pytest.mark.parametrize(
    "change",
    [
        {"service_tier": ""}, {"context_window": ""}, {"inference_geo": ""}, {"inference_geo": "not_available"},
    ],
)  # fmt: skip
def test_the_line_shows_what_usage_says_where_usage_meets(change: dict[str, str]) -> None:
    assert one(cost(**change), usage(1)).cost_source == "reported"
    shown = one(cost(), usage(1, **change))
    name, value = next(iter(change.items()))
    assert getattr(shown, name) == value


def test_an_alias_meets_its_dated_model_and_usage_names_the_line() -> None:
    line = one(cost(model="claude-opus-4-5-20251101"), usage(1, model="claude-opus-4-5"))
    assert (line.cost_source, line.model) == ("reported", "claude-opus-4-5")
    both = one(usage(1, model="claude-opus-4-5"), usage(2, model="claude-opus-4-5-20251101"))
    assert (both.model, both.quantity) == ("claude-opus-4-5-20251101", 3)


def test_us_does_not_meet_global() -> None:
    lines = join(cost(inference_geo="us"), usage(MILLION))
    assert {(line.cost_source, line.inference_geo) for line in lines} == {
        ("reported", "us"), ("usage-estimated", "global"),
    }  # fmt: skip


def test_several_cost_lines_of_one_key_make_one_line() -> None:
    line = one(cost("1", description="b"), cost("2", description="a"), cost("-0.5", description="a"), usage(MILLION))
    assert (line.cost_usd, line.cost_line_count, line.description, line.quantity) == (
        Decimal("2.5"),
        3,
        "a; b",
        MILLION,
    )


def test_speeds_are_summed_priced_apart_and_shown_as_mixed() -> None:
    line = one(cost("11"), usage(MILLION, speed="standard"), usage(MILLION, speed="fast"))
    assert (line.speed, line.quantity, line.list_cost_usd) == ("mixed", 2 * MILLION, 12)
    assert (line.list_unit_price_usd, line.contracted_unit_price_usd) == (None, None)
    assert one(usage(MILLION, speed="fast")).speed == "fast"
    assert one(usage(MILLION, speed="fast")).list_cost_usd == 8


def test_one_part_without_price_leaves_the_whole_line_unpriced() -> None:
    sonnet = usage(MILLION, model="claude-sonnet-5-5")
    line = one(sonnet, sonnet._replace(speed="fast"))
    assert (line.cost_source, line.cost_usd, line.quantity) == ("unpriced", None, 2 * MILLION)


def test_token_types_are_lines_of_their_own() -> None:
    meter = usage(
        1, cache_read_input_tokens=2, cache_creation_5m_input_tokens=3, cache_creation_1h_input_tokens=4,
        output_tokens=5,
    )  # fmt: skip
    assert {line.token_type: line.quantity for line in join(meter)} == {
        INPUT: 1, READ: 2, WRITE_5M: 3, WRITE_1H: 4, OUTPUT: 5,
    }  # fmt: skip


def test_a_cost_that_meets_no_usage_stays_with_no_quantity() -> None:
    line = one(cost("4", service_tier="", context_window=""))
    assert (line.cost_source, line.cost_usd, line.quantity, line.pricing_quantity) == ("reported", 4, None, None)
    assert (line.list_cost_usd, line.speed, line.service_tier) == (None, "", "")


def test_a_banded_model_is_estimated_at_the_lower_price_and_says_so() -> None:
    line = one(usage(MILLION, model="claude-haiku-5-5"))
    assert (line.cost_usd, line.list_cost_low_usd, line.list_cost_high_usd) == tuple(
        map(Decimal, ("0.1", "0.1", "0.5"))
    )
    assert line.price_source == "band-lower"
    above = one(usage(MILLION, model="claude-haiku-5-5", context_window="200k-1M"))
    assert (above.cost_usd, above.list_cost_low_usd, above.list_cost_high_usd) == (Decimal("0.5"), None, None)
    assert above.price_source not in ("", "band-lower")


def test_web_searches_meet_by_day_and_workspace_over_models_and_tiers() -> None:
    bill = cost("0.03", "", cost_type="web_search", model="", service_tier="", description="Web Search Usage")
    meters = [
        usage(web_search_requests=1),
        usage(web_search_requests=2, model="claude-sonnet-5", service_tier="batch"),
    ]
    line = one(bill, *meters)
    assert (line.cost_type, line.cost_source, line.cost_usd) == ("web_search", "reported", Decimal("0.03"))
    assert (line.quantity, line.unit, line.pricing_unit) == (3, "requests", "1k requests")
    assert (line.pricing_quantity, line.list_unit_price_usd) == (Decimal("0.003"), 10)
    assert line.list_cost_usd == Decimal("0.03")
    assert (line.model, line.token_type, line.service_tier) == ("", "", "")


def test_web_searches_of_another_workspace_or_day_do_not_meet() -> None:
    bill = cost("0.01", "", cost_type="web_search", model="")
    lines = join(
        bill, usage(web_search_requests=1, workspace_id="w"),
        usage(web_search_requests=1, usage_date=DAY + timedelta(days=1)),
    )  # fmt: skip
    assert sorted(line.cost_source for line in lines) == ["reported", "usage-estimated", "usage-estimated"]


def test_web_searches_without_cost_are_estimated_then_unbilled() -> None:
    meter = usage(web_search_requests=5)
    assert (one(meter).cost_source, one(meter).cost_usd) == ("usage-estimated", Decimal("0.05"))
    assert (one(meter, settled=SETTLED).cost_source, one(meter, settled=SETTLED).cost_usd) == ("unbilled", 0)


@pytest.mark.parametrize("cost_type", ["code_execution", "session_usage", "brand_new", ""])
def test_what_is_sold_without_a_count_is_cost_only(cost_type: str) -> None:
    same = cost("1", "", cost_type=cost_type, model="m", description="Service")
    line = one(same, same._replace(amount_usd=Decimal(2), occurrence=2))
    assert (line.cost_source, line.cost_usd, line.cost_line_count) == ("reported", 3, 2)
    assert (line.quantity, line.list_cost_usd, line.model, line.description) == (None, None, "m", "Service")


def test_cost_only_lines_stay_apart_by_every_dimension() -> None:
    first = cost("1", "", cost_type="code_execution", description="a")
    changes: list[dict[str, Any]] = [
        {"description": "b"}, {"workspace_id": "w"}, {"model": "m"}, {"service_tier": "batch"},
        {"inference_geo": "us"}, {"context_window": ""}, {"usage_date": DAY + timedelta(days=1)},
    ]  # fmt: skip
    assert len(join(first, *(first._replace(**change) for change in changes))) == 8


def test_a_credit_is_reported_as_it_is() -> None:
    assert one(cost("-5"), usage(MILLION)).cost_usd == -5


@pytest.mark.parametrize(
    ("token_column", "units"),
    [
        ("uncached_input_tokens", "10"), ("output_tokens", "10"), ("cache_read_input_tokens", "1"),
        ("cache_creation_5m_input_tokens", "12.5"), ("cache_creation_1h_input_tokens", "20"),
    ],
)  # fmt: skip
def test_priority_burns_its_commitment_by_token_type_and_place(token_column: str, units: str) -> None:
    meter = usage(service_tier="priority")._replace(**{token_column: 10})
    assert one(meter).burndown_units == Decimal(units)
    assert one(meter._replace(inference_geo="us")).burndown_units == Decimal(units) * Decimal("1.1")
    assert one(meter._replace(service_tier="standard")).burndown_units is None

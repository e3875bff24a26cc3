"""The join over any lines at all: every cent and every token lands exactly once, in any order."""

from __future__ import annotations

from collections import defaultdict
from datetime import date, timedelta
from fractions import Fraction
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from stax_pipeline.derive.cost_lines import CostLine
from stax_pipeline.derive.usage_lines import TOKEN_TYPES, UsageLine
from stax_pipeline.domain.money import round_usd
from stax_pipeline.pricing.prices.book import dated_model
from stax_pipeline_tests.derive.builders import DAY, cost_lines_, terms, usage_lines_
from stax_pipeline_tests.derive.one_tenant import spend_lines

COSTS, METERS = st.lists(cost_lines_, max_size=8), st.lists(usage_lines_, max_size=6)
SETTLED_DAYS = st.frozensets(st.sampled_from([DAY, DAY + timedelta(days=1)]))


@settings(max_examples=80, deadline=None)
@given(COSTS, METERS, SETTLED_DAYS)
def test_every_cent_lands_exactly_once(
    costs: list[CostLine], meters: list[UsageLine], settled: frozenset[date]
) -> None:
    lines = spend_lines(costs, meters, terms(), settled)
    billed: dict[tuple[date, str], Fraction] = defaultdict(Fraction)
    for bill in costs:
        billed[bill.usage_date, bill.workspace_id] += Fraction(bill.amount_usd)
    reported: dict[tuple[date, str], Fraction] = defaultdict(Fraction)
    for line in lines:
        assert (line.cost_line_count > 0) == (line.cost_source == "reported")
        if line.cost_source == "reported":
            assert line.cost_usd is not None
            reported[line.usage_date, line.workspace_id] += Fraction(line.cost_usd)
    assert reported == billed
    assert sum(line.cost_line_count for line in lines) == len(costs)


@settings(max_examples=80, deadline=None)
@given(COSTS, METERS, SETTLED_DAYS)
def test_every_token_and_search_lands_exactly_once(
    costs: list[CostLine], meters: list[UsageLine], settled: frozenset[date]
) -> None:
    used: dict[tuple[object, ...], int] = defaultdict(int)
    for meter in meters:
        tier = meter.service_tier or "standard"
        for token_type, column in TOKEN_TYPES.items():
            where = meter.usage_date, meter.workspace_id, dated_model(meter.model), tier, token_type
            used[where] += getattr(meter, column)
        used[meter.usage_date, meter.workspace_id, "web_search"] += meter.web_search_requests
    landed: dict[tuple[object, ...], int] = defaultdict(int)
    for line in spend_lines(costs, meters, terms(), settled):
        if line.cost_type == "web_search":
            landed[line.usage_date, line.workspace_id, "web_search"] += line.quantity or 0
        elif line.cost_type == "tokens":
            tier = line.service_tier or "standard"
            where = line.usage_date, line.workspace_id, dated_model(line.model), tier, line.token_type
            landed[where] += line.quantity or 0
        else:
            assert line.quantity is None
    assert {k: n for k, n in landed.items() if n} == {k: n for k, n in used.items() if n}


@settings(max_examples=60, deadline=None)
@given(COSTS, METERS, SETTLED_DAYS, st.randoms(use_true_random=False))
def test_input_order_does_not_matter(
    costs: list[CostLine], meters: list[UsageLine], settled: frozenset[date], random: Any
) -> None:
    lines = spend_lines(costs, meters, terms(), settled)
    random.shuffle(costs)
    random.shuffle(meters)
    assert spend_lines(costs, meters, terms(), settled) == lines


@settings(max_examples=60, deadline=None)
@given(COSTS, METERS, SETTLED_DAYS)
def test_unit_price_times_quantity_is_the_list_cost(
    costs: list[CostLine], meters: list[UsageLine], settled: frozenset[date]
) -> None:
    for line in spend_lines(costs, meters, terms(), settled):
        if line.list_unit_price_usd is not None:
            assert line.pricing_quantity is not None
            assert round_usd(line.pricing_quantity * line.list_unit_price_usd) == line.list_cost_usd
        if line.cost_source in ("priority-reconstructed", "usage-estimated"):
            assert line.cost_usd is not None
            assert line.cost_usd == line.list_cost_usd
        assert (line.cost_usd is None) == (line.cost_source == "unpriced")


@settings(max_examples=60, deadline=None)
@given(COSTS, METERS, SETTLED_DAYS)
def test_no_two_lines_are_the_same_line(
    costs: list[CostLine], meters: list[UsageLine], settled: frozenset[date]
) -> None:
    lines = spend_lines(costs, meters, terms(), settled)
    assert len({line[:10] for line in lines}) == len(lines)

"""Dollars by key: the parts always sum to the whole, each within one last digit of its share."""

from __future__ import annotations

from collections import defaultdict
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stax_pipeline.derive.cost_lines import CostLine
from stax_pipeline.derive.spend import SpendLine
from stax_pipeline.derive.split_by_key import KeySpend
from stax_pipeline.derive.usage_lines import KeyUsageLine, UsageLine
from stax_pipeline.domain.money import split
from stax_pipeline_tests.derive import one_tenant
from stax_pipeline_tests.derive.builders import (
    DAY,
    INPUT,
    MILLION,
    OPUS,
    cost,
    cost_lines_,
    key_usage,
    key_usage_lines_,
    scaled,
    terms,
    usage,
    usage_lines_,
)

UNIT = Fraction(1, 10**18)
TOTALS = st.integers(-(10**38) + 1, 10**38 - 1).map(scaled)
WEIGHTS = st.lists(st.integers(0, 2**63), min_size=1, max_size=9).filter(any)


@given(TOTALS, WEIGHTS)
def test_parts_sum_to_the_total_and_are_proportional_to_the_last_digit(total: Decimal, weights: list[int]) -> None:
    parts = split(total, weights)
    assert sum(map(Fraction, parts), Fraction(0)) == Fraction(total)
    for part, weight in zip(parts, weights, strict=True):
        assert abs(Fraction(part) - Fraction(total) * weight / sum(weights)) < UNIT
        assert not part or weight
        assert str(part) != "-0"


@pytest.mark.parametrize(
    ("total", "weights", "parts"),
    [
        ("1", [1, 1], "0.5 0.5"),
        ("0.000000000000000001", [1, 1, 1], "0.000000000000000001 0 0"),
        ("0.000000000000000002", [1, 2, 3], "0 0.000000000000000001 0.000000000000000001"),
        ("-0.000000000000000001", [1, 3], "0 -0.000000000000000001"),
        ("-1", [1, 3], "-0.25 -0.75"),
        ("0", [1, 3], "0 0"),
        ("10", [7], "10"),
        ("1", [1, 1, 1], "0.333333333333333334 0.333333333333333333 0.333333333333333333"),
    ],
)
def test_the_largest_remainder_gets_the_last_digit(total: str, weights: list[int], parts: str) -> None:
    assert split(Decimal(total), weights) == [Decimal(part) for part in parts.split()]


def test_all_38_digits_survive() -> None:
    wide = Decimal("12345678901234567890.123456789012345678")
    assert split(wide, [1]) == [wide]


Joined = tuple[list[CostLine], list[UsageLine]]


def join(*lines: CostLine | UsageLine) -> Joined:
    costs = [line for line in lines if isinstance(line, CostLine)]
    return costs, [line for line in lines if isinstance(line, UsageLine)]


def spend_by_key(lines: Joined, by_key: list[KeyUsageLine]) -> list[KeySpend]:
    return one_tenant.spend_by_key(*lines, by_key, terms())


def shares(rows: list[KeySpend]) -> dict[tuple[str, str], tuple[int | None, Decimal | None]]:
    return {(row.api_key_id, row.account_id): (row.quantity, row.cost_usd) for row in rows}


def test_dollars_follow_tokens() -> None:
    rows = spend_by_key(join(cost("4"), usage(MILLION)), [key_usage("a", 750_000), key_usage("b", 250_000)])
    assert shares(rows) == {("a", ""): (750_000, 3), ("b", ""): (250_000, 1)}
    assert rows[0][:2] + rows[0][4:9] == (DAY, "default", OPUS, "tokens", INPUT, "standard", "reported")
    assert [row.effective_cost_usd for row in rows] == [3, 1]


def test_accounts_and_use_without_a_key_have_rows_of_their_own() -> None:
    rows = spend_by_key(
        join(cost("4"), usage(MILLION)),
        [key_usage("", 500_000, account_id="user_1"), key_usage("", 250_000), key_usage("a", 250_000)],
    )
    assert shares(rows) == {("", "user_1"): (500_000, 2), ("", ""): (250_000, 1), ("a", ""): (250_000, 1)}


def test_lines_that_the_by_key_query_cannot_tell_apart_are_summed_first() -> None:
    lines = join(
        cost("4"), usage(MILLION),
        cost("8", context_window="200k-1M", inference_geo="us"),
        usage(MILLION, context_window="200k-1M", inference_geo="us"),
    )  # fmt: skip
    assert shares(spend_by_key(lines, [key_usage("a", MILLION), key_usage("b", MILLION)])) == {
        ("a", ""): (MILLION, 6), ("b", ""): (MILLION, 6),
    }  # fmt: skip


def test_what_no_key_used_is_one_unattributed_row() -> None:
    lines = join(cost("4"), usage(MILLION), cost("1", "", cost_type="code_execution", model="", service_tier=""))
    rows = spend_by_key(lines, [key_usage("a", MILLION, workspace_id="elsewhere")])
    assert [(row.api_key_id, row.cost_type, row.quantity, row.cost_usd) for row in rows] == [
        ("unattributed", "code_execution", None, 1), ("unattributed", "tokens", MILLION, 4),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "elsewhere",
    [{"workspace_id": "w"}, {"model": "m"}, {"service_tier": "batch"}, {"usage_date": DAY + timedelta(days=1)}],
)
def test_nobody_pays_for_another_s_use(elsewhere: dict[str, Any]) -> None:
    rows = spend_by_key(join(cost("4"), usage(MILLION)), [key_usage("a", 5)._replace(**elsewhere)])
    assert shares(rows) == {("unattributed", ""): (MILLION, 4)}


def test_aliases_and_the_empty_tier_meet_here_too() -> None:
    lines = join(cost("5", model="claude-opus-4-5-20251101"), usage(MILLION, model="claude-opus-4-5", service_tier=""))
    rows = spend_by_key(lines, [key_usage("a", MILLION, model="claude-opus-4-5-20251101")])
    assert shares(rows) == {("a", ""): (MILLION, 5)}


def test_one_key_that_named_the_model_in_two_ways_has_one_row_with_both() -> None:
    dated = "claude-opus-4-5-20251101"
    by_key = [
        key_usage("a", 1, model="claude-opus-4-5"),
        key_usage("a", 2, model=dated),
        key_usage("b", 1, model=dated),
    ]
    rows = spend_by_key(join(cost("4", model=dated), usage(4, model=dated)), by_key)
    assert shares(rows) == {("a", ""): (3, 3), ("b", ""): (1, 1)}


def test_web_searches_are_split_by_searches_over_models_and_tiers() -> None:
    lines = join(cost("0.04", "", cost_type="web_search", model="", service_tier=""), usage(web_search_requests=4))
    by_key = [
        key_usage("a", web_search_requests=1), key_usage("a", web_search_requests=2, service_tier="batch"),
        key_usage("b", web_search_requests=1, model="m"),
    ]  # fmt: skip
    assert shares(spend_by_key(lines, by_key)) == {("a", ""): (3, Decimal("0.03")), ("b", ""): (1, Decimal("0.01"))}


def test_unpriced_tokens_have_keys_and_no_dollars() -> None:
    lines = join(usage(MILLION, service_tier="flex"))
    rows = spend_by_key(lines, [key_usage("a", MILLION, service_tier="flex")])
    assert shares(rows) == {("a", ""): (MILLION, None)}
    assert rows[0].cost_source == "unpriced"


LINES = st.tuples(
    st.lists(cost_lines_, max_size=6),
    st.lists(usage_lines_, max_size=5),
    st.frozensets(st.sampled_from([DAY, DAY + timedelta(days=1)])),
)
BY_KEY = st.lists(key_usage_lines_, max_size=8)


def totals(rows: list[SpendLine] | list[KeySpend]) -> dict[tuple[date, str], tuple[Fraction, Fraction]]:
    found: dict[tuple[date, str], tuple[Fraction, Fraction]] = defaultdict(lambda: (Fraction(0), Fraction(0)))
    for row in rows:
        known, effective = found[row.usage_date, row.cost_source]
        found[row.usage_date, row.cost_source] = (
            known + Fraction(row.cost_usd or 0), effective + Fraction(row.effective_cost_usd or 0)
        )  # fmt: skip
    return found


@settings(max_examples=60, deadline=None)
@given(LINES, BY_KEY, st.randoms(use_true_random=False))
def test_by_key_ties_to_spend_by_day_and_source_in_any_order(
    lines: tuple[list[CostLine], list[UsageLine], frozenset[date]], by_key: list[KeyUsageLine], random: Any
) -> None:
    costs, meters, settled = lines
    spend = one_tenant.spend_lines(costs, meters, terms(), settled)
    rows = one_tenant.spend_by_key(costs, meters, by_key, terms(), settled)
    assert totals(rows) == totals(spend)
    assert len({row[:9] for row in rows}) == len(rows)
    for held in (costs, meters, by_key):
        random.shuffle(held)
    assert one_tenant.spend_by_key(costs, meters, by_key, terms(), settled) == rows

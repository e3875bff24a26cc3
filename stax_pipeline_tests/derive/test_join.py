"""Where cost and usage meet: equal after aliases and empty values are resolved, apart otherwise."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from stax_pipeline.derive.join import Amount, JoinKey, Pricing, Tokens, geo_class, join_key, pricing, tokens
from stax_pipeline.derive.terms import Quote
from stax_pipeline.pricing.prices import Price
from stax_pipeline_tests.derive.builders import (
    DAY,
    INPUT,
    MILLION,
    OPUS,
    OUTPUT,
    READ,
    WRITE_1H,
    WRITE_5M,
    cost,
    usage,
)


def test_the_key_has_every_shared_dimension() -> None:
    expected = JoinKey(DAY, "default", OPUS, "standard", "0-200k", "global", INPUT)
    assert join_key(cost(), INPUT) == join_key(usage(), INPUT) == expected


@pytest.mark.parametrize(
    ("change", "same_as"),
    [
        ({"model": "claude-opus-4-5"}, {"model": "claude-opus-4-5-20251101"}),
        ({"service_tier": ""}, {"service_tier": "standard"}),
        ({"context_window": ""}, {"context_window": "0-200k"}),
        ({"inference_geo": ""}, {"inference_geo": "global"}),
        ({"inference_geo": "not_available"}, {"inference_geo": "global"}),
    ],
)
def test_values_that_stand_for_each_other_meet(change: dict[str, str], same_as: dict[str, str]) -> None:
    assert join_key(cost(**change), INPUT) == join_key(usage(**same_as), INPUT)


@pytest.mark.parametrize(
    "change",
    [
        {"model": "claude-opus-5"}, {"service_tier": "batch"}, {"service_tier": "priority"},
        {"context_window": "200k-1M"}, {"inference_geo": "us"}, {"inference_geo": "eu"}, {"workspace_id": "w"},
        {"usage_date": date(2026, 11, 2)},
    ],
)  # fmt: skip
def test_values_of_their_own_do_not_meet(change: dict[str, object]) -> None:
    assert join_key(cost(**change), INPUT) != join_key(usage(), INPUT)


@pytest.mark.parametrize(("geo", "known_as"), [("us", "us"), ("eu", "eu"), ("", "global"), ("not_available", "global")])
def test_geographies_that_mean_anywhere_are_one(geo: str, known_as: str) -> None:
    assert geo_class(geo) == known_as


def test_usage_is_unpivoted_and_unused_types_make_no_row() -> None:
    line = usage(
        1, cache_creation_5m_input_tokens=2, cache_creation_1h_input_tokens=3, cache_read_input_tokens=4,
        output_tokens=5, web_search_requests=6,
    )  # fmt: skip
    found = {key.token_type: part for key, part in tokens([line])}
    assert found == {
        INPUT: Tokens(line, 1), WRITE_5M: Tokens(line, 2), WRITE_1H: Tokens(line, 3), READ: Tokens(line, 4),
        OUTPUT: Tokens(line, 5),
    }  # fmt: skip
    assert list(tokens([usage(0, web_search_requests=6)])) == []


def unit(usd: str, high: str | None = None, source: str = "a", off: str = "0") -> Quote:
    listed = Price(Decimal(usd), Decimal(high or usd), "1M tokens", source)
    share = 1 - Decimal(off)
    return Quote(listed, Price(listed.low * share, listed.high * share, "1M tokens", source))


NO_PRICE = Quote(None, None)


def test_parts_are_priced_before_they_are_summed() -> None:
    priced = pricing([(unit("4"), MILLION), (unit("8", source="b", off="0.25"), 2 * MILLION)])
    assert priced == Pricing(
        Amount(Decimal(20), Decimal(20), None), Amount(Decimal(16), Decimal(16), None), "a + b"
    )  # fmt: skip


def test_one_price_is_told() -> None:
    priced = pricing([(unit("4", off="0.5"), MILLION), (unit("4", off="0.5"), MILLION)])
    assert (priced.listed.unit_price, priced.contracted.unit_price) == (4, 2)


def test_a_unit_price_keeps_18_decimals_and_the_cost_comes_from_all_of_them() -> None:
    priced = pricing([(unit("4", off="0.1234567890123456785"), MILLION * 10)])
    assert priced.contracted.unit_price == Decimal("3.506172843950617286")
    assert priced.contracted.low == Decimal("35.06172843950617286")


def test_a_part_without_price_leaves_the_whole_unknown() -> None:
    assert pricing([(unit("4"), MILLION), (NO_PRICE, 1)]) == Pricing() == pricing([])


def test_an_absolute_price_stands_where_no_list_price_is_known() -> None:
    priced = pricing([(Quote(None, Price(Decimal(3), Decimal(3), "1M tokens", "contract")), MILLION)])
    assert (priced.listed, priced.contracted.low, priced.source) == (Amount(), 3, "contract")


def test_rounding_happens_once_after_the_sum() -> None:
    tiny = unit("0.0000000000004")  # a token costs 4e-19
    assert pricing([(tiny, 1)] * 5).listed.low == Decimal("0.000000000000000002")


def test_a_band_has_two_sums() -> None:
    priced = pricing([(unit("0.1", "0.5"), MILLION), (unit("0.5"), MILLION)]).listed
    assert (priced.low, priced.high, priced.banded) == (Decimal("0.6"), Decimal(1), True)

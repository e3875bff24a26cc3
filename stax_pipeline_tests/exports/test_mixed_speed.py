"""A mixed line split by speed: every column's sum stays to the last digit, and each part has one price."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from stax_pipeline.derive.terms import Terms
from stax_pipeline.domain.money import multiply, round_usd, sum_usd
from stax_pipeline.exports.mixed_speed import (
    FocusRow,
    MixedLine,
    SpeedPart,
    sku_price_details,
    sku_price_id,
    speed_parts,
    split_by_speed,
)
from stax_pipeline.pricing.contract_rates import ContractRate, ContractRates
from stax_pipeline_tests.derive.builders import INPUT, MILLION, OPUS, book, scaled, usage

MONEY = ("BilledCost", "EffectiveCost", "ListCost", "ContractedCost", "CommitmentDiscountQuantity")
MIXED = MixedLine(usage(speed="mixed"), INPUT)
STANDARD = SpeedPart("standard", 3 * MILLION, Decimal(5), Decimal(5))
FAST = SpeedPart("fast", MILLION, Decimal(30), Decimal(30))


def row(parts: list[SpeedPart], billed: Decimal = Decimal(0), **changes: Any) -> FocusRow:
    """What the view says of the line these parts went into."""
    return {
        "SkuId": OPUS,
        "SkuPriceId": None,
        "BilledCost": billed,
        "EffectiveCost": billed,
        "PricingCurrencyEffectiveCost": billed,
        "ListCost": round_usd(sum_usd(part.list_cost for part in parts)),
        "ContractedCost": round_usd(sum_usd(part.contracted_cost for part in parts)),
        "ContractedUnitPrice": None,
        "ConsumedQuantity": Decimal(sum(part.tokens for part in parts)),
        "CommitmentDiscountQuantity": None,
    } | changes


def test_dollars_go_by_list_cost_and_tokens_by_speed() -> None:
    standard, fast = split_by_speed(row([STANDARD, FAST], Decimal(90)), MIXED, [STANDARD, FAST])
    assert (standard["BilledCost"], fast["BilledCost"]) == (30, 60)
    assert (standard["ListCost"], fast["ListCost"]) == (15, 30)
    assert (standard["PricingQuantity"], fast["PricingQuantity"]) == (3, 1)
    assert (standard["ListUnitPrice"], fast["ContractedUnitPrice"]) == (5, 30)
    assert fast["SkuPriceId"] == f"{OPUS}/standard/{INPUT}/0-200k/global/fast"
    assert fast["SkuPriceDetails"]["x_Speed"] == "fast"
    assert fast["PricingCategory"] == "Standard"


def test_what_the_parts_do_not_explain_stays_whole() -> None:
    for changes in ({"ListCost": Decimal("44.99")}, {"ConsumedQuantity": Decimal(1)}, {"ContractedCost": Decimal(1)}):
        whole = row([STANDARD, FAST]) | changes
        assert split_by_speed(whole, MIXED, [STANDARD, FAST]) == [whole]
    assert split_by_speed(row([]), MIXED, []) == [row([])]


def test_free_tokens_are_split_by_their_number() -> None:
    parts = [STANDARD._replace(list_price=Decimal(0), contracted_price=Decimal(0)), FAST._replace(tokens=3 * MILLION)]
    parts[1] = parts[1]._replace(list_price=Decimal(0), contracted_price=Decimal(0))
    assert [part["BilledCost"] for part in split_by_speed(row(parts, Decimal(8)), MIXED, parts)] == [4, 4]


@given(
    st.lists(st.tuples(st.integers(1, 10**12), st.integers(0, 10**9), st.integers(0, 10**9)), min_size=1, max_size=3),
    st.integers(-(10**26), 10**26),
    st.integers(0, 10**20),
)
def test_every_sum_stays_to_the_last_digit(counted: list[tuple[int, int, int]], billed: int, units: int) -> None:
    parts = [
        SpeedPart(f"speed-{number}", tokens, scaled(listed, 6), scaled(contracted, 6))
        for number, (tokens, listed, contracted) in enumerate(counted)
    ]
    whole = row(parts, scaled(billed), CommitmentDiscountQuantity=scaled(units, 3))
    split = split_by_speed(whole, MIXED, parts)
    assert len(split) == len(parts)
    for name in (*MONEY, "ConsumedQuantity"):
        assert sum_usd(part[name] for part in split) == whole[name]
    for part in split:
        for cost, price in (("ListCost", "ListUnitPrice"), ("ContractedCost", "ContractedUnitPrice")):
            assert abs(part[cost] - multiply(part[price], part["PricingQuantity"])) < scaled(1)


class TestSpeedParts:
    def test_each_speed_has_its_tokens_and_price(self) -> None:
        lines = [usage(100), usage(50, speed="fast"), usage(7, inference_geo="not_available")]
        [parts] = speed_parts(lines, Terms(book())).values()
        assert [(part.speed, part.tokens) for part in parts] == [("fast", 50), ("standard", 107)]
        assert parts[0].list_price > parts[1].list_price == parts[1].contracted_price

    def test_contract_rates_count(self) -> None:
        rate = ContractRate("*", "*", "*", date(2026, 1, 1), None, Decimal("0.2"), None)
        [[part]] = speed_parts([usage(100)], Terms(book(), ContractRates.of([rate]))).values()
        assert part.contracted_price == multiply(part.list_price, Decimal("0.8"))

    def test_a_speed_without_a_price_leaves_no_parts(self) -> None:
        assert list(speed_parts([usage(1, model="claude-new")], Terms(book())).values()) == [[]]


def test_what_is_not_known_stays_out_of_a_price_id() -> None:
    line = usage(context_window="", inference_geo="not_available", speed="")
    assert sku_price_id(OPUS, line, INPUT) == f"{OPUS}/standard/{INPUT}"
    assert sku_price_details(line, INPUT) == {
        "x_Model": OPUS, "x_TokenType": INPUT, "x_ServiceTier": "standard", "x_InferenceGeo": "not_available",
    }  # fmt: skip

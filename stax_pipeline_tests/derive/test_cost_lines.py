"""Cost rows to cost lines: every dollar once, every field kept, every fault named."""

from __future__ import annotations

import json
from collections import Counter
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stax_pipeline.derive.cost_lines import CostLine, cost_line, cost_lines
from stax_pipeline.domain.errors import ContractBroken
from stax_pipeline_tests.derive.builders import DAY, INPUT, OPUS, cost_row


def test_every_field_has_its_place() -> None:
    assert cost_line(DAY, cost_row()) == CostLine(
        usage_date=DAY,
        workspace_id="wrkspc_1",
        description="Claude Opus 5.5 Usage - Input Tokens",
        cost_type="tokens",
        token_type=INPUT,
        model=OPUS,
        service_tier="standard",
        context_window="0-200k",
        inference_geo="global",
        currency="USD",
        occurrence=1,
        amount_usd=Decimal("1.2345"),
        extras="{}",
    )


def test_null_dimensions_are_empty_and_the_null_workspace_is_the_default_one() -> None:
    nulls = dict.fromkeys(["cost_type", "model", "token_type", "context_window", "service_tier", "inference_geo"])
    line = cost_line(DAY, cost_row(**nulls, workspace_id=None))
    assert line.workspace_id == "default"
    assert line[3:9] == ("",) * 6


def test_an_answer_that_is_not_grouped_breaks_the_contract() -> None:
    """As it comes when the grouping is not heeded: one sum a day."""
    names = [
        "cost_type", "description", "model", "token_type", "context_window", "service_tier", "inference_geo",
        "workspace_id",
    ]  # fmt: skip
    row = cost_row(**dict.fromkeys(names), amount="11000")
    with pytest.raises(ContractBroken, match="bucket 2026-11-01, row 1: not grouped as asked"):
        cost_lines([(DAY, [row])])
    for grouped in ("cost_type", "token_type", "model", "description"):
        assert cost_line(DAY, row | {grouped: "something"}).amount_usd == 110


@pytest.mark.parametrize(
    "field",
    ["amount", "currency", "cost_type", "description", "model", "token_type", "context_window", "service_tier",
     "workspace_id"],
)  # fmt: skip
def test_a_missing_field_is_never_a_default(field: str) -> None:
    row = cost_row()
    del row[field]
    with pytest.raises(ContractBroken, match=f"field {field} is missing"):
        cost_line(DAY, row)


def test_the_geography_may_be_left_out_since_it_is_documented_only_for_a_grouping_that_is_not_allowed() -> None:
    row = cost_row()
    del row["inference_geo"]
    assert cost_line(DAY, row).inference_geo == ""


@pytest.mark.parametrize("currency", ["EUR", "usd", "", None, 840, ["USD"]])
def test_no_other_currency_is_ever_summed(currency: object) -> None:
    with pytest.raises(ContractBroken, match="is not USD"):
        cost_line(DAY, cost_row(currency=currency))


@pytest.mark.parametrize("amount", [None, 123.45, 123, "NaN", "1,5", "", {"value": "1"}])
def test_a_bad_amount_is_never_zero(amount: object) -> None:
    with pytest.raises(ContractBroken, match="amount"):
        cost_line(DAY, cost_row(amount=amount))


def test_a_credit_stays_negative() -> None:
    assert cost_line(DAY, cost_row(amount="-500")).amount_usd == Decimal(-5)


@pytest.mark.parametrize(
    ("changes", "credit"),
    [
        ({"amount": "-6000", "cost_type": None, "model": None, "token_type": None}, True),
        ({"amount": "-6000", "model": None}, True),
        ({"amount": "-6000", "token_type": None}, True),
        ({"amount": "-6000"}, False),  # a correction of one price
        ({"amount": "6000", "model": None}, False),
        ({"amount": "0", "model": None}, False),
    ],
)
def test_what_comes_off_the_bill_and_not_off_a_price_is_a_credit(changes: dict[str, Any], credit: bool) -> None:
    assert cost_line(DAY, cost_row(**changes)).is_credit is credit


def test_an_amount_with_too_many_decimals_is_rounded_and_its_text_kept() -> None:
    amount = "123.456789012345678901234"
    line = cost_line(DAY, cost_row(amount=amount, speed="fast"))
    assert line.amount_usd == Decimal("1.234567890123456789")
    assert json.loads(line.extras) == {"amount": amount, "speed": "fast"}
    assert line.is_rounded and not cost_line(DAY, cost_row()).is_rounded


def test_unknown_fields_land_in_extras_and_are_counted() -> None:
    unknown: Counter[str] = Counter()
    [line] = cost_lines([(DAY, [cost_row(speed="fast", discount={"rate": Decimal("0.10")})])], unknown)
    assert json.loads(line.extras) == {"speed": "fast", "discount": {"rate": "0.10"}}
    assert unknown == {"field speed": 1, "field discount": 1}


def test_unknown_values_are_kept_and_counted() -> None:
    unknown: Counter[str] = Counter()
    rows = [cost_row(cost_type="gpu_hours"), cost_row(cost_type="gpu_hours", token_type="thoughts")]
    lines = cost_lines([(DAY, rows)], unknown)
    assert {line.cost_type for line in lines} == {"gpu_hours"}
    assert unknown == {"value cost_type=gpu_hours": 2, "value token_type=thoughts": 1}


def test_equal_rows_are_numbered_by_amount_and_both_count() -> None:
    rows = [cost_row(amount="300"), cost_row(amount="-100"), cost_row(amount="200"), cost_row(model="other")]
    lines = [line for line in cost_lines([(DAY, rows)]) if line.model == OPUS]
    assert [(line.occurrence, line.amount_usd) for line in lines] == [
        (1, Decimal(-1)),
        (2, Decimal(2)),
        (3, Decimal(3)),
    ]


def test_rows_that_differ_in_any_one_dimension_are_not_equal() -> None:
    changes: list[dict[str, Any]] = [
        {"workspace_id": "w"}, {"description": "d"}, {"cost_type": "web_search"}, {"token_type": "output_tokens"},
        {"model": "m"}, {"service_tier": "batch"}, {"context_window": "200k-1M"}, {"inference_geo": "us"},
    ]  # fmt: skip
    rows = [cost_row(), *(cost_row(**change) for change in changes)]
    lines = cost_lines([(DAY, rows), (date(2026, 11, 2), [cost_row()])])
    assert [line.occurrence for line in lines] == [1] * 10


def test_a_fault_names_the_bucket_and_the_row() -> None:
    with pytest.raises(ContractBroken, match=r"cost report, bucket 2026-11-01, row 2: field amount is missing"):
        cost_lines([(DAY, [cost_row(), {"currency": "USD"}])])


def test_an_empty_report_has_no_lines() -> None:
    assert cost_lines([(DAY, [])]) == []


ROWS = st.lists(
    st.builds(
        cost_row,
        amount=st.integers(-(10**24), 10**24).map(lambda n: f"{Decimal(n).scaleb(-8):f}"),
        model=st.sampled_from([OPUS, None]),
        workspace_id=st.sampled_from(["wrkspc_1", None]),
        surprise=st.sampled_from(["a", "b"]),
    ),
    max_size=12,
)


@given(ROWS)
def test_what_comes_in_goes_out_to_the_last_digit(rows: list[dict[str, Any]]) -> None:
    lines = cost_lines([(DAY, rows)])
    assert len(lines) == len(rows)
    assert sum((Fraction(line.amount_usd) for line in lines), Fraction(0)) == sum(
        (Fraction(row["amount"]) / 100 for row in rows), Fraction(0)
    )


@given(ROWS, st.randoms(use_true_random=False))
def test_row_order_does_not_matter(rows: list[dict[str, Any]], random: Any) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)
    lines = cost_lines([(DAY, rows)])
    assert cost_lines([(DAY, shuffled)]) == lines
    assert len({(line.dimensions, line.occurrence) for line in lines}) == len(lines)

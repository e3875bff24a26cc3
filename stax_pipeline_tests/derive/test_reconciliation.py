"""Price accuracy: what the price book says beside what was billed, and the cause of a gap."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stax_pipeline.derive.cost_lines import CostLine
from stax_pipeline.derive.reconciliation import Cell, Change, Reconciliation, within_tolerance
from stax_pipeline.derive.terms import Terms
from stax_pipeline.derive.usage_lines import UsageLine
from stax_pipeline.pricing.contract_rates import ContractRate, ContractRates
from stax_pipeline.pricing.prices import Usage
from stax_pipeline_tests.derive.builders import (
    DAY,
    INPUT,
    MILLION,
    OPUS,
    OUTPUT,
    book,
    cost,
    cost_lines_,
    terms,
    usage,
    usage_lines_,
)
from stax_pipeline_tests.derive.one_tenant import reconcile

SETTLED = frozenset({DAY})
UNBILLED = "tokens without cost: blocked, or billed to another organization"


def rows(*lines: CostLine | UsageLine, settled: frozenset[date] = frozenset()) -> list[Reconciliation]:
    costs = [line for line in lines if isinstance(line, CostLine)]
    return reconcile(costs, [line for line in lines if isinstance(line, UsageLine)], terms(), settled)


def row(*lines: CostLine | UsageLine, settled: frozenset[date] = frozenset()) -> Reconciliation:
    (only,) = rows(*lines, settled=settled)
    return only


def test_a_bill_that_the_book_explains_has_ratio_one() -> None:
    found = row(cost("4"), cost("20", OUTPUT), usage(MILLION, output_tokens=MILLION))
    assert found == Reconciliation(
        DAY, OPUS, "standard", Decimal(24), Decimal(24), Decimal(24), Decimal(24), Decimal(24), Decimal(1), ""
    )


def test_batch_is_priced_at_half_and_stands_apart() -> None:
    lines = (cost("2", service_tier="batch"), usage(MILLION, service_tier="batch"), cost("4"), usage(MILLION))
    assert [(r.service_tier, r.ratio) for r in rows(*lines)] == [("batch", 1), ("standard", 1)]


def test_a_discount_shows_as_a_ratio_above_one() -> None:
    found = row(cost("3.2"), usage(MILLION))
    assert (found.ratio, found.cause) == (Decimal("1.25"), "contract discount")


def test_tokens_without_a_bill_are_named_once_the_day_is_settled() -> None:
    found = row(usage(MILLION), settled=SETTLED)
    assert (found.reported_usd, found.ratio, found.cause) == (
        0,
        None,
        UNBILLED,
    )


def test_dollars_without_any_usage_are_named_and_compared_with_nothing() -> None:
    found = row(cost("4"))
    assert (found.priced_usd, found.reported_usd, found.ratio, found.cause) == (0, 4, None, "dollars without usage")


def test_a_day_without_any_cost_yet_is_left_out() -> None:
    assert rows(usage(MILLION)) == []
    days = {r.usage_date for r in rows(cost("4"), usage(MILLION), usage(MILLION, usage_date=DAY + timedelta(days=1)))}
    assert days == {DAY}


def test_an_unbilled_model_shows_beside_a_billed_one() -> None:
    lines = cost("4"), usage(MILLION), usage(MILLION, model="claude-opus-5")
    found = {r.model: r.cause for r in rows(*lines, settled=SETTLED)}
    assert found == {OPUS: "", "claude-opus-5": UNBILLED}


@pytest.mark.parametrize("changes", [{"model": ""}, {"token_type": ""}])
def test_a_credit_of_cost_type_tokens_is_no_part_of_the_price_accuracy(changes: dict[str, str]) -> None:
    [found] = rows(cost("4"), usage(MILLION), cost("-3")._replace(**changes))
    assert (found.model, found.reported_usd, found.ratio, found.cause) == (OPUS, 4, 1, "")


def test_an_unknown_price_leaves_the_whole_cell_unknown() -> None:
    model = "claude-sonnet-5-5"
    found = row(cost("2", model=model), usage(MILLION, model=model), usage(MILLION, model=model, speed="fast"))
    assert (found.priced_usd, found.priced_high_usd, found.ratio, found.cause) == (None, None, None, "unknown price")
    assert found.reported_usd == 2


@pytest.mark.parametrize(
    ("reported", "cause"),
    [("0.099", "band"), ("0.3", "band"), ("0.505", "band"), ("0.0989", "unexplained"), ("0.5051", "unexplained")],
)
def test_a_banded_model_may_be_billed_anywhere_in_its_band(reported: str, cause: str) -> None:
    haiku = "claude-haiku-5-5"
    found = row(cost(reported, model=haiku), usage(MILLION, model=haiku))
    assert (found.priced_low_usd, found.priced_high_usd) == (Decimal("0.1"), Decimal("0.5"))
    assert (found.priced_usd, found.cause) == (Decimal("0.1"), cause)


class TestCauses:
    """What lies outside of 1 % gets the name of what the figures prove, most certain first."""

    def test_a_discount_takes_the_same_share_off_every_kind_of_token(self) -> None:
        found = row(cost("3.4"), cost("17", OUTPUT), usage(MILLION, output_tokens=MILLION))
        assert found.cause == "contract discount"

    def test_unlike_shares_are_no_discount(self) -> None:
        found = row(cost("3.4"), cost("16", OUTPUT), usage(MILLION, output_tokens=MILLION))
        assert found.cause == "unexplained"

    def test_a_recorded_rate_explains_the_bill(self) -> None:
        rate = ContractRate("claude-*", "*", "*", DAY, None, Decimal("0.15"), None)
        own = Terms(book(), ContractRates.of([rate]))
        found = reconcile([cost("3.4")], [usage(MILLION)], own, frozenset())[0]
        assert (found.priced_usd, found.list_priced_usd, found.ratio, found.cause) == (Decimal("3.4"), 4, 1, "")

    def test_a_rate_that_is_no_longer_right_shows_as_a_discount_again(self) -> None:
        rate = ContractRate("claude-*", "*", "*", DAY, None, Decimal("0.05"), None)
        lines = [cost("3.4"), cost("17", OUTPUT)], [usage(MILLION, output_tokens=MILLION)]
        assert reconcile(*lines, Terms(book(), ContractRates.of([rate])), frozenset())[0].cause == "contract discount"

    def test_a_recorded_rate_that_the_bill_does_not_know(self) -> None:
        rate = ContractRate("claude-*", "*", "*", DAY, None, Decimal("0.15"), None)
        own = Terms(book(), ContractRates.of([rate]))
        found = reconcile([cost("4")], [usage(MILLION)], own, frozenset())[0]
        assert (found.ratio, found.cause) == (Decimal("0.85"), "recorded rate")

    def test_one_wrong_price_among_right_ones(self) -> None:
        found = row(cost("4"), cost("16", OUTPUT), usage(MILLION, output_tokens=MILLION))
        assert found.cause == "one token type"

    def test_what_was_billed_agrees_and_the_rest_was_not_billed(self) -> None:
        lines = cost("4"), usage(MILLION, output_tokens=MILLION)
        found = row(*lines, settled=SETTLED)
        assert (found.ratio, found.cause) == (6, UNBILLED)
        assert row(*lines).cause == "cost not arrived"

    def test_a_model_whose_cost_has_not_arrived_is_not_unbilled(self) -> None:
        found = {r.model: r.cause for r in rows(cost("4"), usage(MILLION), usage(MILLION, model="claude-opus-5"))}
        assert found == {OPUS: "", "claude-opus-5": "cost not arrived"}

    @pytest.mark.parametrize("settled", [SETTLED, frozenset[date]()])
    def test_a_cost_row_of_zero_is_a_bill(self, settled: frozenset[date]) -> None:
        assert row(cost("0"), usage(MILLION), settled=settled).cause == "billed at zero"
        lines = cost("4"), cost("0", OUTPUT), usage(MILLION, output_tokens=MILLION)
        assert row(*lines, settled=settled).cause == "billed at zero"

    def test_a_bill_under_another_model_id(self) -> None:
        lines = cost("4", model="claude-opus-next"), usage(MILLION)
        found = {r.model: (r.cause, r.reported_usd) for r in rows(*lines, settled=SETTLED)}
        assert found == {OPUS: ("another model id", 0), "claude-opus-next": ("another model id", 4)}

    @pytest.mark.parametrize(
        "other", [cost("7", model="claude-opus-next"), cost("4", model="claude-opus-next", service_tier="batch")]
    )
    def test_dollars_that_the_tokens_do_not_explain_are_not_theirs(self, other: CostLine) -> None:
        found = {r.model: r.cause for r in rows(other, usage(MILLION), settled=SETTLED)}
        assert found == {
            OPUS: UNBILLED,
            "claude-opus-next": "dollars without usage",
        }

    def test_a_discount_that_one_token_type_shows(self) -> None:
        assert row(cost("3.4"), usage(MILLION)).cause == "contract discount"
        assert row(cost("4.6"), usage(MILLION)).cause == "unexplained"

    @pytest.mark.parametrize(
        ("billed", "cause"),
        [
            ({OUTPUT: "200"}, UNBILLED),  # 10M of 40M output tokens, and nothing else was used
            ({OUTPUT: "200", INPUT: "4"}, UNBILLED),  # the input wholly billed
            ({OUTPUT: "200", INPUT: "1.2"}, UNBILLED),  # both in part, each by another
            ({OUTPUT: "600", INPUT: "3.8"}, UNBILLED),
            ({OUTPUT: "200", INPUT: "1"}, "contract discount"),  # all kinds alike
            ({OUTPUT: "600", INPUT: "4"}, "one token type"),
            ({OUTPUT: "600"}, "contract discount"),
            ({OUTPUT: "200", INPUT: "9"}, "unexplained"),  # one kind cost more than its price
        ],
    )
    def test_tokens_that_were_billed_in_part(self, billed: dict[str, str], cause: str) -> None:
        used = usage(MILLION if INPUT in billed else 0, output_tokens=40 * MILLION)
        lines = [*(cost(usd, kind) for kind, usd in billed.items()), used]
        assert row(*lines, settled=SETTLED).cause == cause

    def test_a_cost_that_has_come_in_part_is_not_called_unbilled_before_the_day_settles(self) -> None:
        found = row(cost("200", OUTPUT), cost("4"), usage(MILLION, output_tokens=40 * MILLION))
        assert found.cause == "cost not arrived"

    def test_a_band_is_short_only_below_half_of_its_lower_bound(self) -> None:
        model = "claude-haiku-5-5"
        listed = row(cost("1", model=model), usage(MILLION, model=model), settled=SETTLED)
        low = listed.priced_low_usd
        assert low is not None and listed.priced_low_usd != listed.priced_high_usd
        for share, cause in (("0.4", UNBILLED), ("1.5", "band")):
            found = row(cost(low * Decimal(share), model=model), usage(MILLION, model=model), settled=SETTLED)
            assert found.cause == cause

    def test_fast_tokens_billed_as_standard(self) -> None:
        found = row(cost("8"), usage(MILLION), usage(MILLION, speed="fast"))
        assert found.cause == "fast mode"

    def test_fast_tokens_that_the_source_did_not_tell(self) -> None:
        found = row(cost("8"), usage(MILLION, speed=""))
        assert found.cause == "fast mode"

    def test_a_restated_day_is_named_where_nothing_better_is_known(self) -> None:
        cell = Cell(DAY, OPUS, "standard")
        restated = {cell: [Change(Decimal(1), ())]}
        both = [cost("5")], [usage(MILLION)], terms(), frozenset[date]()
        assert reconcile(*both, restated)[0].cause == "restated day"
        assert reconcile(*both)[0].cause == "unexplained"
        assert reconcile([cost("4")], [usage(MILLION)], terms(), frozenset(), restated)[0].cause == ""

    def test_tokens_that_came_later_are_taken_back_too(self) -> None:
        later = Usage(DAY, OPUS, INPUT, "standard", "0-200k", "global", "standard")
        restated = {Cell(DAY, OPUS, "standard"): [Change(Decimal(0), ((later, MILLION),))]}
        found = reconcile([cost("4")], [usage(2 * MILLION)], terms(), frozenset(), restated)
        assert found[0].cause == "restated day"

    @pytest.mark.parametrize("changes", [("1",), ("0.5", "0.5"), ("-1", "2")])
    def test_a_wrong_price_on_a_day_restated_long_ago_is_not_its_restatement(self, changes: tuple[str, ...]) -> None:
        """The bill was off before each of the changes as well."""
        restated = {Cell(DAY, OPUS, "standard"): [Change(Decimal(usd), ()) for usd in changes]}
        assert reconcile([cost("9")], [usage(MILLION)], terms(), frozenset(), restated)[0].cause == "unexplained"


@pytest.mark.parametrize(
    ("priced", "within"),
    [("0.99", True), ("1.01", True), ("0.9899999999", False), ("1.0100000001", False), ("1", True)],
)
def test_the_tolerance_is_one_percent_of_the_bill_edges_included(priced: str, within: bool) -> None:
    assert within_tolerance(Decimal(priced), Decimal(priced), Decimal(1)) is within


@pytest.mark.parametrize(
    ("reported", "within"), [("0.99", True), ("0.9899", False), ("2.02", True), ("2.0201", False), ("1.5", True)]
)
def test_the_band_is_widened_by_one_percent_at_either_end(reported: str, within: bool) -> None:
    assert within_tolerance(Decimal(1), Decimal(2), Decimal(reported)) is within


def test_the_tolerance_is_exact_at_full_width() -> None:
    reported, above = Decimal("10000000000000000000"), Decimal("10100000000000000000.000000000000000001")
    assert not within_tolerance(above, above, reported)


@given(st.integers(1, 10**9), st.integers(0, 10**9))
def test_within_tolerance_is_the_ratio_between_0_99_and_1_01(reported: int, priced: int) -> None:
    expected = Fraction(99, 100) <= Fraction(priced, reported) <= Fraction(101, 100)
    assert within_tolerance(Decimal(priced), Decimal(priced), Decimal(reported)) is expected


def test_aliases_tiers_and_geographies_are_resolved() -> None:
    alias, dated = "claude-opus-4-5", "claude-opus-4-5-20251101"
    found = row(cost("5", model=dated, service_tier="standard"), usage(MILLION, model=alias, service_tier=""))
    assert (found.model, found.service_tier, found.ratio) == (dated, "standard", 1)


def test_only_tokens_count() -> None:
    search = cost("9", "", cost_type="web_search", model="")
    assert row(search, cost("4"), usage(MILLION, web_search_requests=900)).ratio == 1


def test_priority_has_no_row() -> None:
    assert rows(usage(MILLION, service_tier="priority"), usage(1, service_tier="flex"), settled=SETTLED) == []


def test_a_bill_for_a_tier_that_is_not_metered_has_no_row_either() -> None:
    flex = (cost("4", service_tier="flex"), usage(MILLION, service_tier="flex"))
    assert [r.service_tier for r in rows(*flex, cost("4"), usage(MILLION))] == ["standard"]


@settings(deadline=None, max_examples=50)
@given(st.lists(cost_lines_, max_size=8), st.lists(usage_lines_, max_size=6))
def test_reported_is_the_token_bill_of_standard_and_batch(costs: list[CostLine], meters: list[UsageLine]) -> None:
    found = reconcile(costs, meters, terms(), SETTLED)
    billed = [
        line.amount_usd
        for line in costs
        if line.cost_type == "tokens" and line.service_tier in ("", "standard", "batch")
        if line.amount_usd >= 0 or (line.model and line.token_type)
    ]
    assert sum((Fraction(r.reported_usd) for r in found), Fraction(0)) == sum(map(Fraction, billed), Fraction(0))
    assert len({r[:3] for r in found}) == len(found)
    assert {r.service_tier for r in found} <= {"standard", "batch"}

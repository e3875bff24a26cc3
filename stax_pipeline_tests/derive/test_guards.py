"""What must not be published: changed units and a settled day that shrinks, at the very edges of their limits."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stax_pipeline.derive.guards import DOLLARS, shrink_reason, unit_mismatch
from stax_pipeline.derive.terms import Terms
from stax_pipeline.derive.usage_lines import UsageLine
from stax_pipeline.pricing.contract_rates import ContractRate, ContractRates
from stax_pipeline_tests.derive.builders import DAY, MILLION, book, cost, terms, usage
from stax_pipeline_tests.derive.one_tenant import (
    days_without_cost,
    grouping_fault,
    settled_days,
    shrink_fault,
    unit_fault,
)

DAILY = timedelta(hours=24)


@pytest.mark.parametrize(
    ("priced", "reported", "mismatch"),
    [
        ("20", "1", True),
        ("19.999999", "1", False),
        ("2000", "1", True),
        ("5", "100", True),
        ("5.000001", "100", False),
        ("1", "100", True),
        ("100", "100", False),
        ("100", "0.99", False),  # less than a dollar reported says nothing
        ("100", "1.00", True),
        ("100", "0.999999", False),
        ("0.05", "1", True),
        ("0", "100", False),  # nothing could be priced
        ("100", "0", False),
        ("100", "-5", False),  # a refund is not a change of unit
        ("100", "-0.5", False),
        ("1", "-5000", False),
    ],
)
def test_a_factor_of_twenty_with_a_dollar_reported_is_a_change_of_unit(
    priced: str, reported: str, mismatch: bool
) -> None:
    assert unit_mismatch(Decimal(priced), Decimal(reported)) is mismatch


@given(st.integers(1, 10_000), st.integers(1, 2_000_000).map(lambda n: Decimal(n) / 1000))
def test_at_every_factor_the_guard_says_what_the_rule_says(dollars: int, factor: Decimal) -> None:
    """A bill of `dollars` beside tokens that list for `factor` times as much."""
    priced = Decimal(dollars) * factor
    held = factor >= 20 or factor <= Decimal("0.05")
    assert unit_mismatch(priced, Decimal(dollars)) is held


@pytest.mark.parametrize(
    ("factor", "held"),
    [
        ("0.01", True), ("0.049", True), ("0.05", True), ("0.051", False), ("0.1", False), ("0.5", False),
        ("0.99", False), ("1", False), ("1.01", False), ("2", False), ("10", False), ("19.9", False), ("20", True),
        ("20.1", True), ("100", True), ("1000", True),
    ],
)  # fmt: skip
def test_near_each_limit_a_whole_window_is_held_or_published(factor: str, held: bool) -> None:
    """Several models, tiers and days; web searches and Priority do not count."""
    usages = [
        usage(int(100 * MILLION * Decimal(factor)), service_tier=tier, usage_date=day)
        for tier in ("standard", "batch") for day in (DAY, DAY + timedelta(days=1))
    ]  # fmt: skip
    costs = [cost("400" if u.service_tier == "standard" else "200", service_tier=u.service_tier,
                  usage_date=u.usage_date) for u in usages]  # fmt: skip
    costs.append(cost("90000", "", cost_type="web_search", model=""))
    usages.append(usage(10**12, service_tier="priority"))
    assert (unit_fault(costs, usages, terms()) is not None) is held


def test_a_contract_rate_is_part_of_the_price() -> None:
    """96 % off would look like a changed unit, were the rate not known."""
    rate = ContractRate("claude-*", "*", "*", DAY, None, Decimal("0.96"), None)
    lines = [cost("16")], [usage(100 * MILLION)]
    assert unit_fault(*lines, terms()) is not None
    assert unit_fault(*lines, Terms(book(), ContractRates.of([rate]))) is None


def test_a_bill_in_the_right_unit_is_published() -> None:
    assert unit_fault([cost("4")], [usage(MILLION)], terms()) is None


def test_dollars_where_cents_were_meant_are_quarantined() -> None:
    fault = unit_fault([cost("400")], [usage(MILLION * 100)], terms())
    assert fault is None
    fault = unit_fault([cost("4")], [usage(MILLION * 100)], terms())
    assert fault == "unit mismatch: tokens × price say $400.00, the cost report says $4.00"


def test_cents_where_dollars_were_meant_are_quarantined() -> None:
    fault = unit_fault([cost("400")], [usage(MILLION)], terms())
    assert fault == "unit mismatch: tokens × price say $4.00, the cost report says $400.00"


@pytest.mark.parametrize("discounted", ["4", "2", "0.8", "20", "79"])
def test_no_discount_and_no_band_looks_like_a_change_of_unit(discounted: str) -> None:
    assert unit_fault([cost(discounted)], [usage(MILLION)], terms()) is None


def test_the_whole_window_counts_not_one_odd_day() -> None:
    following = DAY + timedelta(days=1)
    costs = [cost("400"), cost("40000", usage_date=following)]
    meters = [usage(MILLION), usage(MILLION * 10000, usage_date=following)]
    assert unit_fault(costs, meters, terms()) is None


def test_unbilled_and_unpriced_models_have_no_voice() -> None:
    meters = [usage(MILLION), usage(MILLION * 10**6, model="claude-opus-5"), usage(1, model="claude-nobody-knows")]
    costs = [cost("4"), cost("900000", model="claude-nobody-knows")]
    assert unit_fault(costs, meters, terms()) is None


def test_priority_usage_has_no_voice() -> None:
    assert unit_fault([cost("4")], [usage(MILLION), usage(MILLION * 10**6, service_tier="priority")], terms()) is None


def test_nothing_to_compare_is_no_fault() -> None:
    assert unit_fault([], [], terms()) is None
    assert unit_fault([cost("400")], [], terms()) is None
    assert unit_fault([], [usage(MILLION)], terms()) is None


@pytest.mark.parametrize(
    ("old", "new", "shrunk"),
    [
        ("10", "5", False),
        ("10", "4.999999999999999999", True),
        ("10", "0", True),
        ("10", "11", False),
        ("10", "-1", True),
        ("0", "0", False),
        ("0.000000000000000001", "0", True),
        ("99999999999999999999.999999999999999998", "49999999999999999999.999999999999999999", False),
        ("99999999999999999999.999999999999999998", "49999999999999999999.999999999999999998", True),
    ],
)
def test_a_settled_day_may_lose_half_and_no_more(old: str, new: str, shrunk: bool) -> None:
    before, after = {DAY: Decimal(old)}, {DAY: Decimal(new)}
    expected = shrink_reason("acme", [DAY], before, {DAY: max(Decimal(new), Decimal(0))}, DOLLARS)
    assert shrink_fault(before, after, frozenset({DAY})) == (expected if shrunk else None)


def test_a_settled_day_that_vanishes_has_shrunk() -> None:
    expected = shrink_reason("acme", [DAY], {DAY: Decimal(1)}, {}, DOLLARS)
    assert shrink_fault({DAY: Decimal(1)}, {}, frozenset({DAY})) == expected


def test_a_day_that_is_not_settled_may_shrink_and_a_new_one_may_appear() -> None:
    other = DAY + timedelta(days=1)
    assert shrink_fault({DAY: Decimal(9)}, {}, frozenset({other})) is None
    assert shrink_fault({}, {DAY: Decimal(9)}, frozenset({DAY})) is None


def test_shrunk_days_come_in_order() -> None:
    days = [DAY + timedelta(days=n) for n in (3, 1, 2)]
    before = {day: Decimal(1) for day in days}
    expected = shrink_reason("acme", sorted(days), before, {}, DOLLARS)
    assert shrink_fault(before, {}, frozenset(days)) == expected


def at(hours: float) -> dict[date, datetime]:
    return {DAY: datetime(2026, 11, 2, tzinfo=UTC) + timedelta(hours=hours)}


@pytest.mark.parametrize(("hours", "settled"), [(0, False), (1, False), (23.999, False), (24, True), (100, True)])
def test_a_day_settles_with_its_extraction_s_age(hours: float, settled: bool) -> None:
    assert settled_days(at(hours), [cost("1")], [usage(5)], DAILY) == (frozenset({DAY}) if settled else frozenset())


@pytest.mark.parametrize("tier", ["standard", "batch", ""])
def test_an_empty_cost_while_metered_tokens_exist_settles_nothing(tier: str) -> None:
    assert settled_days(at(1000), [], [usage(5, service_tier=tier)], DAILY) == frozenset()
    assert days_without_cost(at(24), [], [usage(5, service_tier=tier)], DAILY) == [DAY]
    assert days_without_cost(at(23.999), [], [usage(5, service_tier=tier)], DAILY) == []


def test_a_credit_alone_settles_nothing() -> None:
    """It is no cost of the tokens: theirs may still come."""
    credit = cost("-60", cost_type="", token_type="", model="", description="Service credit")
    assert settled_days(at(1000), [credit], [usage(5)], DAILY) == frozenset()
    assert days_without_cost(at(24), [credit], [usage(5)], DAILY) == [DAY]
    assert settled_days(at(1000), [credit], [], DAILY) == {DAY}


def test_a_cost_of_another_day_settles_nothing() -> None:
    other = cost("1", usage_date=DAY + timedelta(days=1))
    assert settled_days(at(1000), [other], [usage(5)], DAILY) == frozenset()


@pytest.mark.parametrize("tier", ["priority", "flex", "priority_on_demand"])
def test_a_tier_that_is_never_billed_does_not_keep_a_day_from_settling(tier: str) -> None:
    assert settled_days(at(24), [], [usage(5, service_tier=tier)], DAILY) == {DAY}
    assert days_without_cost(at(24), [], [usage(5, service_tier=tier)], DAILY) == []


def test_a_quiet_day_settles_and_a_day_without_extraction_does_not() -> None:
    assert settled_days(at(24), [], [], DAILY) == {DAY}
    assert (
        days_without_cost(at(24), [], [usage(0)], DAILY)
        == days_without_cost(at(24), [cost("0")], [usage(5)], DAILY)
        == []
    )
    assert settled_days({}, [cost("1")], [usage(5)], DAILY) == frozenset()


def test_a_shrunk_day_is_told_to_the_cent_with_the_command_that_publishes_it() -> None:
    day = date(2026, 11, 20)
    said = shrink_reason("globex", [day], {day: Decimal("12345.6789012")}, {day: Decimal("0.129")}, DOLLARS)
    assert said == (
        "shrunk: 2026-11-20: 12,345.68 → 0.13 dollars charged. Kept raw, not published; "
        "`stax sync globex --from 2026-11-20 --to 2026-11-20 --accept-shrink` publishes it"
    )


def test_the_command_covers_every_shrunk_day_and_three_are_written_out() -> None:
    days = [date(2026, 11, n) for n in range(11, 16)]
    said = shrink_reason("globex", days, dict.fromkeys(days, Decimal(5000)), {}, "tokens by key")
    assert "2026-11-13: 5,000 → 0 tokens by key and 2 more days." in said
    assert "--from 2026-11-11 --to 2026-11-15" in said


def test_a_credit_is_no_change_of_unit() -> None:
    """Charges as priced, and a credit on a line of tokens that takes almost all of them back."""
    credit = cost("-99.5")
    assert unit_fault([cost("100"), credit], [usage(25 * MILLION)], terms()) is None


@pytest.mark.parametrize(
    ("others", "held"),
    [
        ([], True),  # all there is, off by forty
        ([("4", MILLION)], True),  # 4 dollars agree, 10 do not
        ([("100", 25 * MILLION)], False),  # most dollars are right: the unit is, and other tokens lack their cost
    ],
)
def test_tokens_without_cost_are_no_change_of_unit(others: list[tuple[str, int]], held: bool) -> None:
    costs = [cost("10", model="claude-opus-5"), *(cost(usd) for usd, _ in others)]
    usages = [usage(80 * 50 * MILLION, model="claude-opus-5"), *(usage(tokens) for _, tokens in others)]
    assert (unit_fault(costs, usages, terms()) is not None) is held


class TestGrouping:
    SETTLED = frozenset({DAY})

    def test_cost_without_any_workspace_beside_use_in_one_is_not_grouped(self) -> None:
        fault = grouping_fault([cost("4"), cost("2")], [usage(5), usage(5, workspace_id="wrkspc_1")], self.SETTLED)
        assert fault == (
            "the cost report is not grouped by workspace as asked: no row names one, and on 2026-11-01 standard or "
            "batch tokens were used in wrkspc_1"
        )

    @pytest.mark.parametrize("tier", ["", "standard", "batch"])
    def test_each_tier_that_is_billed_counts(self, tier: str) -> None:
        elsewhere = usage(5, workspace_id="wrkspc_1", service_tier=tier)
        assert grouping_fault([cost("4")], [elsewhere], self.SETTLED)

    @pytest.mark.parametrize(
        "elsewhere",
        [
            usage(5, workspace_id="wrkspc_1", service_tier="priority"),
            usage(5, workspace_id="wrkspc_1", service_tier="flex"),
            usage(0, workspace_id="wrkspc_1", web_search_requests=3),
            usage(5, workspace_id=""),
            usage(5, workspace_id="wrkspc_1", usage_date=DAY + timedelta(days=1)),
        ],
        ids=["priority", "flex", "searches", "no workspace", "not settled"],
    )
    def test_other_use_elsewhere_is_no_fault(self, elsewhere: UsageLine) -> None:
        assert grouping_fault([cost("4")], [usage(5), elsewhere], self.SETTLED) is None

    def test_one_row_with_a_workspace_shows_that_it_is_grouped(self) -> None:
        elsewhere = usage(5, workspace_id="wrkspc_1")
        assert grouping_fault([cost("4"), cost("1", workspace_id="wrkspc_2")], [elsewhere], self.SETTLED) is None
        assert grouping_fault([], [elsewhere], self.SETTLED) is None

    def test_a_credit_belongs_to_no_workspace_and_proves_nothing(self) -> None:
        elsewhere = usage(5, workspace_id="wrkspc_1")
        credit = cost("-60", cost_type="", token_type="", model="", description="Service credit")
        assert grouping_fault([credit], [elsewhere], self.SETTLED) is None
        assert grouping_fault([cost("4"), credit._replace(workspace_id="wrkspc_2")], [elsewhere], self.SETTLED)

    @pytest.mark.parametrize(
        ("missing", "name"), [("model", "model"), ("token_type", "token type")], ids=["model", "token type"]
    )
    def test_token_charges_of_a_day_that_all_lack_what_they_are_grouped_by(self, missing: str, name: str) -> None:
        """Settled or not: the same tokens would be reported and estimated."""
        lacking = cost("110", **{missing: ""})
        for settled in (self.SETTLED, frozenset[date]()):
            assert grouping_fault([lacking, cost("4", usage_date=DAY + timedelta(days=1))], [usage(5)], settled) == (
                f"the cost report is not grouped as asked: no token charge of 2026-11-01 names a {name}, and standard "
                "or batch tokens were used"
            )

    def test_a_charge_without_a_model_beside_one_that_has_it_or_without_use_is_kept(self) -> None:
        lacking = cost("110", model="")
        assert grouping_fault([lacking, cost("4")], [usage(5)], self.SETTLED) is None
        assert grouping_fault([lacking], [], self.SETTLED) is None
        assert grouping_fault([lacking], [usage(5, service_tier="priority")], self.SETTLED) is None
        assert grouping_fault([cost("-110", model=""), cost("4", cost_type="web_search", model="")], [usage(5)],
                              self.SETTLED) is None  # fmt: skip

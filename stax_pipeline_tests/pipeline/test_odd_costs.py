"""Costs that are no plain charge: an answer that is not grouped, credits, amounts with too many decimals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from stax_pipeline.alerts.causes import Cause, Kind
from stax_pipeline.alerts.facts import judge
from stax_pipeline.checks.raw_pages import cost_gaps
from stax_pipeline.checks.runner import run_rules
from stax_pipeline.domain.extraction import Report, Window
from stax_pipeline.simulator.faults import Fault
from stax_pipeline.warehouse.tenants import all_tenants
from stax_pipeline_tests.conftest import Installation
from stax_pipeline_tests.pipeline.support import (
    COST,
    DAYS,
    FIRST,
    LAST,
    USAGE,
    Row,
    change,
    content,
    errors,
    on,
    query,
    sync,
    true_usd,
    two_tenants,
    usd_by_day,
)

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
NULLS = dict.fromkeys(
    ["cost_type", "description", "model", "token_type", "context_window", "service_tier", "inference_geo",
     "workspace_id"]
)  # fmt: skip
CREDIT = {**NULLS, "amount": "-6000", "currency": "USD", "description": "Service credit"}


@pytest.fixture
def made(stax_home: Path) -> Iterator[Installation]:
    """Both tenants, synced."""
    with two_tenants(stax_home) as installation:
        sync(installation)
        yield installation


def broken(made: Installation) -> set[str]:
    with made.engine.connect() as connection:
        return {f.rule.name for f in run_rules(connection, DAYS, NOON, made.settings) if not f.holds}


def causes(made: Installation) -> list[Cause]:
    with made.engine.connect() as connection:
        return judge(connection, made.settings, made.clock.now, {}).causes


def every_day(edit: Callable[[list[Row]], list[Row]]) -> Fault:
    """The rows of each day replaced by what `edit` makes of them."""

    def change_page(page: Row, _: str) -> None:
        for bucket in page["data"]:
            bucket["results"] = edit(bucket["results"])

    return Fault(change=change_page)


def without_workspace(rows: list[Row]) -> list[Row]:
    return [row | {"workspace_id": None} for row in rows]


class TestNotGrouped:
    def test_one_sum_a_day_breaks_the_contract_and_the_last_good_rows_stay(self, made: Installation) -> None:
        before = content(made)
        change(made, COST, on(FIRST, lambda _: [{**NULLS, "amount": "11000", "currency": "USD"}]))
        assert list(sync(made).failures) == ["acme"]
        [error] = errors(made, "acme")
        assert f"bucket {FIRST}, row 1: not grouped as asked" in error
        assert content(made) == before
        assert usd_by_day(made, "acme", "usage-estimated").get(FIRST) is None

    def test_cost_without_any_workspace_breaks_the_contract_where_settled_tokens_lie_in_one(
        self, made: Installation
    ) -> None:
        before = usd_by_day(made, "acme", "reported")
        change(made, COST, every_day(without_workspace))
        ran = sync(made, reports=[Report.COST])
        assert list(ran.failures) == ["acme"]
        [error] = errors(made, "acme")
        assert "not grouped by workspace" in error and str(FIRST) in error
        assert usd_by_day(made, "acme", "reported") == before

    @pytest.mark.parametrize("missing", ["model", "token_type"])
    def test_token_charges_without_a_model_or_a_token_type_are_never_reported_beside_estimates(
        self, made: Installation, missing: str
    ) -> None:
        before = content(made, "acme")
        change(made, COST, on(LAST, lambda rows: [row | {missing: None} for row in rows]))  # not settled yet
        assert list(sync(made, reports=[Report.COST]).failures) == ["acme"]
        [error] = errors(made, "acme")
        assert f"not grouped as asked: no token charge of {LAST} names a {missing.replace('_', ' ')}" in error
        assert content(made, "acme") == before

    def test_priority_use_elsewhere_publishes(self, made: Installation) -> None:
        def elsewhere_is_priority(rows: list[Row]) -> list[Row]:
            return [row if row["workspace_id"] is None else row | {"service_tier": "priority"} for row in rows]

        change(made, USAGE, every_day(elsewhere_is_priority))
        change(made, COST, every_day(without_workspace))
        assert sync(made).failures == {}
        assert usd_by_day(made, "acme", "reported") == true_usd(made, "acme", DAYS.days[:-1])


def scaled_to_hundred(rows: list[Row]) -> list[Row]:
    """Ten rows of the first day that cost $100.00 together."""
    ten = rows[:10]
    return [row | {"amount": "1000"} for row in ten]


class TestCredits:
    def test_a_settled_day_that_comes_again_with_a_credit_is_published(self, stax_home: Path) -> None:
        with two_tenants(stax_home) as made:
            change(made, COST, on(FIRST, scaled_to_hundred))
            assert sync(made).failures == {}
            assert usd_by_day(made, "acme", "reported")[FIRST] == 100
            made.simulator.faults.clear()
            change(made, COST, on(FIRST, lambda rows: [*scaled_to_hundred(rows), CREDIT]))
            assert sync(made).failures == {}
            assert usd_by_day(made, "acme", "reported")[FIRST] == 40
            [restated] = query(made, "select sum(difference_usd) as usd from stax.restatements where kind = 'cost'")
            assert restated.usd == -60
            [credit] = query(
                made,
                """select "BilledCost" as usd, "ChargeDescription" as words from stax.focus_cost_and_usage
                   where "ChargeCategory" = 'Credit' and "x_Tenant" = 'acme'""",
            )
            assert (credit.usd, credit.words) == (-60, "Service credit")

    def test_credits_alone_are_published_and_the_cost_of_the_tokens_is_waited_for(self, stax_home: Path) -> None:
        """All tokens may be billed elsewhere: an answer of credits names no workspace, and is grouped all the same."""
        with two_tenants(stax_home) as made:
            change(made, COST, every_day(lambda _: [CREDIT]))
            ran = sync(made)
            assert ran.failures == {}
            assert any(words.startswith(f"cost missing for {FIRST}") for words in ran.findings)
            assert usd_by_day(made, "acme", "reported") == dict.fromkeys(DAYS.days[:-1], Decimal(-60))
            assert usd_by_day(made, "acme", "usage-estimated")[FIRST] > 0
            assert usd_by_day(made, "acme", "unbilled") == {}
            settled = query(made, "select bool_or(settled) as any from stax.completeness where tenant = 'acme'")
            assert settled[0].any is False

    @pytest.mark.parametrize("cost_type", ["tokens", "web_search", "code_execution"])
    def test_a_credit_of_any_kind_is_a_credit_in_focus(self, made: Installation, cost_type: str) -> None:
        change(made, COST, on(FIRST, lambda rows: [*rows, CREDIT | {"cost_type": cost_type}]))
        assert sync(made).failures == {}
        told = query(
            made,
            """select "ChargeCategory", "BilledCost" from stax.focus_cost_and_usage
               where "BilledCost" < 0 or "ChargeCategory" = 'Credit'""",
        )
        assert [tuple(row) for row in told] == [("Credit", -60)]
        assert broken(made) == set()

    def test_no_rule_and_no_alert_compares_dollars_net_of_credits(self, stax_home: Path) -> None:
        """Credits take almost all off earlier Saturdays and off the first day, of which web searches are not billed."""
        weeks = [LAST - timedelta(weeks=n) for n in range(1, 5)]

        def edit(page: Row, _: str) -> None:
            for bucket in page["data"]:
                day = date.fromisoformat(bucket["starting_at"][:10])
                if day == FIRST:
                    bucket["results"] = [row for row in bucket["results"] if row["cost_type"] != "web_search"]
                if day in (*weeks, FIRST):
                    charged = sum(Decimal(row["amount"]) for row in bucket["results"])
                    bucket["results"].append(CREDIT | {"amount": str(1 - charged)})

        with two_tenants(stax_home) as made:
            made.clock.now += timedelta(days=2)  # the first day is settled
            change(made, COST, Fault(change=edit))
            assert sync(made, Window(weeks[-1], DAYS.end)).failures == {}
            assert usd_by_day(made, "acme", "unbilled").keys() == {FIRST}
            assert "every_usage_billed" not in broken(made)
            told = {row.kind for row in causes(made)}
            assert told.isdisjoint({Kind.SPEND_SPIKE, Kind.DAY_RESTATED})

    def test_half_of_the_charges_gone_is_shrunk_whatever_was_credited(self, stax_home: Path) -> None:
        with two_tenants(stax_home) as made:
            change(made, COST, on(FIRST, lambda rows: [*scaled_to_hundred(rows), CREDIT]))
            sync(made)
            made.simulator.faults.clear()
            change(made, COST, on(FIRST, lambda rows: scaled_to_hundred(rows)[:4]))
            assert list(sync(made, reports=[Report.COST]).failures) == ["acme"]
            assert errors(made, "acme")[0].startswith(f"shrunk: {FIRST}: 100.00 → 40.00 dollars charged")

    def test_a_credit_of_cost_type_tokens_and_no_model_is_a_credit_and_no_wrong_price(self, made: Installation) -> None:
        credit = CREDIT | {"cost_type": "tokens", "description": "Credit for tokens"}
        change(made, COST, on(FIRST, lambda rows: [*rows, credit]))
        assert sync(made).failures == {}
        assert usd_by_day(made, "acme", "reported")[FIRST] == true_usd(made, "acme", [FIRST])[FIRST] - 60
        assert {row.ratio for row in query(made, "select ratio from stax.reconciliation where reported_usd <> 0")} == {
            1
        }
        [found] = query(
            made, "select lowest_ratio, highest_ratio from stax.price_accuracy where tenant = 'acme' limit 1"
        )
        assert (found.lowest_ratio, found.highest_ratio) == (1, 1)
        assert broken(made).isdisjoint(
            {"price_book_matches_bill", "every_cost_line_met", "reconciliation_ties_to_cost_lines",
             "spend_ties_to_cost_lines", "focus_ties_to_spend", "spend_by_key_ties_to_spend"}
        )  # fmt: skip
        [line] = query(made, "select cost_usd, quantity, description from stax.spend where cost_usd < 0")
        assert (line.cost_usd, line.quantity, line.description) == (-60, None, "Credit for tokens")
        [focus] = query(
            made, """select "BilledCost" from stax.focus_cost_and_usage where "ChargeCategory" = 'Credit'"""
        )
        assert focus[0] == -60


class TestTooManyDecimals:
    AMOUNT = "123.45678901234567851"  # 17 decimals of a cent

    def test_the_tenant_is_published_the_text_kept_and_the_finding_told(self, made: Installation) -> None:
        def longer(rows: list[Row]) -> list[Row]:
            return [rows[0] | {"amount": self.AMOUNT}, rows[1] | {"amount": "-" + self.AMOUNT}, *rows[2:]]

        change(made, COST, on(FIRST, longer))
        ran = sync(made)
        assert ran.failures == {}
        [told] = [words for words in ran.findings if "decimals" in words]
        assert told.startswith("2 amounts have more than 16 decimals of a cent")
        rows = query(made, "select amount_usd, extras->>'amount' as text from stax.cost_lines where extras ? 'amount'")
        assert {row.text: row.amount_usd for row in rows} == {
            self.AMOUNT: Decimal("1.234567890123456785"),
            "-" + self.AMOUNT: Decimal("-1.234567890123456785"),
        }
        with made.engine.connect() as connection:
            assert cost_gaps(connection, made.lake, all_tenants(connection), DAYS) == []

    def test_more_than_twenty_whole_digits_stop_the_tenant(self, made: Installation) -> None:
        change(made, COST, on(FIRST, lambda rows: [rows[0] | {"amount": "1" + "0" * 22}, *rows[1:]]))
        assert list(sync(made).failures) == ["acme"]
        assert "does not fit 20 whole digits" in errors(made, "acme")[0]

    def test_the_pages_allow_the_rounding_and_nothing_more(self, made: Installation) -> None:
        change(made, COST, on(FIRST, lambda rows: [rows[0] | {"amount": "1.00000000000000005"}, *rows[1:]]))
        sync(made)
        with made.engine.begin() as connection:
            assert cost_gaps(connection, made.lake, all_tenants(connection), DAYS) == []
            connection.exec_driver_sql(
                "update stax.cost_lines set amount_usd = amount_usd + 0.000000000000000001 where extras ? 'amount'"
            )
            [gap] = cost_gaps(connection, made.lake, all_tenants(connection), DAYS)
            assert (gap.tenant, gap.usage_date) == ("acme", FIRST)

"""What is not published: a settled day that shrinks, a changed unit, queries that contradict each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from stax_pipeline.domain.extraction import Report, Window
from stax_pipeline.simulator import faults
from stax_pipeline.simulator.faults import Fault
from stax_pipeline_tests.conftest import Installation
from stax_pipeline_tests.pipeline.support import (
    COST,
    DAYS,
    FIRST,
    LAST,
    USAGE,
    change,
    content,
    errors,
    on,
    query,
    sync,
    times,
    true_usd,
    two_tenants,
    usd_by_day,
)

Row = dict[str, Any]


@pytest.fixture
def made(stax_home: Path) -> Iterator[Installation]:
    """Both tenants, synced."""
    with two_tenants(stax_home) as installation:
        sync(installation)
        yield installation


class TestShrinkGuard:
    @pytest.mark.parametrize(
        ("path", "report", "what"), [(COST, Report.COST, "dollars"), (USAGE, Report.USAGE, "tokens")]
    )
    @pytest.mark.parametrize("edit", [times("0.49"), lambda _: []], ids=["below half", "emptied"])
    def test_a_settled_day_that_loses_more_than_half_waits_for_a_person(
        self, made: Installation, path: str, report: Report, what: str, edit: Callable[[list[Row]], list[Row]]
    ) -> None:
        before = content(made)
        change(made, path, on(FIRST, edit))
        ran = sync(made, reports=[report])
        assert list(ran.failures) == ["acme"]
        [error] = errors(made, "acme")
        assert error.startswith(f"shrunk: {FIRST}: ")
        assert what in error
        assert f"`stax sync acme --from {FIRST} --to {FIRST} --accept-shrink`" in error
        assert content(made) == before
        [kept] = query(made, "select raw_uri from stax.extractions where error is not null")
        assert made.lake.get(kept.raw_uri)
        assert sync(made, reports=()).failures == {}
        assert content(made) == before
        named = Window(FIRST, FIRST + timedelta(days=1))
        assert sync(made, named, "acme", reports=[report], accept_shrink=True).failures == {}
        assert content(made) != before
        assert content(made, "globex") == {
            name: [row for row in rows if name == "list_prices" or "'globex'" in row] for name, rows in before.items()
        }

    def test_a_settled_day_that_loses_its_keys_alone_waits_for_a_person(self, made: Installation) -> None:
        """The query by key is emptied while the one of all stays whole."""
        before = content(made)

        def no_keys(page: Row, _: str) -> None:
            for bucket in page["data"]:
                if any(row["api_key_id"] or row["account_id"] for row in bucket["results"]):
                    bucket["results"] = []

        change(made, USAGE, Fault(change=no_keys))
        assert list(sync(made, reports=[Report.USAGE]).failures) == ["acme"]
        [error] = errors(made, "acme")
        assert error.startswith(f"shrunk: {FIRST}: ")
        assert "tokens by key" in error
        assert content(made) == before
        assert sync(made, reports=[Report.USAGE], accept_shrink=True).failures == {}
        assert content(made, "acme")["usage_by_key"] == []

    def test_a_day_that_is_not_settled_yet_is_published(self, made: Installation) -> None:
        change(made, COST, on(LAST, times("0.3")))
        assert sync(made, reports=[Report.COST]).failures == {}
        assert usd_by_day(made, "acme", "reported")[LAST] == true_usd(made, "acme", [LAST])[LAST] * Decimal("0.3")

    def test_it_settles_two_days_after_its_end(self, made: Installation) -> None:
        made.clock.now = made.clock.now.replace(day=23, hour=23, minute=59, second=59)
        assert sync(made).failures == {}
        change(made, COST, on(LAST, times("0.9")))
        made.clock.now += timedelta(seconds=1)
        assert sync(made, reports=[Report.COST]).failures == {}
        made.simulator.faults.clear()
        change(made, COST, on(LAST, times("0.3")))
        made.clock.now += timedelta(minutes=1)
        assert list(sync(made, reports=[Report.COST]).failures) == ["acme"]
        assert usd_by_day(made, "acme", "reported")[LAST] == true_usd(made, "acme", [LAST])[LAST] * Decimal("0.9")

    def test_exactly_half_and_growth_are_published(self, made: Installation) -> None:
        for factor in ("0.5", "3"):
            made.simulator.faults.clear()
            change(made, COST, on(FIRST, times(factor)))
            assert sync(made, reports=[Report.COST]).failures == {}
            expected = true_usd(made, "acme", [FIRST])[FIRST] * Decimal(factor)
            assert usd_by_day(made, "acme", "reported")[FIRST] == expected


class TestUnitGuard:
    def test_a_hundredfold_bill_is_refused_too(self, made: Installation) -> None:
        before = content(made)
        change(made, COST, faults.amounts(lambda cents: str(Decimal(cents) * 100)))
        assert list(sync(made, reports=[Report.COST]).failures) == ["acme"]
        assert "unit mismatch" in errors(made, "acme")[0]
        assert content(made) == before


class TestFastQuery:
    def test_a_refused_beta_leaves_speed_unknown_and_says_so(self, made: Installation) -> None:
        made.simulator.faults.add(
            faults.status(400), key=made.simulator.keys["acme"], path=USAGE, times=None,
            when=lambda params: ("speeds[]", "fast") in params,
        )  # fmt: skip
        ran = sync(made)
        assert ran.failures == {}
        assert any(finding.startswith("speed is not known for") for finding in ran.findings)
        speeds = query(made, "select distinct slug, speed from stax.usage_lines join stax.tenants using (tenant_id)")
        assert {row.speed for row in speeds if row.slug == "acme"} == {""}
        assert {row.speed for row in speeds if row.slug == "globex"} == {"standard", "fast"}
        assert usd_by_day(made, "acme", "reported") == true_usd(made, "acme", DAYS.days[:-1])
        assert {r.speed for r in query(made, "select speed from stax.usage_tokens where tenant = 'acme'")} == {None}

    def test_another_status_than_400_stops_the_tenant(self, made: Installation) -> None:
        made.simulator.faults.add(faults.status(404), key=made.simulator.keys["acme"], path=USAGE, nth=2)
        assert list(sync(made, reports=[Report.USAGE]).failures) == ["acme"]

    def test_a_negative_difference_is_read_again(self, made: Installation) -> None:
        before = content(made)
        made.simulator.faults.add(on(LAST, times("50")), key=made.simulator.keys["acme"], path=USAGE, nth=2)
        ran = sync(made)
        assert ran.failures == {}
        assert any(finding.startswith("read twice") for finding in ran.findings)
        assert content(made) == before

    def test_and_stops_the_tenant_the_second_time(self, made: Installation) -> None:
        before = content(made)
        for nth in (2, 5):
            made.simulator.faults.add(on(LAST, times("50")), key=made.simulator.keys["acme"], path=USAGE, nth=nth)
        ran = sync(made)
        assert list(ran.failures) == ["acme"]
        [error] = errors(made, "acme")
        assert "fast query exceeds" in error
        assert content(made) == before

    def test_queries_that_disagree_on_a_past_day_are_a_finding(self, made: Installation) -> None:
        made.simulator.faults.add(on(LAST, times("0.9")), key=made.simulator.keys["acme"], path=USAGE, nth=3)
        ran = sync(made)
        assert any(f"disagree on {LAST}" in finding for finding in ran.findings)


class TestMissingCost:
    def test_a_day_with_tokens_and_no_cost_is_named_and_does_not_settle(self, stax_home: Path) -> None:
        """The day after it had neither: there both reports agree on nothing."""
        with two_tenants(stax_home) as made:
            made.clock.now += timedelta(days=1)
            empty = FIRST + timedelta(days=1)
            for path in (COST, USAGE):
                change(made, path, on(empty, lambda _: []))
            made.simulator.faults.add(on(FIRST, lambda _: []), key=made.simulator.keys["globex"], path=COST)
            ran = sync(made)
            assert ran.failures == {}
            assert ran.findings == [f"cost missing for {FIRST}: not settled, the tokens are estimated until it comes"]
            found = query(made, "select tenant, usage_date from stax.completeness where settled order by 1, 2")
            assert [tuple(row) for row in found] == [("acme", FIRST), ("acme", empty), ("globex", empty)]
            assert FIRST in usd_by_day(made, "globex", "usage-estimated")


class TestUnknownTier:
    def test_an_unknown_tier_is_kept_and_counted(self, made: Installation) -> None:
        def rename(rows: list[Row]) -> list[Row]:
            for row in rows:
                if row.get("service_tier") == "priority":
                    row["service_tier"] = "turbo"
            return rows

        change(made, USAGE, on(FIRST, rename))
        ran = sync(made)
        [told] = [finding for finding in ran.findings if "turbo" in finding]
        assert told.startswith("unknown value service_tier=turbo, ")
        found = query(
            made,
            "select sum(quantity) as n, count(cost_usd) as priced from stax.spend "
            f"where cost_source = 'unpriced' and service_tier = 'turbo' and usage_date = '{FIRST}'",
        )
        assert found[0].n > 0
        assert found[0].priced == 0

    def test_unknown_kinds_of_cost_are_kept_as_text_and_told_once_each(self, made: Installation) -> None:
        """And of two rows that differ in nothing we ask for both amounts survive."""
        new = {"cost_type": "gpu_hours", "token_type": "thoughts", "context_window": "1M-2M", "service_tier": "turbo"}

        def rename(rows: list[Row]) -> list[Row]:
            renamed = [row | {name: new[name]} for row, name in zip(rows, new, strict=False)]
            halves = [rows[-1] | {"amount": str(Decimal(rows[-1]["amount"]) / 2), "speed": speed} for speed in "ab"]
            return [*renamed, *rows[len(new) : -1], *halves]

        change(made, COST, on(FIRST, rename))
        ran = sync(made, reports=[Report.COST])
        assert ran.failures == {}
        assert sorted(ran.steps[Report.COST].findings["acme"]) == sorted(
            ["unknown field speed, 2 times", *(f"unknown value {name}={value}, 1 time" for name, value in new.items())]
        )
        for name, value in new.items():
            assert len(query(made, f"select 1 from stax.cost_lines where {name} = '{value}'")) == 1
        assert len(query(made, "select 1 from stax.cost_lines where occurrence = 2")) == 1
        assert usd_by_day(made, "acme", "reported")[FIRST] == true_usd(made, "acme", [FIRST])[FIRST]

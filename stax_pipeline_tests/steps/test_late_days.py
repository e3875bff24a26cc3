"""A day that is over and not there yet: the others count, it is never zero, and it is asked for again within hours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from stax_pipeline.domain.extraction import Report, Window
from stax_pipeline.resources.warehouse.tenants import all_tenants
from stax_pipeline.simulator import faults
from stax_pipeline.simulator.faults import Fault, Items, When
from stax_pipeline.steps.checks import Finding, examine, examine_all
from stax_pipeline.steps.isolation import no_progress
from stax_pipeline.steps.late_days import due_again
from stax_pipeline.steps.restore import restore_extractions
from stax_pipeline.steps.rules import DATA_IS_FRESH
from stax_pipeline_tests.conftest import Installation
from stax_pipeline_tests.steps.support import (
    COST,
    DAYS,
    FIRST,
    LAST,
    TODAY,
    USAGE,
    Row,
    change,
    content,
    errors,
    execute,
    query,
    sync,
    true_usd,
    two_tenants,
    usd_by_day,
)
from stax_pipeline_tests.steps.test_history import replayed

LATE = "not reported yet"
PATHS = {Report.COST: COST, Report.USAGE: USAGE}
both = pytest.mark.parametrize("report", [Report.COST, Report.USAGE])


@pytest.fixture
def made(stax_home: Path) -> Iterator[Installation]:
    with two_tenants(stax_home) as installation:
        yield installation


def without(*days: date) -> Fault:
    """An answer that has no bucket for these days."""

    def cut(page: Row, _: str) -> None:
        page["data"] = [b for b in page["data"] if b["starting_at"][:10] not in {day.isoformat() for day in days}]

    return Fault(change=cut)


def too_early() -> Fault:
    return faults.error_envelope("invalid_request_error", 400, message="ending date must be after starting date")


def begins_at(day: date) -> When:
    def asks(params: Items) -> bool:
        return dict(params).get("starting_at", "")[:10] >= day.isoformat()

    return asks


def ends_after(day: date) -> When:
    def asks(params: Items) -> bool:
        return dict(params).get("ending_at", "")[:10] > day.isoformat()

    return asks


def refuse(made: Installation, report: Report, when: When) -> None:
    made.simulator.faults.add(too_early(), key=made.simulator.keys["acme"], path=PATHS[report], times=None, when=when)


def states(made: Installation, report: Report) -> dict[date, str]:
    column = "cost_state" if report is Report.COST else "usage_state"
    found = query(made, f"select usage_date, {column} as state from stax.completeness where slug = 'acme'")
    return {row.usage_date: row.state for row in found}


def stale(made: Installation, now: datetime) -> list[tuple[Any, ...]]:
    with made.engine.connect() as connection:
        rows = examine(connection, DATA_IS_FRESH, DAYS, now, made.settings).rows
    return [row for row in rows if row[:2] == ("acme", "cost_report")]


def fresh(made: Installation, now: datetime, settle_hours: int = 48) -> Finding:
    """What `data_is_fresh` finds, the refresh of the open day apart."""
    settings = replace(made.settings, refresh_minutes=0, settle_hours=settle_hours)
    with made.engine.connect() as connection:
        return examine(connection, DATA_IS_FRESH, DAYS, now, settings)


def broken(made: Installation) -> set[str]:
    with made.engine.connect() as connection:
        return {f.rule.name for f in examine_all(connection, DAYS, made.clock.now, made.settings) if not f.holds}


class TestLastBucketMissing:
    @both
    def test_all_other_days_are_published_and_the_day_is_not_reported_yet(
        self, made: Installation, report: Report
    ) -> None:
        cut = [LAST] if report is Report.COST else [LAST, TODAY]
        change(made, PATHS[report], without(*cut))
        ran = sync(made)
        assert ran.failures == {}
        assert f"not reported yet: {LAST}; asked again within hours, until then never zero" in ran.findings
        expected = {FIRST: "complete", FIRST + timedelta(days=1): "complete", LAST: LATE}
        if report is Report.COST:
            assert states(made, report) == expected | {TODAY: None}
        else:
            assert states(made, report) == expected
        assert broken(made) == {"data_is_fresh"}

    def test_its_tokens_are_estimated_and_replaced_when_its_cost_comes(self, made: Installation) -> None:
        change(made, COST, without(LAST))
        sync(made)
        billed = usd_by_day(made, "acme", "reported")
        assert billed == true_usd(made, "acme", [FIRST, FIRST + timedelta(days=1)])
        assert usd_by_day(made, "acme", "usage-estimated")[LAST] > 0
        made.simulator.faults.clear()
        made.clock.now += timedelta(hours=1)
        assert sync(made, Window(LAST, TODAY), "acme").failures == {}
        assert usd_by_day(made, "acme", "reported") == true_usd(made, "acme", DAYS.days[:-1])
        assert LAST not in usd_by_day(made, "acme", "usage-estimated")
        assert states(made, Report.COST)[LAST] == "complete"
        assert query(made, "select 1 from stax.restatements") == []

    def test_it_never_turns_to_zero_however_old_it_gets(self, made: Installation) -> None:
        made.clock.now += timedelta(days=2, hours=11, minutes=59)
        change(made, COST, without(LAST, TODAY, TODAY + timedelta(days=1), TODAY + timedelta(days=2)))
        assert sync(made).failures == {}
        assert states(made, Report.COST)[LAST] == LATE
        assert LAST not in usd_by_day(made, "acme", "unbilled")
        [found] = query(made, f"select settled from stax.completeness where slug = 'acme' and usage_date = '{LAST}'")
        assert found.settled is False

    @both
    def test_a_hole_stays_a_fault_of_the_contract(self, made: Installation, report: Report) -> None:
        hole = FIRST + timedelta(days=1)
        change(made, PATHS[report], without(hole))
        assert list(sync(made).failures) == ["acme"]
        assert f"no bucket for {hole}" in errors(made, "acme")[0]

    def test_an_old_day_that_lacks_stays_a_fault_of_the_contract(self, made: Installation) -> None:
        made.clock.now += timedelta(days=3)
        change(made, COST, without(LAST))
        assert list(sync(made, Window(FIRST, TODAY)).failures) == ["acme"]
        assert f"no bucket for {LAST}" in errors(made, "acme")[0]

    @both
    def test_a_day_that_was_whole_keeps_its_rows(self, made: Installation, report: Report) -> None:
        sync(made)
        before = content(made)
        change(made, PATHS[report], without(LAST, TODAY))
        ran = sync(made)
        assert ran.failures == {}
        assert f"not reported yet: {LAST}; asked again within hours, until then never zero" in ran.findings
        assert content(made) == before
        assert broken(made) == set()

    def test_a_day_read_while_it_ran_keeps_what_is_known_of_it(self, made: Installation) -> None:
        made.clock.now = datetime(2026, 11, 21, 12, tzinfo=UTC)
        sync(made, Window(FIRST, TODAY))
        held = query(made, f"select sum(output_tokens) as n from stax.usage_lines where usage_date = '{LAST}'")
        made.clock.now = datetime(2026, 11, 22, 0, 10, tzinfo=UTC)
        for slug in ("acme", "globex"):
            made.simulator.faults.add(without(LAST, TODAY), key=made.simulator.keys[slug], path=USAGE, times=None)
        assert sync(made).failures == {}
        assert states(made, Report.USAGE)[LAST] == LATE
        [row] = query(made, "select * from stax.freshness where slug = 'acme'")
        assert row.usage_data_through == datetime(2026, 11, 21, 11, 55, tzinfo=UTC)
        assert query(made, f"select sum(output_tokens) as n from stax.usage_lines where usage_date = '{LAST}'") == held

    def test_one_query_that_ends_early_holds_the_day_back_in_all(self, made: Installation) -> None:
        """Usage by key lacks the day: the counts of the others would have nobody who used them."""
        made.simulator.faults.add(without(LAST, TODAY), key=made.simulator.keys["acme"], path=USAGE, nth=3)
        assert sync(made).failures == {}
        assert states(made, Report.USAGE)[LAST] == LATE
        assert broken(made) == {"data_is_fresh"}


class TestRefused:
    """400 "ending date must be after starting date"."""

    @both
    def test_a_window_of_the_day_alone(self, made: Installation, report: Report) -> None:
        refuse(made, report, begins_at(LAST))
        assert sync(made, Window(LAST, TODAY)).failures == {}
        assert states(made, report) == {LAST: LATE}
        assert broken(made) <= {"data_is_fresh"}

    @both
    def test_a_window_that_ends_with_the_day(self, made: Installation, report: Report) -> None:
        refuse(made, report, ends_after(LAST))
        assert sync(made).failures == {}
        days = states(made, report)
        assert (days[FIRST], days[FIRST + timedelta(days=1)], days[LAST]) == ("complete", "complete", LATE)
        assert broken(made) == {"data_is_fresh"}

    def test_a_refusal_of_every_window_is_the_reason_of_a_failure(self, made: Installation) -> None:
        refuse(made, Report.COST, lambda _: True)
        assert list(sync(made).failures) == ["acme"]
        assert "ending date must be after starting date" in errors(made, "acme")[0]
        asked = [r for r in made.simulator.requests if r.path == COST and r.status == 400]
        assert len(asked) == 4

    def test_another_refusal_costs_no_more_requests(self, made: Installation) -> None:
        made.simulator.faults.add(faults.status(404), key=made.simulator.keys["acme"], path=COST, times=None)
        assert list(sync(made).failures) == ["acme"]
        assert len([r for r in made.simulator.requests if r.path == COST and r.status == 404]) == 1


class TestRebuilt:
    @pytest.mark.parametrize("fault", ["cut", "refused"])
    def test_a_replay_says_the_same(self, made: Installation, fault: str) -> None:
        if fault == "cut":
            change(made, COST, without(LAST))
        else:
            refuse(made, Report.COST, ends_after(LAST))
        sync(made)
        before = content(made)
        assert [outcome.failures for outcome in replayed(made) if outcome.failures] == []
        assert content(made) == before

    def test_extractions_restored_from_the_lake_say_what_was_answered(self, made: Installation) -> None:
        change(made, COST, without(LAST))
        sync(made)
        found = "select report, window_start, window_end, asked_end from stax.extractions order by 1, tenant_id"
        before = query(made, found)
        assert {row.asked_end for row in before if row.report == "cost_report"} == {None, TODAY}
        for table in ("spend_builds", "publications", "coverage", "extractions"):
            execute(made, f"delete from stax.{table}")
        with made.engine.connect() as connection:
            tenants = list(all_tenants(connection))
        restore_extractions(made.engine, made.lake, tenants, no_progress)
        assert query(made, found) == before


class TestCatchUp:
    def asked_at(self, made: Installation) -> datetime:
        [row] = query(made, "select max(recorded_at) as at from stax.extractions where asked_end is not null")
        at: datetime = row.at
        return at

    def due(self, made: Installation, now: datetime) -> tuple[list[str], Window] | None:
        with made.engine.connect() as connection:
            found = due_again(connection, now)
        return found and (found.slugs, found.window)

    def test_first_after_an_hour_then_every_three_until_the_day_is_there(self, made: Installation) -> None:
        change(made, COST, without(LAST))
        sync(made)
        for wait in (timedelta(hours=1), timedelta(hours=3), timedelta(hours=3)):
            at = self.asked_at(made)
            assert self.due(made, at + wait - timedelta(seconds=1)) is None
            assert self.due(made, at + wait) == (["acme"], Window(LAST, TODAY))
            made.clock.now += wait
            sync(made, Window(LAST, TODAY), "acme")
        made.simulator.faults.clear()
        sync(made, Window(LAST, TODAY), "acme")
        assert self.due(made, self.asked_at(made) + timedelta(days=30)) is None

    def test_an_attempt_that_fails_counts_as_asked(self, made: Installation) -> None:
        change(made, COST, without(LAST))
        sync(made)
        at = self.asked_at(made)
        made.simulator.faults.clear()
        made.simulator.faults.add(faults.status(404), key=made.simulator.keys["acme"], path=COST)
        sync(made, Window(LAST, TODAY), "acme")
        assert self.due(made, at + timedelta(hours=2)) is None
        assert self.due(made, at + timedelta(hours=4)) == (["acme"], Window(LAST, TODAY))

    def test_a_tenant_whose_key_is_rejected_is_not_asked_for(self, made: Installation) -> None:
        change(made, COST, without(LAST))
        sync(made)
        execute(made, "update stax.tenants set status = 'key_rejected' where slug = 'acme'")
        assert self.due(made, self.asked_at(made) + timedelta(hours=5)) is None

    def test_data_is_fresh_complains_when_the_hour_has_passed(self, made: Installation) -> None:
        made.clock.now = datetime(2026, 11, 22, 0, 10, tzinfo=UTC)
        change(made, COST, without(LAST))
        sync(made)
        assert stale(made, datetime(2026, 11, 22, 0, 59, 59, tzinfo=UTC)) == []
        assert stale(made, datetime(2026, 11, 22, 1, 0, tzinfo=UTC)) == [("acme", "cost_report", LAST, LATE)]

    @both
    @pytest.mark.parametrize("minutes", [5, 59, 61])
    def test_a_day_that_was_asked_for_in_vain_is_named_however_new_its_tenant_is(
        self, made: Installation, report: Report, minutes: int
    ) -> None:
        self.lack(made, report)
        now = datetime(2026, 11, 22, 2, tzinfo=UTC)
        execute(made, f"update stax.tenants set created_at = '{now - timedelta(minutes=minutes)}'")
        assert fresh(made, now).rows == [("acme", report.value, LAST, LATE)]

    def test_a_day_that_was_not_asked_for_yet_is_not_due_in_a_tenants_first_hour(self, made: Installation) -> None:
        execute(made, "update stax.tenants set created_at = '2026-11-22T01:50Z'")
        assert fresh(made, datetime(2026, 11, 22, 2, tzinfo=UTC)).holds

    def test_late_usage_of_one_of_two_tenants_is_an_error(self, made: Installation) -> None:
        self.lack(made, Report.USAGE)
        assert fresh(made, datetime(2026, 11, 22, 2, tzinfo=UTC)).is_severe

    def test_late_cost_warns_until_it_settles(self, made: Installation) -> None:
        """One of two tenants is above the share of an error; cost comes up to 48 hours late, usage in minutes."""
        self.lack(made, Report.COST)
        before, after = (datetime(2026, 11, 23, 23, 59, tzinfo=UTC), datetime(2026, 11, 24, tzinfo=UTC))
        execute(made, f"delete from stax.coverage where usage_date > '{LAST}'")
        assert [(r, s) for r, s in self.of_last_day(made, before)] == [(LATE, False)]
        assert self.of_last_day(made, after) == [("not reported after 48 hours", True)]
        assert self.of_last_day(made, before, settle_hours=24) == [("not reported after 24 hours", True)]

    def lack(self, made: Installation, report: Report) -> None:
        change(made, PATHS[report], without(*([LAST] if report is Report.COST else [LAST, TODAY])))
        sync(made)

    def of_last_day(self, made: Installation, now: datetime, settle_hours: int = 48) -> list[tuple[str, bool]]:
        """The state of the late day, and whether that alone is an error."""
        found = fresh(made, now, settle_hours)
        rows = [row for row in found.rows if row[2] == LAST]
        return [(row[3], replace(found, rows=[row]).is_severe) for row in rows]

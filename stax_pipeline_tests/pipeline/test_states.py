"""How far the data reaches, by the source's clock: states, data-through, the views freshness and completeness."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from stax_pipeline.domain.extraction import Report, Window
from stax_pipeline_tests.conftest import Installation
from stax_pipeline_tests.pipeline.support import (
    COST,
    DAYS,
    FIRST,
    LAST,
    TODAY,
    USAGE,
    change,
    execute,
    on,
    query,
    sync,
    times,
    two_tenants,
)


@pytest.fixture
def made(stax_home: Path) -> Iterator[Installation]:
    with two_tenants(stax_home) as installation:
        yield installation


def at(made: Installation, hour: int, minute: int, second: int = 0, day: int = 22) -> None:
    made.clock.now = datetime(2026, 11, day, hour, minute, second, tzinfo=UTC)


def coverage(made: Installation, report: Report, day: date) -> Any:
    rows = query(
        made,
        "select c.* from stax.coverage c join stax.tenants using (tenant_id) "
        "where slug = 'acme' and report = :report and usage_date = :day",
        report=report, day=day,
    )  # fmt: skip
    return rows[0] if rows else None


def freshness(made: Installation, slug: str = "acme") -> Any:
    [row] = query(made, "select * from stax.freshness where tenant = :slug", slug=slug)
    return row


class TestFiveMinutes:
    @pytest.mark.parametrize(("minute", "second", "state"), [(4, 59, "provisional"), (5, 0, "complete")])
    def test_yesterday_is_provisional_until_the_lag_has_passed(
        self, made: Installation, minute: int, second: int, state: str
    ) -> None:
        at(made, 0, minute, second)
        assert sync(made).failures == {}
        for report in (Report.COST, Report.USAGE):
            row = coverage(made, report, LAST)
            assert row.state == state
            assert row.data_through == min(made.clock.now - timedelta(minutes=5), datetime(2026, 11, 22, tzinfo=UTC))
            assert coverage(made, report, FIRST).state == "complete"
        assert freshness(made).complete_through == (LAST if state == "complete" else LAST - timedelta(days=1))

    def test_one_second_before_midnight_the_day_is_open_and_has_no_cost(self, made: Installation) -> None:
        at(made, 23, 59, 59, day=21)
        sync(made, Window(FIRST, TODAY))
        assert coverage(made, Report.USAGE, LAST).state == "open"
        assert coverage(made, Report.COST, LAST) is None
        assert coverage(made, Report.COST, LAST - timedelta(days=1)).state == "complete"

    def test_the_open_day_has_usage_and_no_cost(self, made: Installation) -> None:
        sync(made)
        assert coverage(made, Report.USAGE, TODAY).state == "open"
        assert coverage(made, Report.USAGE, TODAY).data_through == made.clock.now - timedelta(minutes=5)
        assert coverage(made, Report.COST, TODAY) is None

    def test_a_window_of_the_open_day_alone_makes_no_cost_request(self, made: Installation) -> None:
        assert sync(made, Window(TODAY, DAYS.end)).failures == {}
        assert [r for r in made.simulator.requests if r.path == COST] == []
        assert query(made, "select 1 from stax.extractions where report = 'cost_report'") == []

    def test_a_day_that_has_not_begun_is_not_covered(self, made: Installation) -> None:
        sync(made, Window(LAST, DAYS.end + timedelta(days=3)))
        assert query(made, f"select 1 from stax.coverage where usage_date > '{TODAY}'") == []

    def test_rows_are_counted(self, made: Installation) -> None:
        sync(made)
        for report, table in ((Report.COST, "cost_lines"), (Report.USAGE, "usage_lines")):
            [held] = query(
                made,
                f"select count(*) as n from stax.{table} join stax.tenants using (tenant_id) "
                "where slug = 'acme' and usage_date = :day",
                day=FIRST,
            )
            assert coverage(made, report, FIRST).rows == held.n > 0


class TestFreshness:
    def test_usage_reaches_the_lag_before_now_and_cost_the_last_midnight(self, made: Installation) -> None:
        sync(made)
        row = freshness(made)
        assert row.usage_data_through == row.data_through == datetime(2026, 11, 22, 11, 55, tzinfo=UTC)
        assert row.cost_data_through == datetime(2026, 11, 22, tzinfo=UTC)
        assert row.complete_through == LAST

    def test_a_gap_is_no_matter_of_freshness(self, made: Installation) -> None:
        sync(made, Window(FIRST, LAST))
        sync(made, Window(TODAY, DAYS.end))
        row = freshness(made)
        assert row.usage_data_through == datetime(2026, 11, 22, 11, 55, tzinfo=UTC)
        assert row.cost_data_through == datetime(2026, 11, 21, tzinfo=UTC)
        assert row.complete_through == LAST - timedelta(days=1)
        sync(made, Window(LAST, TODAY))
        assert freshness(made).cost_data_through == datetime(2026, 11, 22, tzinfo=UTC)
        assert freshness(made).complete_through == LAST

    def test_a_backfill_of_older_days_with_a_gap_throws_nothing_back(self, made: Installation) -> None:
        sync(made)
        before = freshness(made)
        sync(made, Window(date(2026, 11, 2), date(2026, 11, 4)))
        assert freshness(made) == before
        gaps = "select usage_date from stax.completeness where tenant = 'acme' and usage_state is null order by 1"
        assert [row.usage_date for row in query(made, gaps)] == Window(date(2026, 11, 4), FIRST).days

    def test_a_day_left_open_holds_nothing_after_it_back(self, made: Installation) -> None:
        at(made, 12, 0, day=20)
        sync(made, Window(FIRST, LAST))
        at(made, 12, 0, day=22)
        sync(made, Window(LAST, DAYS.end))
        row = freshness(made)
        assert row.usage_data_through == datetime(2026, 11, 22, 11, 55, tzinfo=UTC)
        assert row.cost_data_through == datetime(2026, 11, 22, tzinfo=UTC)
        assert row.complete_through == LAST

    def test_a_tenant_never_fetched_has_nothing_and_a_disconnected_one_is_not_listed(self, made: Installation) -> None:
        sync(made, DAYS, "globex")
        assert freshness(made).data_through is None
        assert freshness(made).complete_through is None
        execute(made, "update stax.tenants set status = 'disconnected' where slug = 'acme'")
        assert [row.tenant for row in query(made, "select tenant from stax.freshness")] == ["globex"]


class TestCompleteness:
    def test_states_settled_and_current_by_day(self, made: Installation) -> None:
        sync(made)
        rows = query(made, "select * from stax.completeness where tenant = 'acme' order by usage_date")
        assert [(r.usage_date, r.cost_state, r.usage_state, r.settled, r.spend_is_current) for r in rows] == [
            (FIRST, "complete", "complete", True, True),
            (FIRST + timedelta(days=1), "complete", "complete", False, True),
            (LAST, "complete", "complete", False, True),
            (TODAY, None, "open", False, True),
        ]

    def test_spend_built_from_an_older_extraction_is_told(
        self, made: Installation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from stax_pipeline_tests.pipeline import support

        sync(made)
        made.clock.now += timedelta(minutes=1)
        change(made, USAGE, on(FIRST, times("1.1")))
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(support, "publish_spend", _interrupted)
            sync(made)
        stale = "select tenant, usage_date from stax.completeness where not spend_is_current and usage_date < :today"
        assert query(made, stale, today=TODAY) == [("acme", FIRST)]
        sync(made, reports=())
        assert query(made, "select distinct spend_is_current from stax.completeness") == [(True,)]


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt

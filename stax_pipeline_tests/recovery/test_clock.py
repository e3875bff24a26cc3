"""Clocks and calendars: the source's clock alone says which days are over, on leap days and at the ends of months."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from stax_pipeline.domain.extraction import Window
from stax_pipeline_tests.conftest import Installation
from stax_pipeline_tests.pipeline.support import DAYS, query, true_usd, two_tenants, usd_by_day
from stax_pipeline_tests.rig.oracle import Content, everything, run, tiny_organizations

DAY, LAG = timedelta(days=1), timedelta(minutes=5)


def states(made: Installation, report: str) -> dict[date, str]:
    found = query(
        made,
        "select usage_date, state from stax.coverage join stax.tenants using (tenant_id) "
        "where slug = 'acme' and report = :report order by 1",
        report=report,
    )
    return {row.usage_date: row.state for row in found}


def data_through(made: Installation) -> datetime:
    [row] = query(made, "select max(data_through) as reached from stax.coverage")
    reached: datetime = row.reached
    return reached


def test_a_machine_two_days_ahead_of_the_source_completes_nothing_too_early(
    made: Installation, expected: Content
) -> None:
    """The days were chosen by the local clock; for the source the last two have not begun."""
    made.clock.now -= 2 * DAY
    assert run(made).failures == {}
    today = made.clock.now.date()
    assert states(made, "cost_report") == {DAYS.start: "complete"}
    assert states(made, "usage_report") == {DAYS.start: "complete", today: "open"}
    assert data_through(made) == made.clock.now - LAG
    made.clock.now += 2 * DAY
    run(made)
    assert everything(made) == expected


def test_a_machine_two_days_behind_the_source_misses_days_and_marks_none_wrong(made: Installation) -> None:
    made.clock.now += 2 * DAY
    assert run(made).failures == {}
    assert set(states(made, "usage_report").values()) == {"complete"} == set(states(made, "cost_report").values())
    reached = data_through(made)
    assert reached == datetime.combine(DAYS.end, datetime.min.time(), UTC)
    before = everything(made)
    made.clock.now -= 2 * DAY
    run(made)
    assert data_through(made) == reached, "data_through went back"
    assert everything(made) == before, "an older extraction replaced a later one"


@pytest.fixture
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The machine's zone, and that of the sessions of the database."""
    for name in ("TZ", "PGTZ"):
        monkeypatch.setenv(name, request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


@contextmanager
def fresh_sessions(made: Installation) -> Iterator[None]:
    """No session of the database was opened before the block, and none is used after it."""
    made.engine.dispose()
    try:
        yield
    finally:
        made.engine.dispose()


@pytest.mark.parametrize(
    ("now", "days", "zone"),
    [
        (datetime(2028, 3, 1, 0, 6, tzinfo=UTC), Window(date(2028, 2, 27), date(2028, 3, 2)), "UTC"),
        (datetime(2027, 1, 1, 0, 6, tzinfo=UTC), Window(date(2026, 12, 30), date(2027, 1, 2)), "Pacific/Kiritimati"),
        (datetime(2026, 11, 2, 0, 6, tzinfo=UTC), Window(date(2026, 10, 31), date(2026, 11, 3)), "America/New_York"),
    ],
    indirect=["zone"],
    ids=["leap day", "end of year, fourteen hours ahead", "the hour that comes twice"],
)
def test_days_at_the_end_of_a_month(stax_home: Path, now: datetime, days: Window, zone: str) -> None:
    with two_tenants(stax_home, *tiny_organizations(), now=now) as made, fresh_sessions(made):
        assert query(made, "show timezone")[0][0] == zone
        assert run(made, days).failures == {}
        over = days.days[:-1]
        assert states(made, "cost_report") == dict.fromkeys(over, "complete")
        assert states(made, "usage_report") == {**dict.fromkeys(over, "complete"), days.days[-1]: "open"}
        assert usd_by_day(made, "acme", "reported") == true_usd(made, "acme", over)

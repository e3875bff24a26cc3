"""The month before is read whole on the 8th: what Anthropic corrects until the 7th is found without a person."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import dagster as dg
import pytest

from stax_pipeline.assets.automation import month_close
from stax_pipeline.assets.partitions import RANGE_END, RANGE_START
from stax_pipeline.domain.extraction import Window
from stax_pipeline.domain.time import trailing_window
from stax_pipeline.simulator import faults
from stax_pipeline_tests.conftest import Installation
from stax_pipeline_tests.pipeline.support import COST, change, on, query, sync, times, two_tenants, usd_by_day
from stax_pipeline_tests.rig.oracle import tiny_organizations

CHANGED = date(2026, 11, 2)


@pytest.fixture
def made(stax_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    monkeypatch.setenv("STAX_START_DATE", "2026-10-01")
    with two_tenants(stax_home, *tiny_organizations(), now=datetime(2026, 12, 3, 9, tzinfo=UTC)) as installation:
        yield installation


def closing(made: Installation) -> set[str]:
    return {row.closing for row in query(made, "select closing from stax.invoice_check where month = '2026-11-01'")}


def closed(at: datetime) -> Window:
    """The days that the schedule asks for at that instant."""
    request = month_close(dg.build_schedule_context(scheduled_execution_time=at))
    assert isinstance(request, dg.RunRequest)
    first, last = (date.fromisoformat(request.tags[name]) for name in (RANGE_START, RANGE_END))
    return Window(first, last + timedelta(days=1))


def test_a_change_on_the_5th_to_the_2nd_of_the_month_before_is_found_on_the_8th(made: Installation) -> None:
    sync(made, Window(date(2026, 11, 1), date(2026, 12, 4)))
    before = usd_by_day(made, "acme", "reported")[CHANGED]
    change(made, COST, on(CHANGED, times("1.25")))
    made.clock.now = datetime(2026, 12, 6, 0, 10, tzinfo=UTC)
    sync(made, trailing_window(made.settings.lookback_days, made.clock.now))
    assert usd_by_day(made, "acme", "reported")[CHANGED] == before
    assert closing(made) == {"not closed until all its days are read on or after 2026-12-08"}

    made.clock.now = datetime(2026, 12, 8, 0, 30, tzinfo=UTC)
    ran = sync(made, closed(made.clock.now))
    assert ran.failures == {}
    assert usd_by_day(made, "acme", "reported")[CHANGED] == before * Decimal("1.25")
    found = query(
        made,
        "select slug, usage_date, sum(new_usd - old_usd) as usd from stax.restatements "
        "join stax.tenants using (tenant_id) where kind = 'cost' group by 1, 2",
    )
    assert [tuple(row) for row in found] == [("acme", CHANGED, before * Decimal("0.25"))]
    assert closing(made) == {"closed"}


def test_a_tenant_that_failed_on_the_8th_is_asked_again_on_the_9th_and_nobody_else(made: Installation) -> None:
    sync(made, Window(date(2026, 11, 1), date(2026, 12, 4)))
    made.clock.now = datetime(2026, 12, 8, 0, 30, tzinfo=UTC)
    change(made, COST, faults.status(404))
    assert list(sync(made, closed(made.clock.now)).failures) == ["acme"]
    assert len(closing(made)) == 2

    made.simulator.faults.clear()
    made.clock.now += timedelta(days=1)
    request = month_close(dg.build_schedule_context(scheduled_execution_time=made.clock.now))
    assert isinstance(request, dg.RunRequest)
    assert request.run_config["resources"]["scope"]["config"]["tenants"] == ["acme"]
    assert sync(made, closed(made.clock.now), "acme").failures == {}
    assert closing(made) == {"closed"}

    made.clock.now += timedelta(days=1)
    said = month_close(dg.build_schedule_context(scheduled_execution_time=made.clock.now))
    assert isinstance(said, dg.SkipReason)

"""Schedules, the sensor for new tenants, and the purge: which days, which tenants, which runs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from stax_pipeline.assets import automation, purge_history
from stax_pipeline.domain.time import FIRST_DAYS, trailing_window
from stax_pipeline.resources.dagster import Lake
from stax_pipeline.simulator import faults
from stax_pipeline_tests.conftest import Installation
from stax_pipeline_tests.dagster_instance.internals import materialised, start_run
from stax_pipeline_tests.pipeline.support import COST, DAYS, LAST, change, execute, sync, two_tenants
from stax_pipeline_tests.pipeline.test_late_days import without

START, END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


class TestSchedules:
    def test_the_daily_run_at_ten_past_midnight_takes_the_window_and_the_open_day(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("STAX_START_DATE", "2026-09-01")
        at = datetime(2026, 11, 22, 0, 10, tzinfo=UTC)
        request = automation.daily_sync(dg.build_schedule_context(scheduled_execution_time=at))
        assert isinstance(request, dg.RunRequest)
        assert (request.tags[START], request.tags[END]) == ("2026-11-15", "2026-11-22")
        assert request.run_key == "daily:2026-11-22"
        monkeypatch.setenv("STAX_LOOKBACK_DAYS", "2")
        narrowed = automation.daily_sync(dg.build_schedule_context(scheduled_execution_time=at))
        assert narrowed.tags[START] == "2026-11-20"  # type: ignore[union-attr]

    @pytest.mark.parametrize(
        ("at", "first", "last"),
        [
            ("2026-11-08T00:30", "2026-10-01", "2026-10-31"),
            ("2026-01-08T00:30", "2025-12-01", "2025-12-31"),
            ("2028-03-08T00:30", "2028-02-01", "2028-02-29"),
        ],
    )
    def test_the_month_close_takes_the_whole_month_before(
        self, monkeypatch: pytest.MonkeyPatch, at: str, first: str, last: str
    ) -> None:
        monkeypatch.setenv("STAX_START_DATE", "2025-01-01")
        context = dg.build_schedule_context(scheduled_execution_time=datetime.fromisoformat(f"{at}Z"))
        request = automation.month_close(context)
        assert isinstance(request, dg.RunRequest)
        assert (request.tags[START], request.tags[END], request.run_key) == (first, last, f"month:{first[:7]}")

    def test_no_schedule_asks_for_days_before_the_installation_s_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("STAX_START_DATE", "2026-10-20")
        for schedule, at in ((automation.month_close, datetime(2026, 11, 8, tzinfo=UTC)),
                             (automation.daily_sync, datetime(2026, 10, 22, tzinfo=UTC))):  # fmt: skip
            request = schedule(dg.build_schedule_context(scheduled_execution_time=at))
            assert isinstance(request, dg.RunRequest)
            assert request.tags[START] == "2026-10-20"

    def test_the_refresh_comes_every_quarter_of_an_hour_unless_it_is_switched_off(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("STAX_REFRESH_MINUTES", "0")
        assert "open_day_refresh" not in {s.name for s in automation.schedules()}
        monkeypatch.delenv("STAX_REFRESH_MINUTES")
        [refresh] = [s for s in automation.schedules() if s.name == "open_day_refresh"]
        assert (refresh.cron_schedule, refresh.default_status.value) == ("*/15 * * * *", "RUNNING")
        with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
            at = datetime(2026, 11, 22, 9, 15, tzinfo=UTC)
            request = refresh(dg.build_schedule_context(instance=instance, scheduled_execution_time=at))
            assert (request.tags[START], request.tags[END], request.tags["lane"]) == (
                "2026-11-22", "2026-11-22", "refresh",
            )  # fmt: skip
            start_run(instance, _sync_of_nothing, {"lane": "refresh"})
            again = refresh(dg.build_schedule_context(instance=instance, scheduled_execution_time=at))
            assert isinstance(again, dg.SkipReason)

    def test_watch_and_purge_have_a_key_per_tick(self) -> None:
        at = datetime(2026, 11, 22, 3, 40, tzinfo=UTC)
        for schedule in (automation.watch_schedule, automation.purge_schedule):
            request = schedule(dg.build_schedule_context(scheduled_execution_time=at))
            assert "2026-11-22" in str(request.run_key)  # type: ignore[union-attr]


@dg.op
def _nothing() -> None:
    """Does nothing."""


@dg.job(name="sync")
def _sync_of_nothing() -> None:
    _nothing()


class TestSensor:
    @pytest.fixture
    def made(self, stax_home: Path) -> Iterator[Installation]:
        with two_tenants(stax_home) as installation:
            execute(installation, "update stax.tenants set created_at = now()")
            yield installation

    @pytest.fixture(autouse=True)
    def instance(self) -> Iterator[None]:
        with dg.DagsterInstance.ephemeral() as self.dagster:
            yield

    def tick(self) -> list[dg.RunRequest | dg.SkipReason]:
        context = dg.build_sensor_context(instance=self.dagster)
        return list(automation.new_tenant_backfill(context))  # type: ignore[arg-type]

    def asked(self) -> list[str]:
        [request] = self.tick()
        assert isinstance(request, dg.RunRequest)
        return list(request.run_config["resources"]["scope"]["config"]["tenants"])

    def test_before_sixty_seconds_it_waits(self, made: Installation) -> None:
        assert [type(said) for said in self.tick()] == [dg.SkipReason]

    def test_after_sixty_seconds_one_run_for_all_new_tenants(self, made: Installation) -> None:
        execute(made, "update stax.tenants set created_at = now() - interval '61 seconds'")
        [request] = self.tick()
        assert isinstance(request, dg.RunRequest)
        assert sorted(request.run_config["resources"]["scope"]["config"]["tenants"]) == ["acme", "globex"]
        today = datetime.now(UTC).date()
        assert request.tags[END] == today.isoformat()
        assert request.tags[START] == (today - timedelta(days=30)).isoformat()
        assert self.tick()[0].run_key == request.run_key  # type: ignore[union-attr]

    def test_tenants_that_fail_do_not_keep_the_others_from_their_turn(
        self, made: Installation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One a run: the oldest has been tried today in vain, so the next has its turn."""
        monkeypatch.setattr(automation, "AT_ONCE", 1)
        execute(made, "update stax.tenants set created_at = now() - interval '2 hours'")
        execute(made, "update stax.tenants set created_at = now() - interval '3 hours' where slug = 'acme'")
        made.simulator.revoke(made.simulator.keys["acme"])
        assert self.asked() == ["acme"]
        made.simulator.faults.add(faults.status(404), key=made.simulator.keys["acme"], times=None)
        sync(made, DAYS, "acme")
        execute(made, "update stax.tenants set status = 'connected'")
        assert self.asked() == ["acme"], "a few days are no try of the first backfill"
        sync(made, trailing_window(FIRST_DAYS, datetime.now(UTC)), "acme")
        execute(made, "update stax.tenants set status = 'connected'")
        assert self.asked() == ["globex"]
        execute(made, "update stax.extractions set recorded_at = recorded_at - interval '1 day'")
        assert self.asked() == ["acme"]

    def test_while_a_backfill_runs_no_other_begins(self, made: Installation) -> None:
        execute(made, "update stax.tenants set created_at = now() - interval '61 seconds'")
        self.dagster.create_run_for_job(_sync_of_nothing, tags={"lane": "onboard"}, status=dg.DagsterRunStatus.STARTED)
        assert [type(said) for said in self.tick()] == [dg.SkipReason]

    @pytest.mark.parametrize("done", ["first_sync_run_id = 'r'", "status = 'disconnected'", "status = 'key_rejected'"])
    def test_a_synced_or_unconnected_tenant_is_not_asked_for(self, made: Installation, done: str) -> None:
        execute(made, "update stax.tenants set created_at = now() - interval '61 seconds'")
        execute(made, f"update stax.tenants set {done} where slug = 'acme'")
        [request] = self.tick()
        assert request.run_config["resources"]["scope"]["config"]["tenants"] == ["globex"]  # type: ignore[union-attr]


class TestCatchUp:
    """What is due, and when, is in `pipeline/test_late_days.py`."""

    @pytest.fixture
    def made(self, stax_home: Path) -> Iterator[Installation]:
        with two_tenants(stax_home) as installation:
            change(installation, COST, without(LAST))
            sync(installation)
            yield installation

    def tick(self, instance: dg.DagsterInstance) -> dg.RunRequest | dg.SkipReason:
        said = automation.catch_up(dg.build_sensor_context(instance=instance))
        assert isinstance(said, dg.RunRequest | dg.SkipReason)
        return said

    def test_one_run_for_the_tenants_and_days_that_are_due_and_one_at_a_time(self, made: Installation) -> None:
        with dg.DagsterInstance.ephemeral() as instance:
            assert isinstance(self.tick(instance), dg.SkipReason)
            execute(made, "update stax.extractions set recorded_at = recorded_at - interval '1 hour'")
            request = self.tick(instance)
            assert isinstance(request, dg.RunRequest)
            assert request.run_config["resources"]["scope"]["config"]["tenants"] == ["acme"]
            assert (request.tags[START], request.tags[END]) == (LAST.isoformat(), LAST.isoformat())
            start_run(instance, _sync_of_nothing, {"lane": request.tags["lane"]})
            assert isinstance(self.tick(instance), dg.SkipReason)

    def test_nothing_is_asked_for_once_the_day_is_there(self, made: Installation) -> None:
        made.simulator.faults.clear()
        sync(made)
        execute(made, "update stax.extractions set recorded_at = recorded_at - interval '1 day'")
        with dg.DagsterInstance.ephemeral() as instance:
            assert isinstance(self.tick(instance), dg.SkipReason)


class TestPurge:
    def materialised(self, instance: dg.DagsterInstance, *days: str) -> list[str]:
        partitions = dg.DailyPartitionsDefinition("2026-11-01", end_date="2026-11-10")

        @dg.asset(partitions_def=partitions)
        def kept() -> None: ...

        return [dg.materialize([kept], instance=instance, partition_key=day).run_id for day in days]

    @pytest.mark.parametrize("batch", [500, 1])
    def test_no_day_is_unmaterialised_and_superseded_runs_go(self, monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
        """With a batch of one, the oldest run is needed for ever: the next ones must be looked at all the same."""
        monkeypatch.setattr(purge_history, "KEEP", timedelta(seconds=-5))
        monkeypatch.setattr(purge_history, "BATCH", batch)
        with dg.DagsterInstance.ephemeral() as instance:
            first, old, new = self.materialised(instance, "2026-11-01", "2026-11-02", "2026-11-02")
            before = materialised(instance, "kept")
            assert purge_history.purge_history.execute_in_process(instance=instance, resources={"lake": Lake()}).success
            assert materialised(instance, "kept") == before == {"2026-11-01", "2026-11-02"}
            left = {record.dagster_run.run_id for record in instance.get_run_records()}
            assert {first, new} <= left
            assert old not in left

    def test_recent_runs_stay(self) -> None:
        with dg.DagsterInstance.ephemeral() as instance:
            runs = self.materialised(instance, "2026-11-01", "2026-11-01")
            purge_history.purge_history.execute_in_process(instance=instance, resources={"lake": Lake()})
            assert set(runs) <= {record.dagster_run.run_id for record in instance.get_run_records()}

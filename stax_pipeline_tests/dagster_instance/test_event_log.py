"""What a run leaves in Dagster's tables through our event log is what it leaves through Dagster's own."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster_postgres.event_log import PostgresEventLogStorage
from dagster_postgres.run_storage import PostgresRunStorage

from stax_pipeline.dagster_instance import internals
from stax_pipeline.dagster_instance.event_log import EventLog, RunLog, remembered
from stax_pipeline.dagster_instance.storage import PLUGIN
from stax_pipeline.installation.homes import CHECKOUT
from stax_pipeline.installation.settings import read_settings
from stax_pipeline.warehouse.roles import logins
from stax_pipeline_tests.conftest import Installation
from stax_pipeline_tests.dagster_instance.internals import (
    engine_of_runs,
    entries_of,
    materialised,
    store_together,
    words_of,
)

# Dagster plans a check for each day where the last asset by name has days, as `usage` of job sync.
DAYS = dg.DailyPartitionsDefinition("2026-11-01", end_date="2026-11-10")
RANGE = {"dagster/asset_partition_range_start": "2026-11-02", "dagster/asset_partition_range_end": "2026-11-04"}
OURS = {"custom": {"module": "stax_pipeline.dagster_instance.storage", "class": "PooledPostgresStorage"}}


@dg.asset
def all_names() -> None:
    """Of no day."""


@dg.asset(deps=[all_names], partitions_def=DAYS, backfill_policy=dg.BackfillPolicy.single_run())
def kept_lines(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    context.log.info("counting")
    return dg.MaterializeResult(metadata={"rows": 3})


@dg.multi_asset_check(
    specs=[dg.AssetCheckSpec(name, asset=kept_lines) for name in ("they_tie", "they_are_whole")], can_subset=True
)
def kept_lines_checks() -> Iterator[dg.AssetCheckResult]:
    yield dg.AssetCheckResult(check_name="they_tie", passed=True)
    yield dg.AssetCheckResult(check_name="they_are_whole", passed=False, severity=dg.AssetCheckSeverity.WARN)


@pytest.fixture(autouse=True)
def one_event_for_all_days(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_EMIT_PARTITION_SUBSET_IN_PLANNED_EVENTS", "1")
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "500")


@contextmanager
def instance_on(storage: dict[str, Any]) -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test(overrides={"storage": storage}) as instance:
        yield instance


def stock() -> dict[str, Any]:
    url = sa.make_url(logins(read_settings()).dagster).update_query_dict({"plugin": PLUGIN})
    return {"postgres": {"postgres_url": url.render_as_string(hide_password=False)}}


def left_by_a_run(storage: dict[str, Any]) -> dict[str, Any]:
    """By table what a run left there, without ids, instants and serialised events."""
    defs = dg.Definitions(
        [kept_lines, all_names], asset_checks=[kept_lines_checks],
        jobs=[dg.define_asset_job("keep", executor_def=dg.in_process_executor)],
    )  # fmt: skip
    with instance_on(storage) as instance:
        job = defs.resolve_job_def("keep")
        run = internals.create_run(instance, job, CHECKOUT / "workspace.yaml", RANGE, {})
        assert list(internals.execute(instance, job, run))[-1].is_job_success
        found = {
            "partitions": materialised(instance, "kept_lines"),
            "records": [
                (record.asset_entry.asset_key, record.asset_entry.last_run_id == run.run_id)
                for record in instance.get_asset_records([kept_lines.key, all_names.key])
            ],
            "logged": [entry.message for entry in entries_of(instance, run.run_id) if not entry.is_dagster_event],
            "rows": instance.fetch_materializations(kept_lines.key, limit=1).records[0].asset_materialization.metadata,
        }
        engine = engine_of_runs(instance)
        queries = {
            "events": "select dagster_event_type, step_key, asset_key, partition from event_logs where run_id = :run "
            "order by id",
            "assets": "select asset_key, last_run_id = :run, last_materialization is null from asset_keys "
            "where last_run_id = :run order by asset_key",
            "tags": "select t.asset_key, t.key, count(*) from asset_event_tags t "
            "join event_logs e on e.id = t.event_id where e.run_id = :run group by 1, 2 order by 1, 2",
            "checks": "select check_name, execution_status, partition from asset_check_executions where run_id = :run "
            "and partition is null order by check_name",
        }
        with engine.connect() as connection:
            for table, query in queries.items():
                found[table] = [tuple(row) for row in connection.execute(sa.text(query), {"run": run.run_id})]
            found["planned of days"] = connection.execute(
                sa.text("select count(*) from asset_check_executions where run_id = :run and partition is not null"),
                {"run": run.run_id},
            ).scalar_one()
        engine.dispose()
    return found


def test_a_run_leaves_what_it_leaves_in_dagster_s_own_but_checks_planned_by_day(installation: Installation) -> None:
    ours, theirs = left_by_a_run(OURS), left_by_a_run(stock())
    assert ours.pop("planned of days") == 0
    assert theirs.pop("planned of days") == 6, "two checks, three days: Dagster no longer plans what it never fulfils"
    assert ours == theirs
    assert ours["partitions"] == {"2026-11-02", "2026-11-03", "2026-11-04"}
    assert ours["checks"] == [("they_are_whole", "FAILED", None), ("they_tie", "SUCCEEDED", None)]
    assert ours["logged"] == ["counting"]


def test_events_of_several_kinds_and_assets_are_kept_together_in_their_order(installation: Installation) -> None:
    with instance_on(OURS) as instance:
        events = [
            dg.AssetMaterialization("first", partition="2026-11-02"), dg.AssetObservation("first"),
            dg.AssetMaterialization("second"), dg.AssetMaterialization("first", partition="2026-11-03"),
        ]  # fmt: skip
        run_id = f"together-{datetime.now(UTC).timestamp()}"
        store_together(instance, run_id, events)
        logged = [entry.get_dagster_event() for entry in entries_of(instance, run_id)]
        assert [(event.asset_key.to_user_string(), event.partition) for event in logged if event.asset_key] == [
            ("first", "2026-11-02"), ("first", None), ("second", None), ("first", "2026-11-03"),
        ]  # fmt: skip
        [first] = instance.get_asset_records([dg.AssetKey("first")])
        assert first.asset_entry.last_materialization and first.asset_entry.last_materialization.dagster_event
        assert first.asset_entry.last_materialization.dagster_event.partition == "2026-11-03"
        assert instance.get_latest_materialization_event(dg.AssetKey("second"))
        engine_of_runs(instance).dispose()


@dataclass(frozen=True)
class Kept:
    """What is kept of events, and how often one was written out."""

    words: list[str]
    written_out: int


def kept_of(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, events: list[dg.AssetMaterialization]
) -> Kept:
    written: list[object] = []
    stock = PostgresEventLogStorage._event_to_row
    monkeypatch.setattr(EventLog, "_event_to_row", lambda self, event: written.append(event) or stock(self, event))
    run_id = f"days-{datetime.now(UTC).timestamp()}"
    made = store_together(instance, run_id, events)
    query = sa.text("select event from event_logs where run_id = :run order by id")
    with engine_of_runs(instance).connect() as connection:
        found = list(connection.execute(query, {"run": run_id}).scalars())
    assert found == [words_of(entry) for entry in made]
    days = sa.text("select partition from event_logs where run_id = :run order by id")
    with engine_of_runs(instance).connect() as connection:
        assert list(connection.execute(days, {"run": run_id}).scalars()) == [event.partition for event in events]
    return Kept(found, len(written))


def days_of(count: int, **told: Any) -> list[dg.AssetMaterialization]:
    return [dg.AssetMaterialization("first", partition=f"2026-11-{day:02}", **told) for day in range(1, count + 1)]


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"metadata": {"rows": 3, "partition": "2026-11-01", 'a "partition": "2026-11-01"': "2026-11-01"}},
        {"metadata": {"failures": dg.MetadataValue.md('"partition": "2026-11-01", "timestamp": 1.0')}},
        {"tags": {"dagster/data_version": "2026-11-01"}, "description": '"timestamp": 1.0'},
    ],
    ids=["nothing", "metadata like a day", "text like the event's", "tags"],
)
def test_days_that_tell_the_same_are_kept_as_dagster_would_write_each_out(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, told: dict[str, Any]
) -> None:
    with instance_on(OURS) as instance:
        assert kept_of(instance, monkeypatch, days_of(9, **told)).written_out == 2
        engine_of_runs(instance).dispose()


def test_days_that_tell_something_else_are_each_written_out(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = dg.AssetMaterialization("first", partition="2026-11-20", metadata={"rows": 4})
    elsewhere = dg.AssetMaterialization("second", partition="2026-11-03")
    with instance_on(OURS) as instance:
        for stranger in (other, elsewhere, dg.AssetMaterialization("first")):
            events = [*days_of(3), stranger, *days_of(2)]
            assert kept_of(instance, monkeypatch, events).written_out == len(events)
        engine_of_runs(instance).dispose()


def test_a_yes_about_the_schema_is_remembered_and_a_no_asked_again() -> None:
    answers = {"there": iter([True]), "later": iter([False, False, True])}

    class Asked:
        @remembered
        def has(self, name: str) -> bool:
            return next(answers[name])

    one = Asked()
    assert [one.has("later"), one.has("there"), one.has("later"), one.has("there"), one.has("later")] == [
        False, True, False, True, True,
    ]  # fmt: skip
    assert one.has("later")


@pytest.mark.parametrize(
    ("ours", "dagsters", "name"),
    [
        (EventLog, PostgresEventLogStorage, "has_table"),
        (EventLog, PostgresEventLogStorage, "_has_asset_key_col_on_connection"),
        (EventLog, PostgresEventLogStorage, "_event_to_row"),
        (EventLog, PostgresEventLogStorage, "_event_insert_timestamp"),
        (EventLog, PostgresEventLogStorage, "_store_asset_event"),
        (EventLog, PostgresEventLogStorage, "_store_asset_event_tags"),
        (EventLog, PostgresEventLogStorage, "store_asset_check_event"),
        (RunLog, PostgresRunStorage, "has_run_stats_index_cols"),
        (RunLog, PostgresRunStorage, "has_backfill_id_column"),
    ],
)
def test_dagster_s_storages_still_have_the_methods_that_ours_replace_or_call(
    ours: type, dagsters: type, name: str
) -> None:
    assert callable(getattr(dagsters, name))
    assert issubclass(ours, dagsters)


class TestDaysOfAFailedRun:
    """A run plans its days together; which of them it left undone is seen all the same."""

    NOVEMBER = [f"2026-11-0{day}" for day in range(1, 7)]

    def states(self, instance: dg.DagsterInstance, days: dg.DailyPartitionsDefinition = DAYS) -> str:
        """Of the first six days: M made, F failed, P in progress, . nothing."""
        found = instance.get_status_by_partition(dg.AssetKey("breaking_lines"), self.NOVEMBER, days) or {}
        letters = {"MATERIALIZED": "M", "FAILED": "F", "IN_PROGRESS": "P"}
        return "".join(letters.get(getattr(found.get(day), "value", ""), ".") for day in self.NOVEMBER)

    def run(self, instance: dg.DagsterInstance, first: int, last: int, *, fails: bool, looks: list[str]) -> None:
        @dg.asset(partitions_def=DAYS, backfill_policy=dg.BackfillPolicy.single_run())
        def breaking_lines(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
            looks.append(self.states(instance))
            if fails:
                raise dg.Failure("broken", allow_retries=False)
            return dg.MaterializeResult()

        jobs = [dg.define_asset_job("remake", executor_def=dg.in_process_executor)]
        job = dg.Definitions([breaking_lines], jobs=jobs).resolve_job_def("remake")
        days = dict(zip(RANGE, (f"2026-11-0{first}", f"2026-11-0{last}"), strict=True))
        run = internals.create_run(instance, job, CHECKOUT / "workspace.yaml", days, {})
        assert list(internals.execute(instance, job, run))[-1].is_job_failure == fails

    def test_they_are_seen_as_in_progress_then_failed_until_they_are_made(self, installation: Installation) -> None:
        looks: list[str] = []
        with instance_on(OURS) as instance:
            self.run(instance, 2, 3, fails=False, looks=looks)
            assert self.states(instance) == ".MM..."
            self.run(instance, 3, 5, fails=True, looks=looks)
            assert self.states(instance) == ".MFFF."
            self.run(instance, 4, 4, fails=False, looks=looks)
            assert self.states(instance) == ".MFMF."
            self.run(instance, 1, 6, fails=False, looks=looks)
            assert self.states(instance) == "MMMMMM"
            engine_of_runs(instance).dispose()
        assert looks == [".PP...", ".MPPP.", ".MFPF.", "PPPPPP"]

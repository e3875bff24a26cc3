"""Job `sync` in this process, on Dagster's real Postgres storage: one run for a range, checks, metadata, narrowing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq
import pytest

from stax_pipeline.assets.automation import new_tenant_backfill
from stax_pipeline.assets.metadata import FAILED_TENANTS
from stax_pipeline.definitions import defs
from stax_pipeline.domain.extraction import Window
from stax_pipeline.installation.homes import CHECKOUT
from stax_pipeline.simulator import faults
from stax_pipeline.warehouse.columns import metadata
from stax_pipeline_tests.assets.support import DAYS, NOW, TODAY, run
from stax_pipeline_tests.conftest import Installation, installed
from stax_pipeline_tests.dagster_instance.internals import log_of, materialised, storage_class
from stax_pipeline_tests.pipeline.support import (
    COST,
    content,
    execute,
    query,
    small_organizations,
    sync,
    true_usd,
    two_tenants,
)
from stax_pipeline_tests.pipeline.support import usd_by_day as usd

DAILY = ("cost_lines", "usage_lines", "usage_by_key", "spend", "spend_by_key", "reconciliation")


@pytest.fixture(scope="module")
def made(stax_home: Path) -> Iterator[Installation]:
    with two_tenants(stax_home, now=NOW) as installation:
        execute(installation, "update stax.tenants set created_at = now() - interval '2 minutes'")
        yield installation


@pytest.fixture(scope="module")
def instance(made: Installation) -> Iterator[dg.DagsterInstance]:
    (made.home / "dagster").mkdir(exist_ok=True)
    with dg.DagsterInstance.from_config(str(CHECKOUT)) as opened:
        yield opened


@pytest.fixture(scope="module")
def result(made: Installation, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    return run(instance)


class TestOneRun:
    def test_it_succeeds_as_one_run_on_postgres(
        self, instance: dg.DagsterInstance, result: dg.ExecuteInProcessResult
    ) -> None:
        assert result.success
        assert "PostgresRunStorage" in {kind.__name__ for kind in storage_class(instance).__mro__}
        kept = instance.get_run_by_id(result.run_id)
        assert kept and kept.status is dg.DagsterRunStatus.SUCCESS
        assert FAILED_TENANTS not in kept.tags

    def test_every_day_of_the_range_is_materialised(
        self, instance: dg.DagsterInstance, result: dg.ExecuteInProcessResult
    ) -> None:
        days = {day.isoformat() for day in DAYS.days}
        for name in ("raw_cost_report", "raw_usage_report", *DAILY):
            assert materialised(instance, name) == days, name

    def test_dollars_are_the_sources(self, made: Installation, result: dg.ExecuteInProcessResult) -> None:
        for slug in ("acme", "globex"):
            assert usd(made, slug, "reported") == true_usd(made, slug, DAYS.days[:-1])

    def test_every_check_ran_and_passed(self, result: dg.ExecuteInProcessResult) -> None:
        found = {e.check_name: e.passed for e in result.get_asset_check_evaluations()}
        assert found.keys() == {key.name for key in defs.resolve_asset_graph().asset_check_keys}
        assert [name for name, passed in found.items() if not passed] == []

    def test_metadata_tells_tenants_rows_and_dollars(self, result: dg.ExecuteInProcessResult) -> None:
        made = result.asset_materializations_for_node("spend")
        told = [one.metadata for one in made if one.asset_key == dg.AssetKey("spend")][-1]
        assert (told["tenants_ok"].value, told["tenants_failed"].value) == (2, 0)
        assert {"usd_reported", "usd_priority-reconstructed", "dagster/row_count"} <= told.keys()
        assert told["page"] == dg.MetadataValue.url("/")
        assert {e.metadata["page"].value for e in result.get_asset_check_evaluations()} == {"/"}

    def test_where_columns_come_from_is_told_once_and_not_by_every_day(self, result: dg.ExecuteInProcessResult) -> None:
        graph = defs.resolve_asset_graph()
        events = [
            event.step_materialization_data.materialization for event in result.get_asset_materialization_events()
        ]
        of_day = {one.asset_key.to_user_string(): one.metadata for one in events}
        for name in ("cost_lines", "usage_lines", "usage_by_key", "spend"):
            columns = graph.get(dg.AssetKey(name)).metadata["dagster/column_lineage"].deps_by_column
            assert columns
            for column, origins in columns.items():
                assert column in metadata.tables[f"stax.{name}"].c
                assert {origin.asset_key for origin in origins} <= graph.get_all_asset_keys()
            assert "dagster/column_lineage" not in of_day[name]

    def test_files_are_written_for_every_day(self, made: Installation, result: dg.ExecuteInProcessResult) -> None:
        for name in DAILY:
            for day in DAYS.days:
                file = made.home / "lake" / name / f"usage_date={day}" / "bucket=00" / "part-0.parquet"
                count = query(made, f"select count(*) as n from stax.{name} where usage_date = '{day}'")[0].n
                assert (pq.read_metadata(file).num_rows if file.exists() else 0) == count

    def test_no_secret_is_in_anything_dagster_stored(
        self, made: Installation, instance: dg.DagsterInstance, result: dg.ExecuteInProcessResult
    ) -> None:
        stored = log_of(instance, result.run_id)
        stored += str(instance.get_run_by_id(result.run_id))
        for key in made.simulator.keys.values():
            assert key not in stored
            assert key[20:40] not in stored
        for file in (made.home / "passwords").iterdir():
            assert file.read_text() not in stored

    def test_a_run_of_a_few_days_is_no_first_backfill(
        self, made: Installation, instance: dg.DagsterInstance, result: dg.ExecuteInProcessResult
    ) -> None:
        [said] = list(new_tenant_backfill(dg.build_sensor_context(instance=instance)))  # type: ignore[arg-type]
        assert isinstance(said, dg.RunRequest)
        assert said.run_config["resources"]["scope"]["config"]["tenants"] == ["acme", "globex"]
        assert {r.first_sync_run_id for r in query(made, "select * from stax.tenants")} == {None}


class TestNarrowedAndFailing:
    def test_scope_narrows_to_one_tenant_and_leaves_the_other(
        self, made: Installation, result: dg.ExecuteInProcessResult
    ) -> None:
        before = content(made)
        asked = len(made.simulator.requests)
        with dg.DagsterInstance.ephemeral() as instance:
            narrowed = run(instance, Window(DAYS.start, TODAY), tenants=["globex"])
        assert narrowed.success
        hints = {entry.key_hint for entry in list(made.simulator.requests)[asked:]}
        assert hints == {made.simulator.keys["globex"][-4:]}
        told = narrowed.asset_materializations_for_node("raw_cost_report")[-1].metadata
        assert told["page"].value == "/tenants/globex"
        assert content(made) == before

    def test_a_failed_tenant_is_named_and_blocks_nobody(
        self, made: Installation, result: dg.ExecuteInProcessResult
    ) -> None:
        made.simulator.revoke(made.simulator.keys["acme"])
        made.simulator.faults.add(faults.status(529), key=made.simulator.keys["globex"], path=COST)
        with dg.DagsterInstance.ephemeral() as instance:
            failed = run(instance)
            listed = instance.get_run_by_id(failed.run_id)
        assert failed.success and listed
        assert listed.tags[FAILED_TENANTS] == "acme"
        told = failed.asset_materializations_for_node("raw_cost_report")[-1].metadata
        assert (told["tenants_failed"].value, told["requests_repeated"].value) == (1, 1)
        assert "acme" in str(told["failures"])
        assert told["page"].value == "/tenants/acme"
        evaluations = {e.check_name: e for e in failed.get_asset_check_evaluations()}
        checked = evaluations["all_tenants_extracted"]
        assert (checked.passed, checked.severity) == (False, dg.AssetCheckSeverity.ERROR)
        assert checked.metadata["tenants"].value == "acme"
        assert checked.metadata["page"].value == "/tenants/acme"


def test_a_run_over_the_first_thirty_days_is_the_first_backfill_of_who_lacks_nothing(
    stax_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here the installation begins two days ago, so that they are all there is to fetch."""
    monkeypatch.setenv("STAX_START_DATE", DAYS.start.isoformat())
    with two_tenants(stax_home, now=NOW) as made, dg.DagsterInstance.ephemeral() as instance:
        made.simulator.faults.add(faults.status(404), key=made.simulator.keys["acme"], path=COST, times=None)
        done = run(instance)
        assert {r.slug: r.first_sync_run_id for r in query(made, "select * from stax.tenants")} == {
            "acme": None, "globex": done.run_id,
        }  # fmt: skip


def test_without_tenants_and_without_data_a_run_succeeds(stax_home: Path) -> None:
    with installed(stax_home, small_organizations(), NOW), dg.DagsterInstance.ephemeral() as instance:
        assert run(instance, Window(TODAY, DAYS.end)).success


def test_the_job_and_the_steps_give_the_same_content(stax_home: Path) -> None:
    with two_tenants(stax_home, now=NOW) as made:
        sync(made, DAYS)
        oracle = content(made)
    with two_tenants(stax_home, now=NOW) as made, dg.DagsterInstance.ephemeral() as instance:
        assert run(instance).success
        assert content(made) == oracle

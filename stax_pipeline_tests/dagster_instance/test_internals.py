"""What comes from inside Dagster is there and is what we take it for; nothing else reaches in."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import dagster as dg
import pytest

from stax_pipeline.dagster_instance import internals
from stax_pipeline.definitions import defs
from stax_pipeline.installation.homes import CHECKOUT
from stax_pipeline_tests.dagster_instance.internals import keep_sensor, promised

FOLDERS = ("stax_pipeline", "stax_pipeline_tests", "tools", "benchmarks")
FILES = sorted(file for folder in FOLDERS for file in (CHECKOUT / folder).rglob("*.py"))
INSIDE = [CHECKOUT / folder / "dagster_instance" / "internals.py" for folder in FOLDERS[:2]]
KEPT = dg.AssetKey("kept")


@dg.op
def hello() -> None:
    """Does nothing."""


@dg.job(tags={"of": "the job"}, executor_def=dg.in_process_executor)
def greeting() -> None:
    hello()


@dg.asset(partitions_def=dg.DailyPartitionsDefinition("2026-11-01", end_date="2026-11-10"))
def kept() -> None:
    """Nothing, by days."""


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def private_imports(source: str) -> list[str]:
    """Imports of what lies under `dagster._…` or in `dagster_shared`, each as its whole dotted name."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return [name for name in names if name.startswith("dagster._") or name.split(".")[0] == "dagster_shared"]


def private_calls(source: str) -> set[str]:
    """What is read of `instance` or `….instance` without being public on a Dagster instance."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Attribute):
            continue
        owner = node.value
        name = owner.id if isinstance(owner, ast.Name) else owner.attr if isinstance(owner, ast.Attribute) else ""
        if name == "instance" and not promised(getattr(dg.DagsterInstance, node.attr)):
            found.add(node.attr)
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(CHECKOUT)))
def test_no_other_file_reaches_inside_dagster(file: Path) -> None:
    source = file.read_text()
    assert bool(private_imports(source)) == (file in INSIDE)
    assert file in INSIDE or private_calls(source) == set()


@pytest.mark.parametrize(
    "line",
    [
        "from dagster import _check",
        "from dagster import DagsterRun, _check as check",
        "from dagster._record import record",
        "import dagster._core.instance",
        "import dagster_shared",
        "from dagster_shared import check",
        "from dagster_shared.serdes import whitelist_for_serdes",
    ],
)
def test_every_way_to_import_from_inside_is_noticed(line: str) -> None:
    assert private_imports(line) != []


@pytest.mark.parametrize("line", ["import dagster", "from dagster import DagsterRun", "from dagster_postgres import x"])
def test_what_dagster_offers_may_be_imported(line: str) -> None:
    assert private_imports(line) == []


def test_calls_that_an_instance_does_not_promise_are_noticed() -> None:
    source = "instance.event_log_storage.x(); context.instance.get_runs()"
    assert private_calls(source) == {"event_log_storage", "get_runs"}
    assert private_calls("instance.get_run_records(); context.instance.get_run_by_id('x')") == set()


def test_job_origin_names_the_location_of_the_workspace_file() -> None:
    origin = internals.job_origin(CHECKOUT / "workspace.yaml", "sync")
    location = origin.repository_origin.code_location_origin
    assert (origin.job_name, location.location_name) == ("sync", "stax-pipeline")
    assert location.loadable_target_origin.module_name == "stax_pipeline.definitions"
    assert origin.repository_origin.get_label() == "__repository__@stax-pipeline"


def test_repository_is_what_dagster_calls_our_definitions() -> None:
    assert defs.get_repository_def().name == internals.REPOSITORY


def test_create_run_and_execute_make_a_run_of_its_job_with_events_as_they_happen(instance: dg.DagsterInstance) -> None:
    run = internals.create_run(instance, greeting, CHECKOUT / "workspace.yaml", {"lane": "test"}, {})
    assert run.status is dg.DagsterRunStatus.NOT_STARTED
    assert {"lane": "test", "of": "the job"}.items() <= run.tags.items()
    assert run.remote_job_origin == internals.job_origin(CHECKOUT / "workspace.yaml", "greeting")
    labelled = dg.RunsFilter(job_name="greeting", tags={".dagster/repository": "__repository__@stax-pipeline"})
    found = [record.dagster_run.run_id for record in instance.get_run_records(filters=labelled)]
    assert found == [run.run_id]
    events = internals.execute(instance, greeting, run)
    assert next(events).event_type is dg.DagsterEventType.RUN_START
    assert [event.step_key for event in events if event.is_step_success] == ["hello"]
    kept = instance.get_run_by_id(run.run_id)
    assert kept and kept.status is dg.DagsterRunStatus.SUCCESS


def test_tag_run_adds_to_a_run_and_replaces_what_has_the_name(instance: dg.DagsterInstance) -> None:
    run = internals.create_run(instance, greeting, CHECKOUT / "workspace.yaml", {"lane": "test"}, {})
    internals.tag_run(instance, run.run_id, {"stax/failed_tenants": "acme"})
    internals.tag_run(instance, run.run_id, {"stax/failed_tenants": "acme, globex"})
    kept = instance.get_run_by_id(run.run_id)
    assert kept and {"lane": "test", "stax/failed_tenants": "acme, globex"}.items() <= kept.tags.items()


def test_sensor_records_are_what_was_kept_of_that_sensor() -> None:
    with dg.instance_for_test() as instance:
        assert internals.sensor_records(instance, "alerts") == []
        keep_sensor(instance, "alerts", "2026-11-22T10:00:00+00:00", 12.5)
        assert internals.sensor_records(instance, "alerts") == [("2026-11-22T10:00:00+00:00", 12.5)]
        assert internals.sensor_records(instance, "catch_up") == []


def test_check_results_are_the_newest_first_and_say_who_failed(instance: dg.DagsterInstance) -> None:
    passed = iter([True, False, True])

    @dg.asset
    def lines() -> None: ...

    @dg.asset_check(asset=lines)
    def they_tie() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=next(passed), severity=dg.AssetCheckSeverity.WARN)

    runs = [dg.materialize([lines, they_tie], instance=instance).run_id for _ in range(3)]
    key = dg.AssetCheckKey(lines.key, "they_tie")
    found = internals.check_results(instance, key, 10)
    assert [result.run_id for result in found] == runs[::-1]
    assert found[0].id > found[1].id > found[2].id
    assert [result.evaluation and result.evaluation.passed for result in found] == [True, False, True]
    [failed] = internals.check_results(instance, key, 10, failed=True)
    assert failed == found[1]
    assert failed.evaluation and failed.evaluation.severity is dg.AssetCheckSeverity.WARN
    assert internals.check_results(instance, key, 1) == found[:1]
    assert internals.last_evaluation(instance, key) == found[0].evaluation
    assert internals.last_evaluation(instance, dg.AssetCheckKey(lines.key, "never_ran")) is None


def test_latest_of_each_partition_are_the_storage_ids_of_its_last_materialisations(
    instance: dg.DagsterInstance,
) -> None:
    days = ("2026-11-01", "2026-11-02", "2026-11-02")
    runs = [dg.materialize([kept], instance=instance, partition_key=day).run_id for day in days]
    ids = internals.latest_of_each_partition(instance, KEPT)
    filtered = dg.AssetRecordsFilter(asset_key=KEPT, storage_ids=ids)
    found = instance.fetch_materializations(filtered, limit=10).records
    assert {(record.partition_key, record.run_id) for record in found} == {(days[0], runs[0]), (days[2], runs[2])}


def test_tables_of_events_and_checks_are_dagster_s_with_the_columns_that_are_written() -> None:
    written = {"id", "run_id", "event", "dagster_event_type", "timestamp", "step_key", "asset_key", "partition"}
    assert (internals.Events.name, set(internals.Events.c.keys()) & written) == ("event_logs", written)
    planned = {"asset_key", "check_name", "run_id", "execution_status", "evaluation_event"}
    planned |= {"evaluation_event_timestamp", "evaluation_event_storage_id"}
    assert (internals.CheckRuns.name, set(internals.CheckRuns.c.keys()) & planned) == (
        "asset_check_executions", planned,
    )  # fmt: skip
    assert internals.PLANNED == "PLANNED"
    kinds = dg.DagsterEventType
    assert {kinds.ASSET_MATERIALIZATION, kinds.ASSET_MATERIALIZATION_PLANNED} < internals.ASSET_EVENTS


def test_configurable_class_data_is_what_a_storage_class_is_made_with() -> None:
    made = internals.ConfigurableClassData("module", "Name", "{}")
    assert (made.module_name, made.class_name) == ("module", "Name")


def test_workspace_context_knows_the_instance_and_the_locations_of_the_workspace_file(tmp_path: Path) -> None:
    """Not one of ours: what it loads is a process of its own, which needs a database."""
    (tmp_path / "tiny.py").write_text("import dagster as dg\n\n@dg.asset\ndef tiny() -> None: ...\n")
    workspace = tmp_path / "workspace.yaml"
    workspace.write_text(f"load_from: [{{python_file: {{relative_path: {tmp_path}/tiny.py, location_name: small}}}}]")
    with dg.instance_for_test(), internals.workspace_context(workspace) as context:
        request = context.create_request_context()
        assert request.code_location_names == ["small"]
        assert not request.has_code_location_error("small")
        assert context.instance.get_run_records() == []


@pytest.mark.parametrize("module", ["dagster._daemon", "dagster.__main__", "dagster_webserver.app"])
def test_modules_that_are_started_by_name_are_there(module: str) -> None:
    assert find_spec(module)

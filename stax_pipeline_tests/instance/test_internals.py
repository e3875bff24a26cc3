"""What comes from inside Dagster is there and is what we take it for; nothing else of the product reaches in."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import dagster as dg
import pytest

from stax_pipeline.definitions import defs
from stax_pipeline.installation.homes import CHECKOUT
from stax_pipeline.instance import internals


@dg.op
def hello() -> None:
    """Does nothing."""


@dg.job(tags={"of": "the job"}, executor_def=dg.in_process_executor)
def greeting() -> None:
    hello()


@pytest.mark.parametrize(
    "file",
    sorted(file for folder in ("stax_pipeline", "stax_pipeline_tests") for file in (CHECKOUT / folder).rglob("*.py")),
    ids=lambda file: str(file.relative_to(CHECKOUT)),
)
def test_no_other_file_imports_from_inside_dagster(file: Path) -> None:
    found = []
    for node in ast.walk(ast.parse(file.read_text())):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        found += [name for name in names if name.startswith("dagster._")]
    assert bool(found) == (file.name == "internals.py" and file.parent.name == "instance"), found


def test_job_origin_names_the_location_of_the_workspace_file() -> None:
    origin = internals.job_origin(CHECKOUT / "workspace.yaml", "sync")
    location = origin.repository_origin.code_location_origin
    assert (origin.job_name, location.location_name) == ("sync", "stax-pipeline")
    assert location.loadable_target_origin.module_name == "stax_pipeline.definitions"
    assert origin.repository_origin.get_label() == "__repository__@stax-pipeline"


def test_repository_is_what_dagster_calls_our_definitions() -> None:
    assert defs.get_repository_def().name == internals.REPOSITORY


def test_create_run_and_execute_make_a_run_of_its_job_with_events_as_they_happen() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        run = internals.create_run(instance, greeting, CHECKOUT / "workspace.yaml", {"lane": "test"}, {})
        assert run.status is dg.DagsterRunStatus.NOT_STARTED
        assert {"lane": "test", "of": "the job"}.items() <= run.tags.items()
        assert run.remote_job_origin == internals.job_origin(CHECKOUT / "workspace.yaml", "greeting")
        labelled = dg.RunsFilter(job_name="greeting", tags={".dagster/repository": "__repository__@stax-pipeline"})
        assert [found.run_id for found in instance.get_runs(filters=labelled)] == [run.run_id]
        events = internals.execute(instance, greeting, run)
        assert next(events).event_type is dg.DagsterEventType.RUN_START
        assert [event.step_key for event in events if event.is_step_success] == ["hello"]
        kept = instance.get_run_by_id(run.run_id)
        assert kept and kept.status is dg.DagsterRunStatus.SUCCESS


def test_instigator_type_and_sensor_data_are_what_the_alerts_read() -> None:
    assert internals.InstigatorType.SENSOR.value == "SENSOR"
    data = internals.SensorInstigatorData(cursor="c", last_tick_success_timestamp=1.0)
    assert (data.cursor, data.last_tick_success_timestamp) == ("c", 1.0)


def test_check_execution_records_have_what_the_alerts_read() -> None:
    fields = inspect.signature(internals.AssetCheckExecutionRecord).parameters
    assert {"id", "run_id", "status", "event"} <= fields.keys()
    assert hasattr(internals.AssetCheckExecutionRecord, "evaluation")
    assert internals.AssetCheckExecutionRecordStatus.FAILED.value == "FAILED"


def test_configurable_class_data_is_what_a_storage_class_is_made_with() -> None:
    made = internals.ConfigurableClassData("module", "Name", "{}")
    assert (made.module_name, made.class_name) == ("module", "Name")


def test_dev_module_starts_its_children_through_the_name_that_we_replace() -> None:
    dev = internals.dev_module()
    assert callable(dev.open_ipc_subprocess)
    assert callable(dev.dev_command)

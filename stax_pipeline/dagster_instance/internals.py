"""What must come from inside Dagster, which promises nothing about it: no other file imports `dagster._…`, or calls of
an instance what is not public.

Each name has a test that fails when a new Dagster moves or changes it. Heavy or superseded parts are imported where
they are called.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import dagster as dg
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.events import ASSET_EVENTS
from dagster._core.execution.api import execute_run_iterator
from dagster._core.remote_origin import RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import InstigatorType, SensorInstigatorData
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable, SqlEventLogStorageTable
from dagster._core.storage.runs.schema import RunsTable
from dagster._core.workspace.load import location_origins_from_yaml_paths
from dagster._serdes import ConfigurableClassData, deserialize_value

if TYPE_CHECKING:
    from dagster._core.workspace.context import WorkspaceProcessContext

__all__ = [
    "ASSET_EVENTS",
    "CheckResult",
    "CheckRuns",
    "ConfigurableClassData",
    "Events",
    "PLANNED",
    "Runs",
    "SensorRecord",
    "check_results",
    "create_run",
    "execute",
    "job_origin",
    "latest_of_each_partition",
    "planned_days",
    "sensor_records",
    "tag_run",
    "workspace_context",
]

Events, CheckRuns, Runs = SqlEventLogStorageTable, AssetCheckExecutionsTable, RunsTable
"""Dagster's tables of events, of checks that were planned or executed, and of runs."""
PLANNED = AssetCheckExecutionRecordStatus.PLANNED.value
STATEMENT_TIMEOUT_MS, POOL_RECYCLE_SECONDS, POOL_OVERFLOW = 15_000, 3600, 20  # as `dagster-webserver` sets them
REPOSITORY = "__repository__"  # what Dagster calls the one `Definitions` of a code location


def planned_days(event: str) -> Iterable[str]:
    """The partitions that an event as Dagster keeps it plans to materialise together."""
    planned = deserialize_value(event, dg.EventLogEntry).get_dagster_event().partitions_subset
    return planned.get_partition_keys() if planned else ()


def job_origin(workspace: Path, job: str) -> RemoteJobOrigin:
    """Where the UI finds the job: in the one code location that `workspace.yaml` names."""
    [location] = location_origins_from_yaml_paths([str(workspace)])
    return RemoteRepositoryOrigin(location, REPOSITORY).get_job_origin(job)


def create_run(
    instance: dg.DagsterInstance, job: dg.JobDefinition, workspace: Path, tags: Mapping[str, str],
    config: Mapping[str, Any],
) -> dg.DagsterRun:  # fmt: skip
    """A run of `job` that belongs to its job and code location, as if the UI had launched it. It does not begin yet."""
    return instance.create_run_for_job(
        job, run_config=config, tags={**job.run_tags, **tags}, remote_job_origin=job_origin(workspace, job.name)
    )


def execute(instance: dg.DagsterInstance, job: dg.JobDefinition, run: dg.DagsterRun) -> Iterator[dg.DagsterEvent]:
    """Execute a created run in this process; its events as they happen."""
    return execute_run_iterator(InMemoryJob(job), run, instance)


def tag_run(instance: dg.DagsterInstance, run_id: str, tags: Mapping[str, str]) -> None:
    """Add tags to a run, also while it runs; one of the same name is replaced."""
    instance.add_run_tags(run_id, tags)


class SensorRecord(NamedTuple):
    """What an instance keeps of a sensor: its cursor, and when a tick last ended well (seconds since 1970)."""

    cursor: str | None
    last_success: float | None


def sensor_records(instance: dg.DagsterInstance, name: str) -> list[SensorRecord]:
    """One for each code location in which a sensor of that name has run."""
    states = instance.all_instigator_state(instigator_type=InstigatorType.SENSOR)
    kept = [state.instigator_data for state in states if state.instigator_name == name]
    return [
        SensorRecord(data.cursor, data.last_tick_success_timestamp)
        for data in kept
        if isinstance(data, SensorInstigatorData)
    ]


class CheckResult(NamedTuple):
    """One execution of an asset check; a higher `id` is later. `evaluation` is None where it did not end."""

    id: int
    run_id: str
    evaluation: dg.AssetCheckEvaluation | None


def check_results(
    instance: dg.DagsterInstance, key: dg.AssetCheckKey, limit: int, *, failed: bool = False
) -> list[CheckResult]:
    """The newest executions of a check, the latest first: all, or those that did not pass."""
    found = instance.event_log_storage.get_asset_check_execution_history(
        key, limit=limit, status={AssetCheckExecutionRecordStatus.FAILED} if failed else None
    )
    return [CheckResult(record.id, record.run_id, record.evaluation) for record in found]


def last_evaluation(instance: dg.DagsterInstance, key: dg.AssetCheckKey) -> dg.AssetCheckEvaluation | None:
    """The result of the last execution of a check that ended, whether it passed or not."""
    ended = {AssetCheckExecutionRecordStatus.SUCCEEDED, AssetCheckExecutionRecordStatus.FAILED}
    found = instance.event_log_storage.get_asset_check_execution_history(key, limit=1, status=ended)
    return found[0].evaluation if found else None


def latest_of_each_partition(instance: dg.DagsterInstance, key: dg.AssetKey) -> Sequence[int]:
    """Storage ids of the materialisations that are the latest of a partition of the asset."""
    found = instance.event_log_storage.get_latest_storage_id_by_partition(
        key, dg.DagsterEventType.ASSET_MATERIALIZATION
    )
    return sorted(found.values())


@contextmanager
def workspace_context(workspace: Path) -> Iterator[WorkspaceProcessContext]:
    """What Dagster's webserver shows: its instance, and the code locations of a workspace file."""
    from dagster._core.workspace.context import WorkspaceProcessContext
    from dagster._core.workspace.load_target import WorkspaceFileTarget

    with dg.DagsterInstance.get() as instance:
        instance.optimize_for_webserver(STATEMENT_TIMEOUT_MS, POOL_RECYCLE_SECONDS, POOL_OVERFLOW)
        with WorkspaceProcessContext(instance, WorkspaceFileTarget([str(workspace)]), version=dg.__version__) as made:
            yield made

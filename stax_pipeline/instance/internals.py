"""What must come from inside Dagster, which promises nothing about it: no other file imports `dagster._…`.

Each name has a test that fails when a new Dagster moves or changes it. Heavy or superseded parts are imported where
they are called.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import dagster as dg
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run_iterator
from dagster._core.remote_origin import RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import InstigatorType, SensorInstigatorData
from dagster._core.storage.asset_check_execution_record import (
    AssetCheckExecutionRecord,
    AssetCheckExecutionRecordStatus,
)
from dagster._core.workspace.load import location_origins_from_yaml_paths
from dagster._serdes import ConfigurableClassData

__all__ = [
    "AssetCheckExecutionRecord",
    "AssetCheckExecutionRecordStatus",
    "ConfigurableClassData",
    "InstigatorType",
    "SensorInstigatorData",
    "create_run",
    "dev_module",
    "execute",
    "job_origin",
]

REPOSITORY = "__repository__"  # what Dagster calls the one `Definitions` of a code location


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


def dev_module() -> ModuleType:
    """The command `dagster dev`."""
    from dagster._cli import dev

    return dev

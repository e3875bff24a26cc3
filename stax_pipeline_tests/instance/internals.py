"""What tests need from inside Dagster beside what the product does: no other test imports `dagster._…`."""

from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteInstigatorOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, InstigatorType, SensorInstigatorData
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import EmptyWorkspaceTarget
from dagster._utils.error import serializable_error_info_from_exc_info

__all__ = [
    "EmptyWorkspaceTarget",
    "InstigatorState",
    "InstigatorStatus",
    "InstigatorType",
    "RegisteredCodeLocationOrigin",
    "RemoteInstigatorOrigin",
    "RemoteRepositoryOrigin",
    "SensorInstigatorData",
    "WorkspaceProcessContext",
    "serializable_error_info_from_exc_info",
]

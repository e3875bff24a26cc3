"""What tests need from inside Dagster beside what the product does: no other test imports `dagster._…`, or calls of an
instance what is not public.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import dagster as dg
import sqlalchemy as sa
from dagster._annotations import is_public
from dagster._core.events import AssetObservationData, StepMaterializationData
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteInstigatorOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, InstigatorType, SensorInstigatorData
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import EmptyWorkspaceTarget
from dagster._utils.error import serializable_error_info_from_exc_info
from dagster_shared.serdes import serialize_value
from dagster_webserver.webserver import DagsterWebserver
from starlette.applications import Starlette


def promised(member: object) -> bool:
    """Whether Dagster calls it public."""
    return is_public(member)


def keep_sensor(instance: dg.DagsterInstance, name: str, cursor: str, last_success: float | None) -> None:
    """Have the instance keep of a sensor what its daemon would; what it kept before is replaced."""
    repository = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("stax"), "__repository__")
    data = SensorInstigatorData(cursor=cursor, last_tick_success_timestamp=last_success)
    state = InstigatorState(
        RemoteInstigatorOrigin(repository, name), InstigatorType.SENSOR, InstigatorStatus.RUNNING, data
    )
    known = instance.all_instigator_state(instigator_type=InstigatorType.SENSOR)
    keep = instance.update_instigator_state if known else instance.add_instigator_state
    keep(state)


def start_run(instance: dg.DagsterInstance, job: dg.JobDefinition, tags: Mapping[str, str]) -> dg.DagsterRun:
    """A run that the instance takes for one that is running."""
    return instance.create_run_for_job(job, tags=tags, status=dg.DagsterRunStatus.STARTED)


def entries_of(instance: dg.DagsterInstance, run_id: str) -> list[dg.EventLogEntry]:
    """Events and words that were logged of a run, in their order."""
    return list(instance.all_logs(run_id))


def log_of(instance: dg.DagsterInstance, run_id: str) -> str:
    """Everything that was logged of a run."""
    return "".join(str(entry) for entry in instance.all_logs(run_id))


def stored_error(fault: BaseException) -> str:
    """What Dagster stores of an error."""
    return repr(serializable_error_info_from_exc_info((type(fault), fault, fault.__traceback__)))


@contextmanager
def web_application(instance: dg.DagsterInstance) -> Iterator[Starlette]:
    """Dagster's web interface over an instance, without code locations."""
    with WorkspaceProcessContext(instance, EmptyWorkspaceTarget()) as context:
        yield DagsterWebserver(context).create_asgi_app()


def materialised(instance: dg.DagsterInstance, asset: str) -> set[str]:
    """The partitions of an asset that the instance takes for materialised."""
    return set(instance.get_materialized_partitions(dg.AssetKey(asset)))


def engine_of(part: object) -> sa.Engine:
    """The connections of a storage of runs, events or schedules in Postgres."""
    engine: sa.Engine = part._engine  # type: ignore[attr-defined]
    return engine


def engine_of_runs(instance: dg.DagsterInstance) -> sa.Engine:
    """The connections of an instance's storage of runs."""
    return engine_of(instance.run_storage)


def storage_class(instance: dg.DagsterInstance) -> type:
    """Of the runs of an instance."""
    return type(instance.run_storage)


def store_together(
    instance: dg.DagsterInstance, run_id: str, events: Sequence[dg.AssetMaterialization | dg.AssetObservation]
) -> list[dg.EventLogEntry]:
    """Have the instance keep these events of a run in one go, each with an instant of its own; returns its entries."""
    made = [
        dg.DagsterEvent(
            (dg.DagsterEventType.ASSET_MATERIALIZATION if is_made else dg.DagsterEventType.ASSET_OBSERVATION).value,
            "keep", event_specific_data=StepMaterializationData(event) if is_made else AssetObservationData(event),
        )
        for event in events
        for is_made in [isinstance(event, dg.AssetMaterialization)]
    ]  # fmt: skip
    entries = [dg.EventLogEntry(None, 20, "", run_id, 1.0 + n / 7, None, "keep", event) for n, event in enumerate(made)]
    instance.event_log_storage.store_event_batch(entries)
    return entries


def words_of(entry: dg.EventLogEntry) -> str:
    """What Dagster writes of an entry."""
    return serialize_value(entry)

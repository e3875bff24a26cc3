"""Old runs and their events, purged without un-materialising a day.

Deleting the run that last materialised a partition makes Dagster forget the partition: such runs are kept, however old.
"""

from datetime import UTC, datetime, timedelta

import dagster as dg

from stax_pipeline.dagster_instance.internals import latest_of_each_partition
from stax_pipeline.domain.plurals import count_of
from stax_pipeline.resources.dagster import Lake

KEEP = timedelta(days=90)
BATCH = 500
FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


@dg.op
def purge_old_runs(context: dg.OpExecutionContext) -> None:
    """Delete finished runs older than 90 days that no partition needs."""
    needed = runs_that_hold_partitions(context.instance)
    deleted = old_runs(context.instance, needed)
    for run_id in deleted:
        context.instance.delete_run(run_id)
    context.log.info(f"deleted {count_of(len(deleted), 'run')} older than {KEEP.days} days")


def old_runs(instance: dg.DagsterInstance, needed: set[str]) -> list[str]:
    """The oldest finished runs that nothing needs, a batch of them; however many needed ones lie before them."""
    chosen: list[str] = []
    cursor: str | None = None
    filters = dg.RunsFilter(statuses=FINISHED, created_before=datetime.now(UTC) - KEEP)
    while len(chosen) < BATCH:
        records = instance.get_run_records(filters=filters, limit=BATCH, ascending=True, cursor=cursor)
        chosen += [record.dagster_run.run_id for record in records if record.dagster_run.run_id not in needed]
        if len(records) < BATCH:
            break
        cursor = records[-1].dagster_run.run_id
    return chosen


def runs_that_hold_partitions(instance: dg.DagsterInstance) -> set[str]:
    """Runs whose materialisation is the latest of an asset, or of one of its partitions."""
    needed: set[str] = set()
    for key in instance.get_asset_keys():
        last = instance.get_latest_materialization_event(key)
        if last:
            needed.add(last.run_id)
        ids = latest_of_each_partition(instance, key)
        for start in range(0, len(ids), BATCH):
            chosen = dg.AssetRecordsFilter(asset_key=key, storage_ids=ids[start : start + BATCH])
            records = instance.fetch_materializations(chosen, limit=BATCH).records
            needed.update(record.run_id for record in records)
    return needed


@dg.op
def sweep_lake(context: dg.OpExecutionContext, lake: Lake) -> None:
    """Remove unfinished files that a killed process left in the lake more than a day ago."""
    context.log.info(f"removed {lake.store.sweep(timedelta(days=1))} unfinished files")


@dg.job(
    executor_def=dg.in_process_executor,
    description="Delete old runs that no materialised day needs, and what killed processes left unfinished.",
)
def purge_history() -> None:
    purge_old_runs()
    sweep_lake()

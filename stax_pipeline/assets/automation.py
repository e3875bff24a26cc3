"""Jobs, schedules and sensors: what runs by itself, when, and over which days."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg
import sqlalchemy as sa

from stax_pipeline.assets.checks import FRESHNESS_KEYS
from stax_pipeline.assets.partitions import range_tags
from stax_pipeline.assets.purge_history import purge_history
from stax_pipeline.domain.extraction import midnight
from stax_pipeline.domain.tenant import CONNECTED
from stax_pipeline.domain.time import FIRST_DAYS, month_before, trailing_window
from stax_pipeline.installation.settings import read_settings
from stax_pipeline.pipeline.late_days import due_again, not_closed
from stax_pipeline.resources.dagster import loader_engine
from stax_pipeline.warehouse.tables import extractions, tenants

AT_ONCE = 50  # tenants in one first backfill
GRACE = timedelta(seconds=60)  # `stax connect` backfills itself; the sensor is for tenants added by other means
CLOSES_ON = 8  # the day of the next month on which a month no longer changes
RUNNING = dg.DefaultScheduleStatus.RUNNING
UNFINISHED = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]

sync = dg.define_asset_job(
    "sync",
    selection=dg.AssetSelection.all(),
    description="Extract, normalise, join and check a range of days for every connected tenant, or for those named.",
    executor_def=dg.in_process_executor,
)

watch = dg.define_asset_job(
    "watch",
    selection=dg.AssetSelection.checks(*FRESHNESS_KEYS),
    description="The freshness checks alone: they notice when sync never ran.",
    executor_def=dg.in_process_executor,
)


@dg.schedule(job=sync, cron_schedule="10 0 * * *", execution_timezone="UTC", default_status=RUNNING)
def daily_sync(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """The trailing window as one run, after the source's lag has passed; restatements are caught on the way."""
    now = context.scheduled_execution_time.astimezone(UTC)
    settings = read_settings()
    window = trailing_window(settings.lookback_days, now, settings.start_date)
    return dg.RunRequest(run_key=f"daily:{now.date()}", tags=range_tags(window))


@dg.schedule(job=sync, cron_schedule="30 0 8-14 * *", execution_timezone="UTC", default_status=RUNNING)
def month_close(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """The whole month before, once it is closed: Anthropic changes its days until about the 7th. On the days after, the
    tenants that failed then.
    """
    now = context.scheduled_execution_time.astimezone(UTC)
    month = month_before(now, read_settings().start_date)
    request = dg.RunRequest(run_key=f"month:{month.start:%Y-%m}", tags=range_tags(month))
    if now.day == CLOSES_ON:
        return request
    with loader_engine(read_settings()).connect() as connection:
        slugs = not_closed(connection, month, midnight(now.date().replace(day=CLOSES_ON)))
    if not slugs:
        return dg.SkipReason("The month before is closed for every connected tenant.")
    return request.with_replaced_attrs(
        run_key=f"{request.run_key}:{now.day}", run_config={"resources": {"scope": {"config": {"tenants": slugs}}}}
    )


@dg.schedule(job=watch, cron_schedule="*/15 * * * *", execution_timezone="UTC", default_status=RUNNING, name="watch")
def watch_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Every 15 minutes."""
    return dg.RunRequest(run_key=f"watch:{context.scheduled_execution_time.isoformat()}")


@dg.schedule(
    job=purge_history, cron_schedule="40 3 * * *", execution_timezone="UTC", default_status=RUNNING,
    name="purge_history",
)  # fmt: skip
def purge_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Every night."""
    return dg.RunRequest(run_key=f"purge:{context.scheduled_execution_time.date()}")


def open_day_refresh(minutes: int) -> dg.ScheduleDefinition:
    """Refresh the open day every so many minutes, unless a refresh is still running."""
    cron = f"*/{minutes} * * * *" if minutes < 60 else f"0 */{minutes // 60} * * *"

    @dg.schedule(
        job=sync, cron_schedule=cron, execution_timezone="UTC", default_status=RUNNING, name="open_day_refresh"
    )
    def refresh(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        running = dg.RunsFilter(tags={"lane": "refresh"}, statuses=UNFINISHED)
        if context.instance.get_run_records(filters=running, limit=1):
            return dg.SkipReason("The previous refresh is still running.")
        window = trailing_window(0, context.scheduled_execution_time.astimezone(UTC))
        return dg.RunRequest(tags={**range_tags(window), "lane": "refresh"})

    return refresh


def _never_synced(now: datetime) -> sa.Select[tuple[str]]:
    """Slugs of connected tenants without a first backfill, none tried today (UTC), the oldest first.

    A fetch of fewer days is no try: it begins later than a first backfill would.
    """
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    first = trailing_window(FIRST_DAYS, now, read_settings().start_date).start
    tried = sa.exists().where(
        extractions.c.tenant_id == tenants.c.tenant_id,
        extractions.c.recorded_at >= midnight,
        extractions.c.window_start <= first,
    )
    return (
        sa.select(tenants.c.slug)
        .where(
            tenants.c.status == CONNECTED,
            tenants.c.first_sync_run_id.is_(None),
            tenants.c.created_at < now - GRACE,
            ~tried,
        )
        .order_by(tenants.c.created_at)
        .limit(AT_ONCE)
    )


@dg.sensor(job=sync, minimum_interval_seconds=60, default_status=dg.DefaultSensorStatus.RUNNING)
def new_tenant_backfill(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Give tenants that were never synced their last 30 days, up to 50 of them in one run and one run at a time.

    A tenant that fails is tried once a day, and keeps nobody behind it from his turn.
    """
    running = dg.RunsFilter(tags={"lane": "onboard"}, statuses=UNFINISHED)
    if context.instance.get_run_records(filters=running, limit=1):
        yield dg.SkipReason("The previous first backfill is still running.")
        return
    now = datetime.now(UTC)
    with loader_engine(read_settings()).connect() as connection:
        slugs = list(connection.execute(_never_synced(now)).scalars())
    if not slugs:
        yield dg.SkipReason("Every connected tenant has had its first backfill, or its try of today.")
        return
    yield dg.RunRequest(
        run_key=f"first:{now.date()}:{','.join(slugs)}",
        run_config={"resources": {"scope": {"config": {"tenants": slugs}}}},
        tags={**range_tags(trailing_window(FIRST_DAYS, now, read_settings().start_date)), "lane": "onboard"},
    )


@dg.sensor(job=sync, minimum_interval_seconds=300, default_status=dg.DefaultSensorStatus.RUNNING)
def catch_up(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Ask again for days that are over and not reported yet: after an hour, then every three, until they are there."""
    running = dg.RunsFilter(tags={"lane": "catch-up"}, statuses=UNFINISHED)
    if context.instance.get_run_records(filters=running, limit=1):
        return dg.SkipReason("The previous catch-up is still running.")
    now = datetime.now(UTC)
    with loader_engine(read_settings()).connect() as connection:
        due = due_again(connection, now)
    if due is None:
        return dg.SkipReason("No day is due to be asked for again.")
    return dg.RunRequest(
        run_key=f"catch-up:{now:%Y-%m-%dT%H}:{due.window}:{','.join(due.slugs)}",
        run_config={"resources": {"scope": {"config": {"tenants": due.slugs}}}},
        tags={**range_tags(due.window), "lane": "catch-up"},
    )


def schedules() -> list[dg.ScheduleDefinition]:
    """All schedules; `open_day_refresh` exists only when it is set."""
    minutes = read_settings().refresh_minutes
    return [daily_sync, month_close, watch_schedule, purge_schedule, *([open_day_refresh(minutes)] if minutes else [])]

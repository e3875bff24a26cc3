"""The daily partition, the open day included, and how a ranged run sees its days."""

from datetime import UTC, date, datetime, timedelta

import dagster as dg

from stax_pipeline.domain.extraction import Window
from stax_pipeline.domain.time import trailing_window
from stax_pipeline.installation.settings import read_settings

DAILY = dg.DailyPartitionsDefinition(start_date=read_settings().start_date.isoformat(), timezone="UTC", end_offset=1)
SINGLE_RUN = dg.BackfillPolicy.single_run()
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


def window_of(keys: list[str]) -> Window:
    """The days of a run, from the first partition to the last."""
    days = sorted(date.fromisoformat(key) for key in keys)
    return Window(days[0], days[-1] + timedelta(days=1))


def window_of_check(context: dg.AssetCheckExecutionContext) -> Window:
    """The days of the run a check belongs to; the trailing window when it runs by itself."""
    return window_of_run(context.run)


def window_of_run(run: dg.DagsterRun) -> Window:
    """The days of a run; the trailing window when it names none."""
    return named_window(run) or trailing_window(read_settings().lookback_days, datetime.now(UTC))


def named_window(run: dg.DagsterRun) -> Window | None:
    """The days that a run names."""
    named = (RANGE_START, RANGE_END, "dagster/partition")
    keys = [run.tags[name] for name in named if name in run.tags]
    return window_of(keys) if keys else None


def range_tags(window: Window) -> dict[str, str]:
    """Tags that make one run of all the window's partitions."""
    return {RANGE_START: window.start.isoformat(), RANGE_END: (window.end - timedelta(days=1)).isoformat()}

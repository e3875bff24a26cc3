"""Job `sync` in this process over the newest days: partitions end at the real open day."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

import dagster as dg

from stax_pipeline.assets.partitions import range_tags
from stax_pipeline.definitions import defs
from stax_pipeline.domain.extraction import Window

NOW = datetime.now(UTC)
TODAY = NOW.date()
DAYS = Window(TODAY - timedelta(days=2), TODAY + timedelta(days=1))


def run(instance: dg.DagsterInstance, window: Window = DAYS, **scope: object) -> dg.ExecuteInProcessResult:
    """One run over `window`, narrowed by `scope`, without Dagster's log."""
    logging.getLogger("dagster").setLevel(logging.CRITICAL)
    config = {
        "resources": {"scope": {"config": scope}},
        "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
    }
    return defs.resolve_job_def("sync").execute_in_process(
        instance=instance, tags=range_tags(window), run_config=config, raise_on_error=False
    )

"""Progress of a long step: a record for the terminal's bar at every step, a counting line in the UI now and then."""

import logging
import time

import dagster as dg

from stax_pipeline.domain.plurals import progress_of
from stax_pipeline.pipeline.isolation import Progress

LOGGER = logging.getLogger("stax.progress")
SECONDS_BETWEEN_LINES = 5.0  # every line is a database row: 16 ms on Postgres


def progress(context: dg.AssetExecutionContext, stage: str, unit: str = "tenant-days") -> Progress:
    """A callback that says how much of `stage` is done, counted in `unit`."""
    said = time.monotonic()

    def report_progress(done: int, total: int, failed: int = 0, /) -> None:
        nonlocal said
        counted = {"stage": stage, "done": done, "total": total, "unit": unit, "failed": failed}
        words = progress_of(stage, done, total, unit, failed)
        LOGGER.info("%s", words, extra=counted)
        if done == total or time.monotonic() - said >= SECONDS_BETWEEN_LINES:
            said = time.monotonic()
            context.log.info(words)

    return report_progress

"""Progress of a long step: a record for the terminal's bar at every step, a counting line in the UI now and then."""

import logging
import time

import dagster as dg

from stax_pipeline.pipeline.isolation import Progress

LOGGER = logging.getLogger("stax.progress")
SECONDS_BETWEEN_LINES = 5.0  # every line is a database row: 16 ms on Postgres


def progress(context: dg.AssetExecutionContext, stage: str, unit: str = "tenant-days") -> Progress:
    """A callback that says how much of `stage` is done, counted in `unit`."""
    said = time.monotonic()

    def report_progress(done: int, total: int) -> None:
        nonlocal said
        counted = {"stage": stage, "done": done, "total": total, "unit": unit}
        LOGGER.info("%s: %d of %d %s", stage, done, total, unit, extra=counted)
        if done == total or time.monotonic() - said >= SECONDS_BETWEEN_LINES:
            said = time.monotonic()
            context.log.info(f"{stage}: {done} of {total} {unit}")

    return report_progress

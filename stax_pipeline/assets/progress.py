"""Progress of a long step: a record for the terminal's bar at every tenant, a counting line in the UI now and then."""

import logging
import time

import dagster as dg

from stax_pipeline.steps.isolation import Progress

LOGGER = logging.getLogger("stax.progress")
SECONDS_BETWEEN_LINES = 5.0  # every line is a database row: 16 ms on Postgres


def progress(context: dg.AssetExecutionContext, stage: str) -> Progress:
    """A callback that says how many tenants of `stage` are done."""
    said = time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal said
        LOGGER.info("%s: %d of %d tenants", stage, done, total, extra={"stage": stage, "done": done, "total": total})
        if done == total or time.monotonic() - said >= SECONDS_BETWEEN_LINES:
            said = time.monotonic()
            context.log.info(f"{stage}: {done} of {total} tenants")

    return tell

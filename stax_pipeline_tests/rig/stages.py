"""Named stages of a sync, and what may happen there: the process is killed, or anything else a test wants.

A stage is a call of the product's own, its `nth`, and whether the fault strikes before or after it. Calls are wrapped
from outside; the product knows nothing of it. The killed run is a child process, forked from a clean server that has
everything imported, so that a kill costs no start-up.
"""

from __future__ import annotations

import importlib
import logging
import multiprocessing
import os
import resource
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple, cast

from stax_pipeline.domain.errors import StaxError
from stax_pipeline.domain.extraction import Window
from stax_pipeline.installation.homes import CHECKOUT
from stax_pipeline.installation.settings import read_settings
from stax_pipeline.keys.master_key_rotation import rotate_master_key
from stax_pipeline.pipeline.build_batch import Books
from stax_pipeline.pipeline.isolation import no_progress
from stax_pipeline.pipeline.replay import replay
from stax_pipeline.pricing.prices import shipped_prices
from stax_pipeline.warehouse.migrate import upgrade
from stax_pipeline.warehouse.prices import record_prices
from stax_pipeline.warehouse.tenants import all_tenants
from stax_pipeline_tests.conftest import Installation
from stax_pipeline_tests.pipeline.support import DAYS
from stax_pipeline_tests.rig.oracle import run

KILLED = -signal.SIGKILL


class Stage(NamedTuple):
    """`call` is `module:name` or `module:Class.name`, as the caller sees it."""

    call: str
    after: bool = False
    nth: int = 1


PIPELINE, LAKE = "stax_pipeline.pipeline", "stax_pipeline.lake"
SYNC_STAGES = {
    "before the first call": Stage("stax_pipeline.anthropic.transport:Transport.get"),
    "after a page": Stage(f"{PIPELINE}.extraction_record:RunningExtraction.add", after=True),
    "after the third page": Stage(f"{PIPELINE}.extraction_record:RunningExtraction.add", after=True, nth=3),
    "raw temp written": Stage("os:link"),
    "raw renamed, not recorded": Stage("os:link", after=True),
    "extraction recorded, not committed": Stage(f"{PIPELINE}.recorder:record", after=True),
    "extraction committed": Stage(f"{PIPELINE}.recorder:_record", after=True),
    "in COPY": Stage("stax_pipeline.warehouse.arrow_copy:_Text.read", nth=2),
    "in COPY of the coverage": Stage("stax_pipeline.warehouse.arrow_copy:_Text.read", nth=5),
    "before the commit": Stage(f"{PIPELINE}.publish_batch:cover_slots", after=True),
    "after the commit, nobody told": Stage(f"{PIPELINE}.publish_reports:_Publisher._note_missing_cost"),
    "between usage and cost": Stage("stax_pipeline_tests.pipeline.support:publish_cost"),
    "cost published": Stage(f"{PIPELINE}.publish_reports:_Publisher._note_missing_cost", nth=3),
    "names written, not committed": Stage(f"{PIPELINE}.publish_organization:_publish", after=True),
    "builds logged, nothing derived": Stage(f"{PIPELINE}.build_batch:add_builds", after=True),
    "in the rules of spend": Stage(f"{PIPELINE}.build_batch:derive"),
    "spend written, not committed": Stage(f"{PIPELINE}.build_batch:replace_tenant_days", after=True),
    "spend committed": Stage(f"{PIPELINE}.publish_spend:Totals.add"),
    "Parquet temp written": Stage(f"{LAKE}.store:Lake.replace", nth=3),
    "Parquet renamed": Stage(f"{LAKE}.store:Lake.replace", after=True, nth=3),
    "Parquet noted as due, not committed": Stage("stax_pipeline.warehouse.publish:mark_due", after=True),
    "Parquet written, still due": Stage(f"{LAKE}.parquet:forget_due", nth=3),
}


@contextmanager
def at(stage: Stage, happens: Callable[[], None]) -> Iterator[list[int]]:
    """While the block runs, `happens` strikes at the stage. The list holds how often the call was seen."""
    module, _, path = stage.call.partition(":")
    *owners, name = path.split(".")
    owner = reduce(getattr, owners, importlib.import_module(module))
    real = getattr(owner, name)
    seen = [0]

    def wrapped(*given: Any, **named: Any) -> Any:
        seen[0] += 1
        strikes = seen[0] == stage.nth
        if strikes and not stage.after:
            happens()
        result = real(*given, **named)
        if strikes and stage.after:
            happens()
        return result

    setattr(owner, name, wrapped)
    try:
        yield seen
    finally:
        setattr(owner, name, real)


def die() -> None:
    """As by the kernel: no handler, no finally, no flush."""
    os.kill(os.getpid(), signal.SIGKILL)


def _sync(window: Window) -> None:
    run(_here(), window)


def _replay(window: Window) -> None:
    made = _here()
    with made.engine.begin() as connection:
        record_prices(connection, shipped_prices())
        tenants = all_tenants(connection)
    books = Books(made.engine, made.lake, made.settings.settle)
    for _ in replay(books, made.settings.source, tenants, window, lambda *_: no_progress):
        pass


def _rotate(_: Window) -> None:
    made = _here()
    rotate_master_key(made.settings, made.engine)


def _migrate(_: Window) -> None:
    upgrade(read_settings())


def _job(window: Window) -> None:
    """Job `sync` itself, on Dagster's own storage."""
    import dagster as dg

    from stax_pipeline.assets.partitions import range_tags
    from stax_pipeline.definitions import defs

    logging.disable(logging.CRITICAL)
    with dg.DagsterInstance.from_config(str(CHECKOUT)) as instance:
        defs.resolve_job_def("sync").execute_in_process(instance=instance, tags=range_tags(window))


WORK: dict[str, Callable[[Window], None]] = {
    "sync": _sync,
    "replay": _replay,
    "rotate": _rotate,
    "migrate": _migrate,
    "job": _job,
}


def _here() -> Installation:
    """This process's installation. The simulator runs in the parent and is known by its address alone."""
    return Installation(Path(os.environ["STAX_HOME"]), cast(Any, None), cast(Any, None))


def _child(work: str, stage: Stage, window: Window, environment: Mapping[str, str], file_size: int | None) -> None:
    os.environ.clear()
    os.environ.update(environment)
    with at(stage, die if file_size is None else lambda: _allow(file_size)), suppress(StaxError, OSError):
        WORK[work](window)


def _allow(file_size: int) -> None:
    """From now on the kernel lets no file of this process grow beyond so many bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, resource.RLIM_INFINITY))


_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload([__name__])


def killed_at(stage: Stage, work: str = "sync", window: Window = DAYS) -> bool:
    """Do the work in a child that dies at the stage; whether it died there (and not elsewhere, or never)."""
    return _ended(work, stage, window) == KILLED


def finished(work: str, window: Window) -> bool:
    """Do the work in a child whom nothing disturbs."""
    return _ended(work, Stage("os:link", nth=1 << 40), window) == 0


def without_room(stage: Stage, file_size: int) -> bool:
    """Sync in a child for whom files stop growing at the stage; whether it ended by itself, as it should."""
    return _ended("sync", stage, DAYS, file_size) == 0


def _ended(work: str, stage: Stage, window: Window, file_size: int | None = None) -> int | None:
    child = _processes.Process(target=_child, args=(work, stage, window, dict(os.environ), file_size))
    child.start()
    child.join(120)
    try:
        return child.exitcode
    finally:
        child.close()

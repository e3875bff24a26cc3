"""Records finished extractions, many tenants' in one transaction, soon after they ended.

A kill in between leaves objects that nothing names: those of a moment. A tenant whose record is refused (it is gone)
loses its own object alone.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import NamedTuple
from uuid import uuid4

import sqlalchemy as sa

from stax_pipeline.anthropic import NoNewerSource
from stax_pipeline.domain.errors import CannotStart, Interrupted, KeyRejected, StaxError
from stax_pipeline.domain.extraction import Report
from stax_pipeline.domain.tenant import Tenant
from stax_pipeline.lake.store import Lake
from stax_pipeline.pipeline.beside import beside
from stax_pipeline.pipeline.extraction_record import ExtractionResult, RunningExtraction
from stax_pipeline.warehouse.engine import WarehouseFault, plain_faults
from stax_pipeline.warehouse.extractions import Extraction, record
from stax_pipeline.warehouse.tenants import hold_tenants, note_accepted, note_no_newer_source, note_rejected

TOGETHER = 64  # extractions of one transaction; their lines wait in memory for it
SECONDS = 0.25  # how long one waits for others


class Kept(NamedTuple):
    """One tenant's extraction that has ended and whose pages are kept, as `row` says."""

    tenant: Tenant
    extraction: RunningExtraction
    result: ExtractionResult
    row: Extraction


Told = Callable[[Kept, Exception | None], None]


class Recorder:
    """Made by `recording`."""

    def __init__(self, record_all: Callable[[Sequence[Kept]], list[tuple[Kept, Exception | None]]], told: Told) -> None:
        self._record_all = record_all
        self._told = told
        self._waiting: deque[Kept] = deque()
        self._ended = asyncio.Event()

    def add(self, kept: Kept) -> None:
        """Have it recorded with those that come soon. May be called in any thread, right after the pages were kept."""
        self._waiting.append(kept)

    async def flush_if_full(self) -> None:
        """Record what waits where it is enough. Raises CannotStart, Interrupted."""
        if len(self._waiting) >= TOGETHER:
            await self.flush()

    async def flush(self) -> None:
        """Record what waits. Raises CannotStart, Interrupted."""
        batch = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if batch:
            for kept, fault in await beside(self._record_all, batch):
                self._told(kept, fault)

    async def now_and_then(self) -> None:
        """Record what waits, time and again until the end."""
        while not self._ended.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(SECONDS):
                    await self._ended.wait()
            await self.flush()
        await self.flush()

    def end(self) -> None:
        self._ended.set()


@asynccontextmanager
async def recording(engine: sa.Engine, lake: Lake, run_id: str, report: Report, told: Told) -> AsyncIterator[Recorder]:
    """A recorder for the block; when it ends, everything is recorded, and `told` was called for each extraction.

    Raises ExceptionGroup of CannotStart or Interrupted, which are no tenant's fault.
    """
    recorder = Recorder(partial(record_together, engine, lake, run_id, report), told)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(recorder.now_and_then())
            yield recorder
            recorder.end()
    except BaseException:
        with suppress(CannotStart, Interrupted):  # the run stops for a reason of its own
            await recorder.flush()
        raise


def record_together(
    engine: sa.Engine, lake: Lake, run_id: str, report: Report, batch: Sequence[Kept]
) -> list[tuple[Kept, Exception | None]]:
    """Record all in one transaction, halved where it fails until the fault is one tenant's own; which were recorded,
    and which were not and why.

    The object is removed where the record was refused, never where the commit's outcome is unknown. Raises CannotStart,
    Interrupted.
    """
    told: list[tuple[Kept, Exception | None]] = []
    waiting = [list(batch)]
    while waiting:
        some = waiting.pop(0)
        try:
            free = _record(engine, run_id, report, some)
        except (CannotStart, Interrupted):
            raise
        except Exception as fault:
            if half := len(some) // 2:
                waiting[:0] = [some[:half], some[half:]]
                continue
            told.append((some[0], _refused(lake, some[0].row.raw_uri, fault)))
            continue
        told += [(kept, None) for kept in free]
        waiting += [[kept] for kept in some if kept not in free]
    return told


def _refused(lake: Lake, raw_uri: str | None, fault: Exception) -> Exception:
    """The fault, once the object of a record that was refused is removed; with why where it cannot be."""
    if not isinstance(fault, WarehouseFault) or not raw_uri:
        return fault
    try:
        lake.delete(raw_uri)
    except (StaxError, OSError) as broken:
        return WarehouseFault(f"{fault} Its pages, {raw_uri}, could not be removed: {broken}")
    return fault


def _record(engine: sa.Engine, run_id: str, report: Report, some: list[Kept]) -> list[Kept]:
    """Record them; of several, those whose tenant is not being removed just now. Who were recorded."""
    with plain_faults(_named(some)), engine.begin() as connection:
        held = hold_tenants(connection, [kept.tenant.tenant_id for kept in some]) if len(some) > 1 else None
        free = [kept for kept in some if held is None or kept.tenant.tenant_id in held]
        beside_them = [_without_pages(kept) for kept in free if kept.extraction.refused and not kept.result.fault]
        record(connection, *(kept.row for kept in free), *beside_them)
        for kept in free:
            kind, tenant_id = kept.result.kind, kept.tenant.tenant_id
            if kind is NoNewerSource and report is Report.ANALYTICS:
                note_no_newer_source(connection, tenant_id)
            if kind and issubclass(kind, KeyRejected):
                note_rejected(connection, tenant_id, kept.result.generation)
        accepted = {kept.tenant.tenant_id: kept.result.generation for kept in free if not kept.result.fault}
        note_accepted(connection, accepted, run_id)
    return free


def _named(some: list[Kept]) -> str:
    whose = f"tenant {some[0].tenant.slug}: recording an extraction"
    return whose if len(some) == 1 else f"{len(some)} tenants: recording extractions"


def _without_pages(kept: Kept) -> Extraction:
    """The record of what is missing beside an extraction that counts without it."""
    return kept.row._replace(
        extraction_id=uuid4(), pages=0, rows=0, sha256="", raw_uri=None, error=kept.extraction.missing
    )

"""Work through tenants in batches: one transaction each, bounded in rows, and one tenant's fault never another's.

A batch tries its tenants' locks and waits for none: who is busy is tried again after the others, and fails alone after
a minute. A batch that fails is halved until the fault is one tenant's own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from typing import NamedTuple, Protocol, TypeVar
from uuid import UUID

import sqlalchemy as sa

from stax_pipeline.domain.errors import CannotStart, Interrupted, StaxError
from stax_pipeline.domain.tenant import Tenant
from stax_pipeline.installation.memory import give_back
from stax_pipeline.warehouse.engine import plain_faults
from stax_pipeline.warehouse.publish import try_lock

BATCH_ROWS = 50_000
BATCH_TENANTS = 500  # locks of one transaction: Postgres has room for some thousands
PATIENCE_SECONDS = 60.0
_PAUSE_SECONDS = 0.5

Result = TypeVar("Result")


class Share(Protocol):
    """One tenant's share of a step."""

    @property
    def tenant(self) -> Tenant: ...

    @property
    def rows(self) -> int:
        """About how many rows it has: what a batch is bounded by."""


Item = TypeVar("Item", bound=Share)


class Busy(StaxError):
    """Somebody else held the tenant's lock for too long: nothing of it was changed."""


def in_batches(items: Iterable[Item]) -> Iterator[list[Item]]:
    """The items in their order, cut so that no batch but one of a single item has more than `BATCH_ROWS`."""
    batch: list[Item] = []
    size = 0
    for item in items:
        if batch and (size + item.rows > BATCH_ROWS or len(batch) == BATCH_TENANTS):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += item.rows
    if batch:
        yield batch


def work_through(
    engine: sa.Engine,
    doing: str,
    batches: Iterable[list[Item]],
    work: Callable[[sa.Connection, list[Item]], Result],
    refuse: Callable[[Item, Exception], None],
) -> Iterator[tuple[list[Item], Result]]:
    """Do `work` for each batch in one transaction, or in several where it fails or some of its tenants are busy.

    Yields, after each commit, the items that were worked on and what `work` gave. An item whose work fails alone is
    handed to `refuse`, with the fault in plain words. Raises CannotStart and Interrupted, which are no tenant's fault.
    """
    busy: list[Item] = []
    for batch in batches:
        busy += yield from _work(engine, doing, batch, work, refuse)
    began = time.monotonic()
    while busy and time.monotonic() - began < PATIENCE_SECONDS:
        before = len(busy)
        busy = yield from _work(engine, doing, busy, work, refuse)
        if len(busy) == before:
            time.sleep(_PAUSE_SECONDS)
    for item in busy:
        refuse(item, _busy(item))


class _Alone(NamedTuple):
    tenant: Tenant
    rows: int = 0


def one_by_one(
    engine: sa.Engine,
    doing: str,
    tenants: Iterable[Tenant],
    work: Callable[[sa.Connection, Tenant], Result],
    refuse: Callable[[Tenant, Exception], None],
) -> Iterator[tuple[Tenant, Result]]:
    """As `work_through`, with a transaction for each tenant: for work that is one tenant's whole."""
    alone = ([_Alone(tenant)] for tenant in tenants)
    for items, result in work_through(
        engine, doing, alone, lambda connection, items: work(connection, items[0].tenant),
        lambda item, fault: refuse(item.tenant, fault),
    ):  # fmt: skip
        yield items[0].tenant, result


def _work(
    engine: sa.Engine,
    doing: str,
    batch: list[Item],
    work: Callable[[sa.Connection, list[Item]], Result],
    refuse: Callable[[Item, Exception], None],
) -> Generator[tuple[list[Item], Result], None, list[Item]]:
    """One batch, halved where it fails; returns the items whose tenants are busy."""
    busy: list[Item] = []
    waiting = [batch]
    while waiting:
        items = waiting.pop(0)
        ready: list[Item] = items
        taken: list[Item] = []
        try:
            with plain_faults(_named(items, doing)), engine.begin() as connection:
                free = try_lock(connection, {item.tenant.tenant_id for item in items})
                ready, taken = _split(items, free)
                result = work(connection, ready) if ready else None
        except (CannotStart, Interrupted):
            raise
        except Exception as fault:
            half = len(ready) // 2
            if half:
                waiting[:0] = [ready[:half], ready[half:]]
            else:
                refuse(ready[0], fault)
        else:
            if result is not None:
                yield ready, result
        busy += taken
        give_back()
    return busy


def _split(items: list[Item], free: Collection[UUID]) -> tuple[list[Item], list[Item]]:
    ready: list[Item] = []
    taken: list[Item] = []
    for item in items:
        (ready if item.tenant.tenant_id in free else taken).append(item)
    return ready, taken


def _named(items: list[Item], doing: str) -> str:
    return f"tenant {items[0].tenant.slug}: {doing}" if len(items) == 1 else f"{len(items)} tenants: {doing}"


def _busy(item: Share) -> Busy:
    slug = item.tenant.slug
    return Busy(
        f"tenant {slug} was being changed by another command or run for more than {PATIENCE_SECONDS:.0f} seconds; "
        f"`stax sync {slug}` does what is left"
    )

"""Publish a batch of arrivals in one transaction: what changed is replaced, what did not only moves its coverage."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import pyarrow as pa
import sqlalchemy as sa

from stax_pipeline.derive.day_facts import DayFacts, Facts
from stax_pipeline.derive.engine import Engine
from stax_pipeline.derive.normalise import on_days
from stax_pipeline.domain.errors import TenantStopped
from stax_pipeline.domain.extraction import Report
from stax_pipeline.domain.tenant import Tenant
from stax_pipeline.lake.store import Lake
from stax_pipeline.pipeline.arrivals import Arrival, Kind, from_extraction, span_of
from stax_pipeline.pipeline.arrived import Arrived
from stax_pipeline.pipeline.history import coverage_of, later
from stax_pipeline.warehouse.arrow_copy import Slot, read_arrow
from stax_pipeline.warehouse.extractions import Covered, Current, current
from stax_pipeline.warehouse.fresh_rows import FreshRows
from stax_pipeline.warehouse.prices import LatestBook
from stax_pipeline.warehouse.publication_log import Publication, add_publications, now
from stax_pipeline.warehouse.publish import cover_slots, replace_tenant_days
from stax_pipeline.warehouse.restatements import add_restatements


@dataclass(frozen=True, slots=True)
class Stores:
    """Where normalised rows come from and go to, and the rules of this installation."""

    engine: sa.Engine
    lake: Lake
    settle: timedelta
    accept_shrink: bool = False
    arrived: Arrived = field(default_factory=Arrived)
    book: LatestBook = field(default_factory=LatestBook)
    fresh: FreshRows = field(default_factory=FreshRows)


class Share(NamedTuple):
    """One arrival under its tenant's lock: the days it becomes current for, and those of them whose rows changed.

    `before` is what was current of these days. `fresh` has all their rows.
    """

    arrival: Arrival
    days: list[date]
    changed: list[date]
    changed_keys: list[date]
    before: dict[date, Covered]
    fresh: tuple[pa.Table, ...]
    facts: dict[date, DayFacts]

    @property
    def tenant(self) -> Tenant:
        return self.arrival.tenant

    @property
    def all_slots(self) -> list[Slot]:
        return [(self.tenant.tenant_id, day) for day in self.days]

    @property
    def replaced(self) -> dict[Slot, datetime]:
        """The tenant-days whose rows are replaced by others, with the moment of the extraction they are of (UTC)."""
        return {
            (self.tenant.tenant_id, day): self.before[day].extracted_at for day in self.changed if day in self.before
        }

    @property
    def changed_rows(self) -> tuple[pa.Table, ...]:
        """The rows to write, by table."""
        chosen = zip(self.fresh, (self.changed, self.changed_keys), strict=False)
        return tuple(on_days(table, days) for table, days in chosen)


def compared(connection: sa.Connection, rules: Engine, kind: Kind, arrivals: Sequence[Arrival]) -> list[Share]:
    """Each arrival beside what is current, read under the tenants' locks; one that nothing is left of is left out."""
    ids = [arrival.tenant.tenant_id for arrival in arrivals]
    held = current(connection, ids, kind.report, span_of(day for one in arrivals for day in one.days))
    with rules.session() as session:
        together = [pa.concat_tables(parts) for parts in zip(*(one.tables for one in arrivals), strict=True)]
        facts = kind.facts(session, together)
    shares = (_share(arrival, held, facts) for arrival in arrivals)
    return [share for share in shares if share.days]


def _share(arrival: Arrival, held: dict[Slot, Current], facts: Facts) -> Share:
    tenant_id = arrival.tenant.tenant_id
    older = {day: held.get((tenant_id, day)) for day in arrival.days}
    days = [day for day, row in older.items() if row is None or row.is_older_than(arrival.extraction)]
    return share_of(arrival, days, {day: row.covered for day in days if (row := older[day])}, facts)


def share_of(arrival: Arrival, days: list[date], before: dict[date, Covered], facts: Facts) -> Share:
    """The arrival's `days` beside what is current of them, told apart by the digests of their rows."""
    own = {day: facts.get((str(arrival.tenant.tenant_id), day), DayFacts()) for day in days}
    known = {day: (before[day].digest, before[day].key_digest) if day in before else ("", "") for day in days}
    changed = [day for day in days if known[day][0] != own[day].digest]
    keyed = [day for day in days if day in arrival.key_days and known[day][1] != own[day].key_digest]
    whole = arrival.tables if days == arrival.days else tuple(on_days(table, days) for table in arrival.tables)
    return Share(arrival, days, changed, keyed, before, whole, own)


Guard = Callable[[sa.Connection, Stores, Engine, Sequence[Share], pa.Table], dict[UUID, TenantStopped]]
"""Who must not be published, and why: given what arrived, and the rows that are held of days that changed."""


class Published(NamedTuple):
    """What a batch wrote, which arrivals its guards refused, and the days whose metered tokens have no charge though
    they are old enough to settle.
    """

    rows: int
    shares: list[Share]
    refused: list[tuple[Arrival, TenantStopped]]
    without_cost: set[Slot]


def publish_batch(
    stores: Stores, rules: Engine, kind: Kind, guard: Guard, connection: sa.Connection, arrivals: Sequence[Arrival]
) -> Published:
    """Publish what the guards let pass, in the caller's transaction, which holds the locks of all tenants."""
    shares = compared(connection, rules, kind, arrivals)
    moved = [share for share in shares if share.changed or share.changed_keys]
    faults: dict[UUID, TenantStopped] = {}
    moment = now(connection)
    written = 0
    if moved:
        held = _held(connection, kind, moved)
        faults = guard(connection, stores, rules, moved, held)
        passed = [share for share in moved if share.tenant.tenant_id not in faults]
        _note_restatements(connection, rules, kind, passed, held, moment)
        written = _replace(connection, kind, passed, stores.fresh)
    kept = [share for share in shares if share.tenant.tenant_id not in faults]
    covering = [row for share in kept for row in covering_of(share, stores.settle)]
    cover_slots(connection, kind.report, covering)
    add_publications(
        connection, kind.report,
        [(s.tenant.tenant_id, Publication(moment, s.arrival.extraction.extraction_id, s.days)) for s in kept],
    )  # fmt: skip
    refused = [(s.arrival, faults[s.tenant.tenant_id]) for s in shares if s.tenant.tenant_id in faults]
    return Published(written, kept, refused, _without_cost(connection, kind, covering))


def _held(connection: sa.Connection, kind: Kind, shares: Iterable[Share]) -> pa.Table:
    """The rows that are replaced, of the first table, which figures are told of."""
    slots = [slot for share in shares for slot in share.replaced]
    return read_arrow(connection, kind.tables[0], kind.schemas[0].names, slots)


def _note_restatements(
    connection: sa.Connection, rules: Engine, kind: Kind, shares: Sequence[Share], held: pa.Table, moment: datetime
) -> None:
    since = {
        str(share.tenant.tenant_id): found
        for share in shares
        if share.changed and (found := later(share.arrival.extraction, moment, share.before)).before
    }
    if since:
        fresh = pa.concat_tables([share.changed_rows[0] for share in shares])
        for tenant_id, rows in kind.restated(rules, held, fresh, since).items():
            add_restatements(connection, UUID(tenant_id), rows)


def _replace(connection: sa.Connection, kind: Kind, shares: Sequence[Share], fresh: FreshRows) -> int:
    written = 0
    for place, table in enumerate(kind.tables):
        slots = [(s.tenant.tenant_id, day) for s in shares for day in (s.changed, s.changed_keys)[place]]
        if slots:
            parts = [
                from_extraction(share.changed_rows[place], share.arrival.extraction.extraction_id) for share in shares
            ]
            written += replace_tenant_days(connection, {table: pa.concat_tables(parts)}, slots, fresh)[table]
    return written


def _without_cost(connection: sa.Connection, kind: Kind, covering: Sequence[Covered]) -> set[Slot]:
    empty = [row for row in covering if row.old_enough_to_settle and not row.metered]
    if kind.report is not Report.COST or not empty:
        return set()
    used = current(connection, [row.tenant_id for row in empty], Report.USAGE, span_of(row.usage_date for row in empty))
    slots = ((row.tenant_id, row.usage_date) for row in empty)
    return {slot for slot in slots if slot in used and used[slot].covered.metered}


def covering_of(share: Share, settle: timedelta) -> list[Covered]:
    """Coverage of the share's days: a day whose usage by key was not read keeps the digest of what is held."""
    rows = coverage_of(share.arrival.extraction, share.days, share.facts, settle, share.arrival.key_days)
    return [
        row._replace(key_digest=share.before[row.usage_date].key_digest)
        if not row.by_key and row.usage_date in share.before
        else row
        for row in rows
    ]

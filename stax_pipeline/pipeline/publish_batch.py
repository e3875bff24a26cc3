"""Publish a batch of arrivals in one transaction: what changed is replaced, what did not only moves its coverage."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import pyarrow as pa
import sqlalchemy as sa

from stax_pipeline.derive.day_facts import DayFacts, Facts
from stax_pipeline.derive.engine import Engine
from stax_pipeline.derive.schemas import lines_of
from stax_pipeline.domain.errors import TenantStopped
from stax_pipeline.domain.extraction import Report
from stax_pipeline.domain.tenant import Tenant
from stax_pipeline.lake.store import Lake
from stax_pipeline.pipeline.arrivals import Arrival, Kind, from_extraction, on_days, span_of
from stax_pipeline.pipeline.arrived import Arrived
from stax_pipeline.pipeline.history import coverage_of, later
from stax_pipeline.warehouse.arrow_copy import Slot, read_arrow
from stax_pipeline.warehouse.extractions import Covered, Current, current
from stax_pipeline.warehouse.prices import LatestBook
from stax_pipeline.warehouse.publication_log import Publication, add_publications, now
from stax_pipeline.warehouse.publish import cover_slots, replace_tenant_days
from stax_pipeline.warehouse.restatements import add_restatements

Lines = dict[str, list[Any]]
"""Rows as lines of their kind, by `tenant_id` as text."""


@dataclass(frozen=True, slots=True)
class Stores:
    """Where normalised rows come from and go to, and the rules of this installation."""

    engine: sa.Engine
    lake: Lake
    settle: timedelta
    accept_shrink: bool = False
    arrived: Arrived = field(default_factory=Arrived)
    book: LatestBook = field(default_factory=LatestBook)


class Share(NamedTuple):
    """One arrival under its tenant's lock: the days it becomes current for, and those of them whose rows changed.

    `before` is what was current of these days; `tables` have the rows of changed days, by key those of `changed_keys`.
    """

    arrival: Arrival
    days: list[date]
    changed: list[date]
    changed_keys: list[date]
    before: dict[date, Covered]
    tables: tuple[pa.Table, ...]
    facts: dict[date, DayFacts]

    @property
    def tenant(self) -> Tenant:
        return self.arrival.tenant

    @property
    def slots(self) -> list[Slot]:
        """The tenant-days whose rows changed."""
        return [(self.tenant.tenant_id, day) for day in self.changed]


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
    own = {day: facts.get((str(tenant_id), day), DayFacts()) for day in days}
    before = {day: row.covered for day in days if (row := older[day])}
    none = DayFacts()
    changed = [day for day in days if (before[day].digest if day in before else none.digest) != own[day].digest]
    keyed = [
        day for day in days
        if day in arrival.key_days
        and (before[day].key_digest if day in before else none.key_digest) != own[day].key_digest
    ]  # fmt: skip
    chosen = (changed, keyed)
    tables = tuple(on_days(table, of) for table, of in zip(arrival.tables, chosen, strict=False))
    return Share(arrival, days, changed, keyed, before, tables, own)


Guard = Callable[[sa.Connection, Stores, Sequence[Share], Lines], dict[UUID, TenantStopped]]
"""Who must not be published, and why: given what arrived and the lines that are held of days that changed."""


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
    held = _held(connection, kind, shares)
    faults = guard(connection, stores, shares, held)
    passed = [share for share in shares if share.tenant.tenant_id not in faults]
    moment = now(connection)
    _note_restatements(connection, kind, passed, held, moment)
    written = _replace(connection, kind, passed)
    covering = [row for share in passed for row in _covering(share, stores.settle)]
    cover_slots(connection, kind.report, covering)
    add_publications(
        connection, kind.report,
        [(s.tenant.tenant_id, Publication(moment, s.arrival.extraction.extraction_id, s.days)) for s in passed],
    )  # fmt: skip
    refused = [(share.arrival, faults[share.tenant.tenant_id]) for share in shares if share not in passed]
    return Published(written, passed, refused, _without_cost(connection, kind, covering))


def _without_cost(connection: sa.Connection, kind: Kind, covering: Sequence[Covered]) -> set[Slot]:
    empty = [row for row in covering if row.old_enough_to_settle and not row.metered]
    if kind.report is not Report.COST or not empty:
        return set()
    used = current(connection, [row.tenant_id for row in empty], Report.USAGE, span_of(row.usage_date for row in empty))
    slots = ((row.tenant_id, row.usage_date) for row in empty)
    return {slot for slot in slots if slot in used and used[slot].covered.metered}


def _held(connection: sa.Connection, kind: Kind, shares: Iterable[Share]) -> Lines:
    """The rows that are held of changed days, by tenant: of the first table, which figures are told of."""
    slots = [slot for share in shares for slot in share.slots if slot[1] in share.before]
    if not slots:
        return {}
    table, schema = kind.tables[0], kind.schemas[0]
    return lines_of(read_arrow(connection, table, schema.names, slots), kind.line)


def _note_restatements(
    connection: sa.Connection, kind: Kind, shares: Iterable[Share], held: Lines, moment: datetime
) -> None:
    for share in shares:
        since = later(share.arrival.extraction, moment, share.before)
        days = [day for day in share.changed if day in since.before]
        if days:
            own = str(share.tenant.tenant_id)
            fresh = lines_of(on_days(share.tables[0], days), kind.line).get(own, [])
            old = [line for line in held.get(own, []) if line.usage_date in since.before]
            add_restatements(connection, share.tenant.tenant_id, kind.restated(old, fresh, since))


def _replace(connection: sa.Connection, kind: Kind, shares: Sequence[Share]) -> int:
    written = 0
    for place, table in enumerate(kind.tables):
        slots = [(s.tenant.tenant_id, day) for s in shares for day in (s.changed, s.changed_keys)[place]]
        parts = [from_extraction(share.tables[place], share.arrival.extraction.extraction_id) for share in shares]
        if slots:
            written += replace_tenant_days(connection, {table: pa.concat_tables(parts)}, slots)[table]
    return written


def _covering(share: Share, settle: timedelta) -> list[Covered]:
    """Coverage of the share's days: a day whose usage by key was not read keeps the digest of what is held."""
    rows = coverage_of(share.arrival.extraction, share.days, share.facts, settle, share.arrival.key_days)
    return [
        row._replace(key_digest=share.before[row.usage_date].key_digest)
        if not row.by_key and row.usage_date in share.before
        else row
        for row in rows
    ]

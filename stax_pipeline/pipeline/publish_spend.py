"""Build what people read from the normalised tables: spend, spend by key, reconciliation. No network, no raw pages."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from stax_pipeline.derive.reconciliation import Cell, Change, Reconciliation, cell_of, reconcile
from stax_pipeline.derive.restatement import Restatement, RestatementKind
from stax_pipeline.derive.spend import SpendLine
from stax_pipeline.derive.split_by_key import KeySpend, spend_by_key
from stax_pipeline.derive.terms import Terms, uses_by_day
from stax_pipeline.derive.usage_lines import KeyUsageLine
from stax_pipeline.domain.extraction import Window
from stax_pipeline.domain.money import EXACT, sum_usd
from stax_pipeline.domain.tenant import Tenant
from stax_pipeline.lake.store import Lake
from stax_pipeline.pipeline.history import Archive, Held, dollar_restatements, held_now, spend_of, terms_now
from stax_pipeline.pipeline.isolation import Outcome, Progress, Tally, no_progress, reason
from stax_pipeline.pricing.prices import Usage
from stax_pipeline.warehouse import tables
from stax_pipeline.warehouse.agreements import read_terms
from stax_pipeline.warehouse.engine import plain_faults
from stax_pipeline.warehouse.extractions import Covered
from stax_pipeline.warehouse.prices import LatestBook
from stax_pipeline.warehouse.publication_log import Build, add_builds, builds_of, now
from stax_pipeline.warehouse.publish import TableRows, lock_tenant, read_days, replace_days
from stax_pipeline.warehouse.restatements import add_restatements, drop_round_trips
from stax_pipeline.warehouse.tenants import set_first_sync

Work = Callable[[sa.Connection, Tenant, Window], int]
CHUNK = 31  # days built at a time, so that a long history stays small in memory


@dataclass(slots=True)
class Totals:
    """Dollars and lines by cost source, for people who look at a run."""

    usd: dict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    lines: Counter[str] = field(default_factory=Counter)

    def add(self, lines: Sequence[SpendLine]) -> None:
        for line in lines:
            self.usd[line.cost_source] = EXACT.add(self.usd[line.cost_source], line.cost_usd or Decimal(0))
            self.lines[line.cost_source] += 1


@dataclass(frozen=True, slots=True)
class Books:
    """What analytics are built with: the list prices, and the raw pages that tell what changed prices changed."""

    engine: sa.Engine
    lake: Lake
    settle: timedelta
    book: LatestBook = field(default_factory=LatestBook)


def publish_spend(
    books: Books, tenants: Sequence[Tenant], window: Window, progress: Progress = no_progress
) -> tuple[Outcome, Totals]:
    """Rebuild `spend` for the tenants' days."""
    totals = Totals()

    def build(connection: sa.Connection, tenant: Tenant, part: Window) -> int:
        held = held_now(connection, tenant, part)
        terms, priced_at = terms_now(connection, tenant, books.book.read(connection))
        lines = spend_of(held, terms, books.settle)
        _note_builds(Archive(connection, books.lake, books.settle), tenant, part, held, terms, priced_at)
        columns = ["usage_date", "line", *SpendLine._fields[1:], "cost_extraction_id", "usage_extraction_id"]
        rows = TableRows(tables.spend, columns, _numbered(lines, held))
        written = replace_days(connection, tenant.tenant_id, part.days, [rows])
        totals.add(lines)
        return written

    return _for_each(books, tenants, window, progress, "building spend", build), totals


def publish_spend_by_key(
    books: Books, tenants: Sequence[Tenant], window: Window, progress: Progress = no_progress
) -> Outcome:
    """Rebuild `spend_by_key` from `spend` and `usage_by_key`."""

    def build(connection: sa.Connection, tenant: Tenant, part: Window) -> int:
        lines = [SpendLine(*row) for row in _rows(connection, tables.spend, SpendLine._fields, tenant, part)]
        used = [KeyUsageLine(*r) for r in _rows(connection, tables.usage_by_key, KeyUsageLine._fields, tenant, part)]
        content = TableRows(tables.spend_by_key, KeySpend._fields, spend_by_key(lines, used))
        return replace_days(connection, tenant.tenant_id, part.days, [content])

    return _for_each(books, tenants, window, progress, "building spend by key", build)


def publish_reconciliation(
    books: Books, tenants: Sequence[Tenant], window: Window, progress: Progress = no_progress
) -> Outcome:
    """Rebuild price accuracy."""

    def build(connection: sa.Connection, tenant: Tenant, part: Window) -> int:
        held = held_now(connection, tenant, part)
        terms = read_terms(connection, tenant.tenant_id, books.book.read(connection))
        restated = _restated(connection, tenant, part)
        rows = reconcile(held.costs, held.usage, terms, held.settled(books.settle), restated)
        content = TableRows(tables.reconciliation, Reconciliation._fields, rows)
        return replace_days(connection, tenant.tenant_id, part.days, [content])

    return _for_each(books, tenants, window, progress, "reconciling", build)


def note_first_sync(engine: sa.Engine, tenants: Sequence[Tenant], run_id: str) -> None:
    """Tenants that now have data for the first time: the sensor need not backfill them."""
    with plain_faults("noting first syncs"), engine.begin() as connection:
        set_first_sync(connection, [tenant.tenant_id for tenant in tenants], run_id)


def _for_each(
    books: Books, tenants: Sequence[Tenant], window: Window, progress: Progress, doing: str, build: Work
) -> Outcome:
    outcome = Outcome(tenants=len(tenants))
    tally = Tally(progress, len(tenants), len(window.days))
    for tenant in tenants:
        counted = 0
        try:
            for part in parts(window):
                with plain_faults(f"tenant {tenant.slug}: {doing}"), books.engine.begin() as connection:
                    lock_tenant(connection, tenant.tenant_id)
                    written = build(connection, tenant, part)
                outcome.rows += written
                if written:
                    counted += len(part.days)
                    tally.step(len(part.days))
        except Exception as fault:
            outcome.failures[tenant.slug] = reason(fault, doing)
        tally.tenant_ended(counted, failed=tenant.slug in outcome.failures, worked=counted > 0)
    return outcome


def parts(window: Window) -> Iterator[Window]:
    """The window in pieces that are built one at a time."""
    start = window.start
    while start < window.end:
        end = min(start + timedelta(days=CHUNK), window.end)
        yield Window(start, end)
        start = end


def _rows(
    connection: sa.Connection, table: sa.Table, columns: Sequence[str], tenant: Tenant, part: Window
) -> list[Any]:
    return read_days(connection, table, columns, tenant.tenant_id, part.start, part.end)


def _note_builds(
    archive: Archive, tenant: Tenant, part: Window, held: Held, terms: Terms, priced_at: datetime
) -> None:  # fmt: skip
    """Log what the days are built from, where it is not what they were built from before, and what that restates."""
    connection = archive.connection
    moment = now(connection)
    last = {day: known[-1] for day, known in builds_of(connection, tenant.tenant_id, part).items()}
    uses = uses_by_day(held.usage)
    builds = [
        Build(
            day, moment, terms.version_of(day, uses.get(day, frozenset())), priced_at, _id(held.cost_coverage, day),
            _id(held.usage_coverage, day), json.dumps(sorted(uses.get(day, ()))),
        )
        for day in sorted(held.cost_coverage.keys() | held.usage_coverage.keys())
    ]  # fmt: skip
    changed = [
        build for build in builds if build.usage_date not in last or last[build.usage_date].made_of != build.made_of
    ]
    add_builds(connection, tenant.tenant_id, changed)
    repriced = [(last[build.usage_date], build) for build in changed if build.usage_date in last]
    add_restatements(connection, tenant.tenant_id, dollar_restatements(archive, tenant, part, repriced))
    drop_round_trips(connection, tenant.tenant_id, part.days)


def _id(coverage: dict[date, Covered], day: date) -> UUID | None:
    return coverage[day].extraction_id if day in coverage else None


def _restated(connection: sa.Connection, tenant: Tenant, part: Window) -> dict[Cell, list[Change]]:
    """What later extractions changed in each row of price accuracy, the newest first."""
    found: dict[Cell, dict[datetime, list[Restatement]]] = defaultdict(lambda: defaultdict(list))
    for row in _rows(connection, tables.restatements, Restatement._fields, tenant, part):
        if row.kind in (RestatementKind.COST, RestatementKind.USAGE) and row.cost_type == "tokens":
            found[cell_of(row.usage_date, row.model, row.service_tier)][row.seen_at].append(Restatement(*row))
    return {cell: [_change(by_time[at]) for at in sorted(by_time, reverse=True)] for cell, by_time in found.items()}


def _change(rows: list[Restatement]) -> Change:
    usd = sum_usd(EXACT.subtract(row.new_usd or Decimal(0), row.old_usd or Decimal(0)) for row in rows)
    tokens = tuple(
        (
            Usage(row.usage_date, row.model, row.token_type, row.service_tier or "standard", row.context_window,
                  row.inference_geo, row.speed),
            int((row.new_quantity or 0) - (row.old_quantity or 0)),
        )
        for row in rows if row.kind == RestatementKind.USAGE
    )  # fmt: skip
    return Change(usd, tokens)


def _numbered(lines: list[SpendLine], held: Held) -> Iterator[tuple[object, ...]]:
    """Lines with their number within the day and the extractions they were built from."""
    number: Counter[object] = Counter()
    for line in lines:
        number[line.usage_date] += 1
        cost, usage = held.cost_coverage.get(line.usage_date), held.usage_coverage.get(line.usage_date)
        yield (
            line.usage_date, number[line.usage_date], *line[1:],
            cost and cost.extraction_id, usage and usage.extraction_id,
        )  # fmt: skip

"""Build what people read from the normalised tables: spend, spend by key, reconciliation. No network, no raw pages."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from stax_pipeline.domain.attribution import KeySpend, spend_by_key
from stax_pipeline.domain.cost import CostLine
from stax_pipeline.domain.extraction import Report, Window
from stax_pipeline.domain.guards import settled_days
from stax_pipeline.domain.money import EXACT
from stax_pipeline.domain.prices import PriceBook
from stax_pipeline.domain.reconciliation import Reconciliation, reconcile
from stax_pipeline.domain.spend import SpendLine, spend_lines
from stax_pipeline.domain.usage import KeyUsageLine, UsageLine
from stax_pipeline.resources.warehouse import tables
from stax_pipeline.resources.warehouse.engine import plain_faults
from stax_pipeline.resources.warehouse.extractions import Covered, covered
from stax_pipeline.resources.warehouse.publish import TableRows, lock_tenant, read_days, replace_days
from stax_pipeline.resources.warehouse.tenants import Tenant, set_first_sync
from stax_pipeline.steps.isolation import Outcome, Progress, Tally, no_progress, reason

Build = Callable[[sa.Connection, Tenant, Window], int]
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
    """What analytics are built with."""

    engine: sa.Engine
    book: PriceBook
    settle: timedelta


@dataclass(frozen=True, slots=True)
class Day:
    """A tenant's normalised rows of some days, and what is current for them."""

    window: Window
    costs: list[CostLine]
    usage: list[UsageLine]
    cost_coverage: dict[date, Covered]
    usage_coverage: dict[date, Covered]


def publish_spend(
    books: Books, tenants: Sequence[Tenant], window: Window, progress: Progress = no_progress
) -> tuple[Outcome, Totals]:
    """Rebuild `spend` for the tenants' days."""
    totals = Totals()

    def build(connection: sa.Connection, tenant: Tenant, part: Window) -> int:
        found = _read(connection, tenant, part)
        settled = _settled(found, books.settle)
        lines = spend_lines(found.costs, found.usage, books.book, settled)
        columns = ["usage_date", "line", *SpendLine._fields[1:], "cost_extraction_id", "usage_extraction_id"]
        rows = TableRows(tables.spend, columns, _numbered(lines, found))
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
    """Rebuild the error bar."""

    def build(connection: sa.Connection, tenant: Tenant, part: Window) -> int:
        found = _read(connection, tenant, part)
        rows = reconcile(found.costs, found.usage, books.book, _settled(found, books.settle))
        content = TableRows(tables.reconciliation, Reconciliation._fields, rows)
        return replace_days(connection, tenant.tenant_id, part.days, [content])

    return _for_each(books, tenants, window, progress, "reconciling", build)


def note_first_sync(engine: sa.Engine, tenants: Sequence[Tenant], run_id: str) -> None:
    """Tenants that now have data for the first time: the sensor need not backfill them."""
    with plain_faults("noting first syncs"), engine.begin() as connection:
        set_first_sync(connection, [tenant.tenant_id for tenant in tenants], run_id)


def _for_each(
    books: Books, tenants: Sequence[Tenant], window: Window, progress: Progress, doing: str, build: Build
) -> Outcome:
    outcome = Outcome(tenants=len(tenants))
    tally = Tally(progress, len(tenants), len(window.days))
    for tenant in tenants:
        counted = 0
        try:
            for part in _parts(window):
                with plain_faults(f"tenant {tenant.slug}: {doing}"), books.engine.begin() as connection:
                    lock_tenant(connection, tenant.tenant_id)
                    outcome.rows += build(connection, tenant, part)
                counted += len(part.days)
                tally.step(len(part.days))
        except Exception as fault:
            outcome.failures[tenant.slug] = reason(fault, doing)
        tally.tenant_done(counted)
    return outcome


def _parts(window: Window) -> Iterator[Window]:
    start = window.start
    while start < window.end:
        end = min(start + timedelta(days=CHUNK), window.end)
        yield Window(start, end)
        start = end


def _read(connection: sa.Connection, tenant: Tenant, part: Window) -> Day:
    return Day(
        part,
        [CostLine(*row) for row in _rows(connection, tables.cost_lines, CostLine._fields, tenant, part)],
        [UsageLine(*row) for row in _rows(connection, tables.usage_lines, UsageLine._fields, tenant, part)],
        covered(connection, tenant.tenant_id, Report.COST, part),
        covered(connection, tenant.tenant_id, Report.USAGE, part),
    )


def _rows(
    connection: sa.Connection, table: sa.Table, columns: Sequence[str], tenant: Tenant, part: Window
) -> list[Any]:
    return read_days(connection, table, columns, tenant.tenant_id, part.start, part.end)


def _settled(found: Day, settle: timedelta) -> frozenset[date]:
    moments = {row.usage_date: row.extracted_at for row in found.cost_coverage.values()}
    return settled_days(moments, found.costs, found.usage, settle)


def _numbered(lines: list[SpendLine], found: Day) -> Iterator[tuple[object, ...]]:
    """Lines with their number within the day and the extractions they were built from."""
    number: Counter[object] = Counter()
    for line in lines:
        number[line.usage_date] += 1
        cost, usage = found.cost_coverage.get(line.usage_date), found.usage_coverage.get(line.usage_date)
        yield (
            line.usage_date, number[line.usage_date], *line[1:],
            cost and cost.extraction_id, usage and usage.extraction_id,
        )  # fmt: skip

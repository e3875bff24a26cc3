"""Put the newer source beside the reports: the rows of `source_comparison`.

Of a tenant that is read from both, every day that is complete in both is compared with what the normalised tables
hold. Of one that is read from the newer source alone there is nothing to compare, and only the dollars kept out of
`cost_lines` are shown.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TypeVar
from uuid import UUID

import sqlalchemy as sa

from stax_pipeline.derive.cost_lines import CostLine
from stax_pipeline.derive.plain_rows import lines_of_table
from stax_pipeline.derive.source_comparison import Compared, Side, compare, set_aside_alone
from stax_pipeline.derive.usage_lines import UsageLine
from stax_pipeline.domain.extraction import DataSource, Report, Window
from stax_pipeline.domain.tenant import Tenant
from stax_pipeline.domain.time import State, day_state
from stax_pipeline.lake.raw import read_raw
from stax_pipeline.lake.store import Lake
from stax_pipeline.pipeline.batches import one_by_one
from stax_pipeline.pipeline.history import read_extraction
from stax_pipeline.pipeline.isolation import Outcome, Progress, Tally, no_progress, reason
from stax_pipeline.warehouse import tables
from stax_pipeline.warehouse.extractions import Extraction, covered, get_extraction, newest_by_day
from stax_pipeline.warehouse.publish import TableRows, read_days, replace_days

T = TypeVar("T", CostLine, UsageLine)
Part = tuple[Extraction, list[date], list[Compared]]


@dataclass(frozen=True, slots=True)
class Archive:
    """Where the rows come from: the warehouse's current days and the lake's pages."""

    connection: sa.Connection
    lake: Lake

    def side(self, extraction: Extraction, days: list[date]) -> Side:
        """What the extraction's raw pages say of these days."""
        found = read_extraction(self.lake, extraction, days)
        return Side(
            lines_of_table(found.cost_lines, CostLine),
            lines_of_table(found.usage_lines, UsageLine),
            lines_of_table(found.set_aside, CostLine),
        )

    def is_of_the_newer_source(self, extraction: Extraction) -> bool:
        """As the raw object says of itself."""
        header, _ = read_raw(self.lake, extraction.raw_uri or "", extraction.sha256)
        return any(query.is_analytics for query in header.queries)


def publish_comparison(
    engine: sa.Engine, lake: Lake, reads: DataSource, tenants: Sequence[Tenant], window: Window,
    progress: Progress = no_progress,
) -> Outcome:  # fmt: skip
    """Rewrite the tenants' comparable days; a day that cannot be compared now keeps the rows it has.

    `reads` is the source of tenants that have no setting of their own.
    """
    outcome = Outcome(tenants=len(tenants))
    tally = Tally(progress, len(tenants), 1)
    compared = [tenant for tenant in tenants if tenant.reads(reads) in FINDERS]
    for _ in range(len(tenants) - len(compared)):
        tally.tenant_without_work()

    def compare_one(connection: sa.Connection, tenant: Tenant) -> int:
        parts = FINDERS[tenant.reads(reads)](Archive(connection, lake), tenant, window)
        return sum(_write(connection, tenant, part) for part in parts)

    def refuse(tenant: Tenant, fault: Exception) -> None:
        outcome.failures[tenant.slug] = reason(fault, "comparing sources")
        tally.tenant_failed(0)

    for _tenant, rows in one_by_one(engine, "comparing sources", compared, compare_one, refuse):
        outcome.rows += rows
        tally.tenant_ended(0, failed=False, worked=rows > 0)
    return outcome


def _write(connection: sa.Connection, tenant: Tenant, part: Part) -> int:
    extraction, days, rows = part
    columns = [*Compared._fields, "analytics_extraction_id"]
    content = TableRows(tables.source_comparison, columns, (row + (extraction.extraction_id,) for row in rows))
    return replace_days(connection, tenant.tenant_id, days, [content])


def _compared(archive: Archive, tenant: Tenant, window: Window) -> Iterator[Part]:
    """Days complete in both sources, whose current rows are the reports'."""
    current = _days_of_the_reports(archive, tenant, window)
    for extraction, newest in newest_by_day(archive.connection, tenant.tenant_id, Report.ANALYTICS, window):
        days = [d for d in newest if d in current and day_state(d, extraction.extracted_at) is State.COMPLETE]
        if days:
            yield extraction, days, compare(_reports(archive.connection, tenant, days), archive.side(extraction, days))


def _set_aside(archive: Archive, tenant: Tenant, window: Window) -> Iterator[Part]:
    """Days whose current cost lines are the newer source's."""
    for extraction, days in _current(archive, tenant, Report.COST, window):
        if archive.is_of_the_newer_source(extraction):
            yield extraction, days, set_aside_alone(archive.side(extraction, days).set_aside)


def _days_of_the_reports(archive: Archive, tenant: Tenant, window: Window) -> set[date]:
    found = []
    for report in (Report.COST, Report.USAGE):
        state = covered(archive.connection, tenant.tenant_id, report, window)
        days = {
            day
            for extraction, held in _current(archive, tenant, report, window)
            if not archive.is_of_the_newer_source(extraction)
            for day in held
        }
        found.append({day for day in days if state[day].state == State.COMPLETE})
    return found[0] & found[1]


def _current(
    archive: Archive, tenant: Tenant, report: Report, window: Window
) -> Iterator[tuple[Extraction, list[date]]]:
    """The extractions that are current for some day of the window, each with those days."""
    by_extraction: dict[UUID, list[date]] = defaultdict(list)
    rows = covered(archive.connection, tenant.tenant_id, report, window)
    for day in sorted(rows):
        by_extraction[rows[day].extraction_id].append(day)
    for extraction_id, days in by_extraction.items():
        yield get_extraction(archive.connection, extraction_id), days


def _reports(connection: sa.Connection, tenant: Tenant, days: list[date]) -> Side:
    start, end = min(days), max(days) + timedelta(days=1)
    costs = read_days(connection, tables.cost_lines, CostLine._fields, tenant.tenant_id, start, end)
    usage = read_days(connection, tables.usage_lines, UsageLine._fields, tenant.tenant_id, start, end)
    return Side(_on(days, (CostLine(*row) for row in costs)), _on(days, (UsageLine(*row) for row in usage)))


def _on(days: list[date], lines: Iterable[T]) -> list[T]:
    chosen = set(days)
    return [line for line in lines if line.usage_date in chosen]


FINDERS: dict[DataSource, Callable[[Archive, Tenant, Window], Iterable[Part]]] = {
    DataSource.ANALYTICS: _set_aside,
    DataSource.BOTH: _compared,
}

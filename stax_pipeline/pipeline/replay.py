"""Rebuild a tenant's days from the raw pages that were kept: no network, and the same content but for times.

Extractions become current in the order and for the days in which they did when they came (`publications`); what was
refused then, or not yet judged, stays out. A tenant's days change in one transaction, from what they held to what they
hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import sqlalchemy as sa

from stax_pipeline.derive.cost_lines import CostLine
from stax_pipeline.derive.restatement import Later, Restatement, RestatementKind, restated_cost, restated_usage
from stax_pipeline.derive.usage_lines import KeyUsageLine, UsageLine
from stax_pipeline.domain.extraction import DataSource, Report, Window
from stax_pipeline.domain.tenant import Tenant
from stax_pipeline.lake.store import Lake
from stax_pipeline.pipeline.history import (
    Archive,
    count_by_day,
    coverage_of,
    dollar_restatements,
    later,
    read_costs,
    read_usages,
)
from stax_pipeline.pipeline.isolation import Outcome, Progress, Tally, reason
from stax_pipeline.pipeline.late_days import mark_not_reported
from stax_pipeline.pipeline.publish_comparison import publish_comparison
from stax_pipeline.pipeline.publish_organization import replay_organization
from stax_pipeline.pipeline.publish_spend import (
    Books,
    parts,
    publish_reconciliation,
    publish_spend,
    publish_spend_by_key,
)
from stax_pipeline.warehouse import tables
from stax_pipeline.warehouse.engine import plain_faults
from stax_pipeline.warehouse.extractions import Covered, Extraction, get_extractions
from stax_pipeline.warehouse.publication_log import Publication, builds_of, published
from stax_pipeline.warehouse.publish import TableRows, cover, lock_tenant, replace_days
from stax_pipeline.warehouse.restatements import drop_round_trips, replace_restatements


class StageProgress(Protocol):
    """Gives the progress of a named step, counted in `unit`."""

    def __call__(self, stage: str, unit: str = "tenant-days") -> Progress: ...


class _Fresh(NamedTuple):
    """Rows for one table, and the days for which they are all there is."""

    lines: list[Any]
    days: list[date]


def _costs(lake: Lake, extraction: Extraction, days: list[date]) -> tuple[_Fresh, ...]:
    return (_Fresh(read_costs(lake, extraction, days), days),)


def _usages(lake: Lake, extraction: Extraction, days: list[date]) -> tuple[_Fresh, ...]:
    found = read_usages(lake, extraction, days)
    return _Fresh(found.lines, days), _Fresh(found.by_key, found.key_days)


class _Kind(NamedTuple):
    """How a report is read back, compared with what it replaces, and into which tables its rows go."""

    report: Report
    restatements: RestatementKind
    read: Callable[[Lake, Extraction, list[date]], tuple[_Fresh, ...]]
    compare: Callable[[list[Any], list[Any], Later], list[Restatement]]
    into: tuple[tuple[sa.Table, tuple[str, ...]], ...]


COST = _Kind(
    Report.COST, RestatementKind.COST, _costs, restated_cost, ((tables.cost_lines, CostLine._fields),),
)  # fmt: skip
USAGE = _Kind(
    Report.USAGE, RestatementKind.USAGE, _usages, restated_usage,
    ((tables.usage_lines, UsageLine._fields), (tables.usage_by_key, KeyUsageLine._fields)),
)  # fmt: skip


@dataclass(slots=True)
class _Replayed:
    """One report of a tenant's days while its extractions are gone through: rows by table and day."""

    current: dict[date, Covered] = field(default_factory=dict)
    rows: list[dict[date, list[Any]]] = field(default_factory=list)
    restated: list[Restatement] = field(default_factory=list)


def replay(
    books: Books, reads: DataSource, tenants: Sequence[Tenant], window: Window, progress_of: StageProgress
) -> Iterator[Outcome]:
    """Rebuild every table over the window, step by step; `reads` as in `publish_comparison`."""
    yield replay_lines(books, tenants, window, progress_of("replaying reports"))
    yield replay_organization(books.engine, books.lake, tenants, progress_of("replaying names", "tenants"))
    yield publish_spend(books, tenants, window, progress_of("building spend"))[0]
    yield publish_spend_by_key(books, tenants, window, progress_of("building spend by key"))
    yield publish_reconciliation(books, tenants, window, progress_of("reconciling"))
    yield publish_comparison(
        books.engine, books.lake, reads, tenants, window, progress_of("comparing sources", "tenants")
    )


def replay_lines(books: Books, tenants: Sequence[Tenant], window: Window, progress: Progress) -> Outcome:
    """Rebuild cost lines, usage lines and usage by key, with their coverage and restatements."""
    outcome = Outcome(tenants=len(tenants))
    tally = Tally(progress, len(tenants), len(window.days))
    for tenant in tenants:
        counted = 0
        try:
            for part in parts(window):
                with plain_faults(f"tenant {tenant.slug}: replaying"), books.engine.begin() as connection:
                    lock_tenant(connection, tenant.tenant_id)
                    outcome.rows += sum(_replay(connection, books, tenant, part, kind) for kind in (USAGE, COST))
                    _replay_dollars(connection, books, tenant, part)
                counted += len(part.days)
                tally.step(len(part.days))
        except Exception as fault:
            outcome.failures[tenant.slug] = reason(fault, "replaying")
            tally.tenant_failed(counted)
        else:
            tally.tenant_done(counted)
    return outcome


def _replay(connection: sa.Connection, books: Books, tenant: Tenant, part: Window, kind: _Kind) -> int:
    found = _Replayed(rows=[{} for _ in kind.into])
    publications = published(connection, tenant.tenant_id, kind.report, part)
    extractions = get_extractions(connection, [publication.extraction_id for publication in publications])
    for publication in publications:
        _go_through(found, extractions[publication.extraction_id], publication, books, kind)
    covering = sorted(found.current.values(), key=lambda row: row.usage_date)
    cover(connection, tenant.tenant_id, kind.report, part.days, covering)
    mark_not_reported(connection, tenant, kind.report, part)
    replace_restatements(connection, tenant.tenant_id, part.days, kind.restatements, found.restated)
    content = [
        TableRows(table, [*columns, "extraction_id"], _named(by_day, found.current))
        for (table, columns), by_day in zip(kind.into, found.rows, strict=True)
    ]
    return replace_days(connection, tenant.tenant_id, part.days, content)


def _replay_dollars(connection: sa.Connection, books: Books, tenant: Tenant, part: Window) -> None:
    """What changed usage and changed prices restated, once more."""
    changes = [pair for known in builds_of(connection, tenant.tenant_id, part).values() for pair in pairwise(known)]
    found = dollar_restatements(Archive(connection, books.lake, books.settle), tenant, part, changes)
    for restated in (RestatementKind.USAGE_DOLLARS, RestatementKind.PRICE):
        of_kind = [row for row in found if row.kind == restated]
        replace_restatements(connection, tenant.tenant_id, part.days, restated, of_kind)
    drop_round_trips(connection, tenant.tenant_id, part.days)


def _go_through(
    found: _Replayed, extraction: Extraction, publication: Publication, books: Books, kind: _Kind
) -> None:  # fmt: skip
    """Let the extraction become current for its days, as it did when it was published."""
    days = publication.days
    fresh = kind.read(books.lake, extraction, days)
    before = {day: found.current[day] for day in days if day in found.current}
    old = [line for day in before for line in found.rows[0].get(day, ())]
    found.restated += kind.compare(old, fresh[0].lines, later(extraction, publication.published_at, before))
    for by_day, (lines, whole) in zip(found.rows, fresh, strict=True):
        by_day.update({day: [] for day in whole})
        for line in lines:
            by_day[line.usage_date].append(line)
    covering = coverage_of(extraction, days, count_by_day(fresh[0].lines), books.settle, fresh[-1].days)
    found.current.update((row.usage_date, row) for row in covering)


def _named(by_day: dict[date, list[Any]], current: dict[date, Covered]) -> Iterable[tuple[Any, ...]]:
    return (line + (current[day].extraction_id,) for day, lines in by_day.items() for line in lines)

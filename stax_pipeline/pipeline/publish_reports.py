"""Publish extractions in the order they were recorded: cost lines, usage lines, usage by key, coverage, restatements.

Extractions that cannot be published (they do not parse, changed their unit, or shrink a settled day) keep their raw
pages and get the reason; the tenant's last good rows stay.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import TypeVar

import sqlalchemy as sa

from stax_pipeline.derive.cost_lines import CostLine
from stax_pipeline.derive.guards import (
    DOLLARS,
    days_without_cost,
    grouping_fault,
    settled_days,
    shrink_reason,
    shrunk_days,
    unit_fault,
)
from stax_pipeline.derive.restatement import restated_cost, restated_usage
from stax_pipeline.derive.usage_lines import KeyUsageLine, UsageLine
from stax_pipeline.domain.errors import ContractBroken, TenantStopped
from stax_pipeline.domain.extraction import Report, Window
from stax_pipeline.domain.money import EXACT
from stax_pipeline.domain.tenant import Tenant
from stax_pipeline.domain.time import is_old_enough_to_settle
from stax_pipeline.lake.raw import refuse_raw
from stax_pipeline.lake.store import Lake
from stax_pipeline.pipeline.history import (
    count_by_day,
    coverage_of,
    later,
    read_cost_lines,
    read_costs,
    read_key_usage_lines,
    read_usage_lines,
    read_usages,
)
from stax_pipeline.pipeline.isolation import Outcome, Progress, Tally, no_progress, reason
from stax_pipeline.pipeline.late_days import mark_not_reported
from stax_pipeline.warehouse import tables
from stax_pipeline.warehouse.agreements import read_terms
from stax_pipeline.warehouse.engine import plain_faults
from stax_pipeline.warehouse.extractions import Covered, Extraction, covered, marks, newer_for, set_error, unpublished
from stax_pipeline.warehouse.prices import LatestBook
from stax_pipeline.warehouse.publication_log import Publication, add_publication, now
from stax_pipeline.warehouse.publish import TableRows, cover, lock_tenant, replace_days
from stax_pipeline.warehouse.restatements import add_restatements

Line = TypeVar("Line", CostLine, UsageLine, KeyUsageLine)


@dataclass(frozen=True, slots=True)
class Stores:
    """Where normalised rows come from and go to, and the rules of this installation."""

    engine: sa.Engine
    lake: Lake
    settle: timedelta
    accept_shrink: bool = False
    book: LatestBook = field(default_factory=LatestBook)


class Shrunk(TenantStopped):
    """A settled day lost more than half of its figure: kept raw, not published unless accepted."""


class UnitMismatch(TenantStopped):
    """Reported dollars and priced tokens are far apart: the source must have changed its unit."""


def publish_cost(
    stores: Stores, tenants: Sequence[Tenant], window: Window, progress: Progress = no_progress
) -> Outcome:
    """Cost lines of what was not published yet, after the unit guard and the shrink guard."""
    outcome = Outcome(tenants=len(tenants))
    tally = Tally(progress, len(tenants), len(window.days))
    for tenant in tenants:
        work = _unpublished(stores, tenant, Report.COST, window)
        counted = 0
        for extraction, days in work:
            try:
                outcome.rows += _publish_cost(stores, tenant, extraction, days, outcome)
            except Exception as fault:
                _refuse(stores, tenant, extraction, fault, outcome)
            else:
                counted += len(days)
                tally.step(len(days))
        _note_late_days(stores, tenant, Report.COST, window)
        tally.tenant_ended(counted, failed=tenant.slug in outcome.failures, worked=bool(work))
    return outcome


def publish_usage(
    stores: Stores, tenants: Sequence[Tenant], window: Window, progress: Progress = no_progress
) -> Outcome:
    """Usage lines and usage by key of what was not published yet, in one transaction."""
    outcome = Outcome(tenants=len(tenants))
    tally = Tally(progress, len(tenants), len(window.days))
    for tenant in tenants:
        work = _unpublished(stores, tenant, Report.USAGE, window)
        counted = 0
        for extraction, days in work:
            try:
                outcome.rows += _publish_usage(stores, tenant, extraction, days)
            except Exception as fault:
                _refuse(stores, tenant, extraction, fault, outcome)
            else:
                counted += len(days)
                tally.step(len(days))
        _note_late_days(stores, tenant, Report.USAGE, window)
        tally.tenant_ended(counted, failed=tenant.slug in outcome.failures, worked=bool(work))
    return outcome


def _unpublished(stores: Stores, tenant: Tenant, report: Report, window: Window) -> list[tuple[Extraction, list[date]]]:
    with plain_faults(f"tenant {tenant.slug}: looking for extractions"), stores.engine.begin() as connection:
        return unpublished(connection, tenant.tenant_id, report, window)


def _note_late_days(stores: Stores, tenant: Tenant, report: Report, window: Window) -> None:
    with plain_faults(f"tenant {tenant.slug}: noting late days"), stores.engine.begin() as connection:
        lock_tenant(connection, tenant.tenant_id)
        mark_not_reported(connection, tenant, report, window)


def _publish_cost(stores: Stores, tenant: Tenant, extraction: Extraction, days: list[date], outcome: Outcome) -> int:
    lines = read_costs(stores.lake, extraction, days)
    columns = [*CostLine._fields, "extraction_id"]
    with plain_faults(f"tenant {tenant.slug}: publishing cost lines"), stores.engine.begin() as connection:
        lock_tenant(connection, tenant.tenant_id)
        days, before = _publishable(connection, extraction, days)
        if not days:
            return 0
        fresh = _of(days, lines)
        held = _of(days, read_cost_lines(connection, tenant, _span(days)))
        usage = read_usage_lines(connection, tenant, _span(days))
        if fault := unit_fault(fresh, usage, read_terms(connection, tenant.tenant_id, stores.book.read(connection))):
            raise UnitMismatch(fault)
        moments = dict.fromkeys(days, extraction.extracted_at)
        if fault := grouping_fault(fresh, usage, settled_days(moments, fresh, usage, stores.settle)):
            raise ContractBroken(fault)
        if not stores.accept_shrink:
            held_at = {day: old.extracted_at for day, old in before.items()}
            settled = settled_days(held_at, held, usage, stores.settle)
            _refuse_shrink(tenant, _charges(held), _charges(fresh), settled, DOLLARS)
        moment = now(connection)
        changes = restated_cost(held, fresh, later(extraction, moment, before))
        add_restatements(connection, tenant.tenant_id, changes)
        rows = _named(fresh, extraction)
        written = replace_days(connection, tenant.tenant_id, days, [TableRows(tables.cost_lines, columns, rows)])
        report = Report(extraction.report)
        covering = coverage_of(extraction, days, count_by_day(fresh), stores.settle)
        cover(connection, tenant.tenant_id, report, days, covering)
        add_publication(connection, tenant.tenant_id, report, Publication(moment, extraction.extraction_id, days))
    _note_missing_cost(outcome, tenant, days_without_cost(moments, fresh, usage, stores.settle))
    return written


def _note_missing_cost(outcome: Outcome, tenant: Tenant, days: list[date]) -> None:
    if days:
        more = f" and {len(days) - 3} more days" if len(days) > 3 else ""
        named = ", ".join(map(str, days[:3])) + more
        outcome.find(tenant.slug, f"cost missing for {named}: not settled, the tokens are estimated until it comes")


def _publish_usage(stores: Stores, tenant: Tenant, extraction: Extraction, days: list[date]) -> int:
    lines, by_key, key_days = read_usages(stores.lake, extraction, days)
    with plain_faults(f"tenant {tenant.slug}: publishing usage lines"), stores.engine.begin() as connection:
        lock_tenant(connection, tenant.tenant_id)
        days, before = _publishable(connection, extraction, days)
        if not days:
            return 0
        fresh = _of(days, lines)
        key_days = [day for day in key_days if day in days]
        held = _of(days, read_usage_lines(connection, tenant, _span(days)))
        if not stores.accept_shrink:
            settled = frozenset(
                day for day, old in before.items() if is_old_enough_to_settle(day, old.extracted_at, stores.settle)
            )
            _refuse_shrink(tenant, _tokens(held), _tokens(fresh), settled, "tokens")
            held_by_key = _of(key_days, read_key_usage_lines(connection, tenant, _span(days)))
            _refuse_shrink(tenant, _tokens(held_by_key), _tokens(_of(key_days, by_key)), settled, "tokens by key")
        moment = now(connection)
        changes = restated_usage(held, fresh, later(extraction, moment, before))
        add_restatements(connection, tenant.tenant_id, changes)
        rows = TableRows(tables.usage_lines, [*UsageLine._fields, "extraction_id"], _named(fresh, extraction))
        keyed = TableRows(tables.usage_by_key, [*KeyUsageLine._fields, "extraction_id"], _named(by_key, extraction))
        written = replace_days(connection, tenant.tenant_id, days, [rows])
        written += replace_days(connection, tenant.tenant_id, key_days, [keyed])
        report = Report(extraction.report)
        covering = coverage_of(extraction, days, count_by_day(fresh), stores.settle, key_days)
        cover(connection, tenant.tenant_id, report, days, covering)
        add_publication(connection, tenant.tenant_id, report, Publication(moment, extraction.extraction_id, days))
    return written


def _of(days: list[date], lines: Iterable[Line]) -> list[Line]:
    chosen = set(days)
    return [line for line in lines if line.usage_date in chosen]


def _span(days: list[date]) -> Window:
    return Window(min(days), max(days) + timedelta(days=1))


def _named(lines: Iterable[tuple[object, ...]], extraction: Extraction) -> Iterable[tuple[object, ...]]:
    return (line + (extraction.extraction_id,) for line in lines)


def _publishable(
    connection: sa.Connection, extraction: Extraction, days: list[date]
) -> tuple[list[date], dict[date, Covered]]:
    """The days for which nothing as new is current, read under the tenant's lock, and what is current."""
    who = extraction.tenant_id, Report(extraction.report), _span(days)
    return newer_for(extraction, days, marks(connection, *who)), covered(connection, *who)


def _refuse_shrink(
    tenant: Tenant, before: dict[date, Decimal], after: dict[date, Decimal], settled: frozenset[date], what: str
) -> None:
    if days := shrunk_days(before, after, settled):
        raise Shrunk(shrink_reason(tenant.slug, days, before, after, what))


def _charges(lines: Iterable[CostLine]) -> dict[date, Decimal]:
    """What is charged by day, in USD: a credit is no loss of data."""
    totals: dict[date, Decimal] = defaultdict(Decimal)
    for line in lines:
        totals[line.usage_date] = EXACT.add(totals[line.usage_date], max(line.amount_usd, Decimal(0)))
    return totals


def _tokens(lines: Iterable[UsageLine | KeyUsageLine]) -> dict[date, Decimal]:
    totals: dict[date, Decimal] = defaultdict(Decimal)
    for line in lines:
        totals[line.usage_date] += sum(line.counts[:5])
    return totals


def _refuse(stores: Stores, tenant: Tenant, extraction: Extraction, fault: Exception, outcome: Outcome) -> None:
    """Name the reason. An extraction whose content is at fault no longer counts; a failing disk or database, or a
    damaged object that can be restored, is not its fault: the next sync publishes it.
    """
    why = reason(fault, f"publishing {extraction.report}")
    outcome.failures[tenant.slug] = why
    if isinstance(fault, TenantStopped):
        with plain_faults(f"tenant {tenant.slug}: recording a fault"), stores.engine.begin() as connection:
            lock_tenant(connection, tenant.tenant_id)
            refused = set_error(connection, extraction.extraction_id, why)
        if refused and extraction.raw_uri:
            try:
                refuse_raw(stores.lake, extraction.raw_uri, why)
            except OSError as broken:
                outcome.failures[tenant.slug] = f"{why} (the lake could not note it: {broken.strerror})"

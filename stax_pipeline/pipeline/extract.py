"""Fetch one report for many tenants: concurrently, bounded, each tenant's pages kept and recorded whatever happens.

An extraction counts only when all its queries ended. What arrived before a fault is kept raw all the same, with the
fault's reason, so that it can be looked at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import partial
from math import ceil
from uuid import UUID

import sqlalchemy as sa

from stax_pipeline.anthropic import AdminApi, OrganizationSession
from stax_pipeline.anthropic.analytics_queries import (
    analytics_cost_queries,
    analytics_usage_queries,
    answerable,
    comparison_queries,
    out_of_reach,
)
from stax_pipeline.anthropic.queries import MAX_BUCKETS, cost_query, organization_queries, usage_queries
from stax_pipeline.domain.extraction import DataSource, Query, Report, Window
from stax_pipeline.domain.tenant import Tenant
from stax_pipeline.domain.time import begun, completed
from stax_pipeline.keys.tenant_keys import OpenedKey
from stax_pipeline.lake.store import Lake
from stax_pipeline.pipeline.arrived import Arrived
from stax_pipeline.pipeline.beside import beside
from stax_pipeline.pipeline.extraction_record import ExtractionResult, RunningExtraction, store
from stax_pipeline.pipeline.identities import Identities, days_of_names
from stax_pipeline.pipeline.isolation import Outcome, Progress, Tally, no_progress, reason
from stax_pipeline.pipeline.parent_organization import without_tenant
from stax_pipeline.pipeline.recorder import Kept, Recorder, recording
from stax_pipeline.pipeline.run_queries import Partial, excerpt_of, read_available_days
from stax_pipeline.warehouse.engine import plain_faults


@dataclass(frozen=True, slots=True)
class Source:
    """Where pages come from and where they go. `open_key` decrypts one tenant's key, in memory.

    `reads` says which of Anthropic's two sources cost and usage come from, for tenants that have no setting of their
    own. `identities` lasts as long as the run.
    No tenant may take longer than `tenant_seconds` for one report: a source that drips must not hold the others up.
    """

    api: AdminApi
    engine: sa.Engine
    lake: Lake
    open_key: Callable[[Tenant], OpenedKey]
    run_id: str
    tenant_seconds: float = 900.0
    reads: DataSource = DataSource.REPORTS
    arrived: Arrived = field(default_factory=Arrived)
    identities: Identities = field(default_factory=Identities)

    def is_newer(self, report: Report, tenant: Tenant) -> bool:
        """Whether the tenant's `report` is read from the analytics endpoints."""
        in_use = tenant.reads(self.reads) is DataSource.ANALYTICS and report is not Report.ORGANIZATION
        return in_use or report is Report.ANALYTICS

    def asks(self, report: Report, tenant: Tenant) -> bool:
        """Whether the tenant's `report` is fetched at all: a comparison only where it is wanted and can be had."""
        is_compared = tenant.reads(self.reads) is DataSource.BOTH and not tenant.newer_source_refused_at
        return is_compared or report is not Report.ANALYTICS


@dataclass(frozen=True, slots=True)
class _Fetching:
    """One report over a window, for many tenants. `names_of` has the days of lists of names that are held already."""

    source: Source
    report: Report
    window: Window
    names_of: dict[UUID, date]
    outcome: Outcome
    tally: Tally


async def extract(
    source: Source, report: Report, tenants: Sequence[Tenant], window: Window, concurrency: int,
    progress: Progress = no_progress,
) -> Outcome:  # fmt: skip
    """Fetch `report` over `window` for every tenant; failures are recorded and told, never raised."""
    outcome = Outcome(tenants=len(tenants))
    asked = [tenant for tenant in tenants if source.asks(report, tenant)]
    names_of = await asyncio.to_thread(_names_held, source, asked) if report is Report.ORGANIZATION else {}
    asked = [t for t in asked if t.tenant_id not in names_of or names_of[t.tenant_id] != source.identities.today(t)]
    waiting = iter(asked)
    share = max((_pages_to_expect(source, report, tenant, window) for tenant in asked), default=0)
    tally = Tally(progress, len(asked), share)
    fetching = _Fetching(source, report, window, names_of, outcome, tally)

    async def work(recorder: Recorder) -> None:
        for tenant in waiting:
            await _extract_one(fetching, recorder, tenant)

    try:
        async with (
            recording(source.engine, source.lake, source.run_id, report, partial(_tell, fetching)) as recorder,
            asyncio.TaskGroup() as group,
        ):
            for _ in range(min(concurrency, len(asked))):
                group.create_task(work(recorder))
    except ExceptionGroup as stopped:  # what stops the run is told as it is, not as a group of one
        raise _first(stopped) from None
    return outcome


def _first(stopped: BaseException) -> BaseException:
    return _first(stopped.exceptions[0]) if isinstance(stopped, BaseExceptionGroup) else stopped


def _names_held(source: Source, tenants: Sequence[Tenant]) -> dict[UUID, date]:
    with plain_faults("looking for lists of names"), source.engine.connect() as connection:
        return days_of_names(connection, tenants)


def _pages_to_expect(source: Source, report: Report, tenant: Tenant, window: Window) -> int:
    """Full pages over the window, every query: what progress is measured against."""
    is_newer = source.is_newer(report, tenant)
    is_one_page = report is Report.ORGANIZATION or is_newer
    each = 1 if is_one_page else ceil(len(window.days) / MAX_BUCKETS)
    return len(_queries(report, is_newer, window)) * each


async def _extract_one(fetching: _Fetching, recorder: Recorder, tenant: Tenant) -> None:
    """Fetch and keep one tenant's report, and have it recorded; of an empty window nothing is kept."""
    source, report = fetching.source, fetching.report
    extraction, result = await _fetch(fetching, tenant)
    if missing := result.fault or extraction.missing:
        fetching.outcome.failures[tenant.slug] = missing
    if not (result.fault or extraction.window):
        fetching.tally.tenant_done(0)
        return

    def keep() -> None:
        row = store(source.lake, source.run_id, report, tenant, extraction, result.fault)
        recorder.add(Kept(tenant, extraction, result, row))

    try:
        await beside(keep)
    except Exception as error:
        fetching.outcome.failures[tenant.slug] = reason(error, f"keeping {report}")
        fetching.tally.tenant_failed(extraction.raw.pages)
        return
    await recorder.flush_if_full()


def _tell(fetching: _Fetching, kept: Kept, fault: Exception | None) -> None:
    """Note how a tenant's report ended, now that it is recorded or cannot be."""
    outcome, tally, pages = fetching.outcome, fetching.tally, kept.extraction.raw.pages
    if fault:
        outcome.failures[kept.tenant.slug] = reason(fault, f"keeping {fetching.report}")
    else:
        outcome.rows += kept.row.rows
        if kept.extraction.normalised and not kept.result.fault:
            fetching.source.arrived.put(kept.row.extraction_id, kept.extraction.normalised)
    if kept.tenant.slug in outcome.failures:
        tally.tenant_failed(pages)
    else:
        tally.tenant_done(pages)


async def _fetch(fetching: _Fetching, tenant: Tenant) -> tuple[RunningExtraction, ExtractionResult]:
    """What came, and how it ended; what is odd about it is found."""
    source, report, outcome = fetching.source, fetching.report, fetching.outcome
    extraction, ended = RunningExtraction(fetching.window), ExtractionResult()
    session: OrganizationSession | None = None
    try:
        async with asyncio.timeout(source.tenant_seconds):
            opened = await asyncio.to_thread(source.open_key, tenant)
            ended = ExtractionResult(generation=opened.generation)
            session = source.api.session(opened.key)
            me = await source.identities.of(session, tenant, opened.generation)
            is_newer = source.is_newer(report, tenant)
            if is_newer and (early := out_of_reach(fetching.window, me.server_date)):
                outcome.find(tenant.slug, early)
            days = _answerable(report, is_newer, fetching.window, me.server_date)
            if fetching.names_of.get(tenant.tenant_id) == days.start:
                days = Window(days.start, days.start)
            extraction = RunningExtraction(days, me.organization_id, tally=fetching.tally)
            if extraction.window:
                queries_of = partial(_queries, report, is_newer)
                extraction = await read_available_days(session, queries_of, extraction, me.server_date.date())
            outcome.find(tenant.slug, *session.notices, *extraction.findings)
            if extraction.children:
                outcome.find(tenant.slug, *await asyncio.to_thread(without_tenant, source.engine, extraction.children))
    except TimeoutError:
        late = f"{report} took longer than {source.tenant_seconds:.0f} seconds; nothing of it counts, sync again"
        ended = ended._replace(fault=late)
    except Partial as cut:
        extraction, ended = cut.extraction, ended._replace(fault=str(cut), kind=cut.kind)
    except Exception as error:
        extraction.excerpt = excerpt_of(error)
        ended = ended._replace(fault=reason(error, f"extracting {report}"), kind=type(error))
    outcome.retries += session.retries if session else 0
    return extraction, ended


def _answerable(report: Report, is_newer: bool, window: Window, server_now: datetime) -> Window:
    """The days the source answers for at its own clock. `organization` has no usage date: its day stands for it."""
    if report is Report.ORGANIZATION:
        return Window(server_now.date(), server_now.date() + timedelta(days=1))
    days = begun(window, server_now) if report is Report.USAGE else completed(window, server_now)
    return answerable(days, server_now) if is_newer else days


def _queries(report: Report, is_newer: bool, window: Window) -> Sequence[Query]:
    if report is Report.ORGANIZATION:
        return tuple(organization_queries())
    if report is Report.ANALYTICS:
        return tuple(comparison_queries(window))
    if is_newer:
        return tuple(analytics_cost_queries(window) if report is Report.COST else analytics_usage_queries(window))
    return (cost_query(window),) if report is Report.COST else usage_queries(window)

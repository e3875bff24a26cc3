"""Fetch one report for many tenants: concurrently, bounded, each tenant's pages kept and recorded whatever happens.

An extraction counts only when all its readings ended. What arrived before a fault is kept raw all the same, with the
fault's reason, so that it can be looked at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from math import ceil

import sqlalchemy as sa

from stax_pipeline.domain.analytics_queries import (
    analytics_cost_queries,
    analytics_usage_queries,
    answerable,
    comparison_queries,
    out_of_reach,
)
from stax_pipeline.domain.errors import (
    ContractBroken,
    KeyRejected,
    RequestRejected,
    TenantStopped,
)
from stax_pipeline.domain.extraction import (
    MAX_BUCKETS,
    DataSource,
    Query,
    Reading,
    Report,
    Window,
    cost_query,
    organization_queries,
    usage_queries,
)
from stax_pipeline.domain.time import begun, completed
from stax_pipeline.domain.usage import NegativeSpeedDifference
from stax_pipeline.resources.admin_api import (
    AdminApi,
    OrganizationSession,
    PageTokenExpired,
    RestatedWhileReading,
    StrangeAnswer,
    WhoAmI,
)
from stax_pipeline.resources.lake.store import Lake
from stax_pipeline.resources.tenant_secrets import OpenedKey
from stax_pipeline.resources.warehouse.tenants import Tenant
from stax_pipeline.steps.fetched import Fetched, Verdict, keep
from stax_pipeline.steps.isolation import Outcome, Progress, Tally, no_progress, reason

READ_AGAIN = (PageTokenExpired, RestatedWhileReading, NegativeSpeedDifference)


@dataclass(frozen=True, slots=True)
class Source:
    """Where pages come from and where they go. `open_key` decrypts one tenant's key, in memory.

    `reads` says which of Anthropic's two sources cost and usage come from.
    No tenant may take longer than `tenant_seconds` for one report: a source that drips must not hold the others up.
    """

    api: AdminApi
    engine: sa.Engine
    lake: Lake
    open_key: Callable[[Tenant], OpenedKey]
    run_id: str
    tenant_seconds: float = 900.0
    reads: DataSource = DataSource.REPORTS

    def is_newer(self, report: Report) -> bool:
        """Whether `report` is read from the analytics endpoints."""
        in_use = self.reads is DataSource.ANALYTICS and report is not Report.ORGANIZATION
        return in_use or report is Report.ANALYTICS


async def extract(
    source: Source, report: Report, tenants: Sequence[Tenant], window: Window, concurrency: int,
    progress: Progress = no_progress,
) -> Outcome:  # fmt: skip
    """Fetch `report` over `window` for every tenant; failures are recorded and told, never raised."""
    outcome = Outcome(tenants=len(tenants))
    waiting = iter(tenants)
    tally = Tally(progress, len(tenants), _pages_to_expect(source, report, window))

    async def work() -> None:
        for tenant in waiting:
            pages = await _extract_one(source, report, tenant, window, outcome, tally)
            tally.tenant_done(pages)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(concurrency, len(tenants))):
                group.create_task(work())
    except ExceptionGroup as stopped:  # what stops the run is told as it is, not as a group of one
        raise stopped.exceptions[0] from None
    return outcome


def _pages_to_expect(source: Source, report: Report, window: Window) -> int:
    """Full pages over the window, every reading: what progress is measured against."""
    is_one_page = report is Report.ORGANIZATION or source.is_newer(report)
    each = 1 if is_one_page else ceil(len(window.days) / MAX_BUCKETS)
    return len(_queries(source, report, window)) * each


async def _extract_one(
    source: Source, report: Report, tenant: Tenant, window: Window, outcome: Outcome, tally: Tally
) -> int:
    """Fetch, keep and record one tenant's report; returns how many pages were counted."""
    fetched = Fetched(window)
    fault: str | None = None
    rejected = False
    generation = 0
    session: OrganizationSession | None = None
    try:
        async with asyncio.timeout(source.tenant_seconds):
            opened = await asyncio.to_thread(source.open_key, tenant)
            generation = opened.generation
            session = source.api.session(opened.key)
            me = await session.whoami()
            _require_same_organization(tenant, me)
            if source.is_newer(report) and (early := out_of_reach(window, me.server_date)):
                outcome.find(tenant.slug, early)
            days = _answerable(source, report, window, me.server_date)
            fetched = Fetched(days, me.organization_id, tally=tally)
            if fetched.window:
                fetched = await _read_twice_at_most(session, _queries(source, report, days), fetched)
            outcome.find(tenant.slug, *session.notices, *fetched.findings)
    except TimeoutError:
        fault = f"{report} took longer than {source.tenant_seconds:.0f} seconds; nothing of it counts, sync again"
    except _Partial as partial:
        fetched, fault, rejected = partial.fetched, str(partial), partial.rejected
    except Exception as error:
        fault, rejected = reason(error, f"extracting {report}"), isinstance(error, KeyRejected)
        fetched.excerpt = _excerpt(error)
    if fault:
        outcome.failures[tenant.slug] = fault
    outcome.retries += session.retries if session else 0
    try:
        verdict = Verdict(fault, rejected, generation)
        outcome.rows += await asyncio.to_thread(
            keep, source.engine, source.lake, source.run_id, report, tenant, fetched, verdict
        )
    except Exception as error:
        outcome.failures[tenant.slug] = reason(error, f"keeping {report}")
    return fetched.raw.pages


class _Partial(Exception):
    """A fault, with the pages that came before it."""

    def __init__(self, fault: str, fetched: Fetched, rejected: bool) -> None:
        super().__init__(fault)
        self.fetched = fetched
        self.rejected = rejected


def _excerpt(error: Exception) -> str:
    return error.excerpt if isinstance(error, StrangeAnswer) else ""


def _require_same_organization(tenant: Tenant, me: WhoAmI) -> None:
    if me.organization_id != tenant.organization_id:
        raise ContractBroken(
            f"the stored key belongs to another organisation ({me.name!r}) than the tenant's; "
            f"`stax rotate-key {tenant.slug}` with a key of the right one"
        )


def _answerable(source: Source, report: Report, window: Window, server_now: datetime) -> Window:
    """The days the source answers for at its own clock. `organization` has no usage date: its day stands for it."""
    if report is Report.ORGANIZATION:
        return Window(server_now.date(), server_now.date() + timedelta(days=1))
    days = begun(window, server_now) if report is Report.USAGE else completed(window, server_now)
    return answerable(days, server_now) if source.is_newer(report) else days


def _queries(source: Source, report: Report, window: Window) -> Sequence[Query]:
    if report is Report.ORGANIZATION:
        return tuple(organization_queries())
    if report is Report.ANALYTICS:
        return tuple(comparison_queries(window))
    if source.is_newer(report):
        return tuple(analytics_cost_queries(window) if report is Report.COST else analytics_usage_queries(window))
    return (cost_query(window),) if report is Report.COST else usage_queries(window)


async def _read_twice_at_most(session: OrganizationSession, queries: Sequence[Query], empty: Fetched) -> Fetched:
    """Read the window; once more from the start when the source changed under the reading."""
    try:
        return await _read_window(session, queries, empty, READ_AGAIN)
    except READ_AGAIN as fault:
        again = f"read twice: {fault}"
    if empty.tally:
        empty.tally.step(-empty.raw.pages)
    fresh = Fetched(empty.window, empty.organization_id, findings=[again], tally=empty.tally)
    return await _read_window(session, queries, fresh, ())


async def _read_window(
    session: OrganizationSession, queries: Sequence[Query], fetched: Fetched, passed_on: tuple[type[TenantStopped], ...]
) -> Fetched:
    """All readings of the window, parsed once to prove them readable; faults other than `passed_on` keep the pages."""
    try:
        for reading, parts in groupby(queries, key=lambda query: query.reading):
            if all([await _read_reading(session, query, fetched) for query in parts]):
                fetched.readings.append(reading)
        fetched.finish()
    except passed_on:
        raise
    except TenantStopped as error:
        fault, rejected = str(error), isinstance(error, KeyRejected)
        fetched.excerpt = _excerpt(error)
    else:
        return fetched
    raise _Partial(fault, fetched, rejected)


async def _read_reading(session: OrganizationSession, query: Query, fetched: Fetched) -> bool:
    """Walk one reading; False where the source refuses the `fast` filter's beta header."""
    try:
        async for page in session.walk(query):
            fetched.add(page)
    except RequestRejected as refused:
        if query.reading is not Reading.FAST or refused.status != 400:
            raise
        fetched.findings.append(f"speed is unknown: the source refused the fast reading ({refused})")
        return False
    return True

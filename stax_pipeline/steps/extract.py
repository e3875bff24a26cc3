"""Fetch one report for many tenants: concurrently, bounded, each tenant's pages kept and recorded whatever happens.

An extraction counts only when all its readings ended. What arrived before a fault is kept raw all the same, with the
fault's reason, so that it can be looked at.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import NamedTuple
from uuid import uuid4

import sqlalchemy as sa

from stax_pipeline import __version__
from stax_pipeline.domain.errors import (
    CannotStart,
    ContractBroken,
    KeyRejected,
    RequestRejected,
    StaxError,
    TenantStopped,
)
from stax_pipeline.domain.extraction import (
    MAX_BUCKETS,
    Query,
    RawPage,
    Reading,
    Report,
    Window,
    cost_query,
    organization_queries,
    usage_queries,
)
from stax_pipeline.domain.readings import UsageReader
from stax_pipeline.domain.time import begun, completed, day_end
from stax_pipeline.domain.usage import NegativeSpeedDifference, disagreements
from stax_pipeline.resources.admin_api import (
    AdminApi,
    OrganizationSession,
    PageTokenExpired,
    RestatedWhileReading,
    WhoAmI,
)
from stax_pipeline.resources.lake.raw import RawHeader, RawWriter, store_raw
from stax_pipeline.resources.lake.store import Lake
from stax_pipeline.resources.tenant_secrets import OpenedKey
from stax_pipeline.resources.warehouse.engine import plain_faults
from stax_pipeline.resources.warehouse.extractions import Extraction, record
from stax_pipeline.resources.warehouse.tenants import KEY_REJECTED, Tenant, note_accepted, note_rejected
from stax_pipeline.steps.isolation import Outcome, Progress, Tally, no_progress, reason

READ_AGAIN = (PageTokenExpired, RestatedWhileReading, NegativeSpeedDifference)


@dataclass(frozen=True, slots=True)
class Source:
    """Where pages come from and where they go. `open_key` decrypts one tenant's key, in memory.

    No tenant may take longer than `tenant_seconds` for one report: a source that drips must not hold the others up.
    """

    api: AdminApi
    engine: sa.Engine
    lake: Lake
    open_key: Callable[[Tenant], OpenedKey]
    run_id: str
    tenant_seconds: float = 900.0


@dataclass(slots=True)
class Fetched:
    """The pages of one extraction while it runs."""

    window: Window
    organization_id: str = ""
    moment: datetime | None = None
    raw: RawWriter = field(default_factory=RawWriter)
    readings: list[Reading] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    rows: int = 0
    tally: Tally | None = None
    proof: UsageReader = field(init=False)

    def __post_init__(self) -> None:
        self.proof = UsageReader(self.window)

    def add(self, page: RawPage) -> None:
        """Keep a page, then read it once to prove it readable. Raises ContractBroken."""
        if self.tally:
            self.tally.step()
        self.moment = min(self.moment or page.server_date, page.server_date)
        self.raw.add(page)
        self.rows += page.rows
        if page.reading is Reading.COST:
            self.proof.cost(page)
        elif page.reading in (Reading.ALL, Reading.FAST, Reading.BY_KEY):
            self.proof.add(page)

    def finish(self) -> None:
        """Note what is odd about the whole. Raises NegativeSpeedDifference."""
        self.findings += _unknown(self.proof.unknown)
        moment = self.moment or datetime.now(UTC)
        apart = {day for day, _ in disagreements(self.proof.lines(), self.proof.by_key()) if day_end(day) <= moment}
        if apart:
            days = ", ".join(day.isoformat() for day in sorted(apart))
            self.findings.append(f"readings all and by_key disagree on {days}")


async def extract(
    source: Source, report: Report, tenants: Sequence[Tenant], window: Window, concurrency: int,
    progress: Progress = no_progress,
) -> Outcome:  # fmt: skip
    """Fetch `report` over `window` for every tenant; failures are recorded and told, never raised."""
    outcome = Outcome(tenants=len(tenants))
    waiting = iter(tenants)
    tally = Tally(progress, len(tenants), _pages_to_expect(report, window))

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


def _pages_to_expect(report: Report, window: Window) -> int:
    """Full pages over the window, every reading: what progress is measured against."""
    each = 1 if report is Report.ORGANIZATION else ceil(len(window.days) / MAX_BUCKETS)
    return len(_queries(report, window)) * each


async def _extract_one(
    source: Source, report: Report, tenant: Tenant, window: Window, outcome: Outcome, tally: Tally
) -> int:
    """Fetch, keep and record one tenant's report; returns how many pages were counted."""
    fetched = Fetched(window)
    fault: str | None = None
    rejected = False
    generation = 0
    try:
        async with asyncio.timeout(source.tenant_seconds):
            opened = await asyncio.to_thread(source.open_key, tenant)
            generation = opened.generation
            session = source.api.session(opened.key)
            me = await session.whoami()
            _require_same_organization(tenant, me)
            fetched = Fetched(_answerable(report, window, me.server_date), me.organization_id, tally=tally)
            if fetched.window:
                fetched = await _read_twice_at_most(session, report, fetched)
            outcome.find(tenant.slug, *session.notices, *fetched.findings)
    except TimeoutError:
        fault = f"{report} took longer than {source.tenant_seconds:.0f} seconds; nothing of it counts, sync again"
    except _Partial as partial:
        fetched, fault, rejected = partial.fetched, str(partial), partial.rejected
    except Exception as error:
        fault, rejected = reason(error, f"extracting {report}"), isinstance(error, KeyRejected)
    if fault:
        outcome.failures[tenant.slug] = fault
    try:
        verdict = Verdict(fault, rejected, generation)
        await asyncio.to_thread(_conclude, source, report, tenant, fetched, verdict, outcome)
    except Exception as error:
        outcome.failures[tenant.slug] = reason(error, f"keeping {report}")
    return fetched.raw.pages


class Verdict(NamedTuple):
    """How one tenant's extraction ended, with which generation of its key."""

    fault: str | None
    rejected: bool
    generation: int


class _Partial(Exception):
    """A fault, with the pages that came before it."""

    def __init__(self, fault: str, fetched: Fetched, rejected: bool) -> None:
        super().__init__(fault)
        self.fetched = fetched
        self.rejected = rejected


def _require_same_organization(tenant: Tenant, me: WhoAmI) -> None:
    if me.organization_id != tenant.organization_id:
        raise ContractBroken(
            f"the stored key belongs to another organisation ({me.name}) than the tenant's; "
            f"`stax rotate-key {tenant.slug}` with a key of the right one"
        )


def _answerable(report: Report, window: Window, server_now: datetime) -> Window:
    """The days the source answers for at its own clock. `organization` has no usage date: its day stands for it."""
    if report is Report.ORGANIZATION:
        return Window(server_now.date(), server_now.date() + timedelta(days=1))
    return completed(window, server_now) if report is Report.COST else begun(window, server_now)


def _queries(report: Report, window: Window) -> Sequence[Query]:
    if report is Report.ORGANIZATION:
        return tuple(organization_queries())
    return (cost_query(window),) if report is Report.COST else usage_queries(window)


async def _read_twice_at_most(session: OrganizationSession, report: Report, empty: Fetched) -> Fetched:
    """Read the window; once more from the start when the source changed under the reading."""
    try:
        return await _read_window(session, report, empty, READ_AGAIN)
    except READ_AGAIN as fault:
        again = f"read twice: {fault}"
    if empty.tally:
        empty.tally.step(-empty.raw.pages)
    fresh = Fetched(empty.window, empty.organization_id, findings=[again], tally=empty.tally)
    return await _read_window(session, report, fresh, ())


async def _read_window(
    session: OrganizationSession, report: Report, fetched: Fetched, passed_on: tuple[type[TenantStopped], ...]
) -> Fetched:
    """All readings of the window, parsed once to prove them readable; faults other than `passed_on` keep the pages."""
    try:
        for query in _queries(report, fetched.window):
            if await _read_reading(session, query, fetched):
                fetched.readings.append(query.reading)
        fetched.finish()
    except passed_on:
        raise
    except TenantStopped as error:
        fault, rejected = str(error), isinstance(error, KeyRejected)
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


def _unknown(unknown: Counter[str]) -> list[str]:
    return [f"unknown value {value} in {count} rows" for value, count in sorted(unknown.items())]


def _conclude(
    source: Source, report: Report, tenant: Tenant, fetched: Fetched, verdict: Verdict, outcome: Outcome
) -> None:
    """Keep the pages, then the record of them, then the tenant's state: a kill in between leaves an unnamed object."""
    if not verdict.fault and not fetched.window:
        return
    extraction = _keep(source, report, tenant, fetched, verdict.fault)
    try:
        with plain_faults(f"tenant {tenant.slug}: recording an extraction"), source.engine.begin() as connection:
            record(connection, extraction)
            if verdict.rejected:
                note_rejected(connection, tenant.tenant_id, verdict.generation)
            elif not verdict.fault and tenant.status == KEY_REJECTED:
                note_accepted(connection, tenant.tenant_id, verdict.generation)
    except StaxError:
        if extraction.raw_uri:
            source.lake.delete(extraction.raw_uri)
        raise
    outcome.rows += extraction.rows


def _keep(source: Source, report: Report, tenant: Tenant, fetched: Fetched, fault: str | None) -> Extraction:
    extraction_id = uuid4()
    moment = fetched.moment or datetime.now(UTC)
    path, digest = None, ""
    if fetched.raw.pages:
        header = RawHeader(
            extraction_id=extraction_id,
            tenant_id=tenant.tenant_id,
            organization_id=fetched.organization_id,
            report=report,
            window=fetched.window,
            extracted_at=moment,
            readings=tuple(fetched.readings),
            run_id=source.run_id,
            product=f"stax-pipeline {__version__}",
            error=fault,
        )
        try:
            path, digest = store_raw(source.lake, header, fetched.raw.finish(header))
        except OSError as broken:
            raise CannotStart(f"The lake cannot be written: {broken.strerror}. Check STAX_LAKE_URL.") from None
    return Extraction(
        extraction_id, tenant.tenant_id, report, fetched.window.start, fetched.window.end, moment, fetched.raw.pages,
        fetched.rows, digest, path, source.run_id, fault,
    )  # fmt: skip

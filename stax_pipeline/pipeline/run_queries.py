"""Walk the queries of one extraction, and do without what the source does not answer for.

Every query must answer, but for three kinds: a list of names (the other lists count without it), and usage by key and
usage at fast speed, which may be refused for old days (all other usage counts without them). What is missing is told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from itertools import groupby

from stax_pipeline.anthropic import (
    EdgeRefusal,
    OrganizationSession,
    PageTokenExpired,
    RestatedWhileReading,
    UnexpectedResponse,
)
from stax_pipeline.derive.normalise import BUCKETED
from stax_pipeline.derive.usage_lines import NegativeSpeedDifference
from stax_pipeline.domain.errors import RequestRejected, TenantStopped
from stax_pipeline.domain.extraction import Query, QueryName, Report, Window
from stax_pipeline.domain.time import may_be_late
from stax_pipeline.pipeline.beside import beside
from stax_pipeline.pipeline.extraction_record import RunningExtraction
from stax_pipeline.pipeline.isolation import reason
from stax_pipeline.pipeline.parent_organization import own_alone, require_own

READ_AGAIN = (PageTokenExpired, RestatedWhileReading, NegativeSpeedDifference)
MAY_END_EARLIER = {
    QueryName.FAST: "speed",
    QueryName.ANALYTICS_FAST: "speed",
    QueryName.BY_KEY: "usage by key",
    QueryName.ANALYTICS_BY_KEY: "usage by key",
}
_DAY = timedelta(days=1)


class Partial(Exception):
    """A fault of this kind, with the pages that came before; `refused` where a window of days was answered with 400."""

    def __init__(self, fault: str, extraction: RunningExtraction, kind: type[Exception], refused: bool = False) -> None:
        super().__init__(fault)
        self.extraction = extraction
        self.kind = kind
        self.refused = refused


def excerpt_of(error: Exception) -> str:
    return error.excerpt if isinstance(error, UnexpectedResponse) else ""


async def read_available_days(
    session: OrganizationSession, queries_of: Callable[[Window], Sequence[Query]], asked: RunningExtraction, today: date
) -> RunningExtraction:
    """Read the window; where its last days are not there yet and so it is refused, what lies before them.

    A window of such days alone is read with the day before it, whose answer shows that nothing else was refused.
    `today` is the source's UTC day. Raises Partial.
    """
    end = asked.window.end
    try:
        return await read_with_one_restart(session, queries_of(asked.window), asked)
    except Partial as partial:
        refusal = partial
    while refusal.refused and (end > today or may_be_late(end - _DAY, today)):
        end -= _DAY
        part = Window(min(asked.window.start, end - _DAY), end)
        empty = RunningExtraction(asked.window, asked.organization_id, tally=asked.tally, read=part)
        try:
            return await read_with_one_restart(session, queries_of(part), empty)
        except Partial as partial:
            if not partial.refused:
                raise
    raise refusal


async def read_with_one_restart(
    session: OrganizationSession, queries: Sequence[Query], empty: RunningExtraction
) -> RunningExtraction:
    """Read the window; once more from the start when the source changed while it was read. Raises Partial."""
    try:
        return await _read_window(session, queries, empty, READ_AGAIN)
    except READ_AGAIN as fault:
        again = f"read twice: {fault}"
    if empty.tally:
        empty.tally.step(-empty.raw.pages)
    fresh = RunningExtraction(empty.window, empty.organization_id, findings=[again], tally=empty.tally, read=empty.read)
    return await _read_window(session, queries, fresh, ())


async def _read_window(
    session: OrganizationSession,
    queries: Sequence[Query],
    extraction: RunningExtraction,
    passed_on: tuple[type[TenantStopped], ...],
) -> RunningExtraction:
    """All queries of the window, parsed once to prove them readable; faults other than `passed_on` keep the pages."""
    fault: str
    kind: type[Exception]
    try:
        queries = await own_alone(session, queries, extraction)
        for name, parts in groupby(queries, key=lambda query: query.name):
            if any([await _read_query(session, query, extraction) for query in parts]):
                extraction.queries.append(name)
        require_own(extraction)
        await beside(extraction.finish)
    except passed_on:
        raise
    except TenantStopped as error:
        fault, kind = reason(error, "walking"), type(error)
        refused = _is_of_the_window(error, queries[0], extraction)
        extraction.excerpt = excerpt_of(error)
    else:
        if extraction.queries:
            return extraction
        fault, kind, refused = extraction.missing, RequestRejected, False
    raise Partial(fault, extraction, kind, refused)


def _is_of_the_window(error: TenantStopped, first: Query, extraction: RunningExtraction) -> bool:
    """Whether a report refused its first request, which differs from a good one in nothing but its days."""
    is_first = first.name in BUCKETED and not extraction.raw.pages
    return is_first and isinstance(error, RequestRejected) and error.status == 400


async def _read_query(session: OrganizationSession, query: Query, extraction: RunningExtraction) -> bool:
    """Whether the query brought anything; what it was refused is noted where the others do without it."""
    if query.path in extraction.refused:
        return False
    refused = await _refused(session, query, extraction)
    if refused is None:
        return True
    if query.report is Report.ORGANIZATION and not isinstance(refused, EdgeRefusal):
        extraction.refused[query.path] = str(refused)
        return False
    if query.window is None or query.name not in MAY_END_EARLIER or refused.status != 400:
        raise refused
    first = await _first_answered(session, query, query.window, extraction)
    _note_unanswered(extraction, MAY_END_EARLIER[query.name], query.window, first, refused)
    return first < query.window.end


async def _refused(session: OrganizationSession, query: Query, extraction: RunningExtraction) -> RequestRejected | None:
    """Walk the query; the refusal of its first page is returned, every other fault is raised."""
    before = extraction.raw.pages
    try:
        async for page in session.walk(query):
            await extraction.take(page)
    except RequestRejected as refused:
        if extraction.raw.pages > before:
            raise
        return refused
    return None


async def _first_answered(
    session: OrganizationSession, query: Query, window: Window, extraction: RunningExtraction
) -> date:
    """Read the end of a window that was refused as a whole; the first day answered, the window's end if none is.

    First the last day alone, since most refusals are for every day; then by halves, each day read once.
    """
    refused, first, start = window.start, window.end, window.end - _DAY
    while refused < first:
        if await _refused(session, query.over(Window(start, first)), extraction) is None:
            first = start
        elif first == window.end:
            break
        else:
            refused = start + _DAY
        start = refused + (first - refused) // _DAY // 2 * _DAY
    return first


def _note_unanswered(
    extraction: RunningExtraction, what: str, window: Window, first: date, refused: RequestRejected
) -> None:
    known = f"known from {first} on only, not" if first < window.end else "not known"
    days = f"{window.start} to {first - _DAY}"
    extraction.findings.append(f"{what} is {known} for {days}: the source refused it ({refused})")

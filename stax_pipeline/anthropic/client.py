"""The Admin API as the rest of the product sees it: an API for all tenants, a session per organisation.

Belongs here: the headers of a request, one request at a time per organisation, walks as streams of raw pages. Stays
out: each single duty (`transport`, `responses`, `retry`, `paging`) and starting a window again, which is the caller's:
it knows what it has stored of the pages it was given.
"""

from __future__ import annotations

import asyncio
import logging
import random as chance
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Generic, TypeVar

from stax_pipeline import __version__
from stax_pipeline.anthropic.fetched_page import Content, FetchedPage
from stax_pipeline.anthropic.headers import request_id_of
from stax_pipeline.anthropic.paging import Pager, PageTokenExpired, pager_of, row_count
from stax_pipeline.anthropic.queries import API_VERSION, ME_PATH
from stax_pipeline.anthropic.responses import Page, judge, strange
from stax_pipeline.anthropic.retry import Retrying, Trouble
from stax_pipeline.anthropic.scrubber import Scrubber
from stax_pipeline.anthropic.strict_json import loads
from stax_pipeline.anthropic.transport import LOGGER, Answer, Limits, NoAnswer, Params, Transport, open_transport
from stax_pipeline.domain.admin_key import AdminKey
from stax_pipeline.domain.errors import ContractBroken, KeyRefused, RequestRejected
from stax_pipeline.domain.extraction import Query

READ_IN_PASSING = 16 * 1024  # bytes of an answer without report rows: reading it costs less than a thread's start
CURSOR_GONE = frozenset({400, 410})  # for a page token: the reports said the one, the newer source documents the other
USER_AGENT = f"stax-pipeline/{__version__} (+https://github.com/stax-pipeline/stax-pipeline)"

Now = Callable[[], datetime]
Monotonic = Callable[[], float]
Sleep = Callable[[float], Awaitable[object]]
Random = Callable[[], float]
T = TypeVar("T")
P = TypeVar("P", bound=Content)


@dataclass(frozen=True, slots=True)
class WhoAmI:
    """The organisation that a key belongs to, and the server's clock (UTC) at that moment."""

    organization_id: str
    name: str
    server_date: datetime


@dataclass(frozen=True, slots=True)
class _Request:
    path: str
    params: Params = ()
    headers: dict[str, str] = field(default_factory=dict)
    of_report: bool = False


@dataclass(frozen=True, slots=True)
class _Read(Generic[T]):
    page: Page
    parsed: T
    sha256: str


def _utc_now() -> datetime:
    return datetime.now(UTC)


@asynccontextmanager
async def admin_api(
    base_url: str,
    *,
    concurrency: int = 8,
    limits: Limits | None = None,
    ca_file: Path | None = None,
    now: Now = _utc_now,
    monotonic: Monotonic = time.monotonic,
    sleep: Sleep = asyncio.sleep,
    random: Random = chance.random,
) -> AsyncIterator[AdminApi]:
    """The API at `base_url`, at most `concurrency` requests in flight over all sessions. Reads no environment.

    `ca_file` holds the certificate authorities that are believed; the usual ones without it.
    """
    limits = limits or Limits()
    async with open_transport(base_url, concurrency=concurrency, limits=limits, now=now, ca_file=ca_file) as transport:
        yield AdminApi(transport, limits, now, monotonic, sleep, random)


class AdminApi:
    """Made by `admin_api`. Holds no key."""

    def __init__(
        self,
        transport: Transport,
        limits: Limits,
        now: Now,
        monotonic: Monotonic,
        sleep: Sleep,
        random: Random,
    ) -> None:
        self._transport = transport
        self._limits = limits
        self._now = now
        self._monotonic = monotonic
        self._sleep = sleep
        self._random = random

    def session(self, key: AdminKey) -> OrganizationSession:
        """One organisation, one request at a time: use one session per tenant and run. Raises KeyRefused."""
        secret = key.reveal()
        if not (secret and secret.isascii() and secret.isprintable() and " " not in secret):
            raise KeyRefused("the admin key holds a character that no key has; it was not sent")
        retrying = Retrying(
            max_tries=self._limits.tries,
            total_seconds=self._limits.total_seconds,
            now=self._now,
            monotonic=self._monotonic,
            sleep=self._sleep,
            random=self._random,
        )
        return OrganizationSession(self._transport, key, retrying, self._now)


class OrganizationSession:
    """Made by `AdminApi.session`. Every error raised here is a TenantStopped in plain words without the key.

    `notices` collects what was odd but harmless, in words.
    """

    def __init__(self, transport: Transport, key: AdminKey, retrying: Retrying, now: Now) -> None:
        self._transport = transport
        self._key = key
        self._scrubber = Scrubber(key)
        self._retrying = retrying
        self._now = now
        self._one_at_a_time = asyncio.Lock()
        self.notices: list[str] = []

    @property
    def retries(self) -> int:
        """How many tries were repeated so far."""
        return self._retrying.retries

    async def whoami(self) -> WhoAmI:
        """The organisation of this session's key."""
        read = await self._read(_Request(ME_PATH, headers=_headers(())), _organization)
        organization_id, name = read.parsed
        return WhoAmI(organization_id, name, read.page.server_date)

    async def first_page(self, query: Query) -> FetchedPage:
        """One validated page of `query`, without its successors: the live test of a key."""
        pager = pager_of(query)
        request = _Request(query.path, query.params, _headers(query.betas), query.window is not None)
        return _fetched(query, 1, request, await self._read(request, pager.parse))

    def walk(self, query: Query) -> AsyncIterator[FetchedPage]:
        """The pages of one query as they arrive; an empty window makes no request.

        The walk counts only when it ends by itself. PageTokenExpired and RestatedWhileReading mean that its pages are
        to be dropped and the window read once more; any other error stops the tenant.
        """
        return self._walk(query, pager_of(query))

    async def _walk(self, query: Query, pager: Pager[P]) -> AsyncIterator[FetchedPage]:
        if query.window is not None and not query.window:
            return
        cursor: str | None = None
        clock: datetime | None = None
        for number in count(1):
            params = query.params if cursor is None else (*query.params, (pager.parameter, cursor))
            request = _Request(query.path, params, _headers(query.betas), query.window is not None)
            read = await self._next(request, pager, first=cursor is None)
            clock = min(clock or read.page.server_date, read.page.server_date)
            yield _fetched(query, number, request, read)
            cursor = pager.accept(read.parsed)
            if cursor is None:
                pager.finish(clock.date())
                break
        self.notices += pager.notices()

    async def _next(self, request: _Request, pager: Pager[P], *, first: bool) -> _Read[P]:
        try:
            return await self._read(request, pager.parse)
        except RequestRejected as error:
            if first or error.status not in CURSOR_GONE:
                raise
            expired = str(error)
        raise PageTokenExpired(f"the source no longer knows its page token: {expired}")

    async def _read(self, request: _Request, parse: Callable[[str], T]) -> _Read[T]:
        async def attempt(left: float) -> _Read[T] | Trouble:
            return await self._attempt(request, parse, left)

        async with self._one_at_a_time:
            return await self._retrying.run(attempt)

    async def _attempt(self, request: _Request, parse: Callable[[str], T], left: float) -> _Read[T] | Trouble:
        answer = await self._transport.get(request.path, request.params, request.headers, self._key, left)
        if LOGGER.isEnabledFor(logging.DEBUG):
            self._log(request.path, answer)
        if isinstance(answer, NoAnswer) or (not request.of_report and len(answer.body) <= READ_IN_PASSING):
            return self._understood(answer, request.path, parse)
        return await asyncio.to_thread(self._understood, answer, request.path, parse)

    def _understood(self, answer: Answer | NoAnswer, path: str, parse: Callable[[str], T]) -> _Read[T] | Trouble:
        """What an answer says; in a thread of its own but for a short list: nobody's requests may be held up."""
        page = judge(answer, path, self._scrubber, self._now())
        if isinstance(page, Trouble):
            return page
        try:
            return _Read(page, parse(page.text), sha256(page.answer.body).hexdigest())
        except ContractBroken as broken:
            reason = str(broken)
        return strange(page.answer, path, self._scrubber, reason)

    def _log(self, path: str, answer: Answer | NoAnswer) -> None:
        if isinstance(answer, NoAnswer):
            LOGGER.debug("GET %s: %s", path, answer.words)
            return
        milliseconds = (answer.received_at - answer.sent_at).total_seconds() * 1000
        request_id = request_id_of(answer.headers, self._scrubber)
        LOGGER.debug(
            "GET %s: %d, request %s, %.0f ms",
            path,
            answer.status,
            request_id or "unknown",
            milliseconds,
        )


def _headers(betas: tuple[str, ...]) -> dict[str, str]:
    """Everything but the key. `identity`: a compressed body can be cut without a trace, or be a bomb."""
    headers = {
        "anthropic-version": API_VERSION,
        "user-agent": USER_AGENT,
        "accept": "application/json",
        "accept-encoding": "identity",
    }
    return {**headers, "anthropic-beta": ",".join(betas)} if betas else headers


def _fetched(query: Query, number: int, request: _Request, read: _Read[P]) -> FetchedPage:
    page = read.page
    return FetchedPage(
        query=query.name,
        page_number=number,
        path=request.path,
        params=request.params,
        request_headers=request.headers,
        status=page.answer.status,
        request_id=page.request_id,
        server_date=page.server_date,
        sent_at=page.answer.sent_at,
        received_at=page.answer.received_at,
        rows=row_count(read.parsed),
        sha256=read.sha256,
        body=page.text,
        content=read.parsed,
    )


def _organization(body: str) -> tuple[str, str]:
    document = loads(body)
    if not isinstance(document, dict):
        raise ContractBroken("the organization is not an object")
    organization_id, name = document.get("id"), document.get("name")
    if not (isinstance(organization_id, str) and organization_id):
        raise ContractBroken("the organization has no id")
    if not isinstance(name, str):
        raise ContractBroken("the organization has no name")
    return organization_id, name

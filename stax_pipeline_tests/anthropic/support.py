"""A source that misbehaves on request, a clock that costs nothing, and a key that must show up nowhere."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from socket import SO_LINGER, SOL_SOCKET

from stax_pipeline.anthropic import AdminApi, Limits, OrganizationSession, admin_api
from stax_pipeline.anthropic.queries import cost_query
from stax_pipeline.domain.admin_key import AdminKey
from stax_pipeline.domain.extraction import RawPage, Window

CANARY = "sk-ant-admin01-CaNaRyQ7x2Lm9Vb4Tz8Wd1Kp6Rs3Yh5Nf0Gj-AAAA"
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
HTTP_NOW = "Sun, 22 Nov 2026 12:00:00 GMT"
WINDOW = Window(date(2026, 11, 1), date(2026, 11, 4))
QUERY = cost_query(WINDOW)


@dataclass
class Clock:
    """Time that passes only by sleeping."""

    moment: datetime = NOW
    slept: list[float] = field(default_factory=list)
    passed: float = 0.0
    jumps: timedelta = timedelta(0)

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.passed

    async def sleep(self, seconds: float) -> None:
        """`jumps` is how far somebody sets the clock meanwhile."""
        self.slept.append(seconds)
        self.passed += seconds
        self.moment += timedelta(seconds=seconds) + self.jumps
        await asyncio.sleep(0)


Reply = bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]


def reply(
    status: int = 200, body: str | bytes = b"", headers: dict[str, str] | None = None, *, length: bool = True
) -> bytes:
    content = body.encode() if isinstance(body, str) else body
    fields = {"Date": HTTP_NOW, "request-id": "req_1", "Connection": "close"} | (headers or {})
    if length:
        fields = {"Content-Length": str(len(content))} | fields
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value)
    return f"HTTP/1.1 {status} Whatever\r\n{head}\r\n".encode() + content


def error(status: int, kind: str, message: str = "no", headers: dict[str, str] | None = None, code: str = "") -> bytes:
    details = {"details": {"error_code": code}} if code else {}
    body = {"type": "error", "error": {"type": kind, "message": message, **details}, "request_id": "req_1"}
    return reply(status, json.dumps(body), headers)


def bucket(day: date, results: Sequence[dict[str, object]] = ()) -> dict[str, object]:
    return {
        "starting_at": f"{day}T00:00:00Z",
        "ending_at": f"{day + timedelta(days=1)}T00:00:00Z",
        "results": list(results),
    }


def page_body(buckets: Sequence[dict[str, object]], token: str | None = None) -> str:
    return json.dumps({"data": list(buckets), "has_more": token is not None, "next_page": token})


def page(*days: int, token: str | None = None, amount: str = "1.5") -> bytes:
    """A page of November 2026 with one row a day."""
    return reply(200, page_body([bucket(date(2026, 11, day), [{"amount": amount}]) for day in days], token))


WHOLE = page(1, 2, 3)


@dataclass
class Source:
    """Answers each request with the next reply, the last one for ever. `requests` holds the heads as received."""

    url: str
    requests: list[str] = field(default_factory=list)
    busy: int = 0
    most_busy: int = 0


@asynccontextmanager
async def source(*replies: Reply, pause: float = 0.0) -> AsyncIterator[Source]:
    state = Source("")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            state.requests.append(head.decode())
            state.busy += 1
            state.most_busy = max(state.most_busy, state.busy)
            await asyncio.sleep(pause)
            answer = replies[min(len(state.requests), len(replies)) - 1]
            if isinstance(answer, bytes):
                writer.write(answer)
                await writer.drain()
            else:
                await answer(writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client left, or the test is over
        finally:
            state.busy -= 1
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    state.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield state
    finally:
        server.close()


async def hang(writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(5)


async def reset(writer: asyncio.StreamWriter) -> None:
    """A reset instead of an orderly end: no linger."""
    writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def drip(content: bytes, pause: float) -> Reply:
    async def write(writer: asyncio.StreamWriter) -> None:
        for at in range(len(content)):
            writer.write(content[at : at + 1])
            await writer.drain()
            await asyncio.sleep(pause)

    return write


@asynccontextmanager
async def session(
    where: Source, clock: Clock | None = None, limits: Limits | None = None, draw: float = 0.5
) -> AsyncIterator[OrganizationSession]:
    async with api(where, clock, limits, draw) as opened:
        yield opened.session(AdminKey(CANARY))


@asynccontextmanager
async def api(
    where: Source, clock: Clock | None = None, limits: Limits | None = None, draw: float = 0.5
) -> AsyncIterator[AdminApi]:
    clock = clock or Clock()
    async with admin_api(
        where.url,
        limits=limits,
        now=clock.now,
        monotonic=clock.monotonic,
        sleep=clock.sleep,
        random=lambda: draw,
    ) as opened:
        yield opened


async def read_all(opened: OrganizationSession) -> list[RawPage]:
    return [each async for each in opened.walk(QUERY)]


@dataclass
class Outcome:
    """How a walk of QUERY ended against the given replies."""

    pages: list[RawPage]
    error: Exception | None
    clock: Clock
    requests: list[str]
    retries: int
    notices: list[str]


def walk(*replies: Reply, limits: Limits | None = None, clock: Clock | None = None) -> Outcome:
    """Walks QUERY and returns whatever happened."""

    async def run() -> Outcome:
        used = clock or Clock()
        outcome = Outcome([], None, used, [], 0, [])
        async with source(*replies) as where, session(where, used, limits) as opened:
            try:
                async for each in opened.walk(QUERY):
                    outcome.pages.append(each)
            except Exception as caught:
                outcome.error = caught
            outcome.requests, outcome.retries = where.requests, opened.retries
            outcome.notices = opened.notices
        return outcome

    return asyncio.run(run())

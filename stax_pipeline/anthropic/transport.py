"""Sends one request and brings back one whole answer, or one word for why there is none.

Belongs here: the shared httpx connections, time-outs, the deadline, the cap on bytes, decompression. Stays out: what a
status means (`responses`) and whether to try again (`retry`).

Nothing of httpx leaves this module. Its exceptions can carry the request, whose headers hold the admin key, and
anything chained to an exception ends up in Dagster's event log; so a failure is returned as a value and the key lives
in the headers of one request only.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import zlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import httpx

from stax_pipeline.domain.admin_key import AdminKey
from stax_pipeline.domain.errors import WrongUse
from stax_pipeline.installation.certificates import client_context

LOGGER = logging.getLogger("stax.anthropic")
_QUOTING = (
    "httpx", "httpcore", "httpcore.connection", "httpcore.http11", "httpcore.http2", "httpcore.proxy", "httpcore.socks",
)  # fmt: skip
Params = tuple[tuple[str, str], ...]

if find_spec("sniffio") is None:  # httpcore tries to import it 40 times a request; what is known to be missing is cheap
    sys.modules["sniffio"] = None  # type: ignore[assignment]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one page may cost before it counts as a failure.

    `page_seconds` is a wall-clock deadline over one try, body included: httpx restarts its own time-outs with every
    byte, so a source that drips would hold a worker for ever. `body_bytes` holds on the wire and after decoding; a full
    page of 31 days and thousands of rows a day stays well below it. `tries` and `total_seconds` bound all tries of one
    page: long enough to sit out a restart of the source, short enough that a run is not spent on one page.
    """

    connect_seconds: float = 10.0
    read_seconds: float = 30.0
    page_seconds: float = 60.0
    body_bytes: int = 64 * 1024 * 1024
    tries: int = 6
    total_seconds: float = 300.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole HTTP answer of any status. `headers` are the response's, names in lower case."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    sent_at: datetime
    received_at: datetime


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """No whole answer arrived from `host`. `too_large` says that another try would bring the same."""

    words: str
    host: str
    timed_out: bool = False
    too_large: bool = False


class _TooLarge(Exception):
    """The body passes the cap."""


class _Undecodable(Exception):
    """The body's compression is unknown, broken or incomplete."""


def _is_warning(record: logging.LogRecord) -> bool:
    """Of the loggers that quote response headers, which may repeat the key; a level could be set back by anyone."""
    return record.levelno >= logging.WARNING


class Transport:
    """Sends GET requests to one base URL. Holds no key."""

    def __init__(
        self,
        base_url: str,
        connections: Sequence[httpx.AsyncHTTPTransport],
        limits: Limits,
        now: Callable[[], datetime],
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._host = httpx.URL(base_url).netloc.decode()
        self._limits = limits
        connect = limits.connect_seconds
        self._waits = {"timeout": httpx.Timeout(limits.read_seconds, connect=connect, pool=connect).as_dict()}
        self._now = now
        self._free: asyncio.LifoQueue[httpx.AsyncHTTPTransport] = asyncio.LifoQueue()
        for connection in connections:
            self._free.put_nowait(connection)

    async def get(
        self,
        path: str,
        params: Params,
        headers: Mapping[str, str],
        key: AdminKey,
        seconds: float,
    ) -> Answer | NoAnswer:
        """One try, ended after `seconds` at the latest. The key goes into this request's headers and nowhere else."""
        connection = await self._free.get()
        try:
            async with asyncio.timeout(min(seconds, self._limits.page_seconds)):
                return await self._exchange(connection, path, params, {**headers, "x-api-key": key.reveal()})
        except TimeoutError:
            return NoAnswer("the page was not complete before its deadline", self._host, timed_out=True)
        except _TooLarge:
            words = f"the answer is larger than {self._limits.body_bytes} bytes"
            return NoAnswer(words, self._host, too_large=True)
        except (
            httpx.HTTPError,
            httpx.StreamError,
            httpx.InvalidURL,
            OSError,
            _Undecodable,
            ValueError,
        ) as error:
            return NoAnswer(_words(error), self._host, timed_out=isinstance(error, httpx.TimeoutException))
        finally:
            self._free.put_nowait(connection)

    async def _exchange(
        self, connection: httpx.AsyncHTTPTransport, path: str, params: Params, headers: dict[str, str]
    ) -> Answer:
        sent_at = self._now()
        address = f"{self._base_url}{path}?{urlencode(params)}" if params else f"{self._base_url}{path}"
        request = httpx.Request("GET", address, headers=headers, extensions=self._waits)
        response = await connection.handle_async_request(request)
        try:
            body = await self._read(response)
        finally:
            await response.aclose()
        return Answer(response.status_code, dict(response.headers), body, sent_at, self._now())

    async def _read(self, response: httpx.Response) -> bytes:
        cap = self._limits.body_bytes
        body = bytearray()
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > cap:
                raise _TooLarge
        return _decoded(bytes(body), response.headers.get("content-encoding", ""), cap)


@asynccontextmanager
async def open_transport(
    base_url: str, *, concurrency: int, limits: Limits, now: Callable[[], datetime], ca_file: Path | None
) -> AsyncIterator[Transport]:
    """A connection for each request in flight, for whichever tenant: HTTP/1.1, nothing read from the environment.

    They are httpx's below its client, whose redirects, cookies and merging of addresses we do not want and would pay
    for; one connection each, since a pool looks at every connection and every waiting request each time.
    """
    _check_base_url(base_url)
    for name in _QUOTING:
        logging.getLogger(name).addFilter(_is_warning)
    authorities = client_context(ca_file)
    async with AsyncExitStack() as stack:
        connections = [
            await stack.enter_async_context(
                httpx.AsyncHTTPTransport(
                    verify=authorities,
                    trust_env=False,
                    limits=httpx.Limits(max_connections=1, max_keepalive_connections=1),
                )
            )
            for _ in range(concurrency)
        ]
        yield Transport(base_url, connections, limits, now)


def _check_base_url(base_url: str) -> None:
    """The key must not cross a network in clear: plain http is for a simulator on this machine."""
    try:
        parts = urlsplit(base_url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https") or parts.query or parts.fragment or parts.username:
        raise WrongUse("the Admin API's base URL must look like https://api.anthropic.com")
    if parts.scheme == "http" and not _is_loopback(host):
        raise WrongUse("the Admin API's base URL must start with https:// unless it is on this machine (127.0.0.1)")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _decoded(body: bytes, encoding: str, cap: int) -> bytes:
    """We ask for `identity`; a proxy that compresses all the same is read under the cap, and only to its proper end."""
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return body
    if name not in ("gzip", "x-gzip"):
        raise _Undecodable
    decoder = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        plain = decoder.decompress(body, cap + 1)
    except zlib.error:
        raise _Undecodable from None
    if len(plain) > cap:
        raise _TooLarge
    if not decoder.eof or decoder.unused_data:
        raise _Undecodable
    return plain


def _words(error: Exception) -> str:
    """The kind of failure in plain words; never the exception's own text, which may quote a header."""
    match error:
        case httpx.ConnectTimeout():
            return "no connection in time"
        case httpx.TimeoutException():
            return "no answer in time"
        case httpx.ConnectError() if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return "the server's certificate could not be verified"
        case httpx.ConnectError():
            return "no connection (refused, unknown host, or no network)"
        case httpx.RemoteProtocolError() | httpx.ReadError():
            return "the connection broke off before the answer was complete"
        case _Undecodable():
            return "the answer's compression is broken or unknown"
        case _:
            return f"the request could not be sent ({type(error).__name__})"

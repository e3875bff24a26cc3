"""Dagster's UI under `/dagster`: requests and websockets are passed on to its webserver at a unix socket.

Dagster's webserver has no login, so it listens on no port; whoever reaches this relay was let in before. What our own
login is proven by (cookies, `Authorization`) stays on this side.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Any

import httpx
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.client import ClientConnection, unix_connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.typing import Subprotocol

PREFIX = "/dagster"
SECONDS_TO_CONNECT, SECONDS_TO_ANSWER = 5.0, 10.0
TRY_AGAIN_LATER = 1013  # of RFC 6455's close codes

_OF_ONE_CONNECTION = frozenset(
    {
        b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"te", b"trailer",
        b"transfer-encoding", b"upgrade",
    }
)  # fmt: skip
_OURS = frozenset({b"cookie", b"authorization"})
_OF_A_SERVER = frozenset({b"date", b"server"})
_NOT_RUNNING = "Dagster's UI does not answer; it may still be starting.\n"
_GRAPHQL = f"http://dagster{PREFIX}/graphql"
_FRAMES = "frame-ancestors 'none'"

Headers = list[tuple[bytes, bytes]]


class DagsterRelay:
    """ASGI application that answers with what the webserver at `socket` does. One instance serves one event loop."""

    def __init__(self, socket: Path) -> None:
        self._socket = str(socket)
        way = httpx.AsyncHTTPTransport(uds=self._socket, limits=httpx.Limits(max_connections=None))
        timeout = httpx.Timeout(None, connect=SECONDS_TO_CONNECT)
        self._client = httpx.AsyncClient(transport=way, timeout=timeout, trust_env=False, headers={})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._talk(WebSocket(scope, receive, send))
        else:
            await self._answer(Request(scope, receive), scope, receive, send)

    async def aclose(self) -> None:
        """Close the connections that are kept open."""
        await self._client.aclose()

    async def ask(self, query: str) -> Mapping[str, Any]:
        """What GraphQL answers to a query; nothing where Dagster does not answer it."""
        try:
            answer = await self._client.post(_GRAPHQL, json={"query": query}, timeout=SECONDS_TO_ANSWER)
            data = answer.json().get("data") if answer.status_code == 200 else None
        except (httpx.HTTPError, ValueError):
            return {}
        return data if isinstance(data, Mapping) else {}

    async def _answer(self, request: Request, scope: Scope, receive: Receive, send: Send) -> None:
        url = httpx.URL(scheme="http", host="dagster", raw_path=_target(scope))
        headers = _passed(scope["headers"], _OF_ONE_CONNECTION | _OURS)
        asked = httpx.Request(scope["method"], url, headers=headers, content=_body(request))
        try:
            answer = await self._client.send(asked, stream=True)
        except httpx.TransportError:
            await PlainTextResponse(_NOT_RUNNING, 503, headers={"Retry-After": "5"})(scope, receive, send)
            return
        try:
            told = StreamingResponse(answer.aiter_raw(), answer.status_code)
            told.raw_headers = _unframed(_passed(answer.headers.raw, _OF_ONE_CONNECTION | _OF_A_SERVER))
            await told(scope, receive, send)
        except ClientDisconnect:
            pass
        finally:
            await answer.aclose()

    async def _talk(self, browser: WebSocket) -> None:
        offered = [Subprotocol(name) for name in browser.scope.get("subprotocols", ())]
        uri = f"ws://dagster{_target(browser.scope).decode('ascii')}"
        try:
            async with unix_connect(
                self._socket, uri, subprotocols=offered or None, compression=None, max_size=None, proxy=None
            ) as dagster:
                await browser.accept(dagster.subprotocol)
                await _both_ways(browser, dagster)
        except (OSError, InvalidHandshake):
            await browser.close(TRY_AGAIN_LATER)


async def _both_ways(browser: WebSocket, dagster: ClientConnection) -> None:
    """Pass messages on until one side ends; the other is told."""
    ways = {asyncio.create_task(_to_dagster(browser, dagster)), asyncio.create_task(_to_browser(browser, dagster))}
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


async def _to_dagster(browser: WebSocket, dagster: ClientConnection) -> None:
    try:
        while True:
            message = await browser.receive()
            if message["type"] == "websocket.disconnect":
                return
            text = message.get("text")
            await dagster.send(message["bytes"] if text is None else text)
    except ConnectionClosed:
        return


async def _to_browser(browser: WebSocket, dagster: ClientConnection) -> None:
    try:
        async for message in dagster:
            await (browser.send_text(message) if isinstance(message, str) else browser.send_bytes(message))
        await browser.close()
    except ConnectionClosed:
        await browser.close(TRY_AGAIN_LATER)
    except (WebSocketDisconnect, RuntimeError):  # the browser went first
        return


def _target(scope: Scope) -> bytes:
    """Path and query as the browser wrote them."""
    query: bytes = scope["query_string"]
    path: bytes = scope["raw_path"]
    return path + b"?" + query if query else path


def _passed(headers: Iterable[tuple[bytes, bytes]], held_back: frozenset[bytes]) -> Headers:
    return [(name, value) for name, value in headers if name.lower() not in held_back]


def _body(request: Request) -> AsyncIterator[bytes] | None:
    headers = request.headers
    return request.stream() if "transfer-encoding" in headers or headers.get("content-length", "0") != "0" else None


def _unframed(headers: Headers) -> Headers:
    """Dagster's own policy, and that no page may frame it."""
    policy = b"content-security-policy"
    own = [value for name, value in headers if name.lower() == policy]
    said = b"; ".join([*(value.rstrip(b"; ") for value in own), _FRAMES.encode()])
    kept = [(name, value) for name, value in headers if name.lower() not in (policy, b"x-frame-options")]
    return [*kept, (policy, said), (b"x-frame-options", b"DENY")]

"""A server of our own in a thread, on loopback or on a unix socket, and a stand-in for Dagster's webserver."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.types import ASGIApp
from starlette.websockets import WebSocket

POLICY = "default-src 'self'; script-src 'self' 'nonce-1'"


@contextmanager
def served(app: ASGIApp, socket: Path | None = None) -> Iterator[int]:
    """The application while the block runs: at the socket, or at the loopback port that is yielded."""
    place = {"uds": str(socket)} if socket else {"host": "127.0.0.1", "port": 0}
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1, **place))  # type: ignore[arg-type]
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    assert server.started
    try:
        yield 0 if socket else server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(20)


async def echo(request: Request) -> Response:
    """What arrived: path, query, headers and the size of the body."""
    size = 0
    async for part in request.stream():
        size += len(part)
    told = {
        "path": request.scope["raw_path"].decode(), "query": request.url.query, "size": size,
        "method": request.method, "headers": [[name.decode(), value.decode()] for name, value in request.headers.raw],
    }  # fmt: skip
    return JSONResponse(told, headers={"Content-Security-Policy": POLICY})


async def dripping(_: Request) -> Response:
    """A first piece at once, the second after whoever reads has asked for it."""

    async def pieces() -> object:
        yield b"first\n"
        await asyncio.sleep(1.5)
        yield b"second\n"

    return StreamingResponse(pieces(), media_type="text/plain")  # type: ignore[arg-type]


async def talk(socket: WebSocket) -> None:
    """Sends back what it hears; `bye` ends the talk, `fail` breaks it off."""
    await socket.accept("graphql-ws")
    while True:
        heard = await socket.receive()
        if heard["type"] == "websocket.disconnect":
            return
        if heard.get("text") == "bye":
            await socket.close()
            return
        if heard.get("text") == "fail":
            raise RuntimeError
        if heard.get("text") is None:
            await socket.send_bytes(heard["bytes"])
        else:
            await socket.send_text(heard["text"])


DAEMONS = ("SENSOR", "SCHEDULER")
RUNS = [
    {"jobName": "sync", "status": "SUCCESS", "startTime": 1000.5, "endTime": 1100.75},
    {"jobName": "sync", "status": "FAILURE", "startTime": 500.0, "endTime": 501.0},
    {"jobName": "sync", "status": "SUCCESS", "startTime": 100.0, "endTime": 190.0},
    {"jobName": "watch", "status": "CANCELED", "startTime": None, "endTime": 90.0},
]
"""As Dagster lists runs, the newest first."""


async def graphql(request: Request) -> Response:
    """Of a Dagster whose code is loaded and whose daemon is at work."""
    asked = (await request.json())["query"]
    if "runsOrError" in asked:
        return JSONResponse({"data": {"runsOrError": {"results": RUNS}}})
    statuses = [{"required": True, "healthy": True} for _ in DAEMONS] + [{"required": False, "healthy": None}]
    loaded = {"locationEntries": [{"locationOrLoadError": {"__typename": "RepositoryLocation"}}]}
    told = {"workspaceOrError": loaded, "instance": {"daemonHealth": {"allDaemonStatuses": statuses}}}
    return JSONResponse({"data": told})


async def info(_: Request) -> Response:
    return PlainTextResponse("{}")


STAND_IN = Starlette(
    routes=[
        Mount(
            "/dagster",
            routes=[
                Route("/server_info", info), Route("/dripping", dripping), WebSocketRoute("/graphql", talk),
                Route("/graphql", graphql, methods=["POST"]),
                Route("/{path:path}", echo, methods=["GET", "POST", "PUT"]),
            ],
        )
    ]
)  # fmt: skip

"""The Starlette application: its routes, and what stands before every one of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route

from stax_pipeline.app.dagster_relay import PREFIX, DagsterRelay
from stax_pipeline.app.health import health_routes
from stax_pipeline.app.request_guard import RequestGuard
from stax_pipeline.installation.settings import Settings

Lifespan = Callable[[Starlette], AbstractAsyncContextManager[None]]


def create_app(settings: Settings, webserver_socket: Path, lifespan: Lifespan | None = None) -> Starlette:
    """The application of an installation whose database runs.

    Args:
        settings: of the installation.
        webserver_socket: where Dagster's webserver listens, or will.
        lifespan: what is to run for as long as the application is served.
    """
    relay = DagsterRelay(webserver_socket)
    routes = [
        *health_routes({"dagster": relay.answers}),
        Mount(PREFIX, app=relay),
        Route("/", _first_page),
    ]
    guard = Middleware(RequestGuard, names=settings.served_names)
    app = Starlette(routes=routes, middleware=[guard], lifespan=lifespan)
    app.state.settings = settings
    return app


async def _first_page(_: Request) -> Response:
    return RedirectResponse(f"{PREFIX}/", 303)

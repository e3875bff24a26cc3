"""The Starlette application: its routes, and what stands before every one of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount

from stax_pipeline.app import faults, static_files
from stax_pipeline.app.dagster_relay import PREFIX, DagsterRelay
from stax_pipeline.app.dagster_runs import DagsterRuns
from stax_pipeline.app.headers import PageHeaders
from stax_pipeline.app.health import health_routes
from stax_pipeline.app.metrics import metrics_routes
from stax_pipeline.app.pages import connect, invite, login, overview, provider, tenant
from stax_pipeline.app.people.access import Access, OperatorsOnly, door
from stax_pipeline.app.people.attempts import Attempts
from stax_pipeline.app.people.database import AppDatabase
from stax_pipeline.app.request_counts import Counted, RequestCounts
from stax_pipeline.app.request_guard import RequestGuard
from stax_pipeline.installation.settings import Settings

PARTS = (
    "overview", "tenants", "providers", "app", "invite", "login", "logout", "static", "health", "metrics", "dagster",
)  # fmt: skip
"""First segments of paths by which requests are counted."""


def create_app(settings: Settings, webserver_socket: Path) -> Starlette:
    """The application of an installation whose database runs.

    Args:
        settings: of the installation.
        webserver_socket: where Dagster's webserver listens, or will.
    """
    relay, database, counts = DagsterRelay(webserver_socket), AppDatabase(settings), RequestCounts(PARTS)
    runs = DagsterRuns(webserver_socket)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await relay.aclose()
        database.close()
        runs.close()

    routes = [
        *health_routes(database, relay),
        *metrics_routes(settings.home, database, relay, counts),
        Mount(PREFIX, app=OperatorsOnly(relay)),
        *static_files.ROUTES,
        *login.ROUTES,
        *overview.ROUTES,
        *tenant.ROUTES,
        *connect.ROUTES,
        *invite.ROUTES,
        *provider.ROUTES,
    ]
    middleware = [
        Middleware(Counted, counts=counts),
        Middleware(PageHeaders, apart=PREFIX),
        Middleware(RequestGuard, names=settings.served_names),
        Middleware(Access, door=door(settings, database)),
        Middleware(faults.Unexpected),
    ]
    app = Starlette(routes=routes, middleware=middleware, exception_handlers=faults.HANDLERS, lifespan=lifespan)
    app.state.settings, app.state.database, app.state.attempts = settings, database, Attempts()
    app.state.runs, app.state.now = runs, partial(datetime.now, UTC)
    return app

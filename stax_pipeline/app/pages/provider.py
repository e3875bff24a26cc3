"""`/tenants/{slug}/provider`: a tenant's connection, who changed it, and what can be done about it."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from stax_pipeline.app import connecting, figures
from stax_pipeline.app.forms import read_form
from stax_pipeline.app.pages.connect import connects
from stax_pipeline.app.people.access import person_of
from stax_pipeline.app.people.person import Role
from stax_pipeline.app.rendering import page
from stax_pipeline.domain.tenant import DISCONNECTED
from stax_pipeline.warehouse.app_functions import end_connection, key_in_use
from stax_pipeline.warehouse.connection_audit import changes

NOT_REPEATED = "Type the short name exactly as it is shown. Nothing was changed."


def provider(request: Request) -> Response:
    """What is stored about the connection; never the key."""
    return _shown(request, "")


async def sync_now(request: Request) -> Response:
    """Start one run for the tenant."""
    connects(request)
    await read_form(request)
    return await run_in_threadpool(_start, request)


async def disconnect(request: Request) -> Response:
    """Destroy the key, once its tenant's short name was typed."""
    connects(request)
    fields = await read_form(request)
    return await run_in_threadpool(_end, request, fields.get("slug", ""))


def _start(request: Request) -> Response:
    found, state = _found(request), request.app.state
    if found.status == DISCONNECTED:
        raise HTTPException(409, "This tenant is disconnected: connect it again first.")
    run = connecting.start_sync(state.runs, found.slug, state.now(), first=found.first_sync_run_id is None)
    if run is None:
        raise HTTPException(503, "Dagster does not answer, so no run was started. Try again in a minute.")
    return RedirectResponse(f"/providers/anthropic/connect/{found.slug}?run={run}", 303)


def _end(request: Request, typed: str) -> Response:
    found, person = _found(request), connects(request)
    if typed.strip() != found.slug:
        return _shown(request, NOT_REPEATED)
    with request.app.state.database.own() as connection:
        end_connection(connection, found.tenant_id, person.name)
    return RedirectResponse(f"/tenants/{found.slug}/provider", 303)


def _found(request: Request) -> figures.Connection:
    """The tenant, where the person who asks may see it. Raises HTTPException where not."""
    person = person_of(request.scope)
    assert person is not None
    with request.app.state.database.reading(person) as connection:
        found = figures.connection_of(connection, slug=request.path_params["slug"])
    if found is None:
        raise HTTPException(404)
    return found


def _shown(request: Request, wrong: str) -> Response:
    found, person = _found(request), person_of(request.scope)
    assert person is not None
    with request.app.state.database.reading(person) as connection:
        audit = changes(connection, found.tenant_id)
    with request.app.state.database.own() as connection:
        key = key_in_use(connection, found.tenant_id)
    may_change = person.role is not Role.ANALYST
    return page(
        request, "provider.html", 422 if wrong else 200, found=found, key=key, audit=audit, wrong=wrong,
        may_change=may_change,
    )  # fmt: skip


ROUTES = [
    Route("/tenants/{slug}/provider", provider),
    Route("/tenants/{slug}/provider/sync", sync_now, methods=["POST"]),
    Route("/tenants/{slug}/provider/disconnect", disconnect, methods=["POST"]),
]

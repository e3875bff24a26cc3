"""`/providers` and `/providers/anthropic/connect`: the guide's three steps, one field for the key, and the first sync.

Operators connect any tenant, a tenant's own person that tenant. The key is in memory for as long as it is checked and
sealed; no page repeats it.
"""

from __future__ import annotations

from typing import NamedTuple
from uuid import uuid4

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from stax_pipeline.app import connecting, figures
from stax_pipeline.app.dagster_runs import RunState
from stax_pipeline.app.forms import read_form
from stax_pipeline.app.people.access import person_of
from stax_pipeline.app.people.person import Person, Role
from stax_pipeline.app.rendering import page
from stax_pipeline.domain.admin_key import parse_admin_key
from stax_pipeline.domain.errors import CannotStart, KeyRefused, StaxError, WrongUse
from stax_pipeline.domain.slug import parse_slug
from stax_pipeline.domain.time import FIRST_DAYS

WRONG_TYPE = (
    "Wrong key type. A regular sk-ant-api- key won't work — you need an admin key (sk-ant-admin-). Regenerate on the "
    "keys page above and select Admin key."
)
_WRONG_KEY = ("(401)", "Wrong key type: this is a regular API key")


class Refusal(NamedTuple):
    """Why a key was not stored: in the guide's words where the guide knows it, in ours, and what a report needs."""

    guide: str
    words: str
    details: str


def refusal_of(fault: StaxError) -> Refusal:
    words, _, details = str(fault).partition("\nDetails: ")
    return Refusal(WRONG_TYPE if any(mark in words for mark in _WRONG_KEY) else "", words, details)


def connects(request: Request) -> Person:
    """Who asks, where that person may connect a tenant. Raises HTTPException for others."""
    person = person_of(request.scope)
    if person is None or person.role is Role.ANALYST:
        raise HTTPException(403, "Operators connect tenants, and a tenant's own people their own.")
    return person


def providers(request: Request) -> Response:
    """The list of providers."""
    return page(request, "providers.html", may_connect=person_of(request.scope).role is not Role.ANALYST)  # type: ignore[union-attr]


async def connect(request: Request) -> Response:
    """The form, or what became of the key."""
    person = connects(request)
    if request.method != "POST":
        return await run_in_threadpool(_form, request, person, request.query_params.get("tenant", ""), "", None)
    fields = await read_form(request)
    return await run_in_threadpool(_save, request, person, fields)


def _save(request: Request, person: Person, fields: dict[str, str]) -> Response:
    slug, name = fields.get("slug", "").strip(), fields.get("name", "").strip()
    state = request.app.state
    try:
        target, is_first = _target(request, person, slug, name)
        key = parse_admin_key(fields.pop("admin_key", ""))
        connecting.connect(state.settings, state.database, target, key, person.name)
    except (KeyRefused, WrongUse, CannotStart) as fault:
        return _form(request, person, slug, name, refusal_of(fault))
    run = connecting.start_sync(state.runs, target.slug, state.now(), first=is_first)
    return RedirectResponse(f"/providers/anthropic/connect/{target.slug}{f'?run={run}' if run else ''}", 303)


def _target(request: Request, person: Person, slug: str, name: str) -> tuple[connecting.Target, bool]:
    """The tenant that the key is for, and whether it was never synced. Raises WrongUse for a name that can be none."""
    with request.app.state.database.reading(person) as connection:
        if person.tenant_id:
            known = figures.connection_of(connection, tenant_id=person.tenant_id)
        else:
            known = figures.connection_of(connection, slug=parse_slug(slug))
    if known:
        return connecting.Target(known.tenant_id, known.slug, known.name), known.first_sync_run_id is None
    if person.tenant_id:
        raise HTTPException(404)
    return connecting.Target(uuid4(), slug, name), True


def _form(request: Request, person: Person, slug: str, name: str, refused: Refusal | None) -> Response:
    known = None
    with request.app.state.database.reading(person) as connection:
        if person.tenant_id:
            known = figures.connection_of(connection, tenant_id=person.tenant_id)
        elif slug and refused is None:
            known = figures.connection_of(connection, slug=slug)
    return page(
        request, "connect.html", 200 if refused is None else 422, known=known, slug=known.slug if known else slug,
        name=name, refused=refused, action="/providers/anthropic/connect", makes_login=False, login_name="",
        first_days=FIRST_DAYS, needs_key=True,
    )  # fmt: skip


def progress(request: Request) -> Response:
    """How far the first sync is; it leads to the dashboard when it has ended."""
    person = person_of(request.scope)
    assert person is not None
    with request.app.state.database.reading(person) as connection:
        found = figures.sync_progress(connection, request.path_params["slug"])
        months = figures.months(connection, request.app.state.now().date(), request.path_params["slug"])
    if found is None:
        raise HTTPException(404)
    run = request.query_params.get("run", "")
    state = request.app.state.runs.state(run) if run else RunState.UNKNOWN
    if state is RunState.SUCCEEDED or (state is RunState.UNKNOWN and found.is_done):
        return RedirectResponse(f"/tenants/{found.slug}", 303)
    return page(
        request, "progress.html", found=found, state=str(state), run=run, days=FIRST_DAYS,
        trouble=months[0].trouble if months else (), is_over=state is RunState.FAILED,
    )  # fmt: skip


def _home(_: Request) -> Response:
    return RedirectResponse("/", 303)


ROUTES = [
    Route("/app", _home),
    Route("/providers", providers),
    Route("/providers/anthropic/connect", connect, methods=["GET", "POST"]),
    Route("/app/providers/anthropic/connect", connect, methods=["GET", "POST"]),
    Route("/providers/anthropic/connect/{slug}", progress),
]

"""`/invite/{token}`: a one-time link of `stax invite`. Its holder connects the tenant, gets a login, and is logged in.

Looking at the link uses nothing up; saving does, and stores key, login and session together or not at all.
"""

from __future__ import annotations

import sqlalchemy as sa
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from stax_pipeline.app import connecting, figures
from stax_pipeline.app.forms import read_form
from stax_pipeline.app.pages.connect import Refusal, refusal_of
from stax_pipeline.app.pages.login import slowly, with_cookie
from stax_pipeline.app.people import invites, sessions
from stax_pipeline.app.people.passwords import hashed, parse_password
from stax_pipeline.app.people.person import Person, Role, parse_name
from stax_pipeline.app.rendering import page
from stax_pipeline.domain.admin_key import parse_admin_key
from stax_pipeline.domain.errors import CannotStart, KeyRefused, WrongUse
from stax_pipeline.domain.tenant import CONNECTED
from stax_pipeline.domain.time import FIRST_DAYS
from stax_pipeline.warehouse.tables import logins

ENDED = "This link was used already, has ended after 24 hours, or is not whole. Ask your operator for a new one."
NAME_TAKEN = "This name is taken: choose another."


async def invite(request: Request) -> Response:
    """The form, or what became of it."""
    found = await run_in_threadpool(_look, request)
    if found is None or request.app.state.settings.login_header:
        return page(request, "message.html", 404, heading="This link does not work", words=ENDED)
    asked, known = found
    if request.method != "POST":
        return _form(request, asked, known, "", None)
    fields = await read_form(request)
    async with slowly(request):
        return await run_in_threadpool(_save, request, asked, known, fields)


def _look(request: Request) -> tuple[invites.Invite, figures.Connection | None] | None:
    """The invite, and its tenant where that is there already; seen as the tenant's own people will."""
    database = request.app.state.database
    with database.own() as connection:
        asked = invites.find(connection, request.path_params["token"])
    if asked is None:
        return None
    with database.reading(Person(asked.slug, Role.TENANT, asked.tenant_id)) as connection:
        return asked, figures.connection_of(connection, tenant_id=asked.tenant_id)


def _save(
    request: Request, asked: invites.Invite, known: figures.Connection | None, fields: dict[str, str]
) -> Response:
    typed, state, token = fields.get("login_name", ""), request.app.state, request.path_params["token"]
    cookies: list[str] = []
    try:
        name, password = parse_name(typed), hashed(parse_password(fields.pop("password", "")))

        def also(connection: sa.Connection) -> None:
            invites.use(connection, token)
            _make_login(connection, asked, name, password)
            cookies.append(sessions.begin(connection, name, password) or "")

        if _needs_key(known):
            key = parse_admin_key(fields.pop("admin_key", ""))
            connecting.connect(state.settings, state.database, connecting.Target(*asked), key, name, also)
        else:
            with state.database.own() as connection:
                also(connection)
    except (KeyRefused, WrongUse, CannotStart) as fault:
        return _form(request, asked, known, typed, refusal_of(fault))
    after = f"/tenants/{asked.slug}"
    if _needs_key(known):
        is_first = known is None or known.first_sync_run_id is None
        run = connecting.start_sync(state.runs, asked.slug, state.now(), first=is_first)
        after = f"/providers/anthropic/connect/{asked.slug}{f'?run={run}' if run else ''}"
    return with_cookie(request, RedirectResponse(after, 303), cookies[0])


def _make_login(connection: sa.Connection, asked: invites.Invite, name: str, password: str) -> None:
    """Raises WrongUse where somebody has that name: an invite never changes a login."""
    row = {"name": name, "role": Role.TENANT, "tenant_id": asked.tenant_id, "password_hash": password}
    try:
        connection.execute(logins.insert().values(**row, created_at=sa.func.now()))
    except sa.exc.IntegrityError:
        raise WrongUse(NAME_TAKEN) from None


def _form(
    request: Request, asked: invites.Invite, known: figures.Connection | None, typed: str, refused: Refusal | None
) -> Response:
    return page(
        request, "connect.html", 200 if refused is None else 422, known=known, slug=asked.slug, name=asked.name,
        refused=refused, action=request.url.path, makes_login=True, login_name=typed, first_days=FIRST_DAYS,
        needs_key=_needs_key(known),
    )  # fmt: skip


def _needs_key(known: figures.Connection | None) -> bool:
    return known is None or known.status != CONNECTED


ROUTES = [Route("/invite/{token}", invite, methods=["GET", "POST"])]

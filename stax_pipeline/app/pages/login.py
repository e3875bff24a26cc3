"""`/login` and `/logout`: a session of our own begins and ends."""

from __future__ import annotations

from urllib.parse import urlsplit

import anyio
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from stax_pipeline.app.forms import read_form
from stax_pipeline.app.people import sessions
from stax_pipeline.app.people.access import COOKIE
from stax_pipeline.app.people.database import AppDatabase
from stax_pipeline.app.people.passwords import is_right
from stax_pipeline.app.people.person import parse_name
from stax_pipeline.app.rendering import page
from stax_pipeline.domain.errors import WrongUse
from stax_pipeline.domain.plurals import count_of

WRONG = "That name and password do not go together."
_AT_ONCE = 2  # a password costs 64 MB and a tenth of a second to check: guesses wait for each other


async def login(request: Request) -> Response:
    """The form, or what became of it."""
    if not request.app.state.settings.asks_for_login or request.app.state.settings.login_header:
        return RedirectResponse("/", 303)
    if request.method != "POST":
        return page(request, "login.html", wrong="", name="", next=_own_path(request.query_params.get("next", "/")))
    fields = await read_form(request)
    name, after = fields.get("name", ""), _own_path(fields.get("next", "/"))
    client = request.client.host if request.client else ""
    wait = request.app.state.attempts.seconds_to_wait(name.strip().lower(), client)
    if wait:
        words = f"Too many attempts. Try again in {count_of(-(-wait // 60), 'minute')}."
        answer = page(request, "login.html", 429, wrong=words, name=name, next=after)
        answer.headers["Retry-After"] = str(wait)
        return answer
    async with slowly(request):
        token = await run_in_threadpool(_begin, request.app.state.database, name, fields.get("password", ""))
    if token is None:
        return page(request, "login.html", 403, wrong=WRONG, name=name, next=after)
    request.app.state.attempts.forget(name.strip().lower(), client)
    return with_cookie(request, RedirectResponse(after, 303), token)


async def logout(request: Request) -> Response:
    """The session ends here and in the warehouse."""
    await read_form(request)
    token = request.cookies.get(COOKIE, "")
    await run_in_threadpool(_end, request.app.state.database, token)
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(COOKIE)
    answer.headers["Clear-Site-Data"] = '"cache"'
    return answer


def _begin(database: AppDatabase, typed: str, password: str) -> str | None:
    """The new session's cookie, None for a wrong name or password: both take as long."""
    try:
        name = parse_name(typed)
    except WrongUse:
        name = ""
    with database.own() as connection:
        kept = sessions.password_hash_of(connection, name)
    if not is_right(password, kept) or not kept:
        return None
    with database.own() as connection:
        return sessions.begin(connection, name, kept)


def _end(database: AppDatabase, token: str) -> None:
    with database.own() as connection:
        sessions.end(connection, token)


def slowly(request: Request) -> anyio.CapacityLimiter:
    """One for the life of the app; it must be made inside the event loop."""
    state = request.app.state
    if not hasattr(state, "password_limiter"):
        state.password_limiter = anyio.CapacityLimiter(_AT_ONCE)
    limiter: anyio.CapacityLimiter = state.password_limiter
    return limiter


def with_cookie(request: Request, answer: Response, token: str) -> Response:
    """The answer with a session's cookie: no script or other site's page has it, and http only where that is meant."""
    settings = request.app.state.settings
    public = urlsplit(settings.public_url).scheme
    secure = "https" in (public, request.url.scheme) or bool(settings.behind_login and not public)
    seconds = int(sessions.LASTS.total_seconds())
    answer.set_cookie(COOKIE, token, max_age=seconds, httponly=True, samesite="lax", secure=secure)
    return answer


def _own_path(path: str) -> str:
    """Where to go on: a path of our own, never another site."""
    is_own = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if is_own and "\\" not in path else "/"


ROUTES = [
    Route("/login", login, methods=["GET", "POST"]),
    Route("/logout", logout, methods=["POST"]),
]

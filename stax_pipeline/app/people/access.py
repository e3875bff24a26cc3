"""Who asks, found out before any page is: middleware that lets people in, and a wrapper for what operators alone reach.

Three ways in, one per installation: on loopback nobody is asked and everybody is an operator; behind a declared login
proxy its header names the person; else a session's cookie does. Stays out: what a page shows to whom (the database's
policies), and the login page itself (`pages.login`).
"""

from __future__ import annotations

import logging
from typing import Protocol
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from stax_pipeline.app.people import sessions
from stax_pipeline.app.people.database import AppDatabase
from stax_pipeline.app.people.person import AT_THIS_MACHINE, Person, parse_name
from stax_pipeline.domain.errors import StaxError, WrongUse
from stax_pipeline.installation.settings import Settings

_log = logging.getLogger(__name__)
OPEN = ("/login", "/static/", "/health", "/metrics", "/invite/")
"""Paths that need no login: nothing of a tenant is there, or they ask for what they need themselves."""
COOKIE = "stax_session"


class Door(Protocol):
    """A way in."""

    def person(self, asked: HTTPConnection) -> Person | None:
        """Who asks; None where nobody proved who it is. May read the database."""


class NoDoor:
    """Loopback: whoever reaches it is let in."""

    def person(self, asked: HTTPConnection) -> Person | None:
        return AT_THIS_MACHINE


class LoginProxy:
    """The header of a login proxy that was declared. A header sent twice proves nothing."""

    def __init__(self, database: AppDatabase, header: str) -> None:
        self._database, self._header = database, header

    def person(self, asked: HTTPConnection) -> Person | None:
        said = asked.headers.getlist(self._header)
        if len(said) != 1:
            return None
        try:
            name = parse_name(said[0])
        except WrongUse:
            return None
        with self._database.own() as connection:
            return sessions.person_of(connection, name)


class SessionCookie:
    """A session of our own."""

    def __init__(self, database: AppDatabase) -> None:
        self._database = database

    def person(self, asked: HTTPConnection) -> Person | None:
        token = asked.cookies.get(COOKIE, "")
        if not token:
            return None
        with self._database.own() as connection:
            return sessions.find(connection, token)


def door(settings: Settings, database: AppDatabase) -> Door:
    """The one way into this installation."""
    if settings.login_header:
        return LoginProxy(database, settings.login_header)
    return SessionCookie(database) if settings.asks_for_login else NoDoor()


class Access:
    """ASGI middleware: `person_of(scope)` says from here on who asks. Strangers get no further than to open pages."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self.app, self._door = app, door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        asked = HTTPConnection(scope)
        try:
            person = await run_in_threadpool(self._door.person, asked)
        except StaxError as fault:
            _log.error("who asks cannot be looked up: %s", fault)
            words = "Who you are cannot be looked up now. Try again in a minute. If it stays, tell your operator.\n"
            await _refuse(PlainTextResponse(words, 503), scope, receive, send)
            return
        scope.setdefault("state", {})["person"] = person
        if person or any(_is_below(scope["path"], path) for path in OPEN):
            await self.app(scope, receive, send)
        else:
            await _refuse(self._stranger(scope, asked.headers), scope, receive, send)

    def _stranger(self, scope: Scope, headers: Headers) -> Response:
        if isinstance(self._door, LoginProxy):
            return PlainTextResponse("The login in front named nobody who has a login here.\n", 401)
        if scope.get("method") == "GET" and "text/html" in headers.get("accept", ""):
            query = f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else ""
            return RedirectResponse(f"/login?next={quote(scope['path'] + query, safe='/')}", 303)
        return PlainTextResponse("Log in first.\n", 401)


def person_of(scope: Scope) -> Person | None:
    """Who asks; None on a page that is open to everybody."""
    found = scope.get("state", {}).get("person")
    return found if isinstance(found, Person) else None


class OperatorsOnly:
    """ASGI application that others than operators do not reach, by HTTP or websocket."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        person = person_of(scope)
        if person and person.is_operator:
            await self.app(scope, receive, send)
        else:
            await _refuse(PlainTextResponse("This is for operators alone.\n", 403), scope, receive, send)


def _is_below(path: str, of: str) -> bool:
    return path.startswith(of) if of.endswith("/") else path == of or path.startswith(f"{of}/")


async def _refuse(answer: Response, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})  # before it was accepted: the browser hears 403
        return
    answer.headers["Cache-Control"] = "no-store"
    await answer(scope, receive, send)

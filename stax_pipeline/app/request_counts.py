"""How many requests the application answered: one count by part of the application, method and status."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import NamedTuple

from starlette.types import ASGIApp, Message, Receive, Scope, Send

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "WEBSOCKET"})
OTHER = "other"


class Kind(NamedTuple):
    """What requests are counted by. None of it is a text that a stranger chose, so that the counts stay few."""

    part: str
    method: str
    status: int


def first_segment(scope: Scope) -> str:
    """What a path begins with; what follows may be a secret, such as an invite's token."""
    return str(scope["path"]).lstrip("/").partition("/")[0]


class RequestCounts:
    """Counts since the application started."""

    def __init__(self, parts: Collection[str]) -> None:
        self._parts = frozenset(parts)
        self._counts: Counter[Kind] = Counter()

    def note(self, scope: Scope, status: int) -> None:
        """Count one request; `parts` are first segments of paths, a path of another is `other`, `/` is `overview`."""
        first = first_segment(scope) or "overview"
        method = "WEBSOCKET" if scope["type"] == "websocket" else str(scope["method"])
        part = first if first in self._parts else OTHER
        self._counts[Kind(part, method if method in METHODS else OTHER, status)] += 1

    def found(self) -> Mapping[Kind, int]:
        """The counts as they are now."""
        return dict(self._counts)


class Counted:
    """ASGI middleware that notes what the application answered, refusals included."""

    def __init__(self, app: ASGIApp, counts: RequestCounts) -> None:
        self.app, self._counts = app, counts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        status = 500

        async def noted(message: Message) -> None:
            nonlocal status
            status = _status(message, status)
            await send(message)

        try:
            await self.app(scope, receive, noted)
        finally:
            self._counts.note(scope, status)


def _status(message: Message, before: int) -> int:
    if message["type"] in ("http.response.start", "websocket.http.response.start"):
        return int(message["status"])
    if message["type"] == "websocket.accept":
        return 101
    if message["type"] == "websocket.close" and before == 500:  # before it was accepted
        return 403
    return before

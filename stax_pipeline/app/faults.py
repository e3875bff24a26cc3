"""What a person reads where a page cannot be shown: what happened and what to do, and nothing of how it happened."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stax_pipeline.app.people.access import person_of
from stax_pipeline.app.rendering import page
from stax_pipeline.app.request_counts import first_segment
from stax_pipeline.domain.errors import StaxError

_log = logging.getLogger(__name__)
_WORDS = {
    404: ("Not found", "There is no such page, or you may not see it."),
    405: ("Not possible", "This page cannot be asked for in this way."),
}


async def _refused(request: Request, fault: Exception) -> Response:
    """An answer that a page gave up with; the same for what is not there and for what may not be seen."""
    assert isinstance(fault, HTTPException)
    heading, words = _WORDS.get(fault.status_code, ("That did not work", fault.detail))
    answer = page(request, "message.html", fault.status_code, heading=heading, words=words)
    answer.headers.update(fault.headers or {})
    return answer


async def _explained(request: Request, fault: Exception) -> Response:
    """A fault in our own words: operators read them, others hear that somebody else must act."""
    person = person_of(request.scope)
    _log.error("%a: %s", first_segment(request.scope), fault)
    words = str(fault) if person and person.is_operator else "Try again in a minute. If it stays, tell your operator."
    return page(request, "message.html", 503, heading="This page cannot be shown now", words=words)


class Unexpected:
    """ASGI middleware: a fault of ours becomes a page.

    Its place goes to the log, without its message, which might quote anything.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def noted(message: Message) -> None:
            nonlocal begun
            begun = begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, noted)
        except Exception as fault:
            if scope["type"] != "http" or begun:
                raise
            place = "".join(traceback.format_tb(fault.__traceback__)[-3:])
            _log.error("%a: unexpected %s at\n%s", first_segment(scope), type(fault).__name__, place)
            words = "It was written to the log. Please tell your operator."
            answer = page(Request(scope), "message.html", 500, heading="Something broke", words=words)
            await answer(scope, receive, send)


HANDLERS: Mapping[Any, Any] = {HTTPException: _refused, StaxError: _explained}

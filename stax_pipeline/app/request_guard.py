"""What a request must look like before the app or Dagster's UI sees it: for a name we serve, and sent by our own pages.

The UI has no login, so being on loopback is what keeps others out; a page in the operator's own browser is already in.
It could rename itself to 127.0.0.1 (DNS rebinding: `Host` still says the page's name), open a websocket, post a form,
or put a mutation into an image's address. Requests of programs (curl, Dagster's own) carry neither `Origin` nor
`Sec-Fetch-Site` and pass.

Stays out: logins. Whoever serves the UI to others puts one in front and declares it (`STAX_BEHIND_LOGIN`).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from stax_pipeline.installation.settings import LOOPBACK

_HOST = re.compile(r"(?P<name>[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
_OWN_SITES = ("same-origin", "none")


class RequestGuard:
    """ASGI middleware that lets in requests for `names` (lower case, without port) that no other site sent."""

    def __init__(self, app: ASGIApp, names: Collection[str]) -> None:
        self.app = app
        self.names = frozenset(names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = self._refusal(scope) if scope["type"] in ("http", "websocket") else None
        if refused is None:
            await self.app(scope, receive, send)
        else:
            status, words = refused
            await PlainTextResponse(words, status)(scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        found = _HOST.fullmatch(hosts[0].lower()) if len(hosts) == 1 else None
        if found is None or found["name"].strip("[]") not in self.names:
            return 400, "This name is not served here. Use 127.0.0.1, or name it in STAX_BEHIND_LOGIN.\n"
        if not self._is_own(headers.getlist("origin"), hosts[0].lower()):
            return 403, "Another site's page sent this.\n"
        if headers.get("sec-fetch-site", "none") not in _OWN_SITES and not _is_a_link(scope, headers):
            return 403, "Another site's page sent this.\n"
        if _method(scope) == "GET" and scope["path"].endswith("/graphql") and not _shows_a_page(headers):
            return 405, "Queries come by POST: a GET needs no consent of the browser.\n"
        return None

    def _is_own(self, origins: list[str], host: str) -> bool:
        """Whether the page that sent it is one we serve; a proxy in front may have changed name or port in `Host`."""
        if not origins:
            return True
        try:
            origin = urlsplit(origins[0].lower())
            return len(origins) == 1 and (origin.netloc == host or origin.hostname in self.names - LOOPBACK)
        except ValueError:
            return False


def _method(scope: Scope) -> str:
    return str(scope.get("method", ""))


def _is_a_link(scope: Scope, headers: Headers) -> bool:
    """A link on another page that opens the UI as a page of its own."""
    return _method(scope) == "GET" and headers.get("sec-fetch-dest") == "document"


def _shows_a_page(headers: Headers) -> bool:
    return "text/html" in headers.get("accept", "")

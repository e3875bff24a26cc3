"""`/health`: whether the application answers (liveness), and whether everything behind it does (readiness).

Nothing of a tenant is in it, so that it needs no login.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

Probe = Callable[[], Awaitable[bool]]
"""Whether one thing that the application needs answers; raises nothing."""


def health_routes(probes: Mapping[str, Probe]) -> list[Route]:
    """`/health` answers 200 when every probe does and 503 otherwise, naming each; `/health/live` answers 200 always."""

    async def ready(_: Request) -> Response:
        found = {name: await probe() for name, probe in probes.items()}
        told = {name: "ok" if answers else "does not answer" for name, answers in found.items()}
        return _json({"live": True, "ready": all(found.values()), **told}, 200 if all(found.values()) else 503)

    async def live(_: Request) -> Response:
        return _json({"live": True}, 200)

    return [Route("/health", ready), Route("/health/live", live)]


def _json(content: Mapping[str, object], status: int) -> Response:
    return JSONResponse(content, status, headers={"Cache-Control": "no-store"})

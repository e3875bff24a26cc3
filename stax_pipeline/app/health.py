"""`/health`: whether the application answers (liveness), and whether everything behind it does (readiness).

Nothing of a tenant is in it, so that it needs no login.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from stax_pipeline.app.dagster_relay import DagsterRelay
from stax_pipeline.app.people.database import AppDatabase
from stax_pipeline.domain.errors import StaxError

_OF_DAGSTER = """{
  workspaceOrError { ... on Workspace { locationEntries { locationOrLoadError { __typename } } } }
  instance { daemonHealth { allDaemonStatuses { required healthy } } }
}"""


def health_routes(database: AppDatabase, dagster: DagsterRelay) -> list[Route]:
    """`/health` answers 200 when everything does and 503 otherwise, naming each; `/health/live` answers 200 always."""

    async def ready(_: Request) -> Response:
        reached, told = await asyncio.gather(run_in_threadpool(answers, database), dagster.ask(_OF_DAGSTER))
        found = {"database": reached, "dagster": bool(told), "code": _is_loaded(told), "daemon": _is_at_work(told)}
        words = {name: "ok" if holds else "not ready" for name, holds in found.items()}
        return JSONResponse({"live": True, "ready": all(found.values()), **words}, 200 if all(found.values()) else 503)

    async def live(_: Request) -> Response:
        return JSONResponse({"live": True})

    return [Route("/health", ready), Route("/health/live", live)]


def answers(database: AppDatabase) -> bool:
    """Whether the database answers to the application's own login."""
    try:
        with database.own() as connection:
            connection.exec_driver_sql("select 1")
    except StaxError:
        return False
    return True


def _is_loaded(told: Mapping[str, Any]) -> bool:
    entries = (told.get("workspaceOrError") or {}).get("locationEntries") or []
    kinds = {(entry["locationOrLoadError"] or {}).get("__typename") for entry in entries}
    return kinds == {"RepositoryLocation"}


def _is_at_work(told: Mapping[str, Any]) -> bool:
    daemons = (told.get("instance") or {}).get("daemonHealth", {}).get("allDaemonStatuses") or []
    required = [one["healthy"] for one in daemons if one["required"]]
    return bool(required) and all(required)

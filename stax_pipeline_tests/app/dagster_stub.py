"""A stand-in for Dagster's GraphQL at a unix socket: notes what was launched, and says what state each run is in."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


class DagsterStub:
    """`launched` are the run ids with the parameters they were asked for, `states` what is said of each run."""

    def __init__(self) -> None:
        self.launched: dict[str, dict[str, Any]] = {}
        self.states: dict[str, str] = {}
        self.app = Starlette(routes=[Route("/dagster/graphql", self._answer, methods=["POST"])])

    async def _answer(self, request: Request) -> Response:
        asked = await request.json()
        if "launchRun" in asked["query"]:
            run_id = str(uuid4())
            self.launched[run_id] = asked["variables"]["asked"]
            self.states[run_id] = "QUEUED"
            return JSONResponse({"data": {"launchRun": {"__typename": "LaunchRunSuccess", "run": {"runId": run_id}}}})
        state = self.states.get(asked["variables"]["run"])
        found = {"__typename": "Run", "status": state} if state else {"__typename": "RunNotFoundError"}
        return JSONResponse({"data": {"runOrError": found}})

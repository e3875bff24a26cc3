"""Runs of Dagster's that pages start and look at, by its GraphQL at the unix socket: no work is done in this process.

Stays out: what a person sees of Dagster's UI, which is relayed (`dagster_relay`).
"""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Any

import httpx

from stax_pipeline.app.dagster_relay import PREFIX
from stax_pipeline.domain.extraction import Window

LOCATION, REPOSITORY, JOB = "stax-pipeline", "__repository__", "sync"
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
ONBOARD = {"lane": "onboard"}
"""The tag of a first backfill: the sensor that would start one waits for it."""
SECONDS = 30.0
_RUN_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LAUNCH = """
mutation ($asked: ExecutionParams!) {
  launchRun(executionParams: $asked) { __typename ... on LaunchRunSuccess { run { runId } } }
}
"""
_STATUS = "query ($run: ID!) { runOrError(runId: $run) { __typename ... on Run { status } } }"


class RunState(StrEnum):
    """How far a run is, as far as a person cares."""

    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNKNOWN = "unknown"


_STATES = {
    "QUEUED": RunState.WAITING, "NOT_STARTED": RunState.WAITING, "STARTING": RunState.WAITING,
    "SUSPENDED": RunState.WAITING, "STARTED": RunState.RUNNING, "SUCCESS": RunState.SUCCEEDED,
    "FAILURE": RunState.FAILED, "CANCELING": RunState.FAILED, "CANCELED": RunState.FAILED,
}  # fmt: skip


class DagsterRuns:
    """Runs in the Dagster whose webserver listens at `socket`. Raises nothing: a Dagster that is away starts no run."""

    def __init__(self, socket: Path) -> None:
        way = httpx.HTTPTransport(uds=str(socket))
        self._client = httpx.Client(transport=way, base_url="http://dagster", timeout=SECONDS, trust_env=False)

    def launch_sync(self, slug: str, window: Window, *, first: bool) -> str | None:
        """Start one run of `sync` for one tenant over the days of `window`; its id, None where none was started."""
        last = window.days[-1]
        tags = {RANGE_START: window.start.isoformat(), RANGE_END: last.isoformat(), **(ONBOARD if first else {})}
        asked = {
            "selector": {"repositoryLocationName": LOCATION, "repositoryName": REPOSITORY, "jobName": JOB},
            "runConfigData": {"resources": {"scope": {"config": {"tenants": [slug]}}}},
            "mode": "default",
            "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
        }
        launched = self._asked(_LAUNCH, {"asked": asked}, "launchRun").get("run")
        return str(launched["runId"]) if launched else None

    def state(self, run_id: str) -> RunState:
        """How far that run is; unknown where there is none, or where Dagster does not answer."""
        if not _RUN_ID.fullmatch(run_id):
            return RunState.UNKNOWN
        status = self._asked(_STATUS, {"run": run_id}, "runOrError").get("status", "")
        return _STATES.get(status, RunState.UNKNOWN)

    def close(self) -> None:
        """Close the connections that are kept open."""
        self._client.close()

    def _asked(self, query: str, variables: dict[str, Any], name: str) -> dict[str, Any]:
        """What was answered under that name; nothing where Dagster does not answer, or not as it should."""
        try:
            answer = self._client.post(f"{PREFIX}/graphql", json={"query": query, "variables": variables})
            found = answer.json()["data"][name] if answer.status_code == 200 else None
        except (httpx.HTTPError, ValueError, LookupError, TypeError):
            return {}
        return found if isinstance(found, dict) else {}

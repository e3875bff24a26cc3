"""A served simulator with a clock that tests can set, and a client that asks as the documentation says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from stax_pipeline.simulator import Simulator, demo_organizations

COST = "/v1/organizations/cost_report"
USAGE = "/v1/organizations/usage_report/messages"
BETA = "fast-mode-2026-02-01"
Pairs = list[tuple[str, str]]


@dataclass
class Clock:
    now: datetime = datetime(2026, 11, 22, 15, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Client:
    """Asks one simulator, as one organisation unless told otherwise."""

    simulator: Simulator
    clock: Clock
    http: httpx.Client
    key: str
    headers: dict[str, str] = field(default_factory=lambda: {"anthropic-version": "2023-06-01"})

    def get(self, path: str, params: Pairs | None = None, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.get(path, params=tuple(params or ()), headers={"x-api-key": self.key, **self.headers, **named})

    def buckets(self, path: str, start: str, end: str, group_by: tuple[str, ...] = (), **more: str) -> list[Any]:
        """All buckets of a query, walked to the end. `beta` is sent as header, the rest as parameters."""
        headers = {"anthropic_beta": more.pop("beta")} if "beta" in more else {}
        params = [("starting_at", start), ("ending_at", end), *more.items()]
        params += [("group_by[]", name) for name in group_by]
        found: list[Any] = []
        token: str | None = None
        while True:
            page = self.get(path, params + ([("page", token)] if token else []), **headers)
            assert page.status_code == 200, page.text
            found += page.json()["data"]
            token = page.json()["next_page"]
            assert (token is not None) is page.json()["has_more"]
            if token is None:
                return found

    def rows(self, path: str, start: str, end: str, group_by: tuple[str, ...] = (), **more: str) -> list[Any]:
        return [row for bucket in self.buckets(path, start, end, group_by, **more) for row in bucket["results"]]


@pytest.fixture(scope="module")
def served() -> Iterator[Client]:
    clock = Clock()
    with (
        Simulator(demo_organizations(), clock=clock) as simulator,
        httpx.Client(base_url=simulator.base_url, trust_env=False) as http,
    ):
        yield Client(simulator, clock, http, simulator.keys["acme"])


@pytest.fixture
def client(served: Client) -> Client:
    """The module's simulator as it was at first: no faults, the usual clock, acme's key."""
    served.clock.now = Clock.now
    served.key = served.simulator.keys["acme"]
    served.simulator.faults.clear()
    return served


def day(text: str) -> str:
    return f"{text}T00:00:00Z"

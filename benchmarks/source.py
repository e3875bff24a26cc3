"""The source of a case, in a process of its own: the simulator's pages, each made once and then sent as it was.

Usage: python -m benchmarks.source TENANTS [--small]. Prints the address, then a line with name and key per
organisation; ends when its standard input is closed. The data stands still from the start on, the clock in the header
`Date` goes on, so that a second run finds nothing new and product, floor and peers read the same bytes.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from email.utils import format_datetime
from typing import Any, NamedTuple

import uvicorn

from benchmarks.cases import tenant_names
from stax_pipeline.simulator import Organization, demo_organizations
from stax_pipeline.simulator.app import Api


class Source(NamedTuple):
    """Where the pages are served, and one admin key per organisation."""

    url: str
    keys: dict[str, str]


@contextmanager
def serving(tenants: int, *, small: bool = False) -> Iterator[Source]:
    """The source of so many organisations while the block runs."""
    command = [sys.executable, "-m", "benchmarks.source", str(tenants), *(["--small"] if small else [])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as served:
        assert served.stdin and served.stdout
        try:
            url = served.stdout.readline().strip()
            yield Source(url, dict(served.stdout.readline().split() for _ in range(tenants)))
        finally:
            served.stdin.close()


class Recorded:
    """An ASGI application that answers a request as `made` answered it the first time."""

    def __init__(self, made: Any) -> None:
        self._made = made
        self._answers: dict[tuple[bytes, ...], list[dict[str, Any]]] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope["headers"])
        asked = headers.get(b"x-api-key", b""), scope["raw_path"], scope["query_string"]
        if asked not in self._answers:
            parts: list[dict[str, Any]] = []

            async def keep(part: dict[str, Any]) -> None:
                parts.append(part)

            await self._made(scope, receive, keep)
            self._answers[asked] = parts
        start, *body = self._answers[asked]
        now = (b"date", format_datetime(datetime.now(UTC), usegmt=True).encode())
        await send({**start, "headers": [header for header in start["headers"] if header[0] != b"date"] + [now]})
        for part in body:
            await send(part)


def organizations(tenants: int, today: date, *, small: bool) -> list[Organization]:
    """The simulator's own; small ones keep one of their habits."""
    made = demo_organizations(names=tenant_names(tenants))
    return [_small(one, today) if small else one for one in made]


def _small(organization: Organization, today: date) -> Organization:
    habit = next(stream for stream in organization.streams if stream.first <= today <= stream.last)
    return replace(organization, streams=(habit,), hourly=())


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.source")
    parser.add_argument("tenants", type=int)
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()
    now = datetime.now(UTC)
    served = organizations(options.tenants, now.date(), small=options.small)
    api = Api(served, lambda: now)
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    for organization in served:
        print(organization.name, organization.admin_key, flush=True)
    threading.Thread(target=_end_with_the_input, daemon=True).start()
    config = uvicorn.Config(
        Recorded(api.app()), log_config=None, access_log=False, date_header=False, server_header=False, lifespan="off"
    )
    uvicorn.Server(config).run([listener])


def _end_with_the_input() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()

"""Months of daily runs with random faults, in minutes: in the end all is as if nothing had happened, nothing leaked.

Usage: python -m benchmarks.soak [--tenants 50] [--days 90] [--lookback 2] [--seed N]

Every simulated day at 00:10 UTC the trailing window is synced for all tenants. On most days some answers are wrong (in
content or below HTTP), on some the run is killed at a random stage or its connections are cut. The last run covers all
days without faults; then a clean installation is synced once, and both must hold the same. The source runs in a
process of its own, so that the memory measured is the product's. Exit code 1 says that they differ, or that something
leaked; the seed repeats it.
"""

from __future__ import annotations

import argparse
import gc
import logging
import multiprocessing
import os
import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import psutil
import sqlalchemy as sa

from stax_pipeline import embedded_postgres
from stax_pipeline.anthropic import Limits
from stax_pipeline.domain.errors import StaxError
from stax_pipeline.domain.extraction import Window
from stax_pipeline.domain.time import trailing_window
from stax_pipeline.installation.settings import read_settings
from stax_pipeline.resources.dagster import loader_engine
from stax_pipeline.simulator import Organization, Simulator, faults, realistic_organization
from stax_pipeline.warehouse.engine import connect_engine
from stax_pipeline.warehouse.migrate import upgrade
from stax_pipeline.warehouse.roles import LOADER, logins
from stax_pipeline_tests.conftest import Clock, Installation, emptied, passable_home
from stax_pipeline_tests.pipeline import support
from stax_pipeline_tests.pipeline.support import Ran, execute
from stax_pipeline_tests.rig.fault_server import SPOILERS, FaultServer
from stax_pipeline_tests.rig.oracle import Content, adopt, everything, run, sweep
from stax_pipeline_tests.rig.stages import SYNC_STAGES, at, killed_at

FIRST = date(2026, 8, 1)
PART = timedelta(days=31)
WRONG = (
    *(faults.status(code) for code in (429, 500, 503, 529, 404)),
    *(faults.html(), faults.error_envelope(), faults.has_more_without_token(), faults.repeated_token()),
    *(faults.missing_field("data"), faults.nan_amount(), faults.currency(), faults.missing_buckets(), faults.body("")),
)
QUICK = sorted(set(SPOILERS) - {"hang", "drip"})  # those two cost real seconds
PATHS = ("cost_report", "usage_report/messages", "workspaces", "me")
GROWTH_MB = 64.0  # of resident memory, from the end of the second day to the last day


@dataclass(frozen=True, slots=True)
class Load:
    """What this process and the database hold at a moment."""

    resident_mb: float
    files: int
    connections: int


@dataclass(frozen=True, slots=True)
class Figures:
    """How a soak went."""

    seed: int
    seconds: float
    struck: int
    failed: int
    stopped: int
    early: Load
    late: Load
    differences: tuple[str, ...]

    @property
    def leaks(self) -> list[str]:
        grown = self.late.resident_mb - self.early.resident_mb
        found = {
            f"{grown:.0f} MB of memory": grown > GROWTH_MB,
            f"{self.late.files - self.early.files} open files": self.late.files > self.early.files,
            f"{self.late.connections - self.early.connections} connections": (
                self.late.connections > self.early.connections
            ),
        }
        return [what for what, is_leak in found.items() if is_leak]


def organizations(count: int) -> list[Organization]:
    return [
        realistic_organization(f"tenant-{n:03d}", seed=n, daily_tokens=2_000_000, shared_workspaces=0)
        for n in range(count)
    ]


def serve(pipe: Connection, count: int) -> None:
    """The source: told each day's instant, seed and share of faults, it answers with the faults that struck so far."""
    clock = Clock()
    with Simulator(organizations(count), clock=clock) as simulator, FaultServer(simulator.base_url, count) as relay:
        pipe.send(relay.url)
        while order := pipe.recv():
            clock.now, seed, share = order
            chance = random.Random(seed)
            simulator.faults.clear()
            relay.faults.clear()
            for key in simulator.keys.values():
                rule: dict[str, Any] = {
                    "key": key, "path": chance.choice(PATHS), "nth": chance.randint(1, 3),
                    "times": chance.choice((1, 1, None)),
                }  # fmt: skip
                below, name, wrong = chance.random() < 0.5, chance.choice(QUICK), chance.choice(WRONG)
                if chance.random() < share and below:
                    relay.spoil(SPOILERS[name], **rule)
                elif chance.random() < share:
                    simulator.faults.add(wrong, **rule)
            pipe.send(relay.spoiled)


class Source:
    """The parent's end of `serve`."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self.url: str = pipe.recv()
        self.struck = 0

    def set(self, now: datetime, seed: int = 0, share: float = 0.0) -> None:
        self._pipe.send((now, seed, share))
        self.struck = self._pipe.recv()


@contextmanager
def source(count: int) -> Iterator[Source]:
    processes = multiprocessing.get_context("forkserver")
    ours, theirs = processes.Pipe()
    child = processes.Process(target=serve, args=(theirs, count))
    child.start()
    try:
        yield Source(ours)
    finally:
        ours.send(None)
        child.join(30)


def load(admin: sa.Engine) -> Load:
    """What is held when the pool's idle connections, which are no leak, are closed."""
    me = psutil.Process()
    loader_engine(read_settings()).dispose()
    count = sa.text("select count(*) from pg_stat_activity where usename = :loader")
    counted = []
    for _ in range(20):
        with admin.connect() as connection:
            counted.append(int(connection.execute(count, {"loader": LOADER}).scalar_one()))
        time.sleep(0.1)
    return Load(me.memory_info().rss / (1 << 20), me.num_fds(), min(counted))


def soak(home: Path, tenants: int, days: int, lookback: int, seed: int) -> Figures:
    """Run it in a migrated, running `home`; needs STAX_HOME in the environment to be that."""
    chance, started = random.Random(seed), time.monotonic()
    support.LIMITS = Limits(read_seconds=5.0, page_seconds=5.0, tries=3, body_bytes=4_000_000)
    last = FIRST + timedelta(days=days)
    failed = stopped = 0
    with source(tenants) as served:
        os.environ["STAX_ANTHROPIC_BASE_URL"] = served.url
        made = connected(home, tenants)
        admin = connect_engine(logins(made.settings).admin)
        early = load(admin)
        for number in range(days):
            now = datetime.combine(FIRST + timedelta(days=number + 1), datetime.min.time(), UTC) + timedelta(minutes=10)
            served.set(now, chance.randrange(1 << 32), share=0.4)
            seen = trailing_window(lookback, now)
            ran = daily(made, admin, Window(max(seen.start, FIRST), seen.end), chance)
            failed += len(ran.failures) if ran else 0
            stopped += ran is None
            if number == 1:
                early = settled(made, admin)
            if number % 10 == 9:
                print(f"{number + 1} days, {time.monotonic() - started:.0f} s, {failed} failed", flush=True)
        final = datetime.combine(last, datetime.min.time(), UTC) + timedelta(hours=12)
        served.set(final)
        late, struck = settled(made, admin), served.struck
        found = whole(made, last)
        clean = whole(connected(home, tenants), last)
        admin.dispose()
    return Figures(
        seed, time.monotonic() - started, struck, failed, stopped, early, late, tuple(differences(found, clean))
    )


def connected(home: Path, tenants: int) -> Installation:
    """An empty installation with all tenants connected."""
    known = {organization.name: organization for organization in organizations(tenants)}
    keys = {name: organization.admin_key for name, organization in known.items()}
    simulator = cast(Any, SimpleNamespace(organizations=known, keys=keys))
    made = Installation(home, simulator, Clock())
    emptied(made)
    for name in known:
        made.add_tenant(name)
    execute(made, "update stax.tenants set created_at = '2026-07-01T00:00Z'")
    return made


def daily(made: Installation, admin: sa.Engine, window: Window, chance: random.Random) -> Ran | None:
    """One scheduled run, perhaps killed or cut off; None when it did not end by itself."""
    happens = chance.random()
    stage = SYNC_STAGES[chance.choice(sorted(SYNC_STAGES))]
    try:
        if happens < 0.1:
            killed_at(stage, window=window)
            return None
        if happens < 0.2:
            with at(stage, lambda: cut(admin)), suppress(StaxError, OSError, sa.exc.DBAPIError):
                return run(made, window)
            return None
        return run(made, window)
    finally:
        sweep(made)
        adopt(made)
        execute(made, "update stax.tenants set status = 'connected'")


def cut(admin: sa.Engine) -> None:
    with admin.begin() as connection:
        every = sa.text("select pg_terminate_backend(pid) from pg_stat_activity where usename = :loader")
        connection.execute(every, {"loader": LOADER})


def settled(made: Installation, admin: sa.Engine) -> Load:
    gc.collect()
    made.engine.dispose()
    return load(admin)


def whole(made: Installation, last: date) -> Content:
    """Everything after one run over all days without faults, 31 days at a time."""
    start = FIRST
    while start <= last:
        window = Window(start, min(start + PART, last + timedelta(days=1)))
        failures = run(made, window).failures
        assert not failures, failures
        start = window.end
    return everything(made)


def differences(found: Content, clean: Content) -> Iterator[str]:
    """Tables and files that are not those of the clean installation, each with a row that tells."""
    for name in sorted(found.keys() | clean.keys()):
        surplus = sorted(set(found.get(name, ())) ^ set(clean.get(name, ())))
        if found.get(name) != clean.get(name):
            yield f"{name}: {len(found.get(name, ()))} rows, clean {len(clean.get(name, ()))}: {surplus[:2]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tenants", type=int, default=50)
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--lookback", type=int, default=2)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    given = parser.parse_args()
    print(f"{given.tenants} tenants, {given.days} days, seed {given.seed}", flush=True)
    logging.disable(logging.CRITICAL)
    with passable_home() as home:
        os.environ["STAX_HOME"] = str(home)
        settings = read_settings()
        with embedded_postgres.running(settings.postgres_home):
            upgrade(settings)
            figures = soak(home, given.tenants, given.days, given.lookback, given.seed)
    for line in report_lines(figures):
        print(line)
    sys.exit(1 if figures.differences or figures.leaks else 0)


def report_lines(figures: Figures) -> Iterator[str]:
    early, late = figures.early, figures.late
    yield f"{figures.seconds:.0f} s, {figures.struck} answers broken below HTTP"
    yield f"{figures.stopped} runs killed or cut off, {figures.failed} tenant-runs failed in words"
    yield f"memory {early.resident_mb:.0f} MB → {late.resident_mb:.0f} MB, open files {early.files} → {late.files}"
    yield f"connections {early.connections} → {late.connections}; leaks: {', '.join(figures.leaks) or 'none'}"
    yield "content is that of a clean installation" if not figures.differences else "content DIFFERS:"
    yield from figures.differences


if __name__ == "__main__":
    main()

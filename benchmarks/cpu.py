"""CPU seconds of the two sides: a client's processes, and the Postgres server with every process it has or had."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psutil
import sqlalchemy as sa


@dataclass
class Spent:
    """CPU seconds of client and server, and seconds of wall time."""

    client: float = 0.0
    server: float = 0.0
    wall: float = 0.0

    @property
    def cpu(self) -> float:
        return self.client + self.server


class Counted(Protocol):
    """What tells how many CPU seconds it has used so far."""

    def cpu(self) -> float: ...


class Session:
    """One session of a server: what others do meanwhile, such as vacuum what was written before, is not counted."""

    def __init__(self, connection: Any) -> None:
        self._backend = psutil.Process(connection.info.backend_pid)

    def cpu(self) -> float:
        """CPU seconds of the session's process so far."""
        return cpu_of(self._backend)


class Server:
    """The Postgres server behind an engine."""

    def __init__(self, engine: sa.Engine) -> None:
        with engine.connect() as connection:
            backend = connection.execute(sa.text("select pg_backend_pid()")).scalar_one()
        parent = psutil.Process(backend).parent()
        assert parent
        self.postmaster = parent

    def cpu(self) -> float:
        """CPU seconds of all its processes since it started, those that ended included."""
        times = self.postmaster.cpu_times()
        ended = times.children_user + times.children_system
        return ended + sum(map(cpu_of, (self.postmaster, *self.postmaster.children(recursive=True))))


def cpu_of(process: psutil.Process) -> float:
    """CPU seconds of one process; 0 when it is gone."""
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)


def own_cpu() -> float:
    """CPU seconds of this process and of every process it started."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    living = psutil.Process().children(recursive=True)
    return time.process_time() + children.ru_utime + children.ru_stime + sum(map(cpu_of, living))


def peak_mb() -> float:
    """The most memory that this process ever had resident, in MB.

    `ru_maxrss` would begin with the memory of the process that started this one (Linux).
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


@contextmanager
def spending(server: Counted) -> Iterator[Spent]:
    """What the block costs, filled in at its end."""
    spent = Spent()
    client, served, wall = own_cpu(), server.cpu(), time.perf_counter()
    try:
        yield spent
    finally:
        spent.client, spent.server = own_cpu() - client, server.cpu() - served
        spent.wall = time.perf_counter() - wall

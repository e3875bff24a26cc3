"""Child processes in a session of their own, and ending every one of them.

A session outlives its leader: whoever was started by Dagster's processes, and by theirs, still names it. So what is
left after a kill can be found and ended by `stax down`, without ever touching a process that is not ours.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

import psutil

SECONDS_TO_STOP = 20.0


def start(command: Sequence[str], environment: Mapping[str, str], output: IO[bytes] | int, folder: Path) -> Child:
    """Start a command as the leader of a new session; the terminal's Ctrl-C does not reach it, ours does.

    A handled signal is back at its default in a new program, an ignored one is not: see `main.take_signals`.
    """
    return subprocess.Popen(
        command, env=dict(environment), cwd=folder, stdin=subprocess.DEVNULL, stdout=output,
        stderr=subprocess.STDOUT if output != subprocess.PIPE else None, start_new_session=True,
    )  # fmt: skip


Child = subprocess.Popen[bytes]


@contextlib.contextmanager
def session(
    command: Sequence[str], environment: Mapping[str, str], output: IO[bytes] | int, folder: Path
) -> Iterator[Child]:
    """The command while the block runs; every process of its session is gone afterwards."""
    child = start(command, environment, output, folder)
    try:
        yield child
    finally:
        with uninterrupted():
            stop_session(child.pid)
            child.wait()


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """A second Ctrl-C must not leave half of the processes behind; stopping is bounded in time."""
    before = {
        number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def members(session_id: int) -> list[psutil.Process]:
    """The living processes of a session."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(OSError, psutil.Error):
            if os.getsid(process.pid) == session_id and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def stop_session(session_id: int, seconds: float = SECONDS_TO_STOP) -> int:
    """Ask the leader to end, then end whoever is left; returns how many processes there were."""
    before = members(session_id)
    leader = [process for process in before if process.pid == session_id]
    _signal(leader, signal.SIGINT)
    _wait(session_id, seconds if leader else 0)
    _signal(members(session_id), signal.SIGTERM)
    _wait(session_id, 3)
    _signal(members(session_id), signal.SIGKILL)
    _wait(session_id, 3)
    return len(before)


def _signal(processes: Sequence[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.send_signal(number)


def _wait(session_id: int, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while members(session_id) and time.monotonic() < deadline:
        time.sleep(0.1)


def started_at(pid: int) -> float | None:
    """When the process of that id started; None when there is none."""
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        if process.status() != psutil.STATUS_ZOMBIE:
            return process.create_time()
    return None

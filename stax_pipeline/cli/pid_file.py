"""The pid file by which a second `stax up` or `stax demo` of a home is refused, and `stax down` ends the first.

Stays out: what they start (`serving`), how processes are ended (`processes`).
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stax_pipeline.cli import processes
from stax_pipeline.cli.environment import secrets_file
from stax_pipeline.domain.errors import CannotStart, WrongUse
from stax_pipeline.installation import process_secrets
from stax_pipeline.installation.homes import DEMO, default_home

SECONDS_TO_END = 28.0  # what ending the app's session may take, and a little more
_FILE = "up.json"


@contextlib.contextmanager
def single_instance(home: Path, given: Path) -> Iterator[None]:
    """Hold the home while the block runs. `given` is the home `stax down` is told. Raises WrongUse, nothing done.

    A home that was made for the block and is empty after it goes again.
    """
    pid = running(home)
    if pid:
        raise WrongUse(f"It runs already (process {pid}); `{_down(given)}` stops it.")
    stop_left_running(home)
    was_there = home.exists()
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write(home, _named("pid", os.getpid()))
    except OSError as fault:
        raise CannotStart(f"{home} is not usable: {fault.strerror}. Set STAX_HOME to a writable place.") from None
    try:
        yield
    finally:
        (home / _FILE).unlink(missing_ok=True)
        if not was_there:
            with contextlib.suppress(OSError):  # it holds an installation now
                home.rmdir()


def add_session(home: Path, session_id: int) -> None:
    """Add a session of ours that must end with this process."""
    _write(home, _named("pid", os.getpid()) | _named("session", session_id))


def add_address(home: Path, address: str) -> None:
    """Add where the app answers."""
    _write(home, _read(home) | {"address": address})


def address(home: Path) -> str | None:
    """Where the app of the home answers; None where none runs."""
    found = _read(home)
    return str(found["address"]) if _lives(found, "pid") and "address" in found else None


def running(home: Path) -> int | None:
    """The process that runs `up` or `demo` in the home."""
    found = _read(home)
    return int(found["pid"]) if _lives(found, "pid") else None


def stop_left_running(home: Path, seconds: float = SECONDS_TO_END) -> int:
    """End what a noted `stax up` or `stax demo` of the home started, itself included; how many processes it was."""
    found = _read(home)
    ended = 0
    if _lives(found, "pid"):
        ended += 1
        _end(found, seconds)
    if found.get("session"):
        leader = processes.started_at(found["session"])
        if leader is None or leader == found["session_started"]:
            ended += processes.stop_session(found["session"])
    (home / _FILE).unlink(missing_ok=True)
    process_secrets.remove(secrets_file(home))
    return ended


def forget_left_secrets(given: Path) -> None:
    """Remove the secrets of a `stax up` or `demo` that was killed, once no process lives that may still read them.

    The file is looked for before the note: whoever makes a new file has written a note before.
    """
    for home in (given, given / DEMO):
        if process_secrets.is_left(secrets_file(home)) and not _somebody_lives(_read(home)):
            process_secrets.remove(secrets_file(home))


def _somebody_lives(found: dict[str, Any]) -> bool:
    return _lives(found, "pid") or bool(found.get("session") and processes.members(found["session"]))


def _end(found: dict[str, Any], seconds: float) -> None:
    """Ask, wait, and insist: whoever does not listen would start anew what is ended next."""
    for number, patience in ((signal.SIGTERM, seconds), (signal.SIGKILL, 3.0)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(found["pid"], number)
        deadline = time.monotonic() + patience
        while _lives(found, "pid") and time.monotonic() < deadline:
            time.sleep(0.1)
        if not _lives(found, "pid"):
            return


def _down(home: Path) -> str:
    return "stax down" if home == default_home() else f"STAX_HOME={shlex.quote(str(home))} stax down"


def _named(name: str, pid: int) -> dict[str, Any]:
    """A process by its id and its start: ids are used again."""
    return {name: pid, f"{name}_started": processes.started_at(pid)}


def _lives(found: dict[str, Any], name: str) -> bool:
    return bool(found.get(name)) and processes.started_at(found[name]) == found.get(f"{name}_started")


def _read(home: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        found = json.loads((home / _FILE).read_text())
        return found if isinstance(found, dict) else {}
    return {}


def _write(home: Path, content: dict[str, Any]) -> None:
    temporary = home / f"{_FILE}.new"
    temporary.write_text(json.dumps(content))
    temporary.replace(home / _FILE)

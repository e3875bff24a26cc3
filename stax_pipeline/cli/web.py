"""Dagster's UI and daemon as children of this command.

Stays out: the database they need (`database`), which this process holds for them, and that there is one of them
(`note`).
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from stax_pipeline.cli import note, processes
from stax_pipeline.cli.environment import dagster_environment, dagster_home
from stax_pipeline.domain.errors import CannotStart
from stax_pipeline.settings import Settings

HOST = "127.0.0.1"
FIRST_PORT = 3000
SECONDS_TO_START = 180.0


def serve(settings: Settings, port: int) -> None:
    """Run UI and daemon until Ctrl-C or SIGTERM; the database must run."""
    with running_ui(settings, port) as (address, is_alive):
        click.echo(f"Dagster UI: {address}")
        click.echo("Ctrl-C stops everything that was started.")
        try:
            while is_alive():
                time.sleep(0.5)
        except KeyboardInterrupt:
            return
    raise CannotStart(f"Dagster ended by itself; {settings.home / 'dagster' / 'dagster.log'} says why.")


@contextlib.contextmanager
def running_ui(settings: Settings, port: int) -> Iterator[tuple[str, Callable[[], bool]]]:
    """The UI's address and a look whether it still runs; every process is gone afterwards. Needs `note.only_one`."""
    free = free_port(port)
    if free != port:
        click.echo(f"Port {port} is taken; using {free}.", err=True)
    environment = {**os.environ, **dagster_environment(settings)}
    home = dagster_home()
    command = [
        sys.executable, "-m", "dagster", "dev", "-h", HOST, "-p", str(free), "-w", str(home / "workspace.yaml"),
        "--log-level", "warning",
    ]  # fmt: skip
    log_file = settings.home / "dagster" / "dagster.log"
    with log_file.open("wb") as log, processes.session(command, environment, log, home) as child:
        note.note_session(settings.home, child.pid)
        try:
            address = f"http://{HOST}:{free}"
            _wait_for(address, lambda: child.poll() is None, log_file)
            yield address, lambda: child.poll() is None
        finally:
            with contextlib.suppress(OSError):  # the terminal may be gone
                click.echo("Stopping ...", err=True)


def free_port(wanted: int) -> int:
    """The first free port from `wanted` on, on loopback."""
    for port in range(wanted, min(wanted + 200, 65_536)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind((HOST, port))
                return port
    raise CannotStart(f"No port from {wanted} on is free.")


def _wait_for(address: str, is_alive: Callable[[], bool], log: Path) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline and is_alive():
        with contextlib.suppress(OSError), opener.open(f"{address}/server_info", timeout=5) as answer:
            if answer.status == 200:
                return
        time.sleep(0.3)
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
    raise CannotStart(f"Dagster's UI did not start. The last lines of {log}:\n{tail}")

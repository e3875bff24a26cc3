"""The app, with Dagster's processes behind it, as a child of this command.

Stays out: the database it needs (`database`), which this process holds for it, and that there is one of them
(`pid_file`).
"""

from __future__ import annotations

import contextlib
import errno
import json
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import click

from stax_pipeline.cli import pid_file, processes
from stax_pipeline.cli.environment import childrens_environment, dagster_home
from stax_pipeline.domain.errors import CannotStart
from stax_pipeline.installation.settings import Settings

SECONDS_TO_START = 180.0


def serve(settings: Settings, port: int) -> None:
    """Run the app until Ctrl-C or SIGTERM; the database must run.

    Raises CannotStart where it does not start, or ends by itself.
    """
    free = free_port(port, settings.host)
    if free != port:
        click.echo(f"Port {port} is taken; using {free}.", err=True)
    address = local_address(settings.host, free)
    log = settings.home / "dagster" / "dagster.log"
    with _running(settings, free, log) as child:
        _wait_for("live", True, address, child, log)
        pid_file.add_address(settings.home, address)
        click.echo(f"Stax: {address}")
        _wait_for("dagster", "ok", address, child, log)
        click.echo(f"Dagster's UI: {address}/dagster/")
        click.echo("Ctrl-C stops everything that was started.")
        try:
            while child.poll() is None:
                time.sleep(0.5)
        except KeyboardInterrupt:
            return
    raise CannotStart(f"The app ended by itself; {log} says why.")


@contextlib.contextmanager
def _running(settings: Settings, port: int, log_file: Path) -> Iterator[processes.Child]:
    """The app's process; it and every process that it started are gone after the block."""
    command = [sys.executable, "-m", "stax_pipeline.app", str(port)]
    with (
        childrens_environment(settings) as environment,
        log_file.open("wb") as log,
        processes.session(command, environment, log, dagster_home()) as child,
    ):
        pid_file.add_session(settings.home, child.pid)
        try:
            yield child
        finally:
            with contextlib.suppress(OSError):  # the terminal may be gone
                click.echo("Stopping ...", err=True)


def free_port(wanted: int, host: str = "127.0.0.1") -> int:
    """The first free port of that address from `wanted` on."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in range(wanted, min(wanted + 200, 65_536)):
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
                return port
            except OSError as fault:
                if fault.errno == errno.EADDRNOTAVAIL:
                    raise CannotStart(f"STAX_HOST {host} is no address of this machine.") from None
    raise CannotStart(f"No port from {wanted} on is free.")


def local_address(host: str, port: int) -> str:
    """Where this machine reaches what listens there: one that listens everywhere, on loopback."""
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{reached}]:{port}" if ":" in reached else f"http://{reached}:{port}"


def _wait_for(what: str, said: object, address: str, child: processes.Child, log: Path) -> None:
    """Return once `/health` says so of `what`; it needs no login. Raises CannotStart with the log's last lines."""
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline and child.poll() is None:
        with contextlib.suppress(OSError, ValueError):
            if _health(address).get(what) == said:
                return
        time.sleep(0.2)
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
    raise CannotStart(f"The app did not start. The last lines of {log}:\n{tail}")


def _health(address: str) -> dict[str, object]:
    """What the app says of itself, ready or not."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    asked = urllib.request.Request(f"{address}/health", headers={"Host": "localhost"})
    try:
        with opener.open(asked, timeout=30) as answer:
            told = json.load(answer)
    except urllib.error.HTTPError as not_ready:
        told = json.load(not_ready)
    return told if isinstance(told, dict) else {}

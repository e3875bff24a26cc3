"""Dagster's UI and daemon as children of this command.

Stays out: the database they need (`database`), which this process holds for them, and that there is one of them
(`pid_file`).
"""

from __future__ import annotations

import contextlib
import errno
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from stax_pipeline.cli import dagster_dev, pid_file, processes
from stax_pipeline.cli.environment import childrens_environment, dagster_home
from stax_pipeline.domain.errors import CannotStart
from stax_pipeline.installation.settings import Settings

SECONDS_TO_START = 180.0
FOREIGN = "foreign.invalid"


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
    """The UI's address and a look whether it runs; every process is gone after it. Needs `pid_file.single_instance`."""
    free = free_port(port, settings.host)
    if free != port:
        click.echo(f"Port {port} is taken; using {free}.", err=True)
    home = dagster_home()
    command = [
        sys.executable, "-m", dagster_dev.MODULE, "-h", settings.host, "-p", str(free),
        "-w", str(home / "workspace.yaml"), "--log-level", "warning",
    ]  # fmt: skip
    log_file = settings.home / "dagster" / "dagster.log"
    with (
        childrens_environment(settings) as environment,
        log_file.open("wb") as log,
        processes.session(command, environment, log, home) as child,
    ):
        pid_file.add_session(settings.home, child.pid)
        try:
            address = local_address(settings.host, free)
            _wait_for(address, lambda: child.poll() is None, log_file)
            _require_request_guard(address)
            yield address, lambda: child.poll() is None
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


def _wait_for(address: str, is_alive: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline and is_alive():
        with contextlib.suppress(OSError):
            if _status(address, "localhost") == 200:
                return
        time.sleep(0.3)
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
    raise CannotStart(f"Dagster's UI did not start. The last lines of {log}:\n{tail}")


def _require_request_guard(address: str) -> None:
    """Raise CannotStart when the UI answers to a foreign name: any page in a browser could then drive it."""
    if _status(address, FOREIGN) != 400:
        raise CannotStart(
            "Dagster's UI answers to any name: this version of Dagster starts it without our request guard."
        )


def _status(address: str, name: str) -> int:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    asked = urllib.request.Request(f"{address}/server_info", headers={"Host": name})
    try:
        with opener.open(asked, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        return refused.code

"""Dagster's code server, webserver and daemon as children of the application: none outlives it, none takes a port.

Stays out: what they are told in their environment (`cli.environment`); ending what a killed application left behind
(`cli.pid_file`; on Linux the kernel ends them with it).
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import yaml

from stax_pipeline.domain.errors import CannotStart
from stax_pipeline.embedded_postgres.cluster import end_with_parent
from stax_pipeline.embedded_postgres.layout import Home, make_socket_directory

SECONDS_TO_STOP = 10.0
LOG_LEVEL = "warning"
_log = logging.getLogger("uvicorn.error")


class Sockets(NamedTuple):
    """The private folder in which Dagster's processes meet."""

    folder: Path

    @property
    def webserver(self) -> Path:
        return self.folder / "webserver"

    @property
    def code_server(self) -> Path:
        return self.folder / "code"

    @property
    def workspace(self) -> Path:
        return self.folder / "workspace.yaml"

    def remove(self) -> None:
        """Remove them and their folder, which may lie in the temp directory."""
        for left in (self.webserver, self.code_server, self.workspace):
            left.unlink(missing_ok=True)
        with suppress(OSError):  # it is gone, or holds what is not ours
            self.folder.rmdir()


def make_sockets(folder: Path) -> Sockets:
    """A folder (mode 0700) below `folder`, or in the temp directory where that path is too long for a socket.

    Raises CannotStart where somebody else made it.
    """
    return Sockets(make_socket_directory(Home(folder), folder, None))


async def run_dagster(sockets: Sockets, workspace: Path) -> NoReturn:
    """Run them until this is cancelled.

    Args:
        sockets: where they listen.
        workspace: the `workspace.yaml` that names the code location.

    Raises:
        CannotStart: in a group; the webserver or the daemon ended by itself. A code server that ends is started anew.
    """
    location = _location(workspace)
    _write_workspace(sockets, location)
    async with asyncio.TaskGroup() as group:
        group.create_task(_keep_running("code server", _code_server(sockets, location)))
        await _accepts(sockets.code_server)  # it does once it has loaded the code
        group.create_task(_run("webserver", _webserver(sockets)))
        group.create_task(_run("daemon", _daemon(sockets)))
    raise AssertionError("a task of the group ends by an exception alone")


def _location(workspace: Path) -> Mapping[str, str]:
    [location] = yaml.safe_load(workspace.read_text())["load_from"]
    found: Mapping[str, str] = location["python_module"]
    return found


def _write_workspace(sockets: Sockets, location: Mapping[str, str]) -> None:
    server: dict[str, Any] = {
        "socket": str(sockets.code_server),
        "location_name": location["location_name"],
        "additional_metadata": {"module_name": location["module_name"]},
    }
    sockets.workspace.write_text(yaml.safe_dump({"load_from": [{"grpc_server": server}]}))


def _code_server(sockets: Sockets, location: Mapping[str, str]) -> list[str]:
    return [
        sys.executable, "-m", "dagster", "code-server", "start", "--socket", str(sockets.code_server),
        "--module-name", location["module_name"], "--location-name", location["location_name"],
        "--log-level", LOG_LEVEL,
    ]  # fmt: skip


def _webserver(sockets: Sockets) -> list[str]:
    return [
        sys.executable, "-m", "stax_pipeline.app.webserver_child", str(sockets.webserver), str(sockets.workspace),
    ]  # fmt: skip


def _daemon(sockets: Sockets) -> list[str]:
    return [
        sys.executable, "-m", "dagster._daemon", "run", "--workspace", str(sockets.workspace), "--log-level", LOG_LEVEL,
    ]  # fmt: skip


async def _keep_running(name: str, command: Sequence[str]) -> NoReturn:
    while True:
        async with _child(command) as process:
            status = await process.wait()
        _log.error("Dagster's %s ended with status %s; starting it again.", name, status)
        await asyncio.sleep(1)


async def _run(name: str, command: Sequence[str]) -> NoReturn:
    async with _child(command) as process:
        status = await process.wait()
    raise CannotStart(f"Dagster's {name} ended with status {status}.")


@asynccontextmanager
async def _child(command: Sequence[str]) -> AsyncIterator[asyncio.subprocess.Process]:
    """The process while the block runs; it is asked to end, and killed where it does not listen."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, preexec_fn=end_with_parent(signal.SIGTERM)
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), SECONDS_TO_STOP)
            except TimeoutError:
                process.kill()
                await process.wait()


async def _accepts(socket: Path) -> None:
    while True:
        try:
            _, writer = await asyncio.open_unix_connection(os.fspath(socket))
        except OSError:
            await asyncio.sleep(0.1)
        else:
            writer.close()
            return

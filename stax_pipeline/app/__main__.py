"""The application as a process: python -m stax_pipeline.app PORT

`stax up` and `stax demo` start it, hold the database for it, and end every process of its session after it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from stax_pipeline.app.application import create_app
from stax_pipeline.app.dagster_processes import Sockets, make_sockets, run_dagster
from stax_pipeline.app.metrics import make_token
from stax_pipeline.installation.settings import Settings, read_settings

SECONDS_TO_STOP = 3
MOST_CONNECTIONS = 1000
"""How long requests that are under way may take when the application ends."""


class _Server(uvicorn.Server):
    """Takes no signals: after uvicorn's own end comes that of Dagster's processes."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    def stop(self) -> None:
        self.should_exit = True


def main(port: int) -> int:
    """Serve until a signal, then 0; or until Dagster's webserver or daemon ends, then 1."""
    settings = read_settings()
    make_token(settings.home)
    sockets = make_sockets(settings.home / "dagster")
    try:
        return asyncio.run(_serve(settings, sockets, port))
    finally:
        sockets.remove()


async def _serve(settings: Settings, sockets: Sockets, port: int) -> int:
    app = create_app(settings, sockets.webserver)
    server = _Server(
        uvicorn.Config(
            app, settings.host, port, log_level="warning", access_log=False, server_header=False,
            timeout_graceful_shutdown=SECONDS_TO_STOP, limit_concurrency=MOST_CONNECTIONS,
            http="h11",  # it bounds what a stranger's headers may take, which uvicorn's other reader does not
        )
    )  # fmt: skip
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, server.stop)
    dagster = asyncio.create_task(run_dagster(sockets, Path(os.environ["DAGSTER_HOME"]) / "workspace.yaml"))
    dagster.add_done_callback(lambda _: server.stop())
    try:
        await server.serve()
    finally:
        dagster.cancel()
        await asyncio.wait([dagster])
    return 0 if dagster.cancelled() else _report(dagster.exception())


def _report(fault: BaseException | None) -> int:
    for one in fault.exceptions if isinstance(fault, BaseExceptionGroup) else [fault]:
        print(one, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))

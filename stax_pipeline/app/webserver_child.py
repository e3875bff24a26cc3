"""Dagster's webserver at a unix socket: python -m stax_pipeline.app.webserver_child SOCKET WORKSPACE

It has no login and no request guard: both stand in the application, which alone reaches the socket.
"""

from __future__ import annotations

import sys
from pathlib import Path

import uvicorn
from dagster_webserver.app import create_app_from_workspace_process_context

from stax_pipeline.app.dagster_relay import PREFIX
from stax_pipeline.dagster_instance.internals import workspace_context

POLLED_EVERY_MS = 2000
SECONDS_TO_STOP = 3


def main(socket: Path, workspace: Path) -> None:
    """Serve until a signal ends it."""
    with workspace_context(workspace) as context:
        app = create_app_from_workspace_process_context(context, PREFIX, POLLED_EVERY_MS)
        uvicorn.run(app, uds=str(socket), log_level="warning", timeout_graceful_shutdown=SECONDS_TO_STOP)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

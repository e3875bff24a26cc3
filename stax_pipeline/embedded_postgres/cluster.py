"""The data directory of one server: made aside, renamed when whole, and the programs that work on it.

What stays out: running the server (`server`), where things lie (`layout`).
"""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from stax_pipeline.domain.errors import CannotStart
from stax_pipeline.embedded_postgres.account import Account
from stax_pipeline.embedded_postgres.layout import Home, write_private

ROLE = DATABASE = "stax"
PORT = 5432
TCP_PORT = "STAX_POSTGRES_PORT"
"""The variable that has the server listen on loopback too, at that port."""
_PR_SET_PDEATHSIG = 1


class Cluster(NamedTuple):
    """What it takes to run one server."""

    home: Home
    place: Path
    binaries: Path
    account: Account | None
    socket_directory: Path
    tcp_port: int | None

    @property
    def port(self) -> int:
        """Of TCP where it listens there, and in any case a part of the socket's name."""
        return self.tcp_port or PORT

    @property
    def data(self) -> Path:
        return self.place / "data"

    @property
    def postmaster_pid(self) -> Path:
        return self.data / "postmaster.pid"

    @property
    def uid(self) -> int | None:
        return self.account.uid if self.account else None

    @property
    def gid(self) -> int | None:
        return self.account.gid if self.account else None

    @property
    def extra_groups(self) -> list[int] | None:
        return [] if self.account else None


def initialise(cluster: Cluster) -> None:
    """Make the cluster aside and rename it, so that a half-made one never counts."""
    home, fresh = cluster.home, cluster.place / "data.new"
    if not home.password.exists():
        write_private(home.password, secrets.token_urlsafe(24))
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    handed = cluster.place / "initdb-password"
    handed.unlink(missing_ok=True)
    write_private(handed, home.password.read_text())
    if cluster.account:
        for path in (fresh, handed):
            os.chown(path, cluster.account.uid, cluster.account.gid, follow_symlinks=False)
    try:
        choices = (
            "-U",
            ROLE,
            "-E",
            "UTF8",
            "--locale=C",
            "--auth=scram-sha-256",
            f"--pwfile={handed}",
        )
        _run(cluster, [cluster.binaries / "initdb", "-D", fresh, *choices])
    finally:
        handed.unlink(missing_ok=True)
    run_alone(cluster, fresh, f"CREATE DATABASE {DATABASE}")
    fresh.rename(cluster.data)


def renew_password(cluster: Cluster) -> None:
    """Replace a password whose file was lost; whoever can do this owns the data directory anyway."""
    password = secrets.token_urlsafe(24)
    run_alone(cluster, cluster.data, f"ALTER ROLE {ROLE} PASSWORD '{password}'")
    write_private(cluster.home.password, password)


def run_alone(cluster: Cluster, data: Path, statement: str) -> None:
    """Run one statement in Postgres's single-user mode, without a server."""
    _run(
        cluster,
        [cluster.binaries / "postgres", "--single", "-D", data, "postgres"],
        feed=f"{statement}\n",
    )


def _run(cluster: Cluster, command: Sequence[str | Path], feed: str = "") -> None:
    done = subprocess.run(
        command,
        input=feed.encode(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=end_with_parent(signal.SIGKILL),
        env=environment(),
        cwd="/",
        check=False,
        user=cluster.uid,
        group=cluster.gid,
        extra_groups=cluster.extra_groups,
    )
    if done.returncode != 0:
        output = "\n".join(done.stdout.decode(errors="replace").splitlines()[-8:])
        raise CannotStart(f"{Path(command[0]).name} failed:\n{output}")


def environment() -> dict[str, str]:
    """Nothing of the caller's variables: no secret and no PG* setting reaches the server."""
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


def end_with_parent(number: signal.Signals) -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def ask_kernel() -> None:
        prctl(_PR_SET_PDEATHSIG, int(number))
        if os.getppid() != parent:
            os._exit(1)

    return ask_kernel

"""The process that owns one embedded server: `python -m stax_pipeline.embedded_postgres.supervisor HOME`.

It lives in a session of its own, so that Ctrl-C in a terminal does not reach it. It holds `owner.lock` alone, runs
the server, revives it when it is killed, and ends it when nobody holds `users.lock` any more (a pinned home waits
for `stop`), when it is asked to by SIGTERM, or when the home directory is deleted.
Start-up is part of every first command's waiting time: only the standard library and psutil are imported here.
What stays out: the callers' side (`client`), how a server is started and stopped (`server`).
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

from stax_pipeline.domain.errors import CannotStart, StaxError
from stax_pipeline.embedded_postgres import layout, locks, server
from stax_pipeline.embedded_postgres.binaries import binaries_for
from stax_pipeline.embedded_postgres.cluster import TCP_PORT, Cluster, initialise, renew_password
from stax_pipeline.embedded_postgres.layout import Home, Record

GRACE_SECONDS = 0.5
POLL_SECONDS = 0.1
MOST_REVIVALS_PER_MINUTE = 5
ANOTHER_OWNS_IT = 75


class StopRequest:
    """Set by SIGTERM and looked at between steps, so that no step is cut in two."""

    def __init__(self) -> None:
        self.made = False

    def make(self, _number: int, _frame: FrameType | None) -> None:
        self.made = True


def main(home: Home) -> int:
    """Take ownership, detach, and serve until the end; 75 when another supervisor owns this home."""
    owner = _become_owner(home)
    if owner is None:
        return ANOTHER_OWNS_IT
    if os.fork() > 0:
        return 0
    stop = StopRequest()
    _harden(stop)
    home.ready.unlink(missing_ok=True)
    home.failed.unlink(missing_ok=True)
    os.write(owner, f"{os.getpid()}\n".encode())
    try:
        _serve(home, owner, stop)
    except (StaxError, OSError) as error:
        layout.write_private(home.failed, str(error))
        _note(f"cannot start: {error}")
        return 1
    return 0


def _become_owner(home: Home) -> int | None:
    for _ in range(5):
        owner = locks.take_exclusive(home.owner_lock)
        if owner is not None:
            os.truncate(owner, 0)
            return owner
        time.sleep(0.02)
    return None


def _harden(stop: StopRequest) -> None:
    """No core dump may hold anybody's rows; a hang-up or Ctrl-C is meant for others."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.umask(0o077)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, stop.make)


def _serve(home: Home, owner: int, stop: StopRequest) -> None:
    cluster = _prepare(home)
    revivals: list[float] = []
    while True:
        running = server.start_and_wait(cluster, give_up=lambda: stop.made)
        if running is None:
            return
        try:
            layout.write_private(home.ready, f"{os.getpid()} {running.pid}\n")
            reason = _watch(home, owner, running, stop)
            if reason is not None:
                _note(f"stopping: {reason}")
                return
        finally:
            home.ready.unlink(missing_ok=True)
            server.stop_fast(running)
        now = time.monotonic()
        revivals = [at for at in revivals if now - at < 60] + [now]
        if len(revivals) > MOST_REVIVALS_PER_MINUTE:
            raise CannotStart("the server keeps ending by itself")
        _note(f"the server ended by itself (status {running.returncode}); starting it again")
        server.clear_leftovers(cluster)


def _prepare(home: Home) -> Cluster:
    known = layout.read_record(home)
    account = layout.server_account(home)
    place = layout.place_of_data(home, account, known)
    if known is not None and known.initialised and not (place / "data" / "PG_VERSION").exists():
        raise CannotStart(
            f"the database's files at {place / 'data'} are gone. `stax restore` puts a backup into a new STAX_HOME; "
            f"to begin with an empty database here, remove {home.path}."
        )
    layout.enclose(home, place, account)
    socket_directory = layout.make_socket_directory(home, place, account)
    tcp_port = int(os.environ.get(TCP_PORT) or 0) or None
    cluster = Cluster(home, place, binaries_for(account), account, socket_directory, tcp_port)
    record = Record(None if place == home.path else str(place), str(socket_directory), True, tcp_port)
    if known is None:
        layout.write_record(home, record._replace(initialised=False))
    server.clear_leftovers(cluster)
    if not (cluster.data / "PG_VERSION").exists():
        initialise(cluster)
    layout.hand_over(cluster.data, account)
    if not home.password.exists():
        renew_password(cluster)
    layout.write_record(home, record)
    return cluster


def _watch(home: Home, owner: int, running: subprocess.Popen[bytes], stop: StopRequest) -> str | None:
    """Wait for a reason to stop and return it; None when the server ended by itself.

    When nobody needs the server, `users.lock` stays taken, so that nobody comes in while it goes down.
    """
    unused_since: float | None = None
    while running.poll() is None:
        if stop.made:
            return "asked to"
        if not _is_still_home(home, owner):
            return "its home directory is gone"
        users = None if home.pinned.exists() else locks.take_exclusive(home.users_lock)
        if users is None:
            unused_since = None
        else:
            unused_since = unused_since or time.monotonic()
            if time.monotonic() - unused_since >= GRACE_SECONDS:
                return "nobody uses it any more"
            os.close(users)
        server.bound_log(home.log)
        time.sleep(POLL_SECONDS)
    return None


def _is_still_home(home: Home, owner: int) -> bool:
    try:
        return os.path.samestat(home.owner_lock.stat(), os.fstat(owner))
    except FileNotFoundError:
        return False


def _note(text: str) -> None:
    print(
        f"{time.strftime('%Y-%m-%d %H:%M:%S UTC', time.gmtime())} supervisor: {text}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main(Home(Path(sys.argv[1]))))

"""One Postgres server over one data directory: start it, wait until it answers, stop it, clear up after a dead one.

Runs inside the supervisor only, under its lock.
What stays out: who may use the server and for how long (`supervisor`, `client`), making the cluster (`cluster`).
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from stax_pipeline.domain.errors import CannotStart
from stax_pipeline.embedded_postgres.cluster import Cluster, end_with_parent, environment
from stax_pipeline.embedded_postgres.layout import open_private

LOOPBACK = "127.0.0.1"
_SETTINGS = {
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "work_mem": "16MB",  # a month of all tenants is grouped in memory
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_destination": "stderr",
    "logging_collector": "off",
    "log_statement": "none",
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
}
_SINCE = {
    16: {"reserved_connections": "40"},  # for whoever has pg_use_reserved_connections: readers leave us that many
    17: {"max_notify_queue_pages": "16384"},  # 128 MB of what NOTIFY sends and a sleeping listener has not heard
}
"""Settings that a server takes from that version on."""
LARGEST_LOG = 10_000_000


def start(cluster: Cluster) -> subprocess.Popen[bytes]:
    """Start the server; it shuts down by itself when this process is killed (Linux)."""
    command: list[str | Path] = [cluster.binaries / "postgres", "-D", cluster.data]
    command += ["-c", f"unix_socket_directories={cluster.socket_directory}", "-c", f"port={cluster.port}"]
    command += ["-c", f"listen_addresses={LOOPBACK if cluster.tcp_port else ''}"]
    version = int((cluster.data / "PG_VERSION").read_text())
    for since, settings in {0: _SETTINGS, **_SINCE}.items():
        if version >= since:
            command += [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=end_with_parent(signal.SIGINT),
        env=environment(),
        cwd="/",
        user=cluster.uid,
        group=cluster.gid,
        extra_groups=cluster.extra_groups,
    )


def start_and_wait(
    cluster: Cluster, give_up: Callable[[], bool], patience: float = 60.0
) -> subprocess.Popen[bytes] | None:
    """The server, answering; None when `give_up` said so.

    Tries again while sessions of a killed predecessor still hold its memory.
    """
    deadline = time.monotonic() + patience
    server = start(cluster)
    while not answers(cluster, server):
        if server.poll() is not None:
            if time.monotonic() > deadline or not _predecessor_in_the_way(cluster.home.log):
                raise CannotStart("the server ended while starting")
            time.sleep(0.2)
            server = start(cluster)
        if time.monotonic() > deadline:
            stop_fast(server)
            raise CannotStart(f"the server did not answer within {patience:.0f} seconds")
        if give_up():
            stop_fast(server)
            return None
        time.sleep(0.01)
    return server


def answers(cluster: Cluster, server: subprocess.Popen[bytes]) -> bool:
    """Whether this very server says in its pid file that it accepts connections."""
    try:
        lines = cluster.postmaster_pid.read_text().splitlines()
    except FileNotFoundError:
        return False
    return len(lines) > 7 and lines[0].strip() == str(server.pid) and lines[7].strip() == "ready"


def stop_fast(server: subprocess.Popen[bytes] | psutil.Process) -> None:
    """Roll back what is open and end; harder signals only when that takes too long."""
    for number, patience in (
        (signal.SIGINT, 15),
        (signal.SIGQUIT, 5),
        (signal.SIGKILL, 5),
    ):
        with suppress(psutil.NoSuchProcess):
            server.send_signal(number)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if _is_over(server):
                return
            time.sleep(0.01)


def _is_over(server: subprocess.Popen[bytes] | psutil.Process) -> bool:
    """A server that is not our child may stay a zombie where process 1 of a container reaps nobody."""
    if isinstance(server, subprocess.Popen):
        return server.poll() is not None
    try:
        return not server.is_running() or server.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def clear_leftovers(cluster: Cluster) -> None:
    """Stop a server whose supervisor was killed, and drop lock files that name a process of somebody else.

    Postgres itself deals with a file that names a dead process, and must: the file is also how it notices that
    sessions of a killed server still hang on. So such a file stays.
    """
    leftover = live_server(cluster)
    if leftover is not None:
        stop_fast(leftover)
    for lock in (cluster.postmaster_pid, *cluster.socket_directory.glob(".s.PGSQL.*.lock")):
        pid = _named_pid(lock)
        if pid is not None and psutil.pid_exists(pid):
            _end_sessions_of_dead_server(cluster)
            lock.unlink(missing_ok=True)


def live_server(cluster: Cluster) -> psutil.Process | None:
    """The process the pid file names, if it truly is a Postgres of this data directory."""
    pid = _named_pid(cluster.postmaster_pid)
    if pid is None:
        return None
    try:
        process = psutil.Process(pid)
        return process if _serves(process, cluster.data) else None
    except psutil.NoSuchProcess:
        return None


def _end_sessions_of_dead_server(cluster: Cluster) -> None:
    sessions = [process for process in psutil.process_iter() if _serves(process, cluster.data)]
    for process in sessions:
        stop_fast(process)


def _serves(process: psutil.Process, data: Path) -> bool:
    try:
        if "postgres" not in process.name() or process.status() == psutil.STATUS_ZOMBIE:
            return False
        return os.path.realpath(process.cwd()) == os.path.realpath(data)
    except psutil.Error:
        return False


def _named_pid(lock: Path) -> int | None:
    try:
        return abs(int(lock.read_text().split("\n", 1)[0]))
    except (FileNotFoundError, ValueError):
        return None


def _predecessor_in_the_way(log: Path) -> bool:
    last = log_tail(log, lines=4)
    return "shared memory block" in last or "lock file" in last


def bound_log(log: Path) -> None:
    """Empty a log that grew too large: whoever writes to it appends. Its end is kept beside it where there is room."""
    with suppress(FileNotFoundError):
        size = log.stat().st_size
        if size > LARGEST_LOG:
            with suppress(OSError, CannotStart):
                _keep_end(log, size)
            os.truncate(log, 0)


def _keep_end(log: Path, size: int) -> None:
    kept = open_private(log.with_name(f"{log.name}.1"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    with log.open("rb") as full, os.fdopen(kept, "wb") as out:
        full.seek(size - LARGEST_LOG)
        out.write(full.read(LARGEST_LOG))


def log_tail(log: Path, lines: int = 12) -> str:
    """The last lines of the server's log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 8_000))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""

"""What the rest of the product calls: use the server for a while, pin it, stop it, ask for its address.

A user holds `users.lock` shared for as long as he needs the server; the kernel lets go of it when he dies.
What stays out: owning the server (`supervisor`).
"""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlencode

from stax_pipeline.domain.errors import CannotStart
from stax_pipeline.domain.plain_text import plain
from stax_pipeline.embedded_postgres import account, binaries, cluster, locks, server
from stax_pipeline.embedded_postgres.layout import Home, Record, make_home, open_private, read_record, write_private
from stax_pipeline.installation.postgres_url import AUTHENTICATION

START_SECONDS = 90.0
_POLL_SECONDS = 0.02
LINES = "\n"  # what a terminal may obey of a log


def connection_url(home: Path) -> str:
    """The SQLAlchemy URL of the server of `home`, running or not."""
    place = Home(home.resolve())
    record = read_record(place)
    if record is None or not record.initialised:
        raise CannotStart(f"There is no database in {place.path} yet. Run a command that makes one, such as 'stax up'.")
    query = urlencode({"port": record.tcp_port or cluster.PORT, **_server(place, record)})
    return f"postgresql+psycopg2://{cluster.ROLE}:{_password(place)}@/{cluster.DATABASE}?{query}"


def exists(home: Path) -> bool:
    """Whether a database was made in `home`, running or not; nothing is made."""
    record = read_record(Home(home.resolve()))
    return record is not None and record.initialised


def tcp_port(home: Path) -> int | None:
    """The port of loopback at which the server of `home` listens beside its socket, or did when it last ran."""
    record = read_record(Home(home.resolve()))
    return record.tcp_port if record else None


def is_running(home: Path) -> bool:
    """Whether a supervisor owns `home` and its server takes connections."""
    place = Home(home.resolve())
    return place.ready.exists() and locks.is_held(place.owner_lock)


@contextmanager
def running(home: Path) -> Iterator[str]:
    """The URL of a server that runs at least as long as this block; the last user to leave waits for its end."""
    place = make_home(home)
    user = _attach(place)
    try:
        yield connection_url(place.path)
    finally:
        os.close(user)
        wait_until_stopped_if_last_user(place.path)


def start_pinned(home: Path) -> str:
    """Start the server, to stay until `stop`, and return its URL."""
    place = make_home(home)
    was_pinned = place.pinned.exists()
    write_private(place.pinned, "")
    try:
        os.close(_attach(place))
    except CannotStart:
        if not was_pinned:
            place.pinned.unlink(missing_ok=True)
        raise
    return connection_url(place.path)


def stop(home: Path, timeout: float = 30) -> bool:
    """End the server even while it is used; False when there was none."""
    place = Home(home.resolve())
    place.pinned.unlink(missing_ok=True)
    if not locks.is_held(place.owner_lock):
        return False
    deadline = time.monotonic() + timeout
    asked: int | None = None
    while locks.is_held(place.owner_lock):
        supervisor = _supervisor_pid(place)
        if supervisor is not None and supervisor != asked:
            if asked is not None:
                return True
            with suppress(ProcessLookupError):
                os.kill(supervisor, signal.SIGTERM)
            asked = supervisor
        if time.monotonic() > deadline:
            raise CannotStart(f"The embedded Postgres of {place.path} did not stop within {timeout:.0f} seconds.")
        time.sleep(_POLL_SECONDS)
    return True


def wait_until_stopped_if_last_user(home: Path, timeout: float = 10) -> bool:
    """After leaving: wait for the server's end unless others use it or it is pinned; True when it is down."""
    place = Home(home.resolve())
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if not place.owner_lock.exists() or not locks.is_held(place.owner_lock):
            return True
        if place.pinned.exists() or _others_use_it(place):
            return False
        time.sleep(_POLL_SECONDS)
    return False


def _others_use_it(place: Home) -> bool:
    """Somebody shares `users.lock`; a supervisor on its way out holds it alone instead."""
    return not locks.is_free(place.users_lock) and not locks.is_held(place.users_lock)


def _attach(place: Home) -> int:
    """Hold `users.lock` and wait until the server answers, starting it when nobody owns it."""
    deadline = time.monotonic() + START_SECONDS
    while (user := locks.take_shared(place.users_lock)) is None:
        if time.monotonic() > deadline:
            raise CannotStart(f"The embedded Postgres of {place.path} is still shutting down; try again.")
        time.sleep(_POLL_SECONDS)
    try:
        _wait_for_server(place, deadline)
    except BaseException:
        os.close(user)
        raise
    return user


def _wait_for_server(place: Home, deadline: float) -> None:
    seen = False
    while time.monotonic() < deadline:
        if locks.is_held(place.owner_lock):
            seen = True
            if place.ready.exists() and _takes_connections(place):
                return
        elif seen and place.failed.exists():
            raise _cannot_start(place, place.failed.read_text())
        else:
            _spawn_supervisor(place)
            seen = True
        time.sleep(_POLL_SECONDS)
    raise _cannot_start(place, f"it did not answer within {START_SECONDS:.0f} seconds")


def risk(home: Path) -> str | None:
    """What others of this machine may do to the server of `home`, in one line; None for nothing."""
    place = Home(home.resolve())
    record = read_record(place)
    return account.risk(_data(place, record)) if record else None


def _server(place: Home, record: Record) -> dict[str, str]:
    """Where the server is and how it proves itself before it is told the password: nobody else asks for one in clear,
    and in a folder that all may write to, such as /tmp, the socket must be of the account whose the data is.
    """
    proofs = {"host": record.socket_directory, "require_auth": AUTHENTICATION}
    if Path(record.socket_directory).parent != _data(place, record).parent:
        with suppress(KeyError, FileNotFoundError):  # an account without a name cannot be asked for
            proofs["requirepeer"] = pwd.getpwuid(_data(place, record).stat().st_uid).pw_name
    return proofs


def _data(place: Home, record: Record) -> Path:
    return Path(record.outside or place.path) / "data"


def _takes_connections(place: Home) -> bool:
    import psycopg2  # the supervisor imports this package too and must start quickly

    record = read_record(place)
    if record is None or not record.initialised:
        return False
    try:
        psycopg2.connect(connection_url(place.path).replace("+psycopg2", "", 1), connect_timeout=5).close()
    except psycopg2.OperationalError as error:
        if "authentication failed" in str(error):
            raise _cannot_start(place, f"{place.password} does not hold this database's password") from None
        return False
    return True


def _spawn_supervisor(place: Home) -> None:
    """Start a supervisor in a session of its own; it returns at once, as owner or because another is."""
    server.bound_log(place.log)
    log = open_private(place.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        done = subprocess.run(
            [
                sys.executable,
                "-P",
                "-m",
                "stax_pipeline.embedded_postgres.supervisor",
                str(place.path),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
            env=_supervisor_environment(),
            check=False,
        )
    finally:
        os.close(log)
    if done.returncode not in (0, 75):
        raise _cannot_start(place, "its supervisor could not be started")


def _supervisor_environment() -> dict[str, str]:
    """No variable of the caller but those that say where things are: secrets stay with him."""
    checkout = Path(__file__).resolve().parents[2]
    named = ("PATH", "TMPDIR", binaries.SETTING, cluster.TCP_PORT)
    passed = {name: os.environ[name] for name in named if name in os.environ}
    if binaries.SETTING in passed:
        passed[binaries.SETTING] = str(Path(passed[binaries.SETTING]).resolve())
    return {
        **passed,
        "LC_ALL": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join([str(checkout), *(entry for entry in sys.path if Path(entry).is_absolute())]),
    }


def _supervisor_pid(place: Home) -> int | None:
    try:
        return int(place.owner_lock.read_text())
    except (FileNotFoundError, ValueError):
        return None


def _password(place: Home) -> str:
    try:
        return place.password.read_text()
    except FileNotFoundError:
        raise CannotStart(f"{place.password} is missing; stop the server ('stax down') and start it again.") from None
    except PermissionError:
        raise CannotStart(f"{place.password} belongs to another user: run this as the user who made it.") from None


def _cannot_start(place: Home, reason: str) -> CannotStart:
    """What others made the server log is shown plain: a login can put what a terminal obeys into it."""
    tail = plain(server.log_tail(place.log), LINES)
    return CannotStart(
        f"The embedded Postgres of {place.path} cannot start: {plain(reason, LINES)}\n"
        f"Last lines of {place.log}:\n{tail}\n"
        "Mend what they name and try again, or set STAX_DATABASE_URL to a Postgres of your own."
    )

"""The account of the server when root starts it: Postgres refuses root, and the files of `nobody` are everybody's.

One account serves all installations of root on a machine. It is made with the first and removed with the last; which
homes use it stands in /var/lib/stax-pipeline/homes.
Stays out: where its files lie (`layout`), running the server (`server`).
"""

from __future__ import annotations

import fcntl
import grp
import hashlib
import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from stax_pipeline.domain.errors import CannotStart

SHARED_STATE = Path("/var/lib/stax-pipeline")
NAME, COMMENT = "stax-postgres", "Embedded Postgres of stax-pipeline"
NOBODY = "nobody"
_PROGRAMS = "/usr/sbin:/sbin:/usr/bin:/bin"
_LONE_GROUPS = range(61_184, 65_520)  # systemd's for passing accounts: no lasting group has such a number
_WAY = ("--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin")


class Account(NamedTuple):
    """The ordinary account the server runs as when we are root."""

    uid: int
    gid: int


def make_shared_state() -> None:
    """/var/lib/stax-pipeline: root's own, to be passed but not listed by others."""
    if not SHARED_STATE.exists():
        SHARED_STATE.mkdir(parents=True, exist_ok=True)
        SHARED_STATE.chmod(0o711)
    found = SHARED_STATE.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != 0 or found.st_mode & 0o022:
        raise CannotStart(f"{SHARED_STATE} must be a directory of root that nobody else can write to.")


def account_for(home: Path) -> Account:
    """The product's own account, made if it is missing, for a home of root; `nobody` where none can be made.

    As `nobody` the server gets a group that no other program has: what it may pass and open by that group, others of
    the account may not, nor look into its processes.
    """
    with suppress(OSError), _turn():  # /var may be read-only
        found = _known() or _made()
        if found:
            _note_of(home).write_text(str(home))
            return found
    try:
        nobody = pwd.getpwnam(NOBODY)
    except KeyError:
        raise CannotStart(
            f"As root the server needs an account: neither could {NAME} be made nor is there a {NOBODY}."
        ) from None
    return Account(nobody.pw_uid, _lone_group(home))


def risk(data: Path) -> str | None:
    """What others may do to the server whose files lie there because it has no account of its own; one line."""
    try:
        shared = os.geteuid() == 0 and pwd.getpwuid(data.stat().st_uid).pw_name == NOBODY
    except (KeyError, OSError):
        return None
    if not shared:
        return None
    return (
        f"The embedded Postgres runs as {NOBODY}, since this machine let no account {NAME} be made (useradd): services "
        f"that run as {NOBODY} too can stop it and read what its queries share in memory."
    )


def release(home: Path) -> bool:
    """After a home of root is gone: remove the account with the last that used it; True when it was removed."""
    if os.geteuid() != 0 or not SHARED_STATE.exists():
        return False
    with _turn():
        _note_of(home).unlink(missing_ok=True)
        for note in _note_of(home).parent.iterdir():
            if not (Path(note.read_text()) / "server.json").exists():
                note.unlink()
        with suppress(KeyError):
            found = pwd.getpwnam(NAME)
            if found.pw_gecos == COMMENT and not _is_used(found.pw_uid):
                return _run("userdel", NAME)
    return False


def _is_used(uid: int) -> bool:
    """By a home, or by data that lost its home: its owner's number must not go to another account."""
    kept = [*SHARED_STATE.glob("*/data"), *SHARED_STATE.glob("*/data.new")]
    return any(SHARED_STATE.glob("homes/*")) or any(path.lstat().st_uid == uid for path in kept)


def _known() -> Account | None:
    try:
        found = pwd.getpwnam(NAME)
    except KeyError:
        return None
    return Account(found.pw_uid, found.pw_gid) if found.pw_uid != 0 else None


def _made() -> Account | None:
    return _known() if _run("useradd", *_WAY, "--comment", COMMENT, NAME) else None


def _run(program: str, *arguments: str) -> bool:
    found = shutil.which(program, path=_PROGRAMS)
    if found is None:
        return False
    done = subprocess.run(
        [found, *arguments], capture_output=True, stdin=subprocess.DEVNULL, env={"PATH": _PROGRAMS}, cwd="/"
    )
    return done.returncode == 0


@contextmanager
def _turn() -> Iterator[None]:
    make_shared_state()
    (SHARED_STATE / "homes").mkdir(mode=0o700, exist_ok=True)
    with (SHARED_STATE / "account.lock").open("a") as lock:
        os.fchmod(lock.fileno(), 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _note_of(home: Path) -> Path:
    return SHARED_STATE / "homes" / _digest(home)[:16]


def _digest(home: Path) -> str:
    return hashlib.sha256(os.fsencode(home)).hexdigest()


def _lone_group(home: Path) -> int:
    first = int(_digest(home), 16)
    for step in range(len(_LONE_GROUPS)):
        number = _LONE_GROUPS[(first + step) % len(_LONE_GROUPS)]
        try:
            grp.getgrgid(number)
        except KeyError:
            return number
    raise CannotStart("Every group number that the server could have alone is taken.")

"""Where the embedded server keeps its things, and which account owns them.

Everything lies in `home`, except what cannot: when root runs us the server runs as an account of its own, and a
`home` below a directory that this account cannot pass (such as /root) keeps its data under /var/lib/stax-pipeline;
a socket path that would be too long moves to the temp directory. Modes of directories that are not ours never change.
What stays out: making or running the cluster (`server`), the binaries (`binaries`), making the account (`account`).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import stat
import tempfile
from pathlib import Path
from typing import NamedTuple

from stax_pipeline.domain.errors import CannotStart
from stax_pipeline.embedded_postgres.account import SHARED_STATE, Account, account_for, make_shared_state

LONGEST_SOCKET_DIRECTORY = 85
_SAFE_IN_URLS_AND_SERVER_SETTINGS = re.compile(r"[A-Za-z0-9/._-]+")


class Home(NamedTuple):
    """The fixed names inside the directory of one embedded server."""

    path: Path

    @property
    def users_lock(self) -> Path:
        return self.path / "users.lock"

    @property
    def owner_lock(self) -> Path:
        return self.path / "owner.lock"

    @property
    def pinned(self) -> Path:
        return self.path / "pinned"

    @property
    def ready(self) -> Path:
        return self.path / "ready"

    @property
    def failed(self) -> Path:
        return self.path / "failed"

    @property
    def password(self) -> Path:
        return self.path / "password"

    @property
    def log(self) -> Path:
        return self.path / "server.log"

    @property
    def record(self) -> Path:
        return self.path / "server.json"


class Record(NamedTuple):
    """What `server.json` remembers between starts."""

    outside: str | None
    socket_directory: str
    initialised: bool
    tcp_port: int | None = None


def make_home(path: Path) -> Home:
    """The home directory, made private with those above it that are new; root lets others pass them, for the server,
    but not look in.
    """
    path = path.resolve()
    try:
        for directory in reversed([one for one in (path, *path.parents) if not one.exists()]):
            directory.mkdir(exist_ok=True)
            directory.chmod(0o711 if os.geteuid() == 0 else 0o700)
    except OSError as error:
        raise CannotStart(f"{path} cannot be made: {error.strerror}. Set STAX_HOME to a writable place.") from None
    if not path.is_dir():
        raise CannotStart(f"{path} is a file; the embedded Postgres needs a directory there.")
    return Home(path)


def server_account(home: Home) -> Account | None:
    """Postgres refuses uid 0: as root it runs as the owner of `home`, or as an account of its own when that is root."""
    if os.geteuid() != 0:
        return None
    owner = home.path.stat()
    return account_for(home.path) if owner.st_uid == 0 else Account(owner.st_uid, owner.st_gid)


def enclose(home: Home, place: Path, account: Account | None) -> None:
    """Let nobody but the server's group pass to what root keeps for it."""
    if account is not None and home.path.stat().st_uid == 0:
        os.chown(place, 0, account.gid)
        place.chmod(0o710)


def hand_over(directory: Path, account: Account | None) -> None:
    """Give the account the files that an earlier account of the server left there; none of its processes may run.

    The directory is closed to the old account first and marked as done last. A file with a second name stays as it is:
    the old account may have lent it that name.
    """
    if account is None or directory.stat().st_uid == account.uid:
        return
    os.chown(directory, 0, 0)
    for _, directories, files, folder in os.fwalk(directory.resolve(), follow_symlinks=False):
        for name in (*directories, *files):
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if not stat.S_ISREG(found.st_mode) or found.st_nlink == 1:
                os.chown(name, account.uid, account.gid, dir_fd=folder, follow_symlinks=False)
    os.chown(directory, account.uid, account.gid)


def can_pass(directory: Path, account: Account) -> bool:
    """Whether the account may walk down to this directory."""
    resolved = directory.resolve()
    return all(allows(step, account, stat.S_IXOTH) for step in (resolved, *resolved.parents))


def allows(path: Path, account: Account, wanted: int) -> bool:
    """Whether the mode of `path` grants the account the bits `wanted`, given as those of others."""
    found = path.stat()
    if found.st_uid == account.uid:
        return found.st_mode >> 6 & wanted == wanted
    if found.st_gid == account.gid:
        return found.st_mode >> 3 & wanted == wanted
    return found.st_mode & wanted == wanted


def place_of_data(home: Home, account: Account | None, known: Record | None) -> Path:
    """The directory that holds `data`: `home`, or one under /var/lib/stax-pipeline when the server cannot reach it."""
    if known is not None and known.outside is not None:
        return Path(known.outside)
    if known is not None or account is None or can_pass(home.path, account):
        return home.path
    name = hashlib.sha256(os.fsencode(home.path) + secrets.token_bytes(16)).hexdigest()[:16]
    place = SHARED_STATE / name
    make_shared_state()
    place.mkdir(mode=0o711)
    place.chmod(0o711)
    return place


def make_socket_directory(home: Home, place: Path, account: Account | None) -> Path:
    """A private directory for the socket, short enough for the kernel's limit on socket paths."""
    directory = place / "socket"
    if len(os.fsencode(directory)) > LONGEST_SOCKET_DIRECTORY or not _is_plain(directory):
        directory = _short_socket_directory(home, account)
    uid = account.uid if account else os.geteuid()
    try:
        directory.mkdir(mode=0o700)
        if account:
            os.chown(directory, account.uid, account.gid, follow_symlinks=False)
    except FileExistsError:
        if directory.parent == place and not directory.is_symlink():
            hand_over(directory, account)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != uid or found.st_mode & 0o077:
        raise CannotStart(f"{directory} was made by somebody else or is open to others. Remove it and start again.")
    return directory


def _short_socket_directory(home: Home, account: Account | None) -> Path:
    uid = account.uid if account else os.geteuid()
    digest = hashlib.sha256(os.fsencode(home.path) + b"\0" + str(uid).encode()).hexdigest()[:16]
    for parent in (Path(tempfile.gettempdir()), Path("/tmp")):
        directory = parent / f"stax-{uid}-{digest}"
        fits = len(os.fsencode(directory)) <= LONGEST_SOCKET_DIRECTORY and _is_plain(directory)
        if fits and (account is None or can_pass(parent, account)):
            return directory
    raise CannotStart("No temp directory is short enough for the server's socket. Set TMPDIR or a shorter STAX_HOME.")


def _is_plain(path: Path) -> bool:
    return _SAFE_IN_URLS_AND_SERVER_SETTINGS.fullmatch(str(path)) is not None


def read_record(home: Home) -> Record | None:
    """What the last start noted, None before the first."""
    try:
        return Record(**json.loads(home.record.read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        raise CannotStart(f"{home.record} is damaged: restore it from a backup.") from None


def write_record(home: Home, record: Record) -> None:
    write_private(home.record, json.dumps(record._asdict()))


def open_private(path: Path, flags: int) -> int:
    """A descriptor of a 0600 file that belongs to the owner of its directory; never through a symbolic link."""
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except PermissionError:
        raise CannotStart(
            f"{path} belongs to another user: run this as the user who made it, or set STAX_HOME to another directory."
        ) from None
    if os.geteuid() == 0 and flags & os.O_CREAT:
        owner = path.parent.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
    return descriptor


def write_private(path: Path, text: str) -> None:
    """Write the whole file or nothing of it."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    with os.fdopen(open_private(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)

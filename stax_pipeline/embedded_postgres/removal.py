"""Remove a server with all that it keeps: its home, and its data and account outside of it when root runs us.

Stays out: the copies of Postgres's programs (`binaries`), which other installations of this machine may use.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from stax_pipeline.domain.errors import CannotStart
from stax_pipeline.embedded_postgres import account
from stax_pipeline.embedded_postgres.client import stop
from stax_pipeline.embedded_postgres.layout import Home, read_record


def remove(home: Path) -> list[Path]:
    """Stop the server and remove it; the folders that were removed. Killed half-way, a second call finishes it.

    The record, which names what lies outside, goes last. Raises CannotStart for a record that names another place.
    """
    place = Home(home.resolve())
    if not place.path.is_dir():
        return []
    record = read_record(place)
    outside = Path(record.outside) if record and record.outside else None
    if outside and outside.parent != account.SHARED_STATE:
        raise CannotStart(f"{place.record} names {outside}, which is not a place for data of ours: look at it first.")
    stop(place.path)
    if outside:
        shutil.rmtree(outside, ignore_errors=not outside.exists())
    if record:
        _remove_socket(Path(record.socket_directory))
    for entry in place.path.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry != place.record:
            entry.unlink()
    place.record.unlink(missing_ok=True)
    place.path.rmdir()
    account.release(place.path)
    return [place.path, *([outside] if outside else [])]


def _remove_socket(directory: Path) -> None:
    """It may lie in the temp folder: nothing but sockets of the server is taken, and the folder once it is empty."""
    with suppress(OSError):
        for entry in directory.glob(".s.PGSQL.*"):
            entry.unlink()
        directory.rmdir()

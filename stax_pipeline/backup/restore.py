"""A backup put back into an empty installation: rows in one transaction, raw objects before it, Parquet after it.

Belongs here: the order of that. Raw objects come first, so that no row ever names one that is not there; killed
half-way, the same restore can be run again. Stays out: the file's format (`backup.archive`).
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import IO, Any

import sqlalchemy as sa

from stax_pipeline.backup.archive import ArchiveReader, BackupRefused, Entry, Member
from stax_pipeline.backup.dump import Dumped, close_after_loading, load, open_for_loading
from stax_pipeline.domain.errors import CannotStart, WrongUse
from stax_pipeline.domain.role_name import parse_role
from stax_pipeline.domain.slug import parse_slug
from stax_pipeline.lake.parquet import rebuild
from stax_pipeline.lake.parquet_names import copy_names
from stax_pipeline.lake.store import CHUNK, Lake, ObjectUnreadable
from stax_pipeline.pipeline.isolation import Progress
from stax_pipeline.warehouse import tables
from stax_pipeline.warehouse.engine import plain_faults
from stax_pipeline.warehouse.extractions import reach
from stax_pipeline.warehouse.migrate import known_revisions
from stax_pipeline.warehouse.roles import Logins

_SHOWN = re.compile(r"[A-Za-z0-9_.+-]{1,80}")


@dataclass(slots=True)
class Restored:
    """What was put back. `absent` are raw objects that the backup lists and does not hold."""

    rows: int = 0
    raw_objects: int = 0
    absent: list[Entry] = field(default_factory=list)


def prove_usable(reader: ArchiveReader) -> None:
    """Read the whole archive before anything is changed. Raises BackupRefused."""
    reader.prove()
    if not _is_a_head(reader.words):
        raise BackupRefused("This backup does not say about itself what a backup of stax does. Nothing was changed.")
    revision, known = reader.words.get("revision"), known_revisions()
    if revision not in known:
        raise BackupRefused(
            f"This backup was made by version {reader.words.get('product')} with schema {revision}, which is newer "
            f"than {known[0]} here: install that version or a later one, then restore. Nothing was changed."
        )


def _is_a_head(words: dict[str, Any]) -> bool:
    """Whether it holds what is read of it later, in words that may be shown."""
    try:
        datetime.fromisoformat(words["taken_at"])
        tables = [(table["name"], *table["columns"]) for table in words["tables"]]
        shown = [words["product"], words["revision"], *words["master_key_ids"]]
    except (KeyError, TypeError, ValueError):
        return False
    return all(isinstance(one, str) and _SHOWN.fullmatch(one) for one in (*shown, *chain.from_iterable(tables)))


def restore_rows_and_raw(reader: ArchiveReader, owner: sa.Engine, logins: Logins, lake: Lake) -> Restored:
    """Put raw objects into the lake and every row into the warehouse, in one transaction, and migrate it.

    Raises WrongUse when there are tenants, BackupRefused when the file or the lake's objects do not fit it.
    """
    done = Restored()
    with plain_faults("restoring"), owner.begin() as connection:
        opened = open_for_loading(connection, logins, reader.words["revision"], known_revisions()[0])
        expected = _expected(reader.words, opened)
        loaded: dict[str, int] = {}
        for member in reader.members():
            if member.name in expected:
                loaded[member.name] = load(connection, expected[member.name], member.content)
            else:
                _put_raw(lake, member)
                done.raw_objects += 1
        if loaded != reader.rows or loaded.keys() != expected.keys():
            raise BackupRefused("This backup does not hold the rows that its manifest counts. No row was changed.")
        _refuse_bad_names(connection, loaded)
        close_after_loading(connection, logins, opened)
    done.rows, done.absent = sum(loaded.values()), reader.absent
    return done


def rebuild_parquet(loader: sa.Engine, lake: Lake, progress: Progress) -> None:
    """Write the Parquet files of every day, and those of names and prices, from the restored rows."""
    copy_names(loader, lake)
    with plain_faults("looking for extractions"), loader.connect() as connection:
        window = reach(connection)
    if window is None:
        return
    for done, table in enumerate(tables.DAILY, start=1):
        rebuild(loader, lake, table, window, whole=True)
        progress(done, len(tables.DAILY))


def still_missing(lake: Lake, absent: list[Entry]) -> list[Entry]:
    """Those that the lake does not hold either; whether it holds the right ones is for `stax verify` to say."""
    wanted = {entry.name for entry in absent}
    held = {path for path in lake.paths("raw") if path in wanted} if wanted else set()
    return [entry for entry in absent if entry.name not in held]


def _expected(words: dict[str, Any], opened: list[Dumped]) -> dict[str, Dumped]:
    """The members that hold rows, by name. Raises BackupRefused unless they are the tables of that revision."""
    written = {table["name"]: table["columns"] for table in words["tables"]}
    if {name: set(columns) for name, columns in written.items()} != {t.name: set(t.columns) for t in opened}:
        raise BackupRefused("This backup's tables are not those of its schema. Nothing was changed.")
    return {f"postgres/{name}.copy": Dumped(name, columns) for name, columns in written.items()}


def _refuse_bad_names(connection: sa.Connection, loaded: Collection[str]) -> None:
    """What was loaded passed through neither `stax connect` nor `stax grant`: only a forged backup holds such names,
    and commands to type are shown with them.
    """
    for table, column, parse in (("tenants", "slug", parse_slug), ("tenant_grants", "role_name", parse_role)):
        if f"postgres/{table}.copy" not in loaded:  # it came with a later schema
            continue
        query = sa.select(sa.column(column, sa.Text)).select_from(sa.table(table, schema="stax"))
        for name in connection.execute(query).scalars():
            try:
                parse(name)
            except WrongUse as fault:
                raise BackupRefused(f"This backup was not made by stax: {fault} No row was changed.") from None


def _holds(lake: Lake, path: str, sha256: str) -> bool:
    try:
        with lake.unfinished() as copy:
            lake.copy_into(path, copy)
            return _digest(copy) == sha256
    except ObjectUnreadable:  # such as a folder of that name
        return False


def _digest(file: IO[bytes]) -> str:
    """The hash of all of the file, which then stands at its beginning again."""
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    file.seek(0)
    return digest


def _put_raw(lake: Lake, member: Member) -> None:
    """Create the object; one that is there already must be the same."""
    with lake.unfinished() as copy:
        shutil.copyfileobj(member.content, copy, CHUNK)
        if not member.name.startswith("raw/") or _digest(copy) != member.sha256:
            raise BackupRefused(f"{member.name} of this backup is not what it was when it was checked.")
        try:
            lake.put_new(member.name, copy)
        except FileExistsError:
            if not _holds(lake, member.name, member.sha256):
                raise BackupRefused(
                    f"The lake holds another {member.name}: restore into an empty lake (STAX_LAKE_URL). "
                    "No row was changed."
                ) from None
        except OSError as fault:
            raise CannotStart(f"The lake cannot be written: {fault.strerror or fault}. No row was changed.") from None

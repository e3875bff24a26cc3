"""One file that holds the whole installation but the master key: the warehouse's rows and the lake's raw objects.

Everything is of one moment: the rows come from one snapshot, and the raw objects they name were written before them
and never change. Parquet is left out, since it is made of the rows, and so is Dagster's history of runs.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from uuid import UUID

import sqlalchemy as sa

from stax_pipeline.backup.archive import ArchiveWriter, Entry, is_usable_name, written_whole
from stax_pipeline.backup.dump import begin_snapshot, dump
from stax_pipeline.domain.errors import StaxError
from stax_pipeline.domain.extraction import Report
from stax_pipeline.lake.store import Lake, ObjectMissing, ObjectUnreadable
from stax_pipeline.pipeline.isolation import Progress
from stax_pipeline.warehouse.engine import plain_faults
from stax_pipeline.warehouse.migrate import revision_of

NOT_ASKED_FOR = "left out on request"


@dataclass(slots=True)
class BackedUp:
    """What was written. `damaged` are raw objects that are missing from the lake or not what was recorded."""

    tenants: int = 0
    rows: int = 0
    raw_objects: int = 0
    bytes: int = 0
    damaged: list[Entry] = field(default_factory=list)
    master_key_ids: list[str] = field(default_factory=list)


class Sources:
    """What is backed up: the warehouse through its loader (who may read all) and its owner, and the lake."""

    def __init__(self, loader: sa.Engine, owner: sa.Engine, lake: Lake) -> None:
        self.loader, self.owner, self.lake = loader, owner, lake

    def revision(self) -> str:
        with plain_faults("reading the schema's revision"), self.owner.connect() as connection:
            return revision_of(connection)


def back_up(sources: Sources, path: Path, *, with_raw: bool, progress: Progress) -> BackedUp:
    """Write the backup, whole or not at all. Raises WrongUse for a bad path, StaxError when it cannot be made."""
    done = BackedUp()
    options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    with written_whole(path) as archive:
        revision = sources.revision()
        with plain_faults("reading the warehouse"), sources.loader.connect() as connection:
            snapshot = connection.execution_options(**options)
            _write_rows(snapshot, archive, path.parent, revision, done)
            for number, tenant_id in enumerate(tenants := _tenant_ids(snapshot), start=1):
                for entry in _raw_objects(snapshot, sources.lake, tenant_id):
                    _write_raw(sources.lake, archive, entry, with_raw, done)
                progress(number, len(tenants))
            done.tenants = len(tenants)
        if sources.revision() != revision:
            raise StaxError("The database was migrated while it was read: nothing was written; run it again.")
    done.bytes = path.stat().st_size
    return done


def _write_rows(
    snapshot: sa.Connection, archive: ArchiveWriter, scratch: Path, revision: str, done: BackedUp
) -> None:  # fmt: skip
    tables = begin_snapshot(snapshot)
    query = "select distinct master_key_id from stax.admin_keys where revoked_at is null order by 1"
    done.master_key_ids = list(snapshot.exec_driver_sql(query).scalars())
    archive.head(
        {
            "product": version("stax-pipeline"),
            "revision": revision,
            "taken_at": snapshot.exec_driver_sql("select now()").scalar_one().isoformat(),
            "master_key_ids": done.master_key_ids,
            "tables": [table._asdict() for table in tables],
        }
    )
    for table in tables:
        with tempfile.TemporaryFile(dir=scratch) as rows:
            count = dump(snapshot, table, rows)
            archive.add(f"postgres/{table.name}.copy", rows, count)
            done.rows += count


def _tenant_ids(snapshot: sa.Connection) -> Sequence[UUID]:
    """Of whatever version the schema is: a backup is taken before an upgrade too."""
    return snapshot.exec_driver_sql("select tenant_id from stax.tenants order by slug").scalars().all()


def _raw_objects(snapshot: sa.Connection, lake: Lake, tenant_id: UUID) -> Iterator[Entry]:
    """What the tenant's extractions name, with its recorded hash, and what else lies in its folders, without one."""
    query = "select raw_uri, sha256 from stax.extractions where tenant_id = :id and raw_uri is not null"
    named = {row.raw_uri: row.sha256 for row in snapshot.execute(sa.text(query), {"id": tenant_id})}
    held = {path for report in Report for path in lake.paths(f"raw/{report}/tenant={tenant_id}")}
    for path in sorted(named.keys() | set(filter(is_usable_name, held))):
        yield Entry(path, named.get(path, ""), 0)


def _write_raw(lake: Lake, archive: ArchiveWriter, entry: Entry, with_raw: bool, done: BackedUp) -> None:
    if not with_raw:
        if entry.sha256:
            archive.note_absent(entry._replace(absent=NOT_ASKED_FOR))
        return
    try:
        with lake.unfinished() as copy:
            lake.copy_into(entry.name, copy)
            written = archive.add(entry.name, copy)
    except ObjectUnreadable as fault:
        if entry.sha256:
            why = "was missing from the lake" if isinstance(fault, ObjectMissing) else "could not be read"
            done.damaged.append(entry._replace(absent=f"it {why}"))
            archive.note_absent(done.damaged[-1])
        return
    done.raw_objects += 1
    if entry.sha256 not in ("", written.sha256):
        done.damaged.append(written._replace(absent="it did not have its recorded hash"))

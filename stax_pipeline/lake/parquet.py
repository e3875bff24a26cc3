"""Parquet copies of the warehouse's daily tables: `<table>/usage_date=…/bucket=NN/part-0.parquet`, sorted by tenant.

Written from Postgres after a publish: the files that the publisher noted as due, and those of days that have none. One
statement reads their rows, under a lock per table: two runs that rebuild one file take turns, and the later one sees
the earlier one's rows. A kill leaves the notes, and the next run writes the files. Page checksums are written, since a
flipped bit would otherwise be read as another amount.
"""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import date
from pathlib import Path
from typing import IO, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import sqlalchemy as sa
from psycopg2 import sql

from stax_pipeline.domain.extraction import Window
from stax_pipeline.domain.plurals import count_of
from stax_pipeline.lake.store import Lake, ObjectMissing, ObjectUnreadable
from stax_pipeline.warehouse.arrow_copy import arrow_type, as_text, copy_csv, read_csv
from stax_pipeline.warehouse.parquet_due import BUCKETS, buckets_now, divide_once_many, due_of, forget_due

ROW_GROUP = 65_536


class File(NamedTuple):
    """One file of a table: a day, and which of its buckets of tenants."""

    usage_date: date
    bucket: int

    def path(self, table: sa.Table) -> str:
        """Where in the lake it lies."""
        return f"{_folder(table, self.usage_date)}/bucket={self.bucket:02}/part-0.parquet"


def arrow_schema(table: sa.Table) -> pa.Schema:
    """Types as in the warehouse; `usage_date` is the partition's name and stays out of the file."""
    return pa.schema(
        pa.field(c.name, arrow_type(c), nullable=bool(c.nullable), metadata={"comment": c.comment or ""})
        for c in table.columns
        if c.name != "usage_date"
    )


def rebuild(engine: sa.Engine, lake: Lake, table: sa.Table, window: Window, *, whole: bool = False) -> int:
    """Write the files of `table` that are due, of any day, and those of the window's days that have none yet; with
    `whole` every file of the window. Returns the rows in them.

    A bucket without rows has no file but the first, which every day has.
    """
    with _locked(engine, table) as connection, tempfile.TemporaryFile(dir=lake.scratch()) as rows:
        with connection.begin():
            divide_once_many(connection, table)
        with connection.begin():
            buckets = buckets_now(connection, table)
            notes = due_of(connection, table)
            due = {File(note.usage_date, note.bucket * buckets // BUCKETS) for note in notes}
            files = sorted(due | _unwritten(lake, table, window, buckets, whole))
            if files:
                copy_csv(connection, _rows_of(table, files, buckets), rows)
        rows.seek(0)
        written = _write(rows, lake, table, files)
        with connection.begin():
            forget_due(connection, notes)
        return written


def difference(
    connection: sa.Connection, lake: Lake, table: sa.Table, file: File, buckets: int, count: int
) -> str | None:
    """How a file differs from its `count` rows in the warehouse, which has `buckets` files a day; None where no value
    does.

    The footer is looked at first, then all pages and their checksums beside the rows, a block at a time.
    """
    schema = arrow_schema(table)
    try:
        found = pq.ParquetFile(pa.BufferReader(lake.get(file.path(table))), page_checksum_verification=True)
        if found.metadata.num_rows != count:
            return f"the file holds {count_of(found.metadata.num_rows, 'row')}, Postgres {count:,}"
        if not found.schema_arrow.equals(schema):
            return "the file's columns are not those of the table"
        with tempfile.TemporaryFile() as rows:
            copy_csv(connection, _rows_of(table, [file], buckets), rows)
            rows.seek(0)
            held = (batch for _, batch in _by_file(rows, table, [file]))
            return (
                None if _are_equal(held, found.iter_batches(ROW_GROUP)) else "the file does not hold Postgres' values"
            )
    except ObjectMissing:
        return f"there is no file, Postgres holds {count_of(count, 'row')}" if count else None
    except (ObjectUnreadable, pa.ArrowException, OSError) as fault:
        return f"the file cannot be read ({type(fault).__name__})"


def files_of(lake: Lake, table: sa.Table, day: date) -> set[str]:
    """The paths of a day's files that the lake holds."""
    return set(lake.paths(_folder(table, day)))


@contextmanager
def _locked(engine: sa.Engine, table: sa.Table) -> Iterator[sa.Connection]:
    """A connection that alone writes files of the table."""
    lock = {"name": f"parquet:{table.name}"}
    with engine.connect() as connection:
        with connection.begin():
            connection.execute(sa.text("select pg_advisory_lock(hashtext(:name))"), lock)
        try:
            yield connection
        finally:
            with connection.begin():
                connection.execute(sa.text("select pg_advisory_unlock(hashtext(:name))"), lock)


def _unwritten(lake: Lake, table: sa.Table, window: Window, buckets: int, whole: bool) -> set[File]:
    """The files of days that have none, or of all if `whole`; what lies there under other names is removed."""
    files = set()
    for day in window.days:
        of_day = {File(day, bucket) for bucket in range(buckets)}
        held = files_of(lake, table, day)
        for path in held - {file.path(table) for file in of_day}:
            lake.delete(path)
        if whole or File(day, 0).path(table) not in held:
            files |= of_day
    return files


def _folder(table: sa.Table, day: date) -> str:
    return f"{table.name}/usage_date={day}"


def _are_equal(left: Iterator[pa.RecordBatch], right: Iterator[pa.RecordBatch]) -> bool:
    """Whether both hold the same rows in the same order, however they are cut into batches."""
    one, other = next(left, None), next(right, None)
    while one is not None and other is not None:
        length = min(one.num_rows, other.num_rows)
        if not one.slice(0, length).equals(other.slice(0, length)):
            return False
        one = one.slice(length) if length < one.num_rows else next(left, None)
        other = other.slice(length) if length < other.num_rows else next(right, None)
    return one is None and other is None


def _rows_of(table: sa.Table, files: Sequence[File], buckets: int) -> sql.Composable:
    """The rows of these files, file by file, each with its file's place in the list; a bucket is a range of ids."""
    due = [(file.usage_date, *_ids(file.bucket, buckets)) for file in files]
    days, lows, highs = (sql.Literal(list(column)) for column in zip(*due, strict=True))
    keys = [c.name for c in table.primary_key.columns if c.name != "usage_date"]
    return sql.SQL(
        "select place, {columns} from unnest({days}::date[], {lows}::uuid[], {highs}::uuid[]) "
        "with ordinality due (usage_date, low, high, place) join {table} using (usage_date) "
        "where tenant_id between low and high order by place, {keys}"
    ).format(
        columns=sql.SQL(", ").join(as_text(c) for c in table.columns if c.name != "usage_date"),
        table=sql.Identifier("stax", table.name), keys=sql.SQL(", ").join(map(sql.Identifier, keys)),
        days=days, lows=lows, highs=highs,
    )  # fmt: skip


def _ids(bucket: int, buckets: int) -> tuple[str, str]:
    """The first and the last id that a tenant of the bucket can have."""
    size = 2**128 // buckets
    return str(uuid.UUID(int=bucket * size)), str(uuid.UUID(int=(bucket + 1) * size - 1))


def _write(rows: IO[bytes], lake: Lake, table: sa.Table, files: Sequence[File]) -> int:
    schema = arrow_schema(table)
    written = 0
    empty = set(files)
    with ExitStack() as unfinished:
        current: _Unfinished | None = None
        for file, batch in _by_file(rows, table, files):
            if current is None or file != current.file:
                if current:
                    current.publish()
                current = unfinished.enter_context(_Unfinished(lake, table, file, schema))
                empty.discard(file)
            current.add(batch)
            written += batch.num_rows
        if current:
            current.publish()
        for file in sorted(empty):
            if file.bucket:
                lake.delete(file.path(table))
            else:
                unfinished.enter_context(_Unfinished(lake, table, file, schema)).publish()
    return written


class _Unfinished:
    """A file that is being written; gone unless published."""

    def __init__(self, lake: Lake, table: sa.Table, file: File, schema: pa.Schema) -> None:
        self.file = file
        self._lake = lake
        self._path = file.path(table)
        self._temporary: Path = lake.scratch() / f"{table.name}-{file.usage_date}-{uuid.uuid4().hex}.parquet"
        self._writer = pq.ParquetWriter(
            self._temporary, schema, compression="zstd", compression_level=3, write_page_checksum=True,
            use_dictionary=[f.name for f in schema if pa.types.is_string(f.type)],  # type: ignore[arg-type]
        )  # fmt: skip

    def __enter__(self) -> _Unfinished:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._writer.close()
        finally:
            self._temporary.unlink(missing_ok=True)

    def add(self, batch: pa.RecordBatch) -> None:
        self._writer.write_batch(batch, row_group_size=ROW_GROUP)

    def publish(self) -> None:
        self._writer.close()
        self._lake.replace(self._path, self._temporary)


def _by_file(rows: IO[bytes], table: sa.Table, files: Sequence[File]) -> Iterator[tuple[File, pa.RecordBatch]]:
    """What `_rows_of` selected, file by file; one that is long comes in several pieces."""
    place = pa.field("place", pa.int64())
    for batch in read_csv(rows, pa.schema([place, *arrow_schema(table)])):
        runs = pc.value_counts(batch["place"])
        start = 0
        for number, length in zip(runs.field("values").to_numpy(), runs.field("counts").to_numpy(), strict=True):
            yield files[number - 1], batch.slice(start, length).drop_columns(["place"])
            start += length

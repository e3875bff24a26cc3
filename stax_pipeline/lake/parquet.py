"""Parquet copies of the warehouse's daily tables: one file per table and usage date, all tenants in it.

Built from Postgres after a publish, from one snapshot, under a lock per table: two runs that rebuild one day take
turns, and the later one sees the earlier one's rows. Page checksums are written, since a flipped bit would otherwise
be read as another amount.
"""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import date, timedelta
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv
import pyarrow.parquet as pq
import sqlalchemy as sa

from stax_pipeline.domain.extraction import Window
from stax_pipeline.domain.money import SCALE
from stax_pipeline.domain.plurals import count_of
from stax_pipeline.lake.store import Lake, ObjectMissing, ObjectUnreadable
from stax_pipeline.warehouse.copy import copy_out

USD = pa.decimal128(38, SCALE)
ROW_GROUP = 65_536
_INSTANT = """to_char({0} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as {0}"""


def arrow_schema(table: sa.Table) -> pa.Schema:
    """Types as in the warehouse; `usage_date` is the partition's name and stays out of the file."""
    return pa.schema(
        pa.field(c.name, _arrow_type(c), nullable=bool(c.nullable), metadata={"comment": c.comment or ""})
        for c in table.columns
        if c.name != "usage_date"
    )


def rebuild(engine: sa.Engine, lake: Lake, table: sa.Table, window: Window) -> int:
    """Write the window's files anew; returns the rows in them. A day without rows gets a file without rows."""
    lock = {"name": f"parquet:{table.name}"}
    with tempfile.TemporaryFile(dir=lake.scratch()) as rows, engine.connect() as connection:
        connection.execute(sa.text("select pg_advisory_lock(hashtext(:name))"), lock)
        connection.commit()
        try:
            copy_out(connection, _ordered(table, window), rows)
            connection.commit()
            rows.seek(0)
            return _write_days(rows, lake, table, window)
        finally:
            connection.execute(sa.text("select pg_advisory_unlock(hashtext(:name))"), lock)
            connection.commit()


def difference(connection: sa.Connection, lake: Lake, table: sa.Table, day: date, count: int) -> str | None:
    """How the day's file differs from the `count` rows of the day in the warehouse; None where no value does.

    The footer is looked at first, then all pages and their checksums beside the rows, a block at a time.
    """
    schema = arrow_schema(table)
    try:
        file = pq.ParquetFile(pa.BufferReader(lake.get(path_of(table, day))), page_checksum_verification=True)
        if file.metadata.num_rows != count:
            return f"the file holds {count_of(file.metadata.num_rows, 'row')}, Postgres {count:,}"
        if not file.schema_arrow.equals(schema):
            return "the file's columns are not those of the table"
        with tempfile.TemporaryFile() as rows:
            copy_out(connection, _ordered(table, Window(day, day + timedelta(days=1))), rows)
            rows.seek(0)
            held = (batch for _, batch in _by_day(rows, table, schema))
            return None if _are_equal(held, file.iter_batches(ROW_GROUP)) else "the file does not hold Postgres' values"
    except ObjectMissing:
        return f"there is no file, Postgres holds {count_of(count, 'row')}" if count else None
    except (ObjectUnreadable, pa.ArrowException, OSError) as fault:
        return f"the file cannot be read ({type(fault).__name__})"


def path_of(table: sa.Table, day: date) -> str:
    """Where in the lake the day's file lies."""
    return f"{table.name}/usage_date={day}/part-0.parquet"


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


def _ordered(table: sa.Table, window: Window) -> str:
    parts = [_INSTANT.format(c.name) if isinstance(c.type, sa.DateTime) else c.name for c in table.columns]
    keys = [c.name for c in table.primary_key.columns]
    return (
        f"select {', '.join(parts)} from {table.schema}.{table.name} "  # noqa: S608 names come from our own schema
        f"where usage_date >= '{window.start}' and usage_date < '{window.end}' order by {', '.join(keys)}"
    )


def _write_days(rows: IO[bytes], lake: Lake, table: sa.Table, window: Window) -> int:
    schema = arrow_schema(table)
    written = 0
    missing = set(window.days)
    with ExitStack() as open_file:
        current: date | None = None
        writer: _DayFile | None = None
        for day, batch in _by_day(rows, table, schema):
            if day != current or writer is None:
                if writer:
                    writer.publish()
                writer = open_file.enter_context(_DayFile(lake, table, day, schema))
                current = day
                missing.discard(day)
            writer.add(batch)
            written += batch.num_rows
        if writer:
            writer.publish()
        for day in sorted(missing):
            open_file.enter_context(_DayFile(lake, table, day, schema)).publish()
    return written


class _DayFile:
    """One day's file while it is unfinished; gone unless published."""

    def __init__(self, lake: Lake, table: sa.Table, day: date, schema: pa.Schema) -> None:
        self._lake = lake
        self._path = path_of(table, day)
        self._temporary: Path = lake.scratch() / f"{table.name}-{day}-{uuid.uuid4().hex}.parquet"
        self._writer = pq.ParquetWriter(
            self._temporary, schema, compression="zstd", compression_level=3, write_page_checksum=True,
            use_dictionary=[f.name for f in schema if pa.types.is_string(f.type)],  # type: ignore[arg-type]
        )  # fmt: skip

    def __enter__(self) -> _DayFile:
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


def _by_day(rows: IO[bytes], table: sa.Table, schema: pa.Schema) -> Iterator[tuple[date, pa.RecordBatch]]:
    names = [c.name for c in table.columns]
    try:
        reader = csv.open_csv(
            rows,
            read_options=csv.ReadOptions(column_names=names, block_size=8 << 20, use_threads=False),
            parse_options=csv.ParseOptions(newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                column_types={**{f.name: f.type for f in schema}, "usage_date": pa.date32()},
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid as fault:
        if "Empty CSV" in str(fault):
            return
        raise
    for batch in reader:
        days = batch.column(names.index("usage_date"))
        for day in filter(None, pc.unique(days).to_pylist()):
            of_day = batch.filter(pc.equal(days, pa.scalar(day, pa.date32())))
            yield day, of_day.select(schema.names).cast(schema)


def _arrow_type(column: sa.Column[object]) -> pa.DataType:
    kind = column.type
    if isinstance(kind, sa.Numeric):
        return USD
    if isinstance(kind, sa.BigInteger):
        return pa.int64()
    if isinstance(kind, sa.DateTime):
        return pa.timestamp("us", tz="UTC")
    if isinstance(kind, sa.Date):
        return pa.date32()
    if isinstance(kind, sa.Boolean):
        return pa.bool_()
    return pa.string()

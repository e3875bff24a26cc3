"""Prove that the Parquet files hold the rows of Postgres: every table, every day, every value, and nothing else."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from datetime import date
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa

from stax_pipeline.domain.extraction import Window
from stax_pipeline.domain.plurals import count_of
from stax_pipeline.lake.parquet import files_of
from stax_pipeline.lake.parquet_rows import File, Span, arrow_schema, read_rows, rows_by_file
from stax_pipeline.lake.store import Lake, ObjectMissing, ObjectUnreadable
from stax_pipeline.warehouse import tables
from stax_pipeline.warehouse.parquet_due import BUCKETS, bucket_of, buckets_now

BLOCK = 65_536  # rows


class Apart(NamedTuple):
    """A file that is not what Postgres holds."""

    table: str
    usage_date: date
    why: str


def parquet_gaps(connection: sa.Connection, lake: Lake, window: Window) -> Iterator[Apart]:
    """Days of the window on which a file differs from the rows of the connection's snapshot.

    A run that publishes meanwhile differs too, until it has written its files.
    """
    for table in tables.DAILY:
        buckets = buckets_now(connection, table)
        counts = _counts(connection, table, window, buckets)
        for day in window.days:
            files = [File(day, bucket) for bucket in range(buckets)]
            for file in files:
                if why := difference(connection, lake, table, file, buckets, counts[file]):
                    yield Apart(table.name, day, f"bucket {file.bucket:02}: {why}" if buckets > 1 else why)
            for path in sorted(files_of(lake, table, day) - {file.path(table) for file in files}):
                yield Apart(table.name, day, f"{path} is not a file of this installation")


def _counts(connection: sa.Connection, table: sa.Table, window: Window, buckets: int) -> Counter[File]:
    """Rows in each file."""
    day, tenant = table.c.usage_date, table.c.tenant_id
    query = sa.select(day, tenant, sa.func.count()).where(day >= window.start, day < window.end).group_by(day, tenant)
    counts: Counter[File] = Counter()
    for usage_date, tenant_id, rows in connection.execute(query):
        counts[File(usage_date, bucket_of(tenant_id) * buckets // BUCKETS)] += rows
    return counts


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
            spans = [Span(file, *file.ids(buckets))]
            read_rows(connection, table, spans, rows)
            _, pieces = next(rows_by_file(rows, table, spans, [file], {}))
            held = (batch for piece in pieces for batch in piece.to_batches())
            equal = _are_equal(held, found.iter_batches(BLOCK))
            return None if equal else "the file does not hold Postgres' values"
    except ObjectMissing:
        return f"there is no file, Postgres holds {count_of(count, 'row')}" if count else None
    except (ObjectUnreadable, pa.ArrowException, OSError) as fault:
        return f"the file cannot be read ({type(fault).__name__})"


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

"""Parquet copies of the warehouse's daily tables: `<table>/usage_date=…/bucket=NN/part-0.parquet`, sorted by tenant.

Written after a publish: the files that the publisher noted as due, and those that have rows and are not there. Rows
that this process has just written are at hand, the others are read from Postgres by one statement, under a lock per
table: two runs that rebuild one file take turns, and the later one sees the earlier one's rows. A kill leaves the
notes, and the next run writes the files. Page checksums are written, since a flipped bit would otherwise be read as
another amount.
"""

from __future__ import annotations

import tempfile
import uuid
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date
from itertools import chain, islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa

from stax_pipeline.domain.extraction import Window
from stax_pipeline.installation.memory import give_back
from stax_pipeline.lake.parquet_rows import (
    File,
    arrow_schema,
    at_hand,
    day_folder,
    files_with_rows,
    read_rows,
    rows_by_file,
    spans_to_read,
)
from stax_pipeline.lake.store import Lake
from stax_pipeline.warehouse.fresh_rows import FreshRows
from stax_pipeline.warehouse.parquet_due import BUCKETS, buckets_now, divide_once_many, due_of, forget_due

ROW_GROUP = 65_536
ROWS_TO_GIVE_BACK = 2 * ROW_GROUP
AT_ONCE = 4  # files: most of the time goes by until the disk has them


def rebuild(
    engine: sa.Engine, lake: Lake, table: sa.Table, window: Window, fresh: FreshRows | None = None, *,
    whole: bool = False,
) -> int:  # fmt: skip
    """Write the files of `table` that are due, of any day, and those of the window's days that are missing; with
    `whole` every file of the window. Returns the rows in them.

    Rows that are in `fresh` are taken from there. A bucket without rows has no file; one that had a file and loses its
    rows keeps an empty one if it is the first of its day.
    """
    known = fresh.take(table) if fresh else {}
    with alone(engine, table) as connection, tempfile.TemporaryFile(dir=lake.scratch()) as rows:
        with connection.begin():
            division = divide_once_many(connection, table)
        with connection.begin():
            buckets = buckets_now(connection, table)
            notes = due_of(connection, table)
            due = {File(note.usage_date, note.bucket * buckets // BUCKETS) for note in notes}
            files = sorted(due | _unwritten(connection, lake, table, window, buckets, whole))
            held = at_hand((note for note in notes if note.mark_id not in division), known, buckets)
            spans = spans_to_read(connection, table, files, buckets, held)
            read_rows(connection, table, spans, rows)
        written = _write(lake, table, rows_by_file(rows, table, spans, files, held))
        with connection.begin():
            forget_due(connection, notes)
    give_back()
    return written


def files_of(lake: Lake, table: sa.Table, day: date) -> set[str]:
    """The paths of a day's files that the lake holds."""
    return set(lake.paths(day_folder(table, day)))


@contextmanager
def alone(engine: sa.Engine, table: sa.Table) -> Iterator[sa.Connection]:
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


def _unwritten(
    connection: sa.Connection, lake: Lake, table: sa.Table, window: Window, buckets: int, whole: bool
) -> set[File]:
    """The files that have rows and are missing, or all if `whole`; what lies there under other names is removed."""
    missing: set[File] = set()
    every = [[File(day, bucket) for bucket in range(buckets)] for day in window.days]
    for of_day in every:
        held = files_of(lake, table, of_day[0].usage_date)
        paths = {file.path(table): file for file in of_day}
        for path in held - paths.keys():
            lake.delete(path)
        missing |= {file for path, file in paths.items() if path not in held}
    return set(chain.from_iterable(every)) if whole else files_with_rows(connection, table, missing, buckets)


def _write(lake: Lake, table: sa.Table, files: Iterable[tuple[File, Iterator[pa.Table]]]) -> int:
    """Write the files, a few at once; returns the rows in them. A long one is written as its pieces come.

    Those that are written at once have no more than `ROW_GROUP` rows together, but for one that alone has more.
    """
    written = held = given_back = 0
    running: deque[tuple[int, Future[int]]] = deque()
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for file, pieces in files:
            if written - given_back > ROWS_TO_GIVE_BACK:
                give_back()
                given_back = written
            begun = list(islice(pieces, 2))
            if len(begun) == 2:
                written += _write_file(lake, table, file, chain(begun, pieces))
                continue
            rows = sum(piece.num_rows for piece in begun)
            while running and (len(running) > AT_ONCE or held + rows > ROW_GROUP):
                size, first = running.popleft()
                written += first.result()
                held -= size
            running.append((rows, threads.submit(_write_file, lake, table, file, begun)))
            held += rows
        return written + sum(one.result() for _, one in running)


def _write_file(lake: Lake, table: sa.Table, file: File, pieces: Iterable[pa.Table]) -> int:
    """Put the rows in place of the file, or remove it where there are none; returns how many there were."""
    path = file.path(table)
    pieces = iter(pieces)
    first = next(pieces, None)
    if first is None and not (file.bucket == 0 and lake.holds(path)):
        lake.delete(path)
        return 0
    with unfinished(lake, table, chain([first] if first else [], pieces)) as (temporary, rows):
        lake.replace(path, temporary)
    return rows


@contextmanager
def unfinished(lake: Lake, table: sa.Table, pieces: Iterable[pa.Table]) -> Iterator[tuple[Path, int]]:
    """A file of these rows under no name that lasts, and how many they are; it is gone when the block ends, unless it
    was put in its place.
    """
    temporary = lake.scratch() / f"{table.name}-{uuid.uuid4().hex}.parquet"
    schema, written = arrow_schema(table), 0
    try:
        with pa.OSFile(str(temporary), "wb") as out, _writer(out, schema) as writer:
            for rows in pieces:
                writer.write_table(rows, row_group_size=ROW_GROUP)
                written += rows.num_rows
        yield temporary, written
    finally:
        temporary.unlink(missing_ok=True)


def _writer(out: pa.NativeFile, schema: pa.Schema) -> pq.ParquetWriter:
    return pq.ParquetWriter(
        out, schema, compression="zstd", compression_level=3, write_page_checksum=True,
        use_dictionary=[f.name for f in schema if pa.types.is_string(f.type)],  # type: ignore[arg-type]
    )  # fmt: skip

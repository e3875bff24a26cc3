"""The rows of Parquet files, file by file: from memory where this process has just written them, else from Postgres."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from functools import cache
from itertools import groupby
from operator import itemgetter
from typing import IO, Any, NamedTuple
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from psycopg2 import sql

from stax_pipeline.warehouse.arrow_copy import arrow_type, as_text, copy_csv, read_csv
from stax_pipeline.warehouse.fresh_rows import Fresh
from stax_pipeline.warehouse.parquet_due import BUCKETS, Due


class File(NamedTuple):
    """One file of a table: a day, and which of its buckets of tenants."""

    usage_date: date
    bucket: int

    def path(self, table: sa.Table) -> str:
        """Where in the lake it lies."""
        return f"{day_folder(table, self.usage_date)}/bucket={self.bucket:02}/part-0.parquet"

    def ids(self, buckets: int) -> tuple[str, str]:
        """The first and the last id that a tenant of the file can have, where a day has so many files."""
        size = 2**128 // buckets
        return str(UUID(int=self.bucket * size)), str(UUID(int=(self.bucket + 1) * size - 1))


class Span(NamedTuple):
    """Rows of a file to read from Postgres: those of tenants from `low` to `high`, both among them."""

    file: File
    low: str
    high: str


def day_folder(table: sa.Table, day: date) -> str:
    """Where in the lake the files of a day lie."""
    return f"{table.name}/usage_date={day}"


@cache
def arrow_schema(table: sa.Table) -> pa.Schema:
    """Types as in the warehouse; `usage_date` is the partition's name and stays out of the file."""
    return pa.schema(
        pa.field(c.name, arrow_type(c), nullable=bool(c.nullable), metadata={"comment": c.comment or ""})
        for c in table.columns
        if c.name != "usage_date"
    )


def at_hand(notes: Iterable[Due], fresh: Mapping[UUID, Fresh], buckets: int) -> dict[File, list[Fresh]]:
    """What this process wrote of the files that only it has changed since they were written, the latest last."""
    by_file: dict[File, set[UUID]] = {}
    for note in notes:
        by_file.setdefault(File(note.usage_date, note.bucket * buckets // BUCKETS), set()).add(note.mark_id)
    order = {mark_id: place for place, mark_id in enumerate(fresh)}
    return {
        file: [fresh[mark_id] for mark_id in sorted(marks, key=order.__getitem__)]
        for file, marks in by_file.items()
        if marks <= order.keys()
    }


def spans_to_read(
    connection: sa.Connection, table: sa.Table, files: Sequence[File], buckets: int, held: Mapping[File, list[Fresh]]
) -> list[Span]:
    """What of `files` is not at hand, in their order: all of a file, or single tenants of it."""
    partly = [Span(file, *file.ids(buckets)) for file in files if file in held]
    others: dict[File, list[Span]] = {file: [] for file in held}
    for span, tenant in _selected(connection, table, partly, _TENANTS) if partly else ():
        latest = next((piece for piece in reversed(held[span.file]) if tenant in piece.tenants), None)
        if latest is None or latest.rows is None:
            others[span.file].append(Span(span.file, str(tenant), str(tenant)))
    whole = ([Span(file, *file.ids(buckets))] for file in files)
    return [span for file, spans in zip(files, whole, strict=True) for span in others.get(file, spans)]


def files_with_rows(connection: sa.Connection, table: sa.Table, files: Iterable[File], buckets: int) -> set[File]:
    """Those of `files` that Postgres has rows of."""
    spans = [Span(file, *file.ids(buckets)) for file in files]
    return {span.file for (span,) in _selected(connection, table, spans, _ANY)} if spans else set()


def read_rows(connection: sa.Connection, table: sa.Table, spans: Sequence[Span], out: IO[bytes]) -> None:
    """Write the rows of `spans` as CSV, in one statement, for `rows_by_file`."""
    if spans:
        keys = [c for c in table.primary_key.columns if c.name != "usage_date"]
        query = sql.SQL(
            "select place, {columns} from {due} cross join lateral (select * from {table} r "
            "where r.usage_date = due.usage_date and r.tenant_id between low and high offset 0) found "
            "order by place, {keys}"
        ).format(
            columns=_joined(as_text(c) for c in table.columns if c.name != "usage_date"),
            keys=_joined(map(_bytewise, keys)), due=_due(spans), table=_named(table),
        )  # fmt: skip
        copy_csv(connection, query, out)
        out.seek(0)


def rows_by_file(
    rows: IO[bytes], table: sa.Table, spans: Sequence[Span], files: Sequence[File], held: Mapping[File, list[Fresh]]
) -> Iterator[tuple[File, Iterator[pa.Table]]]:
    """The rows of each file in turn, sorted, in one piece or several; of a file without rows none."""
    read = groupby(_by_file(rows, table, spans), itemgetter(0))
    following = next(read, None)
    for file in files:
        found: Iterator[pa.Table] = iter(())
        if following and following[0] == file:
            found = map(itemgetter(1), following[1])
        yield file, _together(table, held[file], found) if file in held else found
        if following and following[0] == file:
            following = next(read, None)


def _together(table: sa.Table, held: Sequence[Fresh], read: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """What is at hand among what was read, sorted by the key, in pieces as they are read: a tenant's rows are in one of
    the two alone.
    """
    keys: list[Any] = [(c.name, "ascending") for c in table.primary_key.columns if c.name != "usage_date"]
    pieces = _latest(arrow_schema(table), held)
    kept = pieces[0] if len(pieces) == 1 else pa.concat_tables(pieces).sort_by(keys)
    done = 0
    for piece in read:
        upto = pc.sum(pc.less_equal(kept["tenant_id"], piece["tenant_id"][-1]).cast(pa.int64())).as_py() or 0
        before = max(done, upto)
        if before > done:
            piece = pa.concat_tables([kept.slice(done, before - done), piece]).sort_by(keys)
        done = before
        yield piece
    if done < kept.num_rows:
        yield kept.slice(done)


def _latest(schema: pa.Schema, held: Sequence[Fresh]) -> list[pa.Table]:
    """The rows at hand, each piece sorted, at least one; of a tenant that was written twice, the later rows."""
    pieces = []
    seen: set[str] = set()
    for piece in reversed(held):
        tenants = set(map(str, piece.tenants))
        if piece.rows is not None:
            rows = piece.rows.select(schema.names).cast(schema)
            if seen & tenants:
                rows = rows.filter(pc.invert(pc.is_in(rows["tenant_id"], pa.array(seen, pa.string()))))
            pieces.append(rows)
        seen |= tenants
    return pieces or [schema.empty_table()]


# A limit, as `offset 0` above, keeps the planner, which may have no statistics yet, from reading whole tables instead.
_TENANTS = (
    "select place, t.tenant_id from {due} join stax.tenants t on t.tenant_id between low and high "
    "cross join lateral (select from {table} r "
    "where r.usage_date = due.usage_date and r.tenant_id = t.tenant_id limit 1) found order by place, t.tenant_id"
)
_ANY = (
    "select place from {due} cross join lateral (select from {table} r "
    "where r.usage_date = due.usage_date and r.tenant_id between low and high limit 1) found"
)


def _selected(
    connection: sa.Connection, table: sa.Table, spans: Sequence[Span], query: str
) -> Iterator[tuple[Any, ...]]:
    """What `query` finds of `spans`: the span in place of its number."""
    cursor = connection.connection.cursor()
    cursor.execute(sql.SQL(query).format(due=_due(spans), table=_named(table)))
    for place, *found in cursor.fetchall():
        yield spans[place - 1], *found


def _due(spans: Sequence[Span]) -> sql.Composable:
    """The spans as a relation."""
    days, lows, highs = zip(*((span.file.usage_date, span.low, span.high) for span in spans), strict=True)
    return sql.SQL(
        "unnest({}::date[], {}::uuid[], {}::uuid[]) with ordinality due (usage_date, low, high, place)"
    ).format(*(sql.Literal(list(column)) for column in (days, lows, highs)))


def _named(table: sa.Table) -> sql.Composable:
    return sql.Identifier("stax", table.name)


def _joined(parts: Iterable[sql.Composable]) -> sql.Composable:
    return sql.SQL(", ").join(parts)


def _bytewise(column: sa.Column[Any]) -> sql.Composable:
    """The column to sort by, text as Arrow sorts it."""
    name = sql.Identifier(column.name)
    return sql.SQL('{} collate "C"').format(name) if isinstance(column.type, sa.Text) else name


def _by_file(rows: IO[bytes], table: sa.Table, spans: Sequence[Span]) -> Iterator[tuple[File, pa.Table]]:
    """What `read_rows` wrote, file by file; one that is long comes in several pieces."""
    place = pa.field("place", pa.int64())
    for batch in read_csv(rows, pa.schema([place, *arrow_schema(table)])):
        runs = pc.value_counts(batch["place"])
        start = 0
        for number, length in zip(runs.field("values").to_numpy(), runs.field("counts").to_numpy(), strict=True):
            piece = batch.slice(start, length).drop_columns(["place"])
            yield spans[number - 1].file, pa.Table.from_batches([piece])
            start += length

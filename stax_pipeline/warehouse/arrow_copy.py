"""Arrow tables into Postgres and out of it by COPY as CSV: no value passes through Python.

Belongs here: the two ways, and how a value is written and read. Stays out: which days are replaced (`publish`).
Postgres refuses COPY into a table with row-level security: rows go through a temporary twin of the table, made once per
connection, which empties itself with the transaction and stays in the session's memory.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator, Sequence
from datetime import date
from typing import IO, Any
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv
import sqlalchemy as sa
from psycopg2 import sql

from stax_pipeline.domain.money import SCALE

Slot = tuple[UUID, date]
"""A tenant's usage date: what is replaced whole."""

USD = pa.decimal128(38, SCALE)
_PIECE = 1 << 16
_ROWS = 8_192
_BLOCK = 2 << 20  # Arrow reads some 35 of them ahead
_LONGEST_ROW = 512 << 20
_TWINS_MEMORY = "64MB"  # a batch: what does not fit is written to disk, read again and thrown away
_AS_CSV = csv.WriteOptions(include_header=False, quoting_style="needed")
_INSTANT = """to_char({0} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as {0}"""


def copy_arrow(connection: sa.Connection, table: sa.Table, rows: pa.Table) -> int:
    """Append `rows`, whose columns are named as those of `table`; what they leave out takes its default.

    Returns how many there were. Raises psycopg2's errors, for `plain_faults` to put in words.
    """
    if not rows.num_rows:
        return 0
    names = {
        "table": _named(table),
        "twin": sql.Identifier(f"load_{table.name}"),
        "columns": sql.SQL(", ").join(map(sql.Identifier, rows.column_names)),
        "memory": sql.Literal(_TWINS_MEMORY),
    }
    cursor = connection.connection.cursor()
    cursor.execute(
        sql.SQL(
            "set temp_buffers = {memory}; "
            "create temporary table if not exists {twin} on commit delete rows as select * from {table} with no data"
        ).format(**names)
    )
    text = _Text(rows)
    try:
        cursor.copy_expert(sql.SQL("copy {twin} ({columns}) from stdin (format csv)").format(**names), text, _PIECE)
    except Exception:
        if text.fault:
            raise text.fault from None
        raise
    cursor.execute(sql.SQL("insert into {table} ({columns}) select {columns} from {twin}").format(**names))
    cursor.execute(sql.SQL("truncate {twin}").format(**names))
    return int(rows.num_rows)


class _Text:
    """What psycopg2 reads from: rows as CSV, written as they are asked for.

    psycopg2 turns whatever is raised while it reads, a Ctrl-C too, into a cancelled query: `fault` keeps the original.
    """

    def __init__(self, rows: pa.Table) -> None:
        self.fault: BaseException | None = None
        self._batches = iter(rows.to_batches(max_chunksize=_ROWS))
        self._written = pa.BufferReader(b"")

    def read(self, size: int) -> bytes:
        try:
            while not (piece := self._written.read(size)):
                if (batch := next(self._batches, None)) is None:
                    break
                self._written = _as_csv(batch)
            return piece
        except BaseException as fault:
            self.fault = fault
            raise


def _as_csv(batch: pa.RecordBatch) -> pa.BufferReader:
    text = pa.BufferOutputStream()
    columns = [_shortest(column) if column.type == USD else column for column in batch.columns]
    csv.write_csv(pa.RecordBatch.from_arrays(columns, batch.schema.names), text, _AS_CSV)
    return pa.BufferReader(text.getvalue())


def _shortest(figures: pa.Array[Any]) -> pa.Array[Any]:
    """Decimals as text without zeros at their end: people read those that count, and the server reads no others.

    Arrow tells figures below a millionth by an exponent, whose own zeros must stay: 1.00000000E-10.
    """
    told = figures.cast(pa.string())
    texts = pc.utf8_rtrim(pc.utf8_rtrim(told, "0"), ".")
    is_small = pc.match_substring(told, "E")
    if not pc.any(is_small).as_py():
        return texts
    small = pc.replace_substring_regex(told.filter(is_small), "^0E.*", "0")
    shortest: pa.Array[Any] = pc.replace_with_mask(texts, is_small, pc.replace_substring_regex(small, r"\.?0*E", "E"))
    return shortest


def read_arrow(
    connection: sa.Connection, table: sa.Table, columns: Sequence[str], slots: Collection[Slot],
    order: Sequence[str] = (),
) -> pa.Table:  # fmt: skip
    """The `columns` of the rows of these tenant-days, sorted by the columns `order`.

    Money is decimal128(38, 18), counts int64, days date32, instants UTC microseconds, all else text, ids too. NULL is
    null, '' stays ''.
    """
    tenants, days = zip(*set(slots), strict=True) if slots else ((), ())
    query = sql.SQL(
        "select {columns} from unnest({tenants}::uuid[], {days}::date[]) slot (tenant_id, usage_date) "
        "join {table} using (tenant_id, usage_date){order}"
    ).format(
        columns=sql.SQL(", ").join(map(as_text, (table.c[name] for name in columns))),
        tenants=sql.Literal([str(tenant) for tenant in tenants]),
        days=sql.Literal(list(days)),
        table=_named(table),
        order=sql.SQL(" order by {}").format(sql.SQL(", ").join(map(sql.Identifier, order))) if order else sql.SQL(""),
    )
    schema = pa.schema([
        pa.field(name, arrow_type(table.c[name]), nullable=bool(table.c[name].nullable)) for name in columns
    ])  # fmt: skip
    text = io.BytesIO()
    copy_csv(connection, query, text)
    text.seek(0)
    return pa.Table.from_batches(read_csv(text, schema), schema)


def copy_csv(connection: sa.Connection, query: sql.Composable, out: IO[bytes]) -> None:
    """Write a query's rows as CSV: NULL bare, '' quoted."""
    connection.connection.cursor().copy_expert(
        sql.SQL("copy ({query}) to stdout (format csv)").format(query=query), out
    )


def read_csv(rows: IO[bytes], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """What `copy_csv` wrote, a block at a time, its columns named and typed as in `schema`.

    A block holds whole rows; where one row is longer than a block (it keeps unknown fields as they were sent), what is
    left is read in blocks that hold any row. Arrow's reader wraps decimals of more than 38 digits without a word: the
    columns of `schema` may only be read from columns of the warehouse, whose CHECK leaves 20 digits before the point
    and 18 behind it.
    """
    start, read = rows.tell(), 0
    try:
        for batch in _blocks(rows, schema, _BLOCK):
            read += batch.num_rows
            yield batch
    except pa.ArrowInvalid as fault:
        if "straddl" not in str(fault):
            raise
    else:
        return
    rows.seek(start)
    for batch in _blocks(rows, schema, _LONGEST_ROW):
        seen = min(read, batch.num_rows)
        read -= seen
        if seen < batch.num_rows:
            yield batch.slice(seen)


def _blocks(rows: IO[bytes], schema: pa.Schema, size: int) -> Iterator[pa.RecordBatch]:
    try:
        reader = csv.open_csv(
            rows,
            read_options=csv.ReadOptions(column_names=schema.names, block_size=size, use_threads=False),
            parse_options=csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
            convert_options=csv.ConvertOptions(
                column_types=schema,
                null_values=[""],
                true_values=["t"],
                false_values=["f"],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid as fault:
        if "Empty CSV" in str(fault):
            return
        raise
    for batch in reader:
        yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)


def as_text(column: sa.Column[object]) -> sql.Composable:
    """The column as it is selected for CSV."""
    name = sql.Identifier(column.name)
    return sql.SQL(_INSTANT).format(name) if isinstance(column.type, sa.DateTime) else name


def arrow_type(column: sa.Column[object]) -> pa.DataType:
    """The Arrow type of a column of the warehouse."""
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


def _named(table: sa.Table) -> sql.Identifier:
    return sql.Identifier(table.schema or "public", table.name)

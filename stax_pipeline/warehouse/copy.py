"""Rows into Postgres and out of it by COPY: exact decimals as text, no row-by-row inserts.

Postgres refuses COPY into a table with row-level security, so rows go through a temporary staging table, which
empties itself with the transaction.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator
from typing import IO, Any

import sqlalchemy as sa
from psycopg2 import sql

_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
_SPECIAL = re.compile(r"[\\\t\n\r]")
_CHUNK = 1 << 16


def copy_in(connection: sa.Connection, table: sa.Table, columns: list[str], rows: Iterable[tuple[Any, ...]]) -> int:
    """Load rows whose values stand in the order of `columns`; returns how many there were."""
    lines = _Lines(rows)
    names = {
        "target": sql.Identifier(table.schema or "public", table.name),
        "staging": sql.Identifier(f"load_{table.name}_{zlib.crc32(','.join(columns).encode()):x}"),
        "columns": sql.SQL(", ").join(map(sql.Identifier, columns)),
    }
    cursor = connection.connection.cursor()
    cursor.execute(
        sql.SQL(
            "create temporary table if not exists {staging} on commit delete rows "
            "as select {columns} from {target} with no data"
        ).format(**names)
    )
    try:
        cursor.copy_expert(sql.SQL("copy {staging} ({columns}) from stdin").format(**names), lines)
    except Exception:
        if lines.fault:
            raise lines.fault from None
        raise
    cursor.execute(sql.SQL("insert into {target} ({columns}) select {columns} from {staging}").format(**names))
    cursor.execute(sql.SQL("delete from {staging}").format(**names))
    return lines.count


def copy_out(connection: sa.Connection, query: str, out: IO[bytes]) -> None:
    """Write a query's rows as CSV: NULL bare, '' quoted."""
    connection.connection.cursor().copy_expert(f"copy ({query}) to stdout (format csv)", out)


class _Lines:
    """What psycopg2 reads from: encoded rows, made as they are asked for.

    psycopg2 turns whatever is raised while it reads, a Ctrl-C too, into a cancelled query: `fault` keeps the original.
    """

    def __init__(self, rows: Iterable[tuple[Any, ...]]) -> None:
        self.count = 0
        self.fault: BaseException | None = None
        self._chunks = self._encoded(rows)
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        try:
            return self._read(size)
        except BaseException as fault:
            self.fault = fault
            raise

    def _read(self, size: int) -> bytes:
        while size < 0 or len(self._rest) < size:
            chunk = next(self._chunks, b"")
            if not chunk:
                break
            self._rest += chunk
        piece, self._rest = (self._rest, b"") if size < 0 else (self._rest[:size], self._rest[size:])
        return piece

    def _encoded(self, rows: Iterable[tuple[Any, ...]]) -> Iterator[bytes]:
        batch: list[str] = []
        length = 0
        for row in rows:
            line = "\t".join(_field(value) for value in row)
            batch.append(line)
            length += len(line)
            self.count += 1
            if length > _CHUNK:
                yield ("\n".join(batch) + "\n").encode()
                batch, length = [], 0
        if batch:
            yield ("\n".join(batch) + "\n").encode()


def _field(value: Any) -> str:
    if value is None:
        return "\\N"
    text = value if isinstance(value, str) else str(value)
    return text.translate(_ESCAPES) if _SPECIAL.search(text) else text  # one in thousands has any

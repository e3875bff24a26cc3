"""DuckDB in memory, shut off from files and network: where the rules of `sql/` run over Arrow tables.

Money in SQL is HUGEINT: whole 10^-18 of a dollar, of a unit, of a ratio. DuckDB raises where 128 bits overflow; its one
silent way out of exactness is a type that is not exact, so that every column's type is looked at after each step.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from stax_pipeline.derive.schemas import UNITS, USD
from stax_pipeline.domain.errors import StaxError
from stax_pipeline.pricing.prices.book import ALIASES

EXACT_TYPES = frozenset({"VARCHAR", "DATE", "BOOLEAN", "INTEGER", "BIGINT", "HUGEINT", "DECIMAL(38,0)"})


class Inexact(AssertionError):
    """A rule made a column of a type that is not exact, such as DOUBLE."""


class TooLarge(StaxError):
    """A sum or product does not fit into 38 digits: it was refused, and nothing was rounded or cut."""


class Session:
    """One batch's tables: those given, and those that rules made of them. Nothing of it outlives the batch."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def give(self, name: str, table: pa.Table) -> None:
        """Make a table known under `name`; its exact figures become HUGEINT, whole units of 10^-18."""
        self._connection.register(f"given_{name}", _as_units(table))
        exact = [field.name for field in table.schema if field.type in (USD, UNITS)]
        whole = f"replace ({', '.join(f'{column}::hugeint as {column}' for column in exact)})" if exact else ""
        self._connection.execute(f"create temp view {name} as select * {whole} from given_{name}")  # noqa: S608

    def run(self, rule: str) -> None:
        """Run the rule `sql/<rule>.sql`, which makes tables of tables.

        Raises:
            Inexact: a column is not of an exact type.
        """
        self._connection.execute(_text_of(rule))
        made = "select table_name, column_name, data_type from duckdb_columns() where database_name = 'temp'"
        for table, column, kind in self._connection.execute(made).fetchall():
            if kind not in EXACT_TYPES:
                raise Inexact(f"{rule}: {table}.{column} is {kind}")

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """The query's rows, with `values` for its question marks; HUGEINT comes as int."""
        return self._connection.execute(query, list(values)).fetchall()

    def table(self, query: str, schema: pa.Schema) -> pa.Table:
        """The query's rows as an Arrow table of exactly `schema`, units of 10^-18 as decimals of scale 18.

        Raises:
            Inexact: the query's columns are not those of the schema.
        """
        return _as_schema(self._connection.sql(query).to_arrow_table(), schema)


class Engine:
    """Opens sessions, one after the other. Close it when done."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Tables of one batch; they are gone at the end.

        Raises:
            TooLarge: a figure made in it does not fit.
        """
        own = self._connection.cursor()
        try:
            yield Session(own)
        except (duckdb.OutOfRangeException, duckdb.ConversionException):
            raise TooLarge(
                "a sum has more digits than fit (20 before the point, 18 behind it) and was refused"
            ) from None
        finally:
            own.close()

    def close(self) -> None:
        self._connection.close()


def open_engine(temp_directory: Path, memory_limit: str = "300MB") -> Engine:
    """A new engine. It reads and writes no file but what does not fit `memory_limit`, in `temp_directory` (0700)."""
    temp_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    temp_directory.chmod(0o700)
    connection = duckdb.connect(config={
        "threads": 1, "memory_limit": memory_limit, "temp_directory": str(temp_directory),
        "preserve_insertion_order": False, "python_enable_replacements": False,
        "autoinstall_known_extensions": False, "autoload_known_extensions": False,
    })  # fmt: skip
    connection.execute("set enable_external_access = false; set lock_configuration = true")
    connection.execute(_text_of("macros"))
    connection.register("given", pa.table({"alias": list(ALIASES), "dated": list(ALIASES.values())}))
    connection.execute("create table aliases as from given")
    connection.unregister("given")
    return Engine(connection)


@cache
def _text_of(rule: str) -> str:
    return (files("stax_pipeline.derive") / "sql" / f"{rule}.sql").read_text(encoding="utf-8")


def _as_units(table: pa.Table) -> pa.Table:
    """The same bits read as whole units of 10^-18."""
    for index, field in enumerate(table.schema):
        if field.type == USD:
            table = table.set_column(index, field.name, _read_as(table.column(index), UNITS))
    return table


def _as_schema(table: pa.Table, schema: pa.Schema) -> pa.Table:
    if table.column_names != schema.names:
        raise Inexact(f"columns {', '.join(table.column_names)} are not {', '.join(schema.names)}")
    columns = []
    for field, column in zip(schema, table.columns, strict=True):
        if column.type != (UNITS if field.type == USD else field.type):
            raise Inexact(f"{field.name} is {column.type}")
        columns.append(_read_as(column, USD) if field.type == USD else column)
    return pa.table(columns, schema=schema)


def _read_as(column: pa.ChunkedArray[Any], kind: Any) -> pa.ChunkedArray[Any]:
    parts: list[Any] = [pa.Array.from_buffers(kind, len(c), c.buffers(), offset=c.offset) for c in column.chunks]
    found: pa.ChunkedArray[Any] = pa.chunked_array(parts, kind)
    return found

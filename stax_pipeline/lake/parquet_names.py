"""What ids and prices in the daily files mean: `<table>/part-0.parquet`, one file a table, beside them in the lake.

Each is the whole table, sorted by its key. It is written anew when what it holds has changed: by every run, by a
replay, a restore and the purge of a tenant. Members of an organisation, who have names and e-mail addresses, have none.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from uuid import UUID

import pyarrow as pa
import sqlalchemy as sa
from psycopg2 import sql

from stax_pipeline.lake.parquet import alone, unfinished
from stax_pipeline.lake.parquet_rows import arrow_schema
from stax_pipeline.lake.store import Lake
from stax_pipeline.warehouse.arrow_copy import as_text, copy_csv, read_csv
from stax_pipeline.warehouse.tables import api_keys, list_prices, tenants, workspaces

NAMES = (tenants, workspaces, api_keys, list_prices)
OF_TENANTS = (tenants, workspaces, api_keys)


def path_of(table: sa.Table) -> str:
    """Where in the lake the table's one file lies."""
    return f"{table.name}/part-0.parquet"


def copy_names(
    engine: sa.Engine, lake: Lake, of: Iterable[sa.Table] = NAMES, *, without: UUID | None = None
) -> list[str]:
    """Write the files of these tables that are not what Postgres holds, `without` a tenant; returns their paths."""
    return [path_of(table) for table in of if _copy(engine, lake, table, without)]


def _copy(engine: sa.Engine, lake: Lake, table: sa.Table, without: UUID | None) -> bool:
    path = path_of(table)
    with alone(engine, table) as connection, tempfile.TemporaryFile(dir=lake.scratch()) as text:
        with connection.begin():
            copy_csv(connection, _rows_of(table, without), text)
        text.seek(0)
        pieces = (pa.Table.from_batches([batch]) for batch in read_csv(text, arrow_schema(table)))
        with unfinished(lake, table, pieces) as (file, _):
            changed = not lake.holds(path) or lake.get(path) != file.read_bytes()
            if changed:
                lake.replace(path, file)
    return changed


def _rows_of(table: sa.Table, without: UUID | None) -> sql.Composable:
    return sql.SQL("select {columns} from {table}{where} order by {keys}").format(
        columns=sql.SQL(", ").join(map(as_text, table.columns)),
        table=sql.Identifier("stax", table.name),
        where=sql.SQL(" where tenant_id <> {}").format(sql.Literal(str(without))) if without else sql.SQL(""),
        keys=sql.SQL(", ").join(sql.Identifier(column.name) for column in table.primary_key.columns),
    )

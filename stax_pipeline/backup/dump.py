"""The rows of schema `stax` out of one snapshot and back into an empty schema, table by table, in Postgres' text form.

COPY, not `pg_dump`: it asks for no program beside an operator's own server, nor for one as new as that server, and the
schema is what the migrations make. What stays out: the file they are kept in (`backup.archive`).
"""

from __future__ import annotations

from collections.abc import Sequence
from graphlib import TopologicalSorter
from typing import IO, NamedTuple

import sqlalchemy as sa
from psycopg2 import sql

from stax_pipeline.domain.errors import WrongUse
from stax_pipeline.warehouse.columns import SCHEMA
from stax_pipeline.warehouse.engine import WarehouseFault
from stax_pipeline.warehouse.migrate import upgrade_within
from stax_pipeline.warehouse.roles import Logins

_OURS = "c.relowner = (select v.relowner from pg_class v where v.oid = to_regclass('stax.alembic_version'))"
_FORMS = "set local client_encoding to 'UTF8'; set local datestyle to 'ISO'; set local timezone to 'UTC'"

_TABLES = f"""
    select c.relname as name,
           array(select a.attname::text from pg_attribute a
                 where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
                 order by a.attnum) as columns,
           array(select r.relname::text from pg_constraint f join pg_class r on r.oid = f.confrelid
                 where f.conrelid = c.oid and f.contype = 'f' and f.confrelid <> c.oid) as refers_to
    from pg_class c
    where c.relnamespace = to_regnamespace(:schema) and c.relkind in ('r', 'p') and not c.relispartition
      and c.relname <> 'alembic_version' and {_OURS}
    order by c.relname
"""  # noqa: S608 our own constant

_HIDDEN = f"""
    select c.relname from pg_class c
    where c.relnamespace = to_regnamespace(:schema) and c.relkind in ('r', 'p') and c.relname <> 'alembic_version'
      and c.relrowsecurity and {_OURS}
      and (not exists (select from pg_policies p where p.schemaname = :schema and p.tablename = c.relname
                       and p.permissive = 'PERMISSIVE' and p.qual = 'true' and p.cmd in ('ALL', 'SELECT')
                       and p.roles && array[current_user, 'public']::name[])
           or exists (select from pg_policies p where p.schemaname = :schema and p.tablename = c.relname
                      and p.permissive = 'RESTRICTIVE'))
    order by 1
"""  # noqa: S608 our own constant

_OBJECTS = {
    "view": "select oid::regclass::text from pg_class where relnamespace = to_regnamespace('stax') and relkind = 'v'",
    "table": "select oid::regclass::text from pg_class where relnamespace = to_regnamespace('stax') "
    "and relkind in ('r', 'p')",
    "routine": "select oid::regprocedure::text from pg_proc where pronamespace = to_regnamespace('stax')",
}


class Dumped(NamedTuple):
    """A table and the columns that are kept of it: all but the computed ones, which follow from the others."""

    name: str
    columns: list[str]


def begin_snapshot(connection: sa.Connection) -> list[Dumped]:
    """Begin the loader's snapshot; every table in it, those first that others refer to.

    Raises WarehouseFault where a policy hides rows from the loader: a backup that lacks rows must not look whole.
    """
    connection.exec_driver_sql(_FORMS)
    hidden = connection.execute(sa.text(_HIDDEN), {"schema": SCHEMA}).scalars().all()
    if hidden:
        raise WarehouseFault(f"The loader may not read every row of {', '.join(hidden)}: run `stax up` to mend it.")
    return _tables(connection)


def dump(connection: sa.Connection, table: Dumped, out: IO[bytes]) -> int:
    """Write all rows of the table; returns how many there were. Raises OSError when `out` cannot be written."""
    cursor = connection.connection.cursor()
    kept = _Out(out)
    try:
        cursor.copy_expert(sql.SQL("copy (select {columns} from {table}) to stdout").format(**_names(table)), kept)
    except Exception:
        if kept.fault:
            raise kept.fault from None
        raise
    return int(cursor.rowcount)


def open_for_loading(connection: sa.Connection, logins: Logins, revision: str, current: str) -> list[Dumped]:
    """Make the schema empty and as `revision` has it, on the owner's connection; returns its tables.

    Everything waits for this transaction's end from here on. Raises WrongUse when there are tenants.
    """
    connection.exec_driver_sql(_FORMS)
    tables = _tables(connection)
    _force(connection, tables, on=False)
    refuse_tenants(connection)
    if revision != current:
        _drop_all(connection)
        upgrade_within(connection, logins, revision)
        tables = _tables(connection)
        _force(connection, tables, on=False)
    listed = sql.SQL(", ").join(_table(table.name) for table in tables)
    connection.connection.cursor().execute(sql.SQL("truncate {}").format(listed))
    return tables


def load(connection: sa.Connection, table: Dumped, rows: IO[bytes]) -> int:
    """Load rows that `dump` wrote; returns how many there were."""
    cursor = connection.connection.cursor()
    cursor.copy_expert(sql.SQL("copy {table} ({columns}) from stdin").format(**_names(table)), rows)
    return int(cursor.rowcount)


def close_after_loading(connection: sa.Connection, logins: Logins, tables: Sequence[Dumped]) -> None:
    """Force the policies on the owner again and migrate to this version's schema."""
    _force(connection, tables, on=True)
    upgrade_within(connection, logins)


def refuse_tenants(connection: sa.Connection) -> None:
    """Raises WrongUse when there is any tenant, connected or not."""
    if connection.exec_driver_sql("select exists (select from stax.tenants)").scalar_one():
        raise WrongUse(
            "There are tenants here already, and a backup is restored into an empty installation only: set STAX_HOME "
            "(and STAX_DATABASE_URL, STAX_LAKE_URL) to a new place. Nothing was changed. If a restore was stopped "
            "here while it wrote Parquet, its rows and raw objects are all there: `stax replay` writes the files."
        )


def _tables(connection: sa.Connection) -> list[Dumped]:
    """Every table of the product (an operator may keep his own beside them), those first that others refer to."""
    found = {row.name: row for row in connection.execute(sa.text(_TABLES), {"schema": SCHEMA})}
    order = TopologicalSorter({name: set(row.refers_to) & found.keys() for name, row in found.items()})
    return [Dumped(name, list(found[name].columns)) for name in order.static_order()]


class _Out:
    """What psycopg2 writes to. It makes a database's fault of whatever happens there: `fault` keeps the original."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out = out
        self.fault: BaseException | None = None

    def write(self, data: bytes) -> int:
        try:
            return self._out.write(data)
        except BaseException as fault:
            self.fault = fault
            raise


def _drop_all(connection: sa.Connection) -> None:
    """Views, tables and routines of the schema, as long as nothing outside of it depends on them."""
    cursor = connection.connection.cursor()
    for kind, query in _OBJECTS.items():
        names = connection.exec_driver_sql(query).scalars().all()
        if names:
            cursor.execute(f"drop {kind} {', '.join(names)}")


def _force(connection: sa.Connection, tables: Sequence[Dumped], *, on: bool) -> None:
    """Whether the policies bind the owner too, who loads: COPY into a table works for nobody whom they bind."""
    cursor = connection.connection.cursor()
    words = sql.SQL("force" if on else "no force")
    for table in tables:
        cursor.execute(sql.SQL("alter table {} {} row level security").format(_table(table.name), words))


def _table(name: str) -> sql.Identifier:
    return sql.Identifier(SCHEMA, name)


def _names(table: Dumped) -> dict[str, sql.Composable]:
    return {"table": _table(table.name), "columns": sql.SQL(", ").join(map(sql.Identifier, table.columns))}

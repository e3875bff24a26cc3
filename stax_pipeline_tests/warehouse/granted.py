"""An operator's own Postgres with two tenants in every table, and a login that was granted one of them.

It is a second database of the embedded server: nothing in it is closed but what the product closes, so temporary
tables, temporary functions and advisory locks are there to be tried.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg2
import sqlalchemy as sa

from stax_pipeline.installation.settings import Settings, read_settings
from stax_pipeline.tenants.grant import grant
from stax_pipeline.warehouse.granted_logins import granted_login
from stax_pipeline.warehouse.migrate import upgrade
from stax_pipeline.warehouse.roles import logins
from stax_pipeline.warehouse.tables import metadata

READER = "acme_reader"
DATABASE = "op_grants"
IDS = {"acme": UUID(int=0xACE), "globex": UUID(int=0x61E)}
OF_GLOBEX = ("globex", str(IDS["globex"]), "6666.6666")
"""Whatever holds one of these tells of the other tenant: a name, its id, its dollars."""
NUMBERS = {"acme": "1111.1111", "globex": "6666.6666"}


@contextmanager
def operators_postgres(home: Path) -> Iterator[Settings]:
    """Settings of the second database, migrated and filled; `READER` reads acme."""
    embedded = logins(read_settings({"STAX_HOME": str(home)})).admin
    admin = sa.create_engine(embedded, isolation_level="AUTOCOMMIT")
    own = sa.make_url(embedded).set(database=DATABASE).render_as_string(hide_password=False)
    settings = read_settings({"STAX_HOME": str(home), "STAX_DATABASE_URL": own})
    with admin.connect() as connection:
        connection.exec_driver_sql(f"create database {DATABASE}")
        try:
            upgrade(settings)
            fill(own)
            grant(settings, READER, ["acme"])
            yield settings
        finally:
            connection.exec_driver_sql(f"drop database {DATABASE} with (force)")
            connection.exec_driver_sql(f"drop role if exists {READER}")
    admin.dispose()


def fill(url: str) -> None:
    """One row of each tenant in every table, as a superuser, who passes policies by; checks of values are dropped."""
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for table in metadata.sorted_tables:
            for check in sa.inspect(connection).get_check_constraints(table.name, schema="stax"):
                connection.exec_driver_sql(f'alter table stax.{table.name} drop constraint "{check["name"]}"')
            for slug in IDS:
                connection.execute(
                    table.insert().values({c.name: _value(c, slug) for c in table.columns if c.computed is None})
                )
        connection.exec_driver_sql("update stax.tenants set status = 'connected'")
        connection.exec_driver_sql("delete from stax.tenant_grants")
        connection.exec_driver_sql("analyze")
    engine.dispose()


def _value(column: sa.Column[Any], slug: str) -> object:
    values: dict[type[object], object] = {
        UUID: IDS[slug], str: slug, int: 1, bool: True, date: date(2026, 11, 1), bytes: slug.encode(),
        datetime: datetime(2026, 11, 1, tzinfo=UTC), dict: {"of": slug},
    }  # fmt: skip
    return NUMBERS[slug] if isinstance(column.type, sa.Numeric) else values[column.type.python_type]


class Session:
    """One open session of a login, as `psql` would have it: statements in, everything that came back as text out."""

    def __init__(self, url: str) -> None:
        made = sa.make_url(url).set(drivername="postgresql")
        self._connection = psycopg2.connect(made.render_as_string(hide_password=False))
        self._connection.autocommit = True

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def told(self, *statements: str) -> str:
        """Rows, notices and errors of the statements, one after another; an error ends none but its own."""
        said: list[str] = []
        for statement in statements:
            with self._connection.cursor() as cursor:
                try:
                    cursor.execute(statement)
                    said += map(repr, cursor.fetchall() if cursor.description else [])
                except psycopg2.Error as error:
                    said.append(str(error))
            said += self._connection.notices
            self._connection.notices.clear()
        return "\n".join(said)

    def done(self, *statements: str) -> None:
        """Every one of them succeeds."""
        with self._connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall()


def reader_of(settings: Settings) -> str:
    return granted_login(settings, READER)

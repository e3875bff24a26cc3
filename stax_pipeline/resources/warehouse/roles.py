"""Who may do what in Postgres: the four roles, their passwords under `STAX_HOME`, and the URLs they log in with.

`stax_owner` migrates, `stax_loader` loads, `stax_analyst` reads, `stax_dagster` owns Dagster's own schema. Where the
given user may not create roles, the operator names them by `STAX_LOADER_URL`, `STAX_ANALYST_URL`, `STAX_DAGSTER_URL`.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa
from psycopg2 import sql

from stax_pipeline.domain.errors import CannotStart
from stax_pipeline.resources import embedded_postgres
from stax_pipeline.settings import Settings

OWNER, LOADER, ANALYST, DAGSTER = (
    "stax_owner",
    "stax_loader",
    "stax_analyst",
    "stax_dagster",
)
DAGSTER_SCHEMA = "dagster"


@dataclass(frozen=True, slots=True)
class Logins:
    """Connection URLs by purpose (SQLAlchemy form, psycopg2 spelled out). They hold passwords."""

    admin: str = field(repr=False)
    owner: str = field(repr=False)
    loader: str = field(repr=False)
    analyst: str = field(repr=False)
    dagster: str = field(repr=False)


def logins(settings: Settings) -> Logins:
    """The URLs of this installation. Raises CannotStart when the database was never set up."""
    admin = settings.database_url or embedded_postgres.connection_url(settings.postgres_home)

    def derived(role: str) -> str:
        file = _password_file(settings, role)
        return _login(admin, role, file.read_text()) if file.exists() else admin

    return Logins(
        admin=admin,
        owner=derived(OWNER),
        loader=settings.loader_url or derived(LOADER),
        analyst=settings.analyst_url or derived(ANALYST),
        dagster=_in_schema(settings.dagster_url or derived(DAGSTER), DAGSTER_SCHEMA),
    )


def create_roles(settings: Settings, connection: sa.Connection) -> None:
    """Create the roles and schemas; run by a user who may. A role's password is made here and kept mode 0600.

    Passwords are set anew each time: a role may change its own, which would lock everybody else out.
    """
    cursor = connection.connection.cursor()
    for role in (OWNER, LOADER, ANALYST, DAGSTER):
        file = _password_file(settings, role)
        cursor.execute("select 1 from pg_roles where rolname = %s", (role,))
        known = cursor.fetchone()
        password = file.read_text() if file.exists() else _new_password(file)
        verb = sql.SQL("alter" if known else "create")
        cursor.execute(
            sql.SQL("{} role {} login nosuperuser nobypassrls password {}").format(
                verb, sql.Identifier(role), sql.Literal(password)
            )
        )
    for schema, role in (("stax", OWNER), (DAGSTER_SCHEMA, DAGSTER)):
        cursor.execute(sql.SQL("grant {} to current_user").format(sql.Identifier(role)))
        cursor.execute(
            sql.SQL("create schema if not exists {} authorization {}").format(
                sql.Identifier(schema), sql.Identifier(role)
            )
        )


def close_the_embedded_server(connection: sa.Connection) -> None:
    """On our own server nobody but the product takes advisory locks or makes temporary tables.

    An analyst who held one of the product's locks would stop it. An operator's server is his to close.
    """
    connection.connection.cursor().execute(_CLOSE)


_CLOSE = f"""
do $$
declare
    each record;
begin
    for each in select oid::regprocedure as name from pg_proc
                where pronamespace = 'pg_catalog'::regnamespace and proname like 'pg%advisory%' loop
        execute format('revoke execute on function %s from public', each.name);
        execute format('grant execute on function %s to {OWNER}, {LOADER}, {DAGSTER}', each.name);
    end loop;
    execute format('revoke temporary on database %I from public', current_database());
    execute format('grant temporary on database %I to {OWNER}, {LOADER}, {DAGSTER}', current_database());
end
$$
"""  # noqa: S608 our own role names


def may_create_roles(connection: sa.Connection) -> bool:
    query = "select rolsuper or rolcreaterole from pg_roles where rolname = current_user"
    return bool(connection.exec_driver_sql(query).scalar())


def require_named_logins(settings: Settings) -> None:
    missing = [
        name
        for name, url in (
            ("STAX_LOADER_URL", settings.loader_url),
            ("STAX_ANALYST_URL", settings.analyst_url),
        )
        if not url
    ]
    if missing:
        raise CannotStart(
            f"The user of STAX_DATABASE_URL may not create roles and {' and '.join(missing)} is not set. "
            "Grant it CREATEROLE, or create the loader and analyst logins yourself and name them."
        )


def _password_file(settings: Settings, role: str) -> Path:
    return settings.home / "passwords" / role


def _new_password(file: Path) -> str:
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    password = secrets.token_urlsafe(24)
    temporary = file.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(password)
        out.flush()
        os.fsync(out.fileno())
    temporary.rename(file)
    return password


def _login(url: str, role: str, password: str) -> str:
    return sa.make_url(url).set(username=role, password=password).render_as_string(hide_password=False)


def _in_schema(url: str, schema: str) -> str:
    made = sa.make_url(url)
    if "options" in made.query:
        return url
    return made.update_query_dict({"options": f"-csearch_path={schema}"}).render_as_string(hide_password=False)

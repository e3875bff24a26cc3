"""Who may do what in Postgres: the four roles, their passwords under `STAX_HOME`, and the URLs they log in with.

`stax_owner` migrates, `stax_loader` loads, `stax_analyst` reads, `stax_dagster` owns Dagster's own schema. Where the
given user may not create roles, the operator names them by `STAX_LOADER_URL`, `STAX_ANALYST_URL`, `STAX_DAGSTER_URL`.
Logins of `stax grant` are made here too; what they see is `grants`' business.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa
from psycopg2 import sql

from stax_pipeline.domain.errors import CannotStart, WrongUse
from stax_pipeline.resources import embedded_postgres
from stax_pipeline.settings import Settings

OWNER, LOADER, ANALYST, DAGSTER = (
    "stax_owner",
    "stax_loader",
    "stax_analyst",
    "stax_dagster",
)
DAGSTER_SCHEMA = "dagster"
SCHEMA_LOCK = 7_829_001  # one number for the whole product: whoever changes the schema takes turns
GRANTED_CONNECTIONS = 10  # of one granted login at a time, so that no tenant's reader keeps the loader out


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


def name_in(url: str) -> str:
    """The user of a connection URL."""
    return sa.make_url(url).username or ""


def take_turns(connection: sa.Connection) -> None:
    """Wait for whoever changes the schema; the turn ends with the transaction."""
    connection.exec_driver_sql(f"select pg_advisory_xact_lock({SCHEMA_LOCK})")


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


def create_login(settings: Settings, connection: sa.Connection, role: str) -> None:
    """Make a login that may nothing yet; run by a user who may. Raises CannotStart for another one."""
    if not may_create_roles(connection):
        raise CannotStart(
            f"There is no login {role}, and the user of STAX_DATABASE_URL may not create roles. Create it yourself "
            f"(create role \"{role}\" login password '...'), then grant again."
        )
    file = _password_file(settings, role)
    password = file.read_text() if file.exists() else _new_password(file)
    connection.connection.cursor().execute(
        sql.SQL(
            "create role {} login nosuperuser nobypassrls nocreaterole nocreatedb connection limit {} password {}"
        ).format(sql.Identifier(role), sql.Literal(GRANTED_CONNECTIONS), sql.Literal(password))
    )


def exists(connection: sa.Connection, role: str) -> bool:
    query = sa.text("select exists (select from pg_roles where rolname = :role)")
    return bool(connection.execute(query, {"role": role}).scalar())


def require_harmless(connection: sa.Connection, role: str, logins: Logins) -> None:
    """Raise WrongUse for a login that row-level security would not hold, or that could become one that writes."""
    ours = [name_in(url) for url in (logins.admin, logins.owner, logins.loader, logins.analyst, logins.dagster)]
    if role in ours:
        raise WrongUse(f"{role} is one of the product's own logins: it reads all tenants already.")
    row = connection.execute(sa.text(_POWERS), {"role": role, "ours": ours}).one()
    if row.too_much:
        raise WrongUse(
            f"Role {role} may do more than read (superuser, BYPASSRLS, CREATEROLE, REPLICATION, or a member of "
            f"{row.groups or 'no such role'}): policies would not hold it. Grant to a login of its own instead."
        )
    if not row.rolcanlogin:
        raise WrongUse(f"Role {role} cannot log in: policies look at the login itself, so grant to its members.")


_POWERS = """
select rolcanlogin, groups.names as groups,
       rolsuper or rolbypassrls or rolcreaterole or rolreplication or groups.names is not null as too_much
from pg_roles r
cross join lateral (
    select string_agg(p.rolname, ', ' order by p.rolname) as names
    from pg_roles p
    where (p.rolname = any(:ours) or starts_with(p.rolname, 'pg_')) and not r.rolsuper
      and pg_has_role(r.oid, p.oid, 'member')
) groups
where rolname = :role
"""


def granted_login(settings: Settings, role: str) -> str:
    """The URL of a login that `create_login` made. Raises WrongUse for any other."""
    file = _password_file(settings, role)
    if not file.exists():
        raise WrongUse(f"The password of {role} is not known here: `stax grant` did not make that login.")
    return _login(logins(settings).admin, role, file.read_text())


def close_the_embedded_server(connection: sa.Connection) -> None:
    """On our own server nobody but the product takes advisory locks or makes temporary tables and large objects.

    An analyst who held one of the product's locks would stop it, and one who may only read should not fill the disk. An
    operator's server is his to close.
    """
    connection.connection.cursor().execute(_CLOSE)


_CLOSE = f"""
do $$
declare
    each record;
begin
    for each in select oid::regprocedure as name from pg_proc
                where pronamespace = 'pg_catalog'::regnamespace
                  and (proname like 'pg%advisory%' or proname in ('lo_creat', 'lo_create', 'lo_from_bytea')) loop
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

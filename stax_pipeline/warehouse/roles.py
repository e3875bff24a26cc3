"""Who may do what in Postgres: the five roles, their passwords under `STAX_HOME`, and the URLs they log in with.

`stax_owner` migrates, `stax_loader` loads, `stax_analyst` reads, `stax_app` reads as one of those who read,
`stax_dagster` owns Dagster's own schema. Where the given user may not create roles, the operator names them by
`STAX_LOADER_URL`, `STAX_ANALYST_URL`, `STAX_APP_URL`, `STAX_DAGSTER_URL`.
Stays out: logins of `stax grant` (`granted_logins`), whom the app reads as (`app_readers`).
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from psycopg2 import sql
from psycopg2.extensions import encrypt_password

from stax_pipeline import embedded_postgres
from stax_pipeline.domain.errors import CannotStart
from stax_pipeline.installation.settings import Settings

OWNER, LOADER, ANALYST, APP, DAGSTER = (
    "stax_owner",
    "stax_loader",
    "stax_analyst",
    "stax_app",
    "stax_dagster",
)
PRODUCTS = (OWNER, LOADER, ANALYST, APP, DAGSTER)
TENANTS_ROLE = "stax_tenant_"  # what the role begins with that the app reads as for a tenant's people
DAGSTER_SCHEMA = "dagster"
SCHEMA_LOCK = 7_829_001  # one number for the whole product: whoever changes the schema takes turns
ANALYST_CONNECTIONS = 40  # at a time, so that a pool of a dashboard's leaves room for everybody else
ANALYST_TEMPORARY = "10GB"  # of one session on disk, for sorts and joins that do not fit into memory
APP_CONNECTIONS, APP_TEMPORARY = 20, "1GB"
IDLE_IN_TRANSACTION = "10min"  # then the session ends: an open transaction holds up upgrades, vacuum and notifications
LOGGED, WORST = "log_min_messages", "fatal"  # a `raise log` of a reader, and his printed plans, would fill the disk
RESERVING = 160_000  # the version of Postgres that keeps connections for whoever may use them


@dataclass(frozen=True, slots=True)
class Logins:
    """Connection URLs by purpose (SQLAlchemy form, psycopg2 spelled out). They hold passwords.

    `suffix` is what a pooler wants behind the name of every role, such as `.project`; '' for the server itself. `app`
    is '' where the product may not create roles and none was named: the app then has no login.
    """

    admin: str = field(repr=False)
    owner: str = field(repr=False)
    loader: str = field(repr=False)
    analyst: str = field(repr=False)
    app: str = field(repr=False)
    dagster: str = field(repr=False)
    suffix: str = ""

    def role_in(self, url: str) -> str:
        """The role that a connection URL logs in as, by its name in the server."""
        return (sa.make_url(url).username or "").removesuffix(self.suffix)


def logins(settings: Settings) -> Logins:
    """The URLs of this installation. Raises CannotStart when the database was never set up."""
    admin = settings.database_url or embedded_postgres.connection_url(settings.postgres_home)
    kept = _suffix_file(settings)
    suffix = kept.read_text() if kept.exists() else ""

    def derived(role: str) -> str:
        file = password_file(settings, role)
        return login_url(admin, role + suffix, file.read_text()) if file.exists() else admin

    return Logins(
        admin=admin,
        owner=derived(OWNER),
        loader=settings.loader_url or derived(LOADER),
        analyst=settings.analyst_url or derived(ANALYST),
        app=settings.app_url or (derived(APP) if password_file(settings, APP).exists() else ""),
        dagster=settings.dagster_url or derived(DAGSTER),
        suffix=suffix,
    )


def note_suffix(settings: Settings, connection: sa.Connection) -> None:
    """Keep what the URL has behind the name that the server knows its user by: other logins go the same way in.

    A role may have a dot in its own name; the server says which it is.
    """
    user, role = connection.engine.url.username or "", connection.exec_driver_sql("select current_user").scalar_one()
    file = _suffix_file(settings)
    if user.startswith(f"{role}."):
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file.write_text(user.removeprefix(role))
    else:
        file.unlink(missing_ok=True)


def _suffix_file(settings: Settings) -> Path:
    return settings.home / "login_suffix"


def take_turns(connection: sa.Connection) -> None:
    """Wait for whoever changes the schema; the turn ends with the transaction."""
    connection.exec_driver_sql(f"select pg_advisory_xact_lock({SCHEMA_LOCK})")


def create_roles(settings: Settings, connection: sa.Connection) -> None:
    """Create the roles and schemas; run by a user who may. A role's password is made here and kept mode 0600.

    Passwords and settings are set anew each time: a role may change its own, which would lock everybody else out.
    """
    cursor = connection.connection.cursor()
    superuser, version = is_superuser(connection), server_version(connection)
    powerless = "nosuperuser nobypassrls" if superuser else ""  # others may not even say it, and make no such role
    for role in PRODUCTS:
        file = password_file(settings, role)
        cursor.execute("select 1 from pg_roles where rolname = %s", (role,))
        known = cursor.fetchone()
        password = file.read_text() if file.exists() else new_password(file)
        verb = sql.SQL("alter" if known else "create")
        cursor.execute(
            sql.SQL("{} role {} login {} password {}").format(
                verb, sql.Identifier(role), sql.SQL(powerless), sql.Literal(unreadable(connection, role, password))
            )
        )
        forget_settings(connection, role)
        if superuser and version >= RESERVING and role not in (ANALYST, APP):
            cursor.execute(sql.SQL("grant pg_use_reserved_connections to {}").format(sql.Identifier(role)))
    hold_back(connection, ANALYST, ANALYST_CONNECTIONS, ANALYST_TEMPORARY)
    hold_back(connection, APP, APP_CONNECTIONS, APP_TEMPORARY)
    for schema, role in (("stax", OWNER), (DAGSTER_SCHEMA, DAGSTER)):
        cursor.execute(sql.SQL("grant {} to current_user").format(sql.Identifier(role)))
        cursor.execute(
            sql.SQL("create schema if not exists {} authorization {}").format(
                sql.Identifier(schema), sql.Identifier(role)
            )
        )


def forget_settings(connection: sa.Connection, role: str) -> None:
    """Drop what the role, or an operator, made its sessions begin with: `set row_security = off` shuts out for good."""
    named = {"role": sql.Identifier(role), "database": sql.Identifier(connection.engine.url.database or "")}
    cursor = connection.connection.cursor()
    cursor.execute(sql.SQL("alter role {role} reset all").format(**named))
    cursor.execute(sql.SQL("alter role {role} in database {database} reset all").format(**named))


def hold_back(connection: sa.Connection, role: str, connections: int, temporary: str) -> None:
    """Bound what a login that only reads takes of the server; `temporary` is disk of one process, such as `1GB`.

    Only a superuser may bound temporary files, and what the login makes the server log. The role itself can lift the
    bound on idle transactions and no other.
    """
    bounds = {"idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION}
    if is_superuser(connection):
        bounds |= {"temp_file_limit": temporary, LOGGED: WORST}
    cursor = connection.connection.cursor()
    named = sql.Identifier(role)
    cursor.execute(sql.SQL("alter role {} connection limit {}").format(named, sql.Literal(connections)))
    for name, value in bounds.items():
        cursor.execute(sql.SQL("alter role {} set {} = {}").format(named, sql.Identifier(name), sql.Literal(value)))


def close_the_embedded_server(connection: sa.Connection) -> None:
    """On our own server nobody but the product takes advisory locks or makes temporary tables and large objects.

    An analyst who held one of the product's locks would stop it, and one who may only read should not fill the disk,
    nor WAL by `pg_logical_emit_message`, the folder of snapshots by `pg_export_snapshot` or the log of transactions by
    numbers of his own. Nobody else comes into the databases `postgres` and `template1`. An operator's server is his to
    close (docs/operate/security.md).
    """
    connection.connection.cursor().execute(_CLOSE)


_CLOSE = f"""
do $$
declare
    each record;
begin
    for each in select oid::regprocedure as name from pg_proc
                where pronamespace = 'pg_catalog'::regnamespace
                  and (proname like 'pg%advisory%'
                       or proname in ('lo_creat', 'lo_create', 'lo_from_bytea', 'pg_notify', 'pg_logical_emit_message',
                                      'pg_export_snapshot', 'pg_current_xact_id', 'txid_current')) loop
        execute format('revoke execute on function %s from public', each.name);
        execute format('grant execute on function %s to {OWNER}, {LOADER}, {DAGSTER}', each.name);
    end loop;
    revoke connect on database postgres, template1 from public;
    execute format('revoke temporary on database %I from public', current_database());
    execute format('grant temporary on database %I to {OWNER}, {LOADER}, {DAGSTER}', current_database());
end
$$
"""  # noqa: S608 our own role names


def may_create_roles(connection: sa.Connection) -> bool:
    query = "select rolsuper or rolcreaterole from pg_roles where rolname = current_user"
    return bool(connection.exec_driver_sql(query).scalar())


def is_superuser(connection: sa.Connection) -> bool:
    return bool(connection.exec_driver_sql("select rolsuper from pg_roles where rolname = current_user").scalar())


def server_version(connection: sa.Connection) -> int:
    """Such as 160004 for 16.4."""
    return int(connection.exec_driver_sql("show server_version_num").scalar_one())


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
            f"The user of STAX_DATABASE_URL may not create roles, and {' and '.join(missing)} "
            f"{'are' if len(missing) > 1 else 'is'} not set. "
            "Grant it CREATEROLE, or create the loader and analyst logins yourself and name them."
        )


def require_readers(settings: Settings) -> None:
    """Raises CannotStart where a login that reads has no password here: nobody reads as the administrator instead."""
    for role, url in ((LOADER, settings.loader_url), (ANALYST, settings.analyst_url)):
        if not url and not password_file(settings, role).exists():
            raise CannotStart(f"{password_file(settings, role)} is missing: `stax up` makes it anew.")


def password_file(settings: Settings, role: str) -> Path:
    """Where the password of a login that the product made lies, mode 0600."""
    return settings.home / "passwords" / role


def write_passfile(settings: Settings, role: str, user: str) -> Path:
    """The same password in the form in which libpq reads it from a file, for that user at any server."""
    file = _passfile(settings, role)
    _write_private(file, f"*:*:*:{user}:{password_file(settings, role).read_text()}\n")
    return file


def forget_password(settings: Settings, role: str) -> None:
    """Remove what is kept of a login that is dropped."""
    for file in (password_file(settings, role), _passfile(settings, role)):
        file.unlink(missing_ok=True)


def _passfile(settings: Settings, role: str) -> Path:
    return settings.home / "passwords" / f"{role}.pgpass"


def new_password(file: Path) -> str:
    """Make a password and keep it in that file, in place of an older one."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    password = secrets.token_urlsafe(24)
    _write_private(file, password)
    return password


def _write_private(file: Path, text: str) -> None:
    temporary = file.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    temporary.rename(file)


def unreadable(connection: sa.Connection, role: str, password: str) -> str:
    """What Postgres keeps of a password: the statement that sets it may be logged, or shown to who watches."""
    cursor: Any = connection.connection.cursor()
    made = encrypt_password(password, role, cursor, "scram-sha-256")
    return made.decode() if isinstance(made, bytes) else made


def login_url(url: str, role: str, password: str) -> str:
    return sa.make_url(url).set(username=role, password=password).render_as_string(hide_password=False)

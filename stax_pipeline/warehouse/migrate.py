"""Bring a database to this version's schema: roles first, then Alembic, one process at a time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from stax_pipeline.domain.errors import CannotStart
from stax_pipeline.installation.settings import Settings
from stax_pipeline.warehouse import app_readers, granted_logins, privilege_audit, roles
from stax_pipeline.warehouse.engine import connect_engine
from stax_pipeline.warehouse.grants import open_what_the_analyst_reads
from stax_pipeline.warehouse.pooler import refuse_transaction_pooler

MIGRATIONS = Path(__file__).resolve().parent / "migrations"
HEAD = "head"
LEAST_VERSION = 150_000  # security_invoker views need Postgres 15
LOCK_TIMEOUT = "3s"  # what waits for a table's lock makes everybody wait who comes after it
TRIES, PAUSE_SECONDS = 5, 2.0
LOCK_NOT_AVAILABLE = "55P03"
_HOLDERS = """
select distinct a.pid, a.usename from pg_locks l join pg_stat_activity a using (pid)
where l.granted and a.pid <> pg_backend_pid() and a.datname = current_database()
  and l.relation in (select oid from pg_class where relnamespace = cast('stax' as regnamespace))
order by 1
"""


def upgrade(settings: Settings) -> list[str]:
    """Create what is missing. Safe to run at every start, from several processes. Raises CannotStart.

    Returns what of the database should be closed, with the statements that do it.
    """
    refuse_transaction_pooler(settings)
    given = roles.logins(settings)
    engine = connect_engine(given.admin)
    try:
        with engine.connect() as admin:
            _refuse_old_server(admin)
            with admin.begin():
                roles.take_turns(admin)
                roles.note_suffix(settings, admin)
                if roles.may_create_roles(admin):
                    roles.create_roles(settings, admin)
                    if settings.embedded:
                        roles.close_the_embedded_server(admin)
                else:
                    roles.require_named_logins(settings)
                    admin.exec_driver_sql("create schema if not exists stax")
                    admin.exec_driver_sql(f"create schema if not exists {roles.DAGSTER_SCHEMA}")
                privilege_audit.refuse_foreign_schemas(admin)
        _run(roles.logins(settings))
        with engine.begin() as admin:
            roles.take_turns(admin)
            given = roles.logins(settings)
            app_readers.let_read_as(admin, given)
            granted_logins.quiet_granted(admin)
            return privilege_audit.excess_privileges(admin, given)
    finally:
        engine.dispose()


def _refuse_old_server(connection: sa.Connection) -> None:
    number = roles.server_version(connection)
    connection.rollback()
    if number < LEAST_VERSION:
        raise CannotStart(f"Postgres {number // 10_000} is too old: 15 or newer is needed.")


def _run(logins: roles.Logins) -> None:
    engine = connect_engine(logins.owner)
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(f"select pg_advisory_lock({roles.SCHEMA_LOCK})")
            connection.commit()
            connection.exec_driver_sql(f"set lock_timeout = '{LOCK_TIMEOUT}'")
            connection.commit()
            _upgrade_past_readers(connection, logins)
    finally:
        engine.dispose()


def _upgrade_past_readers(connection: sa.Connection, logins: roles.Logins) -> None:
    """Migrate, and try again where a session holds a table; between two tries whoever waits behind gets his turn.

    Raises CannotStart, with nothing changed, when it does not let go.
    """
    for attempt in range(TRIES):
        if attempt:
            time.sleep(PAUSE_SECONDS)
        try:
            upgrade_within(connection, logins)
            connection.commit()
            return
        except sa.exc.OperationalError as fault:
            connection.rollback()
            if getattr(fault.orig, "pgcode", None) != LOCK_NOT_AVAILABLE:
                raise
    holders = ", ".join(f"{row.usename} (pid {row.pid})" for row in connection.exec_driver_sql(_HOLDERS))
    raise CannotStart(
        f"The schema cannot be upgraded while an open transaction reads it: {holders or 'a session that just ended'}"
        ". End it (select pg_terminate_backend(PID), as a superuser) and start again; nothing was changed."
    )


def upgrade_within(connection: sa.Connection, logins: roles.Logins, revision: str = HEAD) -> None:
    """Migrate up to `revision` on the owner's connection; inside its transaction, where one is under way."""
    config = Config(attributes={"logins": logins, "connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))  # it is interpolated
    config.attributes["loader"] = logins.role_in(logins.loader)
    config.attributes["analyst"] = logins.role_in(logins.analyst)
    command.upgrade(config, revision)
    if revision == HEAD:
        open_what_the_analyst_reads(connection, config.attributes["analyst"])
        if logins.app:
            app_readers.open_to_the_app(connection, logins.role_in(logins.app))


def require_current(settings: Settings) -> None:
    """Raises CannotStart where the schema is not this version's; nothing is changed."""
    known, found = known_revisions(), found_revision(settings)
    if found not in known:
        raise CannotStart(
            f"The database was made by a newer stax, or by one from before the first release (schema {found}): update "
            f"this one (schema {known[0]}), or begin in a new STAX_HOME."
        )
    if found != known[0]:
        raise CannotStart(
            f"The database is at an older schema ({found}) than this stax ({known[0]}), and a command that only reads "
            "does not change it: `stax up`, or any command that changes something, upgrades it."
        )


def found_revision(settings: Settings) -> str | None:
    """The revision of the database's schema, None where there is none; nothing is made."""
    given = roles.logins(settings)
    with _connected(given.admin) as admin:
        if not admin.exec_driver_sql(_HAS_SCHEMA).scalar():
            return None
    with _connected(given.owner) as owner:
        return revision_of(owner)


_HAS_SCHEMA = """
select exists (select 1 from pg_class c join pg_namespace n on n.oid = c.relnamespace
               where n.nspname = 'stax' and c.relname = 'alembic_version')
"""


@contextmanager
def _connected(url: str) -> Iterator[sa.Connection]:
    engine = connect_engine(url)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def known_revisions() -> list[str]:
    """The revisions that this version can make, the newest first."""
    return [script.revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions()]


def revision_of(connection: sa.Connection) -> str:
    """The revision that the schema is at; the owner may ask."""
    return str(connection.exec_driver_sql("select version_num from stax.alembic_version").scalar_one())

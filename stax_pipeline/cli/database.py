"""The database for the life of a command: started when it is the embedded one, and at this version's schema.

Stays out: starting it to stay (`stax env`, `stax url`), and every query.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import click

from stax_pipeline.domain.plain_text import plain
from stax_pipeline.installation.settings import Settings

if TYPE_CHECKING:
    import sqlalchemy as sa


@contextmanager
def database(settings: Settings, *, make: bool = False) -> Iterator[None]:
    """Hold the database, migrated. Raises CannotStart; NoInstallation where there is none, unless one may be made."""
    with nullcontext() if make else _existing(settings), _server(settings):
        _warn(settings)
        migrate(settings)
        yield


@contextmanager
def reading(settings: Settings) -> Iterator[None]:
    """Hold the database for a command that only reads: nothing is made, upgraded or changed.

    Raises NoInstallation, and CannotStart where the schema is not this version's.
    """
    from stax_pipeline.warehouse.engine import plain_faults
    from stax_pipeline.warehouse.migrate import require_current
    from stax_pipeline.warehouse.roles import require_readers

    with _existing(settings):
        _warn(settings)
        with plain_faults("cannot start"):
            require_current(settings)
        require_readers(settings)
        yield


@contextmanager
def _existing(settings: Settings) -> Iterator[None]:
    """Hold the server of an installation that was made before. Raises NoInstallation, with nothing made."""
    from stax_pipeline import embedded_postgres
    from stax_pipeline.cli.homes import no_installation
    from stax_pipeline.warehouse.engine import plain_faults
    from stax_pipeline.warehouse.migrate import found_revision
    from stax_pipeline.warehouse.pooler import refuse_transaction_pooler

    if settings.embedded and not embedded_postgres.exists(settings.postgres_home):
        raise no_installation(settings)
    with _server(settings):
        with plain_faults("cannot start"):
            refuse_transaction_pooler(settings)
            found = found_revision(settings)
        if found is None:
            raise no_installation(settings)
        yield


@contextmanager
def _server(settings: Settings) -> Iterator[None]:
    from stax_pipeline import embedded_postgres

    with embedded_postgres.running(settings.postgres_home) if settings.embedded else nullcontext():
        yield


def pin(settings: Settings) -> bool:
    """Start the embedded server to stay until `stax down`; True when it did not run before. The database is held."""
    from stax_pipeline import embedded_postgres

    if not settings.embedded:
        return False
    started = not (settings.postgres_home / "pinned").exists()
    embedded_postgres.start_pinned(settings.postgres_home)
    return started


def _warn(settings: Settings) -> None:
    from stax_pipeline import embedded_postgres

    risk = settings.embedded and embedded_postgres.risk(settings.postgres_home)
    if risk:
        click.echo(f"Warning: {risk}", err=True)
    wanted = settings.postgres_port
    if settings.embedded and wanted and embedded_postgres.tcp_port(settings.postgres_home) != wanted:
        click.echo(
            f"Warning: the embedded Postgres was started without STAX_POSTGRES_PORT={wanted}. `stax down`, then start "
            "again.", err=True,
        )  # fmt: skip


def migrate(settings: Settings) -> None:
    from stax_pipeline.installation.first_day import note_first_day
    from stax_pipeline.warehouse.engine import plain_faults
    from stax_pipeline.warehouse.migrate import upgrade

    with plain_faults("cannot start"):
        excess_privileges = upgrade(settings)
    note_first_day(settings)
    for what in excess_privileges:
        click.echo(f"Warning: {plain(what)}", err=True)


@contextmanager
def loader(settings: Settings) -> Iterator[sa.Engine]:
    """Connections of the loader, who may read keys and write; the database must run."""
    from stax_pipeline.warehouse.engine import connect_engine
    from stax_pipeline.warehouse.roles import logins

    engine = connect_engine(logins(settings).loader)
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def owner(settings: Settings) -> Iterator[sa.Engine]:
    """Connections of the owner, who changes the schema and sees no row; the database must run."""
    from stax_pipeline.warehouse.engine import connect_engine
    from stax_pipeline.warehouse.roles import logins

    engine = connect_engine(logins(settings).owner)
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def analyst(settings: Settings) -> Iterator[sa.Connection]:
    """One read-only snapshot as the analyst; the database must run."""
    from stax_pipeline.warehouse.engine import connect_engine, plain_faults
    from stax_pipeline.warehouse.roles import logins

    engine = connect_engine(logins(settings).analyst)
    options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    try:
        with plain_faults("reading"), engine.connect() as connection:
            begun = connection.execution_options(**options)
            # between two queries `verify` reads the lake, for longer than others may be idle
            begun.exec_driver_sql("set local idle_in_transaction_session_timeout = 0")
            yield begun
    finally:
        engine.dispose()


@contextmanager
def existing_database(settings: Settings) -> Iterator[tuple[sa.Engine, sa.Engine]]:
    """Connections of the loader and the owner to a database that was set up before, whatever its schema's version.

    Raises NoInstallation when there is none: nothing is made and nothing is migrated.
    """
    from stax_pipeline.warehouse.engine import connect_engine
    from stax_pipeline.warehouse.roles import logins

    with _existing(settings):
        urls = logins(settings)
        engines = connect_engine(urls.loader), connect_engine(urls.owner)
        try:
            yield engines
        finally:
            for engine in engines:
                engine.dispose()

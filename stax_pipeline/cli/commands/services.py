"""`stax up` and `stax down`."""

from __future__ import annotations

import click

from stax_pipeline.domain.plurals import count_of
from stax_pipeline.installation import process_secrets
from stax_pipeline.installation.homes import DEMO
from stax_pipeline.installation.settings import Settings, read_settings

PORT = click.option("--port", type=click.IntRange(1, 65_535), help="Of the app; without it STAX_PORT, or 3000.")


@click.command()
@PORT
def up(port: int | None) -> None:
    """Start the database (embedded unless STAX_DATABASE_URL is set) and the app, with Dagster, until Ctrl-C."""
    from stax_pipeline.cli.database import database
    from stax_pipeline.cli.pid_file import single_instance
    from stax_pipeline.cli.serving import serve

    settings = read_settings()
    with single_instance(settings.home, settings.home), database(settings, make=True):
        click.echo(f"Database ready ({'embedded' if settings.embedded else 'STAX_DATABASE_URL'}), schema up to date.")
        _make_master_key(settings)
        serve(settings, port or settings.port)


def _make_master_key(settings: Settings) -> None:
    """For the first key that somebody saves on a page; where keys are stored without theirs, pages say so then."""
    from contextlib import suppress

    from stax_pipeline.cli.database import loader
    from stax_pipeline.domain.errors import CannotStart
    from stax_pipeline.keys.tenant_keys import ensure_master_key

    with loader(settings) as engine, suppress(CannotStart), engine.begin() as connection:
        ensure_master_key(settings, connection)


@click.command()
@click.option("--purge", is_flag=True, help="Then remove the installation: database, raw pages, master key, demo.")
@click.option("--yes", is_flag=True, help="Do not ask before --purge.")
def down(purge: bool, yes: bool) -> None:
    """Stop what was left running: the app with Dagster, and the embedded Postgres, the demo's too.

    With --purge remove the installation of STAX_HOME from this machine, after asking.
    """
    settings = read_settings()
    if purge:
        _ask_to_purge(settings, yes)
    found = _stop(settings)
    if purge:
        _purge(settings)
    elif not found:
        click.echo("Nothing was running.")


def _ask_to_purge(settings: Settings, yes: bool) -> None:
    from stax_pipeline.cli.homes import no_installation
    from stax_pipeline.cli.prompts import confirm
    from stax_pipeline.cli.removal import present

    found = present(settings.home)
    if not found:
        raise no_installation(settings)
    key = " A backup's admin keys open with its master key alone." if settings.home / "master.key" in found else ""
    names = ", ".join(path.name for path in found)
    confirm(f"Remove the installation in {settings.home} for good ({names})?{key}", yes)


def _purge(settings: Settings) -> None:
    from stax_pipeline.cli.removal import remove_home, staying

    for sentence in (*remove_home(settings.home), *staying(settings)):
        click.echo(sentence)


def _stop(given: Settings) -> bool:
    """Stop the home's processes and its demo's; whether there were any."""
    from dataclasses import replace

    from stax_pipeline import embedded_postgres
    from stax_pipeline.cli.environment import shells_secrets_file
    from stax_pipeline.cli.pid_file import stop_left_running

    found = False
    for settings in (given, replace(given, home=given.home / DEMO, database_url="")):
        ended = stop_left_running(settings.home)
        if ended:
            click.echo(f"Stopped {count_of(ended, 'process', 'processes')} of {settings.home}.")
        of_shells = shells_secrets_file(settings.home)
        if process_secrets.is_left(of_shells):
            process_secrets.remove(of_shells)
            click.echo(f"Removed {of_shells}: shells that evaluated `stax env` no longer have these secrets.")
        stopped = settings.embedded and embedded_postgres.stop(settings.postgres_home)
        if stopped:
            click.echo(f"Stopped the embedded Postgres of {settings.home}.")
        found = found or bool(ended) or stopped
    return found

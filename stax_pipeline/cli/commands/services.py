"""`stax up` and `stax down`."""

from __future__ import annotations

import click

from stax_pipeline.domain.words import count_of
from stax_pipeline.settings import read_settings

PORT = click.option("--port", type=click.IntRange(1, 65_535), default=3000, show_default=True, help="Of Dagster's UI.")


@click.command()
@PORT
def up(port: int) -> None:
    """Start the database (embedded unless STAX_DATABASE_URL is set), Dagster's UI and daemon, until Ctrl-C."""
    from stax_pipeline.cli.database import database
    from stax_pipeline.cli.note import only_one
    from stax_pipeline.cli.web import serve

    settings = read_settings()
    with only_one(settings.home, settings.home), database(settings):
        click.echo(f"Database ready ({'embedded' if settings.embedded else 'STAX_DATABASE_URL'}), schema up to date.")
        serve(settings, port)


@click.command()
def down() -> None:
    """Stop what was left running: a UI with its daemon, and the embedded Postgres, the demo's too."""
    from dataclasses import replace

    from stax_pipeline.cli.note import stop_left_running
    from stax_pipeline.resources import embedded_postgres

    found = False
    given = read_settings()
    for settings in (given, replace(given, home=given.home / "demo", database_url="")):
        ended = stop_left_running(settings.home)
        if ended:
            click.echo(f"Stopped {count_of(ended, 'process', 'processes')} of {settings.home}.")
        stopped = settings.embedded and embedded_postgres.stop(settings.postgres_home)
        if stopped:
            click.echo(f"Stopped the embedded Postgres of {settings.home}.")
        found = found or bool(ended) or stopped
    if not found:
        click.echo("Nothing was running.")

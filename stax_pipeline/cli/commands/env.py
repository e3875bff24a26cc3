"""For other tools: `env` prints exports, `url` the analyst's address. Both leave the embedded server running."""

from __future__ import annotations

import os
import shlex

import click

from stax_pipeline.installation import process_secrets
from stax_pipeline.installation.settings import Settings, read_settings


@click.command()
def env() -> None:
    """Print exports, starting the embedded server to stay: eval "$(stax env)", then plain dagster dev works."""
    from stax_pipeline.cli.database import database
    from stax_pipeline.cli.environment import shells_environment
    from stax_pipeline.cli.pid_file import running

    settings = read_settings()
    with database(settings, make=True):
        _stay(settings)
    pid = running(settings.home)
    if pid:
        click.echo(
            f"`stax up` runs (process {pid}): stop it before `dagster dev`, or two daemons share a queue.", err=True
        )
    exports, forgotten = shells_environment(settings)
    if forgotten:
        click.echo(f"unset {' '.join(forgotten)}")
        click.echo(
            f"{', '.join(forgotten)}: in {exports[process_secrets.VARIABLE]} (mode 0600) from now on and no longer in "
            "this shell; `stax down` removes the file.",
            err=True,
        )
    for name, value in exports.items():
        click.echo(os.fsencode(f"export {name}={shlex.quote(value)}"))  # for a shell: to the byte


@click.command()
@click.option("--role", help="Of a login that `stax grant` made, instead of the analyst's.")
def url(role: str | None) -> None:
    """Print the analyst's connection string (read only): psql "$(stax url)"."""
    from stax_pipeline.cli.database import reading
    from stax_pipeline.cli.database_urls import analyst_url, granted_url

    settings = read_settings()
    with reading(settings):
        _stay(settings)
    click.echo(os.fsencode(analyst_url(settings) if role is None else granted_url(settings, role)))


def _stay(settings: Settings) -> None:
    from stax_pipeline.cli.database import pin

    if pin(settings):
        click.echo("The embedded Postgres runs now and stays; `stax down` stops it.", err=True)

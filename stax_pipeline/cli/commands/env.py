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
@click.option("--format", "form", type=click.Choice(["psql", "odbc", "jdbc"]), default="psql", show_default=True)
@click.option("--with-password", is_flag=True, help="Show the password in it, to hand it over or for a BI tool.")
def url(role: str | None, form: str, with_password: bool) -> None:
    """Print the analyst's connection string (read only): psql "$(stax url)".

    In the form psql, which names a file that holds the password, it works as it is on this machine. ODBC and JDBC
    (Excel, Power BI, Tableau, DBeaver) need TCP: with the embedded server, STAX_POSTGRES_PORT.
    """
    from stax_pipeline.cli.connection_strings import Form, connection_string
    from stax_pipeline.cli.database import reading

    settings = read_settings()
    with reading(settings):
        _stay(settings)
        click.echo(os.fsencode(connection_string(settings, role, Form(form), with_password=with_password)))
    if form != Form.PSQL and not with_password:
        click.echo("The password is not in it; --with-password shows it.", err=True)


def _stay(settings: Settings) -> None:
    from stax_pipeline.cli.database import pin

    if pin(settings):
        click.echo("The embedded Postgres runs now and stays; `stax down` stops it.", err=True)

"""`stax login`: who may log in to the app. What is done with a login is `app.people.roster`'s business."""

from __future__ import annotations

import json
import sys

import click

from stax_pipeline.installation.settings import Settings, read_settings

_MISSING = "No password was given; type it, or Ctrl-C to stop."


@click.group()
def login() -> None:
    """People of the app: operators and analysts see all tenants, a login of a tenant sees that tenant alone."""


@login.command("add")
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(["operator", "analyst", "tenant"]),
    help="What it reaches; tenant where --tenant is given, else analyst. Operators reach Dagster too.",
)
@click.option("--tenant", "slug", metavar="SLUG", help="The one tenant that a login of role tenant sees.")
@click.option(
    "--no-password", is_flag=True, help="For a login proxy (STAX_LOGIN_HEADER), which vouches for the person."
)
def add(name: str, role: str | None, slug: str | None, no_password: bool) -> None:
    """Make login NAME, or give it another role, tenant and password, which ends its sessions.

    The password is asked for without echo, or read from standard input: printf %s "$PASSWORD" | stax login add anna
    """
    from stax_pipeline.app.people import roster
    from stax_pipeline.app.people.person import Role, parse_name
    from stax_pipeline.cli.database import database

    settings, named = read_settings(), parse_name(name)
    chosen = Role(role) if role else Role.TENANT if slug else Role.ANALYST
    password = None if no_password else _password(named)
    with database(settings):
        is_new = roster.add(settings, named, chosen, slug, password)
    sees = f"tenant {slug}" if slug else "all tenants"
    click.echo(f"Login {named} {'was made' if is_new else 'was changed, its sessions ended'}: {chosen}, sees {sees}.")
    _say_how_to_get_in(settings)


@login.command("list")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def list_logins(as_json: bool) -> None:
    """Every login: its role, its tenant, and how many sessions it has now."""
    from stax_pipeline.app.people import roster
    from stax_pipeline.cli import render
    from stax_pipeline.cli.database import reading

    settings = read_settings()
    with reading(settings):
        found = roster.listed(settings)
    if as_json:
        click.echo(json.dumps([one._asdict() for one in found], default=str, indent=2))
    elif found:
        rows = [
            (one.name, str(one.role), one.tenant or "all", "yes" if one.has_password else "no", str(one.sessions))
            for one in found
        ]
        click.echo(render.table(("name", "role", "tenant", "password", "sessions"), rows, right=("sessions",)))
    else:
        click.echo("There is no login yet. `stax login add NAME --role operator` makes one.", err=True)


@login.command("remove")
@click.argument("name")
def remove(name: str) -> None:
    """Remove login NAME, and end its sessions at once."""
    from stax_pipeline.app.people import roster
    from stax_pipeline.cli.database import database
    from stax_pipeline.domain.plurals import count_of

    settings = read_settings()
    with database(settings):
        ended = roster.remove(settings, name)
    click.echo(f"Login {name.strip().lower()} is removed; {count_of(ended, 'session')} ended.")


def _password(name: str) -> str:
    """Twice by prompt, or the first line of standard input. Raises WrongUse where the two differ."""
    from stax_pipeline.app.people.passwords import LONGEST, parse_password
    from stax_pipeline.cli.prompts import ask_hidden
    from stax_pipeline.domain.errors import WrongUse

    if not sys.stdin.isatty():
        return parse_password(sys.stdin.readline(LONGEST + 2).rstrip("\r\n"))
    password = parse_password(ask_hidden(f"Password of {name} (not shown)", _MISSING).rstrip("\r\n"))
    if ask_hidden("The same again", _MISSING).rstrip("\r\n") != password:
        raise WrongUse("The two passwords differ. Nothing was changed.")
    return password


def _say_how_to_get_in(settings: Settings) -> None:
    if not settings.asks_for_login:
        click.echo(
            "On loopback the app asks nobody for a login: STAX_PUBLIC_URL, the address that people open, makes it ask.",
            err=True,
        )

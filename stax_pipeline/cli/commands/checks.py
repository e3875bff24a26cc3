"""`stax checks`: findings that an operator accepts for a tenant, listed, added and withdrawn."""

from __future__ import annotations

from datetime import date

import click

from stax_pipeline.cli.days import day
from stax_pipeline.installation.settings import read_settings

HEADINGS = ("tenant", "check", "from", "to", "note")


@click.group(invoke_without_command=True)
@click.pass_context
def checks(context: click.Context) -> None:
    """Show the findings that are accepted: checks do not tell them again on these days."""
    from stax_pipeline.cli.database import analyst, database
    from stax_pipeline.cli.render import table
    from stax_pipeline.warehouse.acceptances import read_acceptances

    if context.invoked_subcommand is not None:
        return
    settings = read_settings()
    with database(settings), analyst(settings) as connection:
        found = read_acceptances(connection)
    rows = [
        (slug, one.check_name, f"{one.effective_from}", f"{one.effective_to or '-'}", one.note)
        for slug, accepted in found.items()
        for one in accepted
    ]
    click.echo(table(HEADINGS, rows) if rows else "No finding is accepted.")


@checks.command()
@click.argument("slug")
@click.argument("check")
@click.option("--from", "first", type=day, required=True, metavar="DAY", help="First UTC day, such as 2026-11-20.")
@click.option("--to", "last", type=day, metavar="DAY", help="Last UTC day; without an end if not given.")
@click.option("--note", required=True, help="Why it is accepted; kept and shown with it.")
def accept(slug: str, check: str, first: date, last: date | None, note: str) -> None:
    """Accept what CHECK finds of tenant SLUG on these days; it silences no other check, tenant or day.

    Tokens that are billed to another organization: stax checks accept acme every_usage_billed --from 2026-11-20
    --note "billed to the reseller"
    """
    from stax_pipeline.anthropic.fields import MAX_TEXT
    from stax_pipeline.cli.database import database, loader
    from stax_pipeline.cli.imports import changes
    from stax_pipeline.domain.acceptance import Acceptance
    from stax_pipeline.domain.errors import WrongUse
    from stax_pipeline.tenants import acceptances
    from stax_pipeline.warehouse.tenants import get_tenant

    if not note.strip() or len(note) > MAX_TEXT or not note.isprintable():
        raise WrongUse(
            f"The note is empty, too long or not printable: expected 1 to {MAX_TEXT} characters in one line."
        )
    if last and last < first:
        raise WrongUse(f"--to {last} is before --from {first}.")
    settings = read_settings()
    with database(settings), loader(settings) as engine:
        with engine.connect() as connection:
            tenant = get_tenant(connection, slug)
        recorded = acceptances.accept(engine, tenant, Acceptance(check, first, last, note))
    for line in changes(recorded):
        click.echo(f"{slug}: {line}")


@checks.command()
@click.argument("slug")
@click.argument("check")
@click.argument("first", metavar="FROM")
def withdraw(slug: str, check: str, first: str) -> None:
    """Take back an acceptance, named as `stax checks` shows it: the finding is reported again."""
    from stax_pipeline.cli.database import database, loader
    from stax_pipeline.cli.imports import first_day
    from stax_pipeline.tenants import acceptances
    from stax_pipeline.warehouse.tenants import get_tenant

    settings = read_settings()
    begins = first_day(first)
    with database(settings), loader(settings) as engine:
        with engine.connect() as connection:
            tenant = get_tenant(connection, slug)
        acceptances.withdraw(engine, tenant, check, begins)
    click.echo(f"{slug}: {check} from {begins} is withdrawn and told again.")

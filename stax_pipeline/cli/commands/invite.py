"""`stax invite`: a one-time link for a tenant's own person."""

from __future__ import annotations

import click

from stax_pipeline.installation.settings import read_settings


@click.command(epilog="Example: stax invite acme --name 'Acme Corporation'")
@click.argument("slug")
@click.option("--name", default="", help="Display name of a new tenant; the organisation's own without it.")
def invite(slug: str, name: str) -> None:
    """Print a link by which tenant SLUG connects itself: its person pastes the Admin key and gets a login.

    It works once, within 24 hours, and ends older links for SLUG. STAX_PUBLIC_URL is what it begins with.
    """
    from stax_pipeline.app.people.invites import make
    from stax_pipeline.cli.database import database, loader
    from stax_pipeline.keys.tenant_keys import ensure_master_key
    from stax_pipeline.warehouse.engine import plain_faults

    settings = read_settings()
    with database(settings, make=True):
        with loader(settings) as engine, plain_faults("looking for the master key"), engine.begin() as connection:
            ensure_master_key(settings, connection)
        address = make(settings, slug, name)
    click.echo(address)
    click.echo(
        "Whoever opens it first can use it: send it over a channel that you trust. It ends in 24 hours.", err=True
    )

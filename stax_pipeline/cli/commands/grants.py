"""`stax grant` and `stax revoke`: database logins that read some tenants alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from stax_pipeline.settings import read_settings

if TYPE_CHECKING:
    from stax_pipeline.tenants.grant import Reads


@click.command()
@click.argument("role")
@click.argument("slugs", nargs=-1, required=True, metavar="SLUG...")
def grant(role: str, slugs: tuple[str, ...]) -> None:
    """Let database login ROLE read tenants SLUG... and no other; the login is made if there is none."""
    from stax_pipeline.cli.database import database
    from stax_pipeline.tenants.grant import grant as grant_tenants

    settings = read_settings()
    with database(settings):
        now = grant_tenants(settings, role, slugs)
    if now.is_new:
        click.echo(
            f"Login {role} was made; its password lies in {settings.home / 'passwords' / role}, and "
            f"`stax url --role {role}` prints its connection string."
        )
    _tell(role, now)


@click.command()
@click.argument("role")
@click.argument("slugs", nargs=-1, required=True, metavar="SLUG...")
def revoke(role: str, slugs: tuple[str, ...]) -> None:
    """Take tenants SLUG... from database login ROLE, at once; the login itself stays."""
    from stax_pipeline.cli.database import database
    from stax_pipeline.tenants.grant import revoke as revoke_tenants

    settings = read_settings()
    with database(settings):
        now = revoke_tenants(settings, role, slugs)
    _tell(role, now)


def _tell(role: str, now: Reads) -> None:
    click.echo(f"Role {role} reads now: {', '.join(now.slugs) or 'nothing; the login stays, drop it by `drop role`'}.")

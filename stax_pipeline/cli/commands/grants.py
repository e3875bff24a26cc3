"""`stax grant` and `stax revoke`: database logins that read some tenants alone."""

from __future__ import annotations

import click

from stax_pipeline.installation.settings import Settings, read_settings


@click.command()
@click.argument("role", required=False)
@click.argument("slugs", nargs=-1, metavar="SLUG...")
def grant(role: str | None, slugs: tuple[str, ...]) -> None:
    """Let database login ROLE read tenants SLUG... and no other; the login is made if there is none.

    Without arguments: list which login reads which tenants.
    """
    from stax_pipeline.cli.database import database, reading

    settings = read_settings()
    if role is not None and not slugs:
        raise click.UsageError("Missing argument 'SLUG...'.")
    if role is None:
        with reading(settings):
            _list(settings)
    else:
        with database(settings):
            _grant(settings, role, slugs)


def _grant(settings: Settings, role: str, slugs: tuple[str, ...]) -> None:
    from stax_pipeline.tenants.grant import grant as grant_tenants

    now = grant_tenants(settings, role, slugs)
    if now.is_new:
        click.echo(
            f"Login {role} was made; its password lies in {settings.home / 'passwords' / role}, and "
            f"`stax url --role {role}` prints its connection string (with --with-password to hand it over)."
        )
    _report(role, now.slugs)
    if now.forgotten:
        click.echo(
            f"An earlier login {role} read {', '.join(now.forgotten)} too, and this one does not; "
            f"to grant that again: stax grant {role} {' '.join(now.forgotten)}"
        )


def _list(settings: Settings) -> None:
    from stax_pipeline.tenants.grant import granted

    found = granted(settings)
    for role, reads in found.items():
        again = f" There is no such login; to make it: stax grant {role} {' '.join(reads.slugs)}"
        click.echo(f"Role {role} reads: {', '.join(reads.slugs)}.{again if reads.is_new else ''}")
    if not found:
        click.echo("No login reads single tenants; `stax grant ROLE SLUG...` makes one.")


@click.command()
@click.argument("role")
@click.argument("slugs", nargs=-1, metavar="SLUG...")
@click.option("--drop", "is_dropped", is_flag=True, help="Take every tenant, and drop the login and its password.")
def revoke(role: str, slugs: tuple[str, ...], is_dropped: bool) -> None:
    """Take tenants SLUG... from database login ROLE, at once; the login itself stays unless --drop is given."""
    from stax_pipeline.cli.database import database
    from stax_pipeline.tenants.grant import drop
    from stax_pipeline.tenants.grant import revoke as revoke_tenants

    if bool(slugs) == is_dropped:
        raise click.UsageError("Name tenants SLUG..., or give --drop, which takes them all.")
    settings = read_settings()
    with database(settings):
        if is_dropped:
            drop(settings, role)
            click.echo(f"Login {role} is dropped, and its password here is removed.")
            return
        now = revoke_tenants(settings, role, slugs)
    _report(role, now.slugs)


def _report(role: str, slugs: tuple[str, ...]) -> None:
    nothing = f"nothing; the login stays, `stax revoke {role} --drop` drops it"
    click.echo(f"Role {role} reads now: {', '.join(slugs) or nothing}.")

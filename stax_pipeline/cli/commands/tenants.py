"""`stax tenants`: the list of them, and what one of them is read from."""

from __future__ import annotations

import click

from stax_pipeline.domain.extraction import DataSource
from stax_pipeline.installation.settings import read_settings

DEFAULT = "default"


@click.group(invoke_without_command=True)
@click.pass_context
def tenants(context: click.Context) -> None:
    """List the tenants: name, state, since when, key hint, and the source that is read."""
    from stax_pipeline.cli.commands.status import known, print_none
    from stax_pipeline.cli.database import reading
    from stax_pipeline.cli.render import table

    if context.invoked_subcommand is not None:
        return
    settings = read_settings()
    with reading(settings):
        found = known(settings)
    if not found:
        print_none()
        return
    rows = [
        (
            one.slug, one.name, one.status, f"{one.created_at:%Y-%m-%d}",
            f"…{one.key_hint}" if one.key_hint else "none", one.source or settings.source.value,
        )
        for one in found
    ]  # fmt: skip
    click.echo(table(("tenant", "name", "status", "since", "key", "source"), rows))


FROM_NOW_ON = "Days that are read from now on come from there."
COMPARED = (
    "Its figures come from the reports; complete days that are read from now on are compared with the newer source."
)


@tenants.command("set", epilog="Example: stax tenants set acme --source both")
@click.argument("slug")
@click.option(
    "--source", required=True, type=click.Choice([*(each.value for each in DataSource), DEFAULT]),
    help="Where dollars and tokens come from; `both` counts the reports and compares; `default` is STAX_SOURCE.",
)  # fmt: skip
def set_(slug: str, source: str) -> None:
    """Read tenant SLUG from Anthropic's reports, from its newer analytics source, or from both.

    docs/understand/sources.md tells what each knows.
    """
    from stax_pipeline.cli.database import database, loader
    from stax_pipeline.warehouse.engine import plain_faults
    from stax_pipeline.warehouse.tenants import get_tenant, set_source

    settings = read_settings()
    doing = f"tenant {slug}: setting its source"
    with database(settings), loader(settings) as engine, plain_faults(doing), engine.begin() as connection:
        tenant = get_tenant(connection, slug)
        set_source(connection, tenant.tenant_id, None if source == DEFAULT else DataSource(source))
    where = f"{settings.source}, as STAX_SOURCE says" if source == DEFAULT else source
    reads = settings.source if source == DEFAULT else DataSource(source)
    click.echo(f"Tenant {tenant.slug} is read from: {where}. {COMPARED if reads is DataSource.BOTH else FROM_NOW_ON}")

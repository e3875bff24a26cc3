"""`stax commitments`: Priority Tier commitments shown, imported and withdrawn."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import click

from stax_pipeline.settings import read_settings

HEADINGS = ("commitment", "tenant", "model", "input/min", "output/min", "fee $", "from", "to", "used")
_ON_RECORD = """
select c.commitment_id, t.slug, c.model, c.input_tokens_per_minute, c.output_tokens_per_minute, c.fee_usd, c.starts_on,
       c.ends_on, s.burned, s.units
from stax.commitments c
join stax.tenants t using (tenant_id)
left join lateral (
    select coalesce(sum(burndown_units) filter (where cost_source <> 'commitment-unused'), 0) as burned,
           sum(burndown_units) as units
    from stax.spend s
    where s.tenant_id = c.tenant_id and s.commitment_id = c.commitment_id
) s on true
where c.superseded_at is null
order by c.starts_on, t.slug, c.commitment_id
"""


@click.group(invoke_without_command=True)
@click.pass_context
def commitments(context: click.Context) -> None:
    """Show the commitments on record, with the share of their units that was burned on the days built so far."""
    import sqlalchemy as sa

    from stax_pipeline.cli.database import analyst, reading
    from stax_pipeline.cli.render import table

    if context.invoked_subcommand is not None:
        return
    settings = read_settings()
    with reading(settings), analyst(settings) as connection:
        rows = [_shown(row) for row in connection.execute(sa.text(_ON_RECORD))]
    right = ("input/min", "output/min", "fee $", "used")
    click.echo(table(HEADINGS, rows, right=right) if rows else "No commitments are recorded.")


@commitments.command("import")
@click.argument("file")
def import_(file: str) -> None:
    """Record commitments from FILE (CSV, YAML, - for CSV on standard input), all of it or nothing.

    Columns: commitment_id, tenant, model, input_tokens_per_minute, output_tokens_per_minute, fee_usd (of the whole
    term), starts_on, ends_on (both included). A row of the same commitment_id is replaced.
    """
    from stax_pipeline.cli.database import database, loader
    from stax_pipeline.cli.imports import read_file, show_import
    from stax_pipeline.tenants.agreements import import_commitments

    settings = read_settings()
    content = read_file(file)
    with database(settings), loader(settings) as engine:
        show_import(import_commitments(engine, content.name, content.bytes))


@commitments.command()
@click.argument("commitment_id")
def withdraw(commitment_id: str) -> None:
    """Withdraw a commitment that never was.

    It stays on record as withdrawn; days that are built follow with `stax replay`.
    """
    from stax_pipeline.cli.database import database, loader
    from stax_pipeline.cli.imports import show_withdrawn
    from stax_pipeline.tenants.withdrawals import withdraw_commitment

    settings = read_settings()
    with database(settings), loader(settings) as engine:
        show_withdrawn([withdraw_commitment(engine, commitment_id)])


def _shown(row: Any) -> tuple[str, ...]:
    from stax_pipeline.cli.render import usd, whole

    return (
        row.commitment_id, row.slug, row.model, whole(row.input_tokens_per_minute),
        whole(row.output_tokens_per_minute), usd(row.fee_usd), f"{row.starts_on}", f"{row.ends_on}",
        _share(row.burned, row.units),
    )  # fmt: skip


def _share(burned: Decimal, units: Decimal | None) -> str:
    return f"{100 * burned / units:.1f} %" if units else "-"

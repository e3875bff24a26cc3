"""`stax commitments`: Priority Tier commitments shown, imported and withdrawn."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import click

from stax_pipeline.installation.settings import read_settings

USED = ("input used", "output used")
HEADINGS = ("commitment", "tenant", "model", "input/min", "output/min", "fee $", "from", "to", *USED)
_ON_RECORD = """
select c.commitment_id, t.slug, c.model, c.input_tokens_per_minute, c.output_tokens_per_minute, c.fee_usd, c.starts_on,
       c.ends_on, u.input_used, u.output_used
from stax.commitments c
join stax.tenants t using (tenant_id)
left join lateral (
    select max(used) filter (where direction = 'input') as input_used,
           max(used) filter (where direction = 'output') as output_used
    from (select direction, 1 - sum(unused_units) / nullif(sum(committed_units), 0) as used
          from stax.commitment_utilisation d
          where d.tenant_id = c.tenant_id and d.commitment_id = c.commitment_id and d.period = 'day'
          group by direction) by_direction
) u on true
where c.superseded_at is null
order by c.starts_on, t.slug, c.commitment_id
"""


@click.group(invoke_without_command=True)
@click.pass_context
def commitments(context: click.Context) -> None:
    """Show the commitments on record, and which share of the committed units was used on the days built so far.

    Input and output apart; what was burned beyond the committed units of a day is not in the share.
    """
    import sqlalchemy as sa

    from stax_pipeline.cli.database import analyst, reading
    from stax_pipeline.cli.render import table

    if context.invoked_subcommand is not None:
        return
    settings = read_settings()
    with reading(settings), analyst(settings) as connection:
        rows = [_shown(row) for row in connection.execute(sa.text(_ON_RECORD))]
    right = ("input/min", "output/min", "fee $", *USED)
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
        _share(row.input_used), _share(row.output_used),
    )  # fmt: skip


def _share(used: Decimal | None) -> str:
    return "-" if used is None else f"{100 * used:.1f} %"

"""`stax rates`: contract rates shown, imported, withdrawn, and proposed from price accuracy."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from stax_pipeline.domain.plurals import count_of
from stax_pipeline.installation.settings import Settings, read_settings

if TYPE_CHECKING:
    from decimal import Decimal

    from stax_pipeline.derive.suggested_rates import Contradiction, Suggestion

HEADINGS = ("tenant", "model pattern", "tier", "token type", "from", "to", "discount", "USD per 1M")
EVIDENCE = (
    "tenant", "model pattern", "tier", "discount", "from", "through", "days", "models", "tiers", "list $", "reported $",
    "lowest ratio", "highest ratio",
)  # fmt: skip


@click.group(invoke_without_command=True)
@click.pass_context
def rates(context: click.Context) -> None:
    """Show the contract rates on record: discounts on, or prices instead of, list prices."""
    from stax_pipeline.cli.database import analyst, reading
    from stax_pipeline.cli.render import table
    from stax_pipeline.warehouse.agreements import read_rates
    from stax_pipeline.warehouse.tenants import all_tenants

    if context.invoked_subcommand is not None:
        return
    settings = read_settings()
    with reading(settings), analyst(settings) as connection:
        rows = [
            (
                tenant.slug, *rate[:3], f"{rate.effective_from}", f"{rate.effective_to or '-'}",
                _percent(rate.discount), "-" if rate.usd_per_unit is None else f"{rate.usd_per_unit:f}",
            )
            for tenant in all_tenants(connection)
            for rate in read_rates(connection, tenant.tenant_id).rates
        ]  # fmt: skip
    click.echo(table(HEADINGS, rows, right=HEADINGS[-2:]) if rows else "No contract rates are recorded.")


@rates.command("import")
@click.argument("file")
def import_(file: str) -> None:
    """Record contract rates from FILE (CSV, YAML, - for CSV on standard input), all of it or nothing.

    Columns: tenant, model_pattern, service_tier, token_type, effective_from, and either discount (0.15 is 15 %) or
    usd_per_unit (per 1M tokens); effective_to if it ends. A row of the same pattern, tier, type and day is replaced.
    """
    from stax_pipeline.cli.database import database, loader
    from stax_pipeline.cli.imports import read_file, show_import
    from stax_pipeline.tenants.agreements import import_rates

    settings = read_settings()
    content = read_file(file)
    with database(settings), loader(settings) as engine:
        show_import(import_rates(engine, content.name, content.bytes))


@rates.command()
@click.argument("slug")
@click.argument("model_pattern")
@click.argument("tier")
@click.argument("token_type")
@click.argument("first", metavar="FROM")
def withdraw(slug: str, model_pattern: str, tier: str, token_type: str, first: str) -> None:
    """Withdraw a rate that tenant SLUG never had, named as `stax rates` shows it (quote every '*').

    It stays on record as withdrawn; days that are built follow with `stax replay`.
    """
    from stax_pipeline.cli.database import database, loader
    from stax_pipeline.cli.imports import first_day, show_withdrawn
    from stax_pipeline.tenants.withdrawals import withdraw_rate
    from stax_pipeline.warehouse.tenants import get_tenant

    settings = read_settings()
    day = first_day(first)
    with database(settings), loader(settings) as engine:
        with engine.connect() as connection:
            tenant = get_tenant(connection, slug)
        show_withdrawn([withdraw_rate(engine, tenant, model_pattern, tier, token_type, day)])


@rates.command()
@click.argument("slugs", nargs=-1, metavar="[SLUG]...")
@click.option("--out", metavar="FILE", help="Write the rows to FILE instead of standard output.")
def suggest(slugs: Sequence[str], out: str | None) -> None:
    """Propose rates where bills lie below list price by a steady share, as CSV that `stax rates import` takes.

    The evidence is shown beside it; nothing is recorded.
    """
    from stax_pipeline.cli.database import reading
    from stax_pipeline.cli.imports import require_folder, write_new
    from stax_pipeline.cli.render import table
    from stax_pipeline.pricing.contract_rates import ANY
    from stax_pipeline.pricing.imports.rates import rates_csv

    settings = read_settings()
    if out is not None:
        require_folder(out)
    with reading(settings):
        found, against = _suggestions(settings, slugs)
    for slug, contradiction in against:
        click.echo(_contradiction(slug, contradiction), err=True)
    if not found and not against:
        click.echo("No steady discount that is not on record.", err=True)
    if not found:
        return
    evidence = [_evidence(*one) for one in found]
    click.echo(table(EVIDENCE, evidence, right=EVIDENCE[3:4] + EVIDENCE[-4:], out=sys.stderr), err=True)
    for slug, suggestion in found:
        if suggestion.rate.service_tier == ANY:
            click.echo(_how_thin(slug, suggestion), err=True)
    text = rates_csv((slug, suggestion.rate) for slug, suggestion in found)
    if out is None:
        click.echo(text, nl=False)
    else:
        write_new(out, text)
        click.echo(f"Written to {out}; `stax rates import {out}` records it.", err=True)


def _suggestions(
    settings: Settings, slugs: Sequence[str]
) -> tuple[list[tuple[str, Suggestion]], list[tuple[str, Contradiction]]]:
    from stax_pipeline.cli.database import analyst
    from stax_pipeline.tenants.agreements import contradicted_rates, suggested_rates
    from stax_pipeline.warehouse.tenants import all_tenants, get_tenant

    with analyst(settings) as connection:
        named = [get_tenant(connection, slug) for slug in dict.fromkeys(slugs)]
        tenants = named or all_tenants(connection)
        return (
            [(tenant.slug, one) for tenant in tenants for one in suggested_rates(connection, tenant)],
            [(tenant.slug, one) for tenant in tenants for one in contradicted_rates(connection, tenant)],
        )


def _contradiction(slug: str, found: Contradiction) -> str:
    from stax_pipeline.cli.render import usd
    from stax_pipeline.derive.suggested_rates import LEAST_DISCOUNT

    rate = found.rate
    side = "below" if found.billed > 0 else "above"
    billed = "at list" if abs(found.billed) < LEAST_DISCOUNT else f"{_percent(abs(found.billed))} {side} list"
    seen = f"{found.first} to {found.last}; {', '.join(found.models)}; {', '.join(found.tiers)}"
    return (
        f"{slug}: recorded {rate.model_pattern} {rate.service_tier} from {rate.effective_from} "
        f"{_percent(rate.discount)}, billed {billed} on {count_of(found.days, 'day')} ({seen}; "
        f"list $ {usd(found.list_usd)}, reported $ {usd(found.reported_usd)}): "
        "withdraw or correct it"
    )


def _how_thin(slug: str, found: Suggestion) -> str:
    """A rate for every tier holds for Priority too, where no bill can show it."""
    return (
        f"{slug}: tier * covers Priority too, which no bill shows. The evidence is {count_of(found.days, 'day')} of "
        f"{' and '.join(found.tiers)} tokens of {count_of(len(found.models), 'model')}; blocked tokens, the same share "
        "of every token type, would look the same. Compare with the contract before you import it."
    )


def _evidence(slug: str, found: Suggestion) -> tuple[str, ...]:
    from stax_pipeline.cli.render import usd

    rate = found.rate
    return (
        slug, rate.model_pattern, rate.service_tier, _percent(rate.discount), f"{rate.effective_from}", f"{found.last}",
        f"{found.days}", f"{len(found.models)}", ", ".join(found.tiers), usd(found.list_usd), usd(found.reported_usd),
        f"{found.lowest_ratio:.4f}", f"{found.highest_ratio:.4f}",
    )  # fmt: skip


def _percent(discount: Decimal | None) -> str:
    return "-" if discount is None else f"{(discount * 100).normalize():f} %"

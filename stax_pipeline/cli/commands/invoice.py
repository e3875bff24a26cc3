"""`stax invoice`: what Anthropic invoiced for a month, beside what the warehouse holds of it."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click

from stax_pipeline.domain.plurals import count_of
from stax_pipeline.installation.settings import Settings, read_settings

if TYPE_CHECKING:
    from stax_pipeline.warehouse.tenants import Tenant

MATCHES_USD = Decimal("0.005")
_CHECK = """
select invoice_usd, reported_usd, credits_usd, reconstructed_usd, estimated_usd, commitment_fee_usd, difference_usd,
       status, closing
from stax.invoice_check where tenant = :slug and month = :month
"""
_FIRST = "select min(usage_date) from stax.completeness where tenant = :slug"
_DIFFERENCES = """
select case when min(usage_date) = max(last_date) then cast(min(usage_date) as text)
            else concat(min(usage_date), ' to ', max(last_date)) end as days,
       model, kind, sum(usd) as usd,
       concat_ws(', ', concat_ws(' ', sum(quantity), case when kind = 'day missing' then 'days without a complete cost '
                 'report' when kind = 'restated' then 'changes' else max(unit) end),
                 case when kind = 'day missing' then string_agg(distinct split_part(detail, ': ', 2), ' or ')
                      when kind = 'restated' then max(detail) else string_agg(distinct detail, ' and ') end,
                 'priced ÷ reported ' || round(sum(priced_usd) / nullif(sum(reported_usd), 0), 6),
                 string_agg(distinct cause, ' or ')) as note
from (select *, usage_date + days - 1 as last_date
      from stax.invoice_differences where tenant = :slug and month = :month) of_month
group by kind, model, case when kind in ('day missing', 'restated') then '' else unit end
order by sum(usd) is null desc, abs(sum(usd)) desc, kind, model limit 10
"""


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("slug")
@click.argument("month")
@click.argument("amount", metavar="AMOUNT|FILE", required=False)
@click.option("--note", default="", help="Kept with the amount, such as the invoice's number.")
@click.option("--withdraw", is_flag=True, help="Take back what was recorded by mistake; no AMOUNT then.")
def invoice(slug: str, month: str, amount: str | None, note: str, withdraw: bool) -> None:
    """Record what tenant SLUG was invoiced for MONTH (YYYY-MM), and compare.

    AMOUNT is USD in plain decimal, negative for a credit; a FILE (CSV or YAML) is summed over its column amount_usd.
    Recording a month again replaces it. What was recorded for a wrong month or tenant: --withdraw.
    """
    from stax_pipeline.anthropic.fields import MAX_TEXT
    from stax_pipeline.cli.database import analyst, database
    from stax_pipeline.domain.errors import WrongUse
    from stax_pipeline.pricing.imports.invoices import parse_month
    from stax_pipeline.warehouse.tenants import get_tenant

    if withdraw == (amount is not None):
        raise WrongUse("Give the AMOUNT or FILE that was invoiced, or --withdraw. Nothing was changed.")
    settings = read_settings()
    day = parse_month(month, datetime.now(UTC).date())
    if len(note) > MAX_TEXT or not note.isprintable():
        raise WrongUse(f"The note is too long or not printable: expected at most {MAX_TEXT} characters in one line.")
    with database(settings):
        with analyst(settings) as connection:
            tenant = get_tenant(connection, slug)
        if amount is None:
            _withdraw(settings, tenant, day, note)
            return
        _record(settings, tenant, day, _amount(amount), note)
        _warn_of_early(settings, slug, day)
        _show_check(settings, slug, day)


def _withdraw(settings: Settings, tenant: Tenant, month: date, note: str) -> None:
    from stax_pipeline.cli.database import loader
    from stax_pipeline.tenants.withdrawals import withdraw_invoice

    with loader(settings) as engine:
        found = withdraw_invoice(engine, tenant, month, note)
    click.echo(f"{tenant.slug} {month:%Y-%m}: {found.amount_usd:f} USD withdrawn")


def _record(settings: Settings, tenant: Tenant, month: date, amount: Decimal, note: str) -> None:
    from stax_pipeline.cli.database import loader
    from stax_pipeline.pricing.invoices import Invoice
    from stax_pipeline.tenants.agreements import import_invoice

    with loader(settings) as engine:
        recorded = import_invoice(engine, tenant, Invoice(month, amount, note))
    what = f"{tenant.slug} {month:%Y-%m}"
    for row in recorded.added:
        click.echo(f"{what}: {row.amount_usd:f} USD recorded")
    for old, new in recorded.replaced:
        click.echo(f"{what}: {old.amount_usd:f} → {new.amount_usd:f} USD")
    for row in recorded.unchanged:
        click.echo(f"{what}: {row.amount_usd:f} USD stands already")


def _warn_of_early(settings: Settings, slug: str, month: date) -> None:
    """Say so when days of the month were never fetched because they lie before the first that was, or may be."""
    import sqlalchemy as sa

    from stax_pipeline.cli.database import analyst

    with analyst(settings) as connection:
        fetched: date | None = connection.execute(sa.text(_FIRST), {"slug": slug}).scalar_one()
    first = max(fetched or settings.start_date, settings.start_date)
    if month < first:
        known = f"the first day fetched of {slug}" if fetched == first else "the first day of this installation"
        click.echo(f"{month:%Y-%m} begins before {known} ({first}): the days before are not compared.", err=True)


def _amount(text: str) -> Decimal:
    from stax_pipeline.cli.imports import read_file
    from stax_pipeline.pricing.imports.invoices import parse_amount, read_invoice

    amount = parse_amount(text)
    if amount is not None:
        return amount
    summed = read_invoice(*read_file(text, "a CSV or YAML file, or an amount like 1234.56"))
    unused = f"; not read: {', '.join(map(ascii, summed.ignored))}" if summed.ignored else ""
    click.echo(f"{count_of(summed.lines, 'line')} together: {summed.amount_usd:f} USD{unused}", err=True)
    for number in summed.totals:
        click.echo(f"row {number} is called a total and was added in: take it out if it sums other rows", err=True)
    return summed.amount_usd


def _show_check(settings: Settings, slug: str, month: date) -> None:
    import sqlalchemy as sa

    from stax_pipeline.cli.database import analyst
    from stax_pipeline.cli.outdated import warn_of_outdated_days

    chosen = {"slug": slug, "month": month}
    with analyst(settings) as connection:
        checks = [row._asdict() for row in connection.execute(sa.text(_CHECK), chosen)]
        differs = any(abs(check["difference_usd"] or 0) > MATCHES_USD for check in checks)
        differences = list(connection.execute(sa.text(_DIFFERENCES), chosen)) if differs else []
        warn_of_outdated_days(connection, settings, slug)
    for check in checks:
        for name, value in check.items():
            click.echo(f"  {name.removesuffix('_usd').replace('_', ' '):<15} {_cell(value)}")
    if differences:
        click.echo("What could explain the difference (invoice - expected), over the whole month by kind and model:")
        click.echo(differences_table(differences))


def differences_table(rows: list[Any]) -> str:
    from stax_pipeline.cli.render import table, usd

    headings = ("days", "model", "kind", "USD", "note")
    return table(headings, [(f"{r[0] or '-'}", r[1] or "-", r[2], usd(r[3]), r[4] or "") for r in rows], right=("USD",))


def _cell(value: object) -> str:
    from stax_pipeline.cli.render import usd

    if value is None:
        return f"{'-':>16}"
    return f"{usd(value):>16}" if isinstance(value, Decimal) else str(value)

"""`stax invoice`: what Anthropic invoiced for a month, beside what the warehouse holds of it."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click

from stax_pipeline.cli.render import counted, in_usd, table, usd
from stax_pipeline.domain.plurals import count_of
from stax_pipeline.installation.settings import Settings, read_settings

if TYPE_CHECKING:
    from stax_pipeline.domain.tenant import Tenant

MATCHES_USD = Decimal("0.005")
_CHECK = """
select invoice_usd, billed_usd, credits_usd, priority_reconstructed_usd, estimated_usd, commitment_fee_usd,
       difference_usd, status, closing
from stax.invoice_check where tenant = :slug and month = :month
"""
_FIRST = "select min(usage_date) from stax.completeness where tenant = :slug"
_DIFFERENCES = """
select case when min(usage_date) = max(last_date) then cast(min(usage_date) as text)
            else concat(min(usage_date), ' to ', max(last_date)) end as days,
       model, kind, sum(explained_usd) as usd, sum(quantity) as quantity, max(unit) as unit,
       concat_ws(', ', case when kind = 'day missing' then string_agg(distinct split_part(detail, ': ', 2), ' or ')
                            when kind = 'restated' then max(detail) else string_agg(distinct detail, ' and ') end,
                 'priced ÷ reported ' || round(sum(priced_usd) / nullif(sum(reported_usd), 0), 6),
                 string_agg(distinct cause, ' or ')) as note
from (select *, usage_date + days - 1 as last_date,
             case when kind in ('restated', 'price difference') then -usd else usd end as explained_usd
      from stax.invoice_differences where tenant = :slug and month = :month) of_month
group by kind, model, case when kind in ('day missing', 'restated') then '' else unit end
having sign(coalesce(sum(explained_usd), 1)) = sign(:difference)
order by sum(explained_usd) is null desc, abs(sum(explained_usd)) desc, kind, model limit 10
"""
"""What moves the invoice away from what is expected, the way it is off. An invoice that was written before a bill grew
lacks what the bill gained, and one at the book's price exceeds a bill below it: these two count with their sign turned.
What has no dollars yet (a missing day, an unknown price) can only make the invoice larger.
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
    click.echo(f"{tenant.slug} {month:%Y-%m}: {in_usd(found.amount_usd)} withdrawn")


def _record(settings: Settings, tenant: Tenant, month: date, amount: Decimal, note: str) -> None:
    from stax_pipeline.cli.database import loader
    from stax_pipeline.pricing.invoices import Invoice
    from stax_pipeline.tenants.agreements import import_invoice

    with loader(settings) as engine:
        recorded = import_invoice(engine, tenant, Invoice(month, amount, note))
    what = f"{tenant.slug} {month:%Y-%m}"
    for row in recorded.added:
        click.echo(f"{what}: {in_usd(row.amount_usd)} recorded")
    for old, new in recorded.replaced:
        click.echo(f"{what}: {usd(old.amount_usd)} → {in_usd(new.amount_usd)}")
    for row in recorded.unchanged:
        click.echo(f"{what}: {in_usd(row.amount_usd)} stands already")


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
    click.echo(f"{count_of(summed.lines, 'line')} together: {in_usd(summed.amount_usd)}{unused}", err=True)
    for number in summed.totals:
        click.echo(f"row {number} is called a total and was added in: take it out if it sums other rows", err=True)
    return summed.amount_usd


def _show_check(settings: Settings, slug: str, month: date) -> None:
    import sqlalchemy as sa

    from stax_pipeline.cli.database import analyst
    from stax_pipeline.cli.outdated import warn_of_outdated_days

    chosen = {"slug": slug, "month": month}
    with analyst(settings) as connection:
        check = connection.execute(sa.text(_CHECK), chosen).mappings().one()
        difference = check["difference_usd"]
        differs = difference is not None and abs(difference) > MATCHES_USD
        found = connection.execute(sa.text(_DIFFERENCES), {**chosen, "difference": difference}) if differs else ()
        causes = [_shown(cause) for cause in found]
        warn_of_outdated_days(connection, settings, slug)
    for name, value in check.items():
        told = f"{in_usd(value):>20}" if value is None or isinstance(value, Decimal) else value
        click.echo(f"  {name.removesuffix('_usd').replace('_', ' '):<22} {told}")
    if not differs:
        return
    off = f"the invoice is {in_usd(abs(difference))} {'more' if difference > 0 else 'less'} than expected"
    if causes:
        click.echo(f"What could explain that {off}, over the whole month by kind and model:")
        click.echo(table(("days", "model", "kind", "USD", "note"), causes, right=("USD",)))
    else:
        click.echo(f"Nothing in the warehouse explains that {off}.")


def _shown(cause: Any) -> tuple[str, ...]:
    note = ", ".join(filter(None, (_quantity(cause), cause.note)))
    return cause.days, cause.model or "-", cause.kind, usd(cause.usd), note


def _quantity(cause: Any) -> str:
    if cause.kind == "day missing":
        return f"{counted(cause.quantity, 'days')} without a complete cost report"
    return counted(cause.quantity, "changes" if cause.kind == "restated" else cause.unit)

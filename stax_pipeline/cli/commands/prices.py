"""`stax prices`: the price book in force, and what is in use without a price."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, NamedTuple

import click

from stax_pipeline.settings import Settings, read_settings

if TYPE_CHECKING:
    from stax_pipeline.domain.prices import ListPrice, PriceBook

_IN_USE = """
select model, service_tier, context_window, inference_geo, speed, token_type, min(usage_date), max(usage_date),
       sum(tokens), string_agg(distinct slug, ', ')
from stax.usage_tokens
where tokens > 0
group by model, service_tier, context_window, inference_geo, speed, token_type
order by model, service_tier, token_type
"""


class Unpriced(NamedTuple):
    """Tokens in use that the book cannot price, from their first day on."""

    model: str
    service_tier: str
    context_window: str
    token_type: str
    first: date
    last: date
    tokens: int
    tenants: str


@click.group(invoke_without_command=True)
@click.option("--model", help="Only models whose id holds this text.")
@click.option("--all", "history", is_flag=True, help="Earlier and coming prices too.")
@click.pass_context
def prices(context: click.Context, model: str | None, history: bool) -> None:
    """Show the list prices in force today, in USD; `stax prices check` names what is in use without one."""
    from stax_pipeline.cli.database import database
    from stax_pipeline.cli.render import table

    if context.invoked_subcommand is not None:
        return
    settings = read_settings()
    with database(settings):
        book = _book(settings)
    rows = [
        (
            price.cost_type, price.model or "-", f"{price.effective_from}", price.token_type or "-",
            price.context_window, price.speed, f"{price.usd_per_unit:f}", price.pricing_unit,
            f"{price.us_multiplier:f}",
        )
        for price in (book.prices if history else in_force(book.prices, datetime.now(UTC).date()))
        if not model or model in price.model
    ]  # fmt: skip
    headings = ("cost type", "model", "from", "token type", "context", "speed", "USD", "per", "US factor")
    click.echo(table(headings, rows, right=("USD", "US factor")))
    click.echo(f"{len(rows)} prices, book version {book.version}", err=True)


def in_force(prices: Iterable[ListPrice], today: date) -> list[ListPrice]:
    """Of every model or service and what it depends on the newest price that holds today, in the book's order."""
    newest: dict[tuple[str, ...], ListPrice] = {}
    for price in sorted(prices, key=lambda one: one.effective_from):
        if price.effective_from <= today:
            newest[price.cost_type, price.model, price.token_type, price.context_window, price.speed] = price
    return [price for price in prices if price in newest.values()]


@prices.command()
def check() -> None:
    """List models in use without a price; exit code 1 when there are any."""
    from stax_pipeline.cli.database import database
    from stax_pipeline.cli.render import table, whole

    settings = read_settings()
    with database(settings):
        found = _unpriced(settings)
    if not found:
        click.echo("Everything in use has a price.")
        return
    rows = [(*one[:4], str(one.first), str(one.last), whole(one.tokens), one.tenants) for one in found]
    headings = ("model", "tier", "context", "token type", "first", "last", "tokens", "tenants")
    click.echo(table(headings, rows, right=("tokens",)))
    raise click.exceptions.Exit(1)


def _book(settings: Settings) -> PriceBook:
    """The warehouse's book; the shipped one before the first sync."""
    from stax_pipeline.cli.database import analyst
    from stax_pipeline.domain.prices import PriceBook, shipped_prices
    from stax_pipeline.resources.warehouse.prices import read_book

    with analyst(settings) as connection:
        book = read_book(connection)
    return book if book.prices else PriceBook.of(shipped_prices())


def _unpriced(settings: Settings) -> list[Unpriced]:
    """A price holds from its day on, so what has one on its first day of use has one on every later day."""
    import sqlalchemy as sa

    from stax_pipeline.cli.database import analyst
    from stax_pipeline.domain.prices import Usage

    book = _book(settings)
    found = []
    with analyst(settings) as connection:
        for row in connection.execute(sa.text(_IN_USE)):
            model, tier, window, geo, speed = (value or "" for value in row[:5])
            usage = Usage(row[6], model, row[5], tier or "standard", window, geo, speed)
            if book.token_price(usage) is None:
                found.append(Unpriced(model, tier, window, row[5], row[6], row[7], int(row[8]), row[9]))
    return found

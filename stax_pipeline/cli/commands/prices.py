"""`stax prices`: the price book in force, an operator's additions to it, and what is in use without a price."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

import click

from stax_pipeline.domain.plurals import count_of
from stax_pipeline.installation.settings import Settings, read_settings

if TYPE_CHECKING:
    from decimal import Decimal

    from stax_pipeline.pricing.prices import ListPrice, PriceBook, Retirement

_IN_USE = """
select model, service_tier, context_window, inference_geo, speed, token_type, min(usage_date), max(usage_date),
       sum(tokens), string_agg(distinct tenant, ', ')
from stax.usage_tokens
where tokens > 0
group by model, service_tier, context_window, inference_geo, speed, token_type
order by model, service_tier, token_type
"""


_USERS = """
select model, coalesce(speed, 'standard') as speed, string_agg(distinct tenant, ', ' order by tenant) as tenants
from stax.usage_tokens
where tokens > 0 and usage_date >= :since
group by 1, 2
"""
RECENT = timedelta(days=30)  # whoever used a model within them is likely to use it still


class Unpriced(NamedTuple):
    """Tokens in use that the book cannot price, from their first day on."""

    model: str
    service_tier: str
    context_window: str
    inference_geo: str
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
    """Show the list prices in force today, in USD; `stax prices import` adds to them."""
    from stax_pipeline.cli.database import reading
    from stax_pipeline.cli.render import table

    if context.invoked_subcommand is not None:
        return
    settings = read_settings()
    with reading(settings):
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
    click.echo(f"{count_of(len(rows), 'price')}, book version {book.version}", err=True)


def in_force(prices: Iterable[ListPrice], today: date) -> list[ListPrice]:
    """Of every model or service and what it depends on the newest price that holds today, in the book's order."""
    newest: dict[tuple[str, ...], ListPrice] = {}
    for price in sorted(prices, key=lambda one: one.effective_from):
        if price.effective_from <= today:
            newest[price.cost_type, price.model, price.token_type, price.context_window, price.speed] = price
    return [price for price in prices if price in newest.values()]


@prices.command("import")
@click.argument("file")
def import_(file: str) -> None:
    """Add or correct list prices from FILE (CSV, YAML, - for CSV on standard input), all of it or nothing.

    Columns: model, effective_from, token_type, usd_per_unit; and, if not these, cost_type (tokens), context_window
    (all), speed (standard), pricing_unit (1M tokens), us_multiplier (the model's), source (the file's name).
    """
    from stax_pipeline.cli.database import database, loader
    from stax_pipeline.cli.imports import read_file, show_import
    from stax_pipeline.tenants.agreements import import_prices

    settings = read_settings()
    content = read_file(file)
    with database(settings), loader(settings) as engine:
        show_import(import_prices(engine, content.name, content.bytes))


@prices.command()
@click.argument("model")
@click.argument("first", metavar="FROM")
@click.option("--token-type", help="Only this token type.")
@click.option("--context-window", help="Only this context window, such as all.")
@click.option("--speed", help="Only this speed, such as standard.")
def withdraw(model: str, first: str, token_type: str | None, context_window: str | None, speed: str | None) -> None:
    """Withdraw imported prices of MODEL (or of web_search, code_execution, session_usage) that begin with FROM.

    A shipped price that one of them replaced holds again; days that are built follow with `stax replay`.
    """
    from stax_pipeline.cli.database import database, loader
    from stax_pipeline.cli.imports import first_day, show_withdrawn
    from stax_pipeline.tenants.withdrawals import withdraw_prices

    settings = read_settings()
    day = first_day(first)
    with database(settings), loader(settings) as engine:
        show_withdrawn(*withdraw_prices(engine, model, day, token_type, context_window, speed))


@prices.command()
def check() -> None:
    """List models in use without a price (exit code 1 if there are any), what Anthropic retires within 60 days, and
    where genai-prices differs.
    """
    from stax_pipeline.cli.database import reading
    from stax_pipeline.pricing.prices import retiring

    settings = read_settings()
    today = datetime.now(UTC).date()
    with reading(settings):
        found = _unpriced(settings)
        book = _book(settings)
        users = _users(settings, today - RECENT)
    _show_disagreements(book, today)
    _show_retiring(retiring(today), users)
    if not found:
        click.echo("Everything in use has a price.")
        return
    _show_unpriced(found)
    raise click.exceptions.Exit(1)


def _show_unpriced(found: list[Unpriced]) -> None:
    from stax_pipeline.cli.render import table, whole

    rows = [(*one[:5], str(one.first), str(one.last), whole(one.tokens), one.tenants) for one in found]
    headings = ("model", "tier", "context", "geography", "token type", "first", "last", "tokens", "tenants")
    click.echo(table(headings, rows, right=("tokens",)))


def _show_retiring(found: Sequence[Retirement], users: Mapping[tuple[str, str], str]) -> None:
    """For a person to act on: nothing is wrong yet, so it changes no exit code."""
    from stax_pipeline.cli.render import table

    if not found:
        return
    rows = [
        (one.model, "all" if one.speed == "standard" else one.speed, str(one.retires_on), _used_by(one, users))
        for one in found
    ]
    click.echo("Anthropic retires within 60 days (requests are rejected from that day on):")
    click.echo(table(("model", "speed", "retires on", "used in the last 30 days by"), rows))
    click.echo()


def _used_by(one: Retirement, users: Mapping[tuple[str, str], str]) -> str:
    speeds = {speed for model, speed in users if model == one.model}
    ending = speeds if one.speed == "standard" else speeds & {one.speed}
    slugs = {slug for speed in ending for slug in users[one.model, speed].split(", ")}
    return ", ".join(sorted(slugs)) or "nobody"


def _users(settings: Settings, since: date) -> dict[tuple[str, str], str]:
    """The slugs that used a model (dated id) at a speed."""
    import sqlalchemy as sa

    from stax_pipeline.cli.database import analyst
    from stax_pipeline.pricing.prices.book import dated_model

    with analyst(settings) as connection:
        rows = connection.execute(sa.text(_USERS), {"since": since})
        return {(dated_model(row.model), row.speed): row.tenants for row in rows}


def _show_disagreements(book: PriceBook, today: date) -> None:
    """For a person to judge: either book may be behind, so it changes no exit code."""
    from stax_pipeline.cli.render import table
    from stax_pipeline.pricing.prices import genai_prices
    from stax_pipeline.pricing.prices.comparison import disagreements

    found = disagreements(book, genai_prices(today), today)
    if not found:
        return
    rows = [(*one[:3], _bounds(one.ours), f"{one.theirs:f}") for one in found]
    click.echo("genai-prices differs from the book (USD per 1M tokens; the book's are used):")
    click.echo(table(("model", "token type", "context", "book", "genai-prices"), rows, right=("book", "genai-prices")))
    click.echo()


def _bounds(ours: tuple[Decimal, Decimal] | None) -> str:
    if ours is None:
        return "-"
    return f"{ours[0]:f}" if ours[0] == ours[1] else f"{ours[0]:f} to {ours[1]:f}"


def _book(settings: Settings) -> PriceBook:
    """The warehouse's book; the shipped one before the first sync."""
    from stax_pipeline.cli.database import analyst
    from stax_pipeline.warehouse.prices import known_book

    with analyst(settings) as connection:
        return known_book(connection)


def _unpriced(settings: Settings) -> list[Unpriced]:
    """A price holds from its day on, so what has one on its first day of use has one on every later day."""
    import sqlalchemy as sa

    from stax_pipeline.cli.database import analyst
    from stax_pipeline.pricing.prices import Usage

    book = _book(settings)
    found = []
    with analyst(settings) as connection:
        for row in connection.execute(sa.text(_IN_USE)):
            model, tier, window, geo, speed = (value or "" for value in row[:5])
            usage = Usage(row[6], model, row[5], tier or "standard", window, geo, speed)
            if book.token_price(usage) is None:
                found.append(Unpriced(model, tier, window, geo, row[5], row[6], row[7], int(row[8]), row[9]))
    return found

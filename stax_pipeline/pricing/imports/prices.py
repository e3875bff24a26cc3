"""List prices from a file: an operator's correction of, or addition to, the shipped book."""

from __future__ import annotations

from decimal import Decimal
from pathlib import PurePath

from stax_pipeline.anthropic.fields import KNOWN_VALUES
from stax_pipeline.pricing.imports.sourced import Sourced, refuse_repeated
from stax_pipeline.pricing.imports.table import MAX_USD_PER_UNIT, Row, read_table
from stax_pipeline.pricing.prices import ListPrice, PriceBook
from stax_pipeline.pricing.prices.book import BAND_HIGH, BAND_LOW, METER, dated_model

REQUIRED = ("model", "effective_from", "token_type", "usd_per_unit")
OPTIONAL = ("cost_type", "context_window", "speed", "pricing_unit", "us_multiplier", "source")
SYNONYMS = {"usd_per_mtok": "usd_per_unit"}  # the header of the shipped CSV
PRICING_UNITS = {
    "tokens": "1M tokens",
    "web_search": "1k requests",
    "code_execution": "hour",
    "session_usage": "hour",
}
WINDOWS = frozenset({"all", "0-200k", "200k-1M", BAND_LOW, BAND_HIGH})
MAX_FACTOR = Decimal(100)
_KEY = "model, effective_from, cost_type, token_type, context_window and speed"


def read_prices(file: str, content: bytes, book: PriceBook) -> list[Sourced[ListPrice]]:
    """The file's prices, aliases replaced by dated ids. `book` tells the US factor of models that are known.

    Raises BadInput; what clashes with prices on record is found when they are recorded.
    """
    known = {price.model: price.us_multiplier for price in sorted(book.prices, key=lambda one: one.effective_from)}
    table = read_table(file, content, REQUIRED, OPTIONAL, synonyms=SYNONYMS)
    prices = [_price(row, known) for row in table.rows]
    refuse_repeated(prices, lambda one: one.value[:METER], _KEY)
    return prices


def _price(row: Row, known: dict[str, Decimal]) -> Sourced[ListPrice]:
    cost_type = row.choice("cost_type", PRICING_UNITS, "tokens")
    if cost_type == "tokens":
        named = row.model()
        token_type = row.choice("token_type", KNOWN_VALUES["token_type"])
    else:
        named, token_type = _nothing(row, "model", cost_type), _nothing(row, "token_type", cost_type)
    model = dated_model(named)
    given = row.text("us_multiplier")
    multiplier = row.decimal("us_multiplier", most=MAX_FACTOR) if given else known.get(model, Decimal(1))
    if multiplier.is_zero():
        raise row.bad("us_multiplier", "a factor above 0, such as 1.1")
    price = ListPrice(
        model=model,
        effective_from=row.day("effective_from"),
        cost_type=cost_type,
        token_type=token_type,
        context_window=row.choice("context_window", WINDOWS if cost_type == "tokens" else {"all"}, "all"),
        speed=row.choice("speed", {"standard", "fast"} if cost_type == "tokens" else {"standard"}, "standard"),
        pricing_unit=row.choice("pricing_unit", {PRICING_UNITS[cost_type]}, PRICING_UNITS[cost_type]),
        usd_per_unit=row.decimal("usd_per_unit", most=MAX_USD_PER_UNIT),
        us_multiplier=multiplier,
        source=row.text("source") or PurePath(row.file).name,
    )
    return Sourced(row, price, f"{named} is recorded by its dated id {model}" if model != named else "")


def _nothing(row: Row, column: str, cost_type: str) -> str:
    if row.text(column):
        raise row.bad(column, f"an empty cell, since {cost_type} is not sold by {column}")
    return ""

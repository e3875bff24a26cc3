"""Where cost and usage meet, and what the usage that met there is priced at.

Belongs here: the join key and pricing before any cost source is chosen; both `spend` and `reconciliation` build on
it, so that the code that prices Priority is the code that is proved against the bill.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from stax_pipeline.derive.cost_lines import CostLine
from stax_pipeline.derive.terms import Quote
from stax_pipeline.derive.usage_lines import TOKEN_TYPES, UsageLine
from stax_pipeline.domain.money import round_usd, sum_usd
from stax_pipeline.pricing.prices import Price
from stax_pipeline.pricing.prices.book import BAND_LOWER, dated_model


class JoinKey(NamedTuple):
    """Where a token cost line and token usage meet: aliases dated, empty dimensions given the value they stand for."""

    usage_date: date
    workspace_id: str
    model: str
    service_tier: str
    context_window: str
    inference_geo: str
    token_type: str


class Tokens(NamedTuple):
    """One token type of one usage line."""

    line: UsageLine
    number: int


def geo_class(geo: str) -> str:
    return "global" if geo in ("", "global", "not_available") else geo


def join_key(line: CostLine | UsageLine, token_type: str) -> JoinKey:
    return JoinKey(
        line.usage_date,
        line.workspace_id,
        dated_model(line.model),
        line.service_tier or "standard",
        line.context_window or "0-200k",
        geo_class(line.inference_geo),
        token_type,
    )


class Amount(NamedTuple):
    """USD of several parts, rounded once; the unit price is told only where one price went in."""

    low: Decimal | None = None
    high: Decimal | None = None
    unit_price: Decimal | None = None

    @property
    def banded(self) -> bool:
        return self.low != self.high


UNKNOWN = Amount()


class Pricing(NamedTuple):
    """Dollars of one spend line before and after the contract rate; None throughout where any part has no price."""

    listed: Amount = UNKNOWN
    contracted: Amount = UNKNOWN
    source: str = ""


def pricing(parts: Iterable[tuple[Quote, int]]) -> Pricing:
    """Price each part before summing."""
    parts = list(parts)
    known = [price for quote, _ in parts if (price := quote.contracted or quote.listed)]
    listed = _amount([(quote.listed, count) for quote, count in parts])
    without_rates = all(quote.contracted is quote.listed for quote, _ in parts)
    return Pricing(
        listed,
        listed if without_rates else _amount([(quote.contracted, count) for quote, count in parts]),
        _sources(known) if len(known) == len(parts) else "",
    )


def _amount(parts: list[tuple[Price | None, int]]) -> Amount:
    prices = [price for price, _ in parts if price]
    if not parts or len(prices) < len(parts):
        return UNKNOWN
    amounts = [price.amount(count) for price, count in parts if price]
    low = round_usd(sum_usd(low for low, _ in amounts))
    return Amount(
        low=low,
        high=round_usd(sum_usd(high for _, high in amounts)) if any(price.banded for price in prices) else low,
        unit_price=round_usd(prices[0].low) if len({(p.low, p.high) for p in prices}) == 1 else None,
    )


def _sources(prices: list[Price]) -> str:
    sources = {price.source for price in prices}
    return BAND_LOWER if BAND_LOWER in sources else " + ".join(sorted(sources))


def tokens(usage: Iterable[UsageLine]) -> Iterator[tuple[JoinKey, Tokens]]:
    """Usage unpivoted by token type; a type that was not used makes no row."""
    for line in usage:
        for token_type, column in TOKEN_TYPES.items():
            if count := getattr(line, column):
                yield join_key(line, token_type), Tokens(line, count)

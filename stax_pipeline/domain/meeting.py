"""Where cost and usage meet, and what the usage that met there lists for.

Belongs here: the meeting key and pricing before any cost source is chosen; both `spend` and `reconciliation` build on
it, so that the code that prices Priority is the code that is proved against the bill.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from stax_pipeline.domain.cost import CostLine
from stax_pipeline.domain.money import round_usd, sum_usd
from stax_pipeline.domain.prices import Price, PriceBook
from stax_pipeline.domain.prices.book import BAND_LOWER, Usage, dated_model
from stax_pipeline.domain.usage import TOKEN_TYPES, UsageLine


class MeetingKey(NamedTuple):
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


def meeting_key(line: CostLine | UsageLine, token_type: str) -> MeetingKey:
    return MeetingKey(
        line.usage_date,
        line.workspace_id,
        dated_model(line.model),
        line.service_tier or "standard",
        line.context_window or "0-200k",
        geo_class(line.inference_geo),
        token_type,
    )


def price_of(line: UsageLine, token_type: str, book: PriceBook) -> Price | None:
    return book.token_price(
        Usage(
            line.usage_date, line.model, token_type, line.service_tier or "standard",
            line.context_window, line.inference_geo, line.speed,
        )
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pricing:
    """List dollars of one spend line, rounded once; None throughout where any part has no price."""

    low: Decimal | None = None
    high: Decimal | None = None
    unit_price: Decimal | None = None
    source: str = ""

    @property
    def banded(self) -> bool:
        return self.low != self.high


def pricing(parts: Iterable[tuple[Price | None, int]]) -> Pricing:
    """Price each part before summing. The unit price is told only where one price went in."""
    parts = list(parts)
    prices = [price for price, _ in parts if price]
    if not parts or len(prices) < len(parts):
        return Pricing()
    amounts = [price.amount(count) for price, count in parts if price]
    return Pricing(
        low=round_usd(sum_usd(low for low, _ in amounts)),
        high=round_usd(sum_usd(high for _, high in amounts)),
        unit_price=prices[0].low if len({(p.low, p.high) for p in prices}) == 1 else None,
        source=_sources(prices),
    )


def _sources(prices: list[Price]) -> str:
    told = {price.source for price in prices}
    return BAND_LOWER if BAND_LOWER in told else " + ".join(sorted(told))


def tokens(usage: Iterable[UsageLine]) -> Iterator[tuple[MeetingKey, Tokens]]:
    """Usage unpivoted by token type; a type that was not used makes no row."""
    for line in usage:
        for token_type, column in TOKEN_TYPES.items():
            if count := getattr(line, column):
                yield meeting_key(line, token_type), Tokens(line, count)

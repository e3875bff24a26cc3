"""What a batch's tokens cost: each kind of token priced once per price list, by the price book and the contract rates.

A price list is what holds for a tenant between two changes of any price or rate; tenants without rates share theirs.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from decimal import Decimal
from typing import NamedTuple

import pyarrow as pa

from stax_pipeline.derive.schemas import UNITS, schema_of, table_of_rows
from stax_pipeline.derive.terms import Terms
from stax_pipeline.derive.usage_lines import TOKEN_TYPES
from stax_pipeline.domain.errors import StaxError
from stax_pipeline.domain.money import EXACT, SCALE, round_usd
from stax_pipeline.pricing.prices import Price, Usage
from stax_pipeline.pricing.prices.book import UNITS as PRICING_UNITS

_FINE = 10**SCALE  # a price per token is whole units of 10^-18 USD and a rest in units of 10^-36
PRICES = schema_of(
    sold=pa.int32(), token_type=pa.string(),
    list_id=pa.int32(), list_unit=UNITS, list_low=UNITS, list_low_fine=UNITS, list_high=UNITS, list_high_fine=UNITS,
    contract_id=pa.int32(), contract_unit=UNITS, contract_low=UNITS, contract_low_fine=UNITS,
    contract_high=UNITS, contract_high_fine=UNITS,
    source=pa.int32(),
)  # fmt: skip
SOURCES = schema_of(source=pa.int32(), name=pa.string())


class TooFine(StaxError):
    """A price has more decimals per token than are summed exactly."""


class Sold(NamedTuple):
    """A kind of token before its type is told, as a price depends on it; dimensions as the source names them."""

    sold: int
    price_list: int
    model: str
    service_tier: str
    context_window: str
    inference_geo: str
    speed: str


class PriceLists:
    """The price lists of a batch, numbered as they are first asked for."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[object, ...], int] = {}
        self._lists: list[tuple[Terms, date]] = []
        self._changes: dict[tuple[object, ...], list[date]] = {}

    def number_of(self, terms: Terms, day: date) -> int:
        """The list by which the day's tokens are priced."""
        priced_by = (id(terms.book), terms.rates.rates)
        if priced_by not in self._changes:
            self._changes[priced_by] = _changes(terms)
        held = (priced_by, bisect_right(self._changes[priced_by], day))
        if held not in self._numbers:
            self._numbers[held] = len(self._lists)
            self._lists.append((terms, day))
        return self._numbers[held]

    def prices(self, sold: Iterable[Sold]) -> tuple[pa.Table, pa.Table]:
        """A row of PRICES per kind and token type, null where no price is known, and their SOURCES.

        Raises:
            TooFine: a price has digits beyond the 36th decimal per token.
        """
        ids: dict[tuple[Decimal, Decimal], int] = {}
        sources: dict[str, int] = {}
        rows = [
            (kind.sold, token_type, *self._row(kind, token_type, ids, sources))
            for kind in sold
            for token_type in TOKEN_TYPES
        ]
        return table_of_rows(PRICES, rows), table_of_rows(SOURCES, [(number, name) for name, number in sources.items()])

    def _row(
        self, kind: Sold, token_type: str, ids: dict[tuple[Decimal, Decimal], int], sources: dict[str, int]
    ) -> Iterator[int | None]:
        terms, day = self._lists[kind.price_list]
        listed, contracted = terms.quote(
            Usage(
                day, kind.model, token_type, kind.service_tier or "standard", kind.context_window, kind.inference_geo,
                kind.speed,
            )
        )  # fmt: skip
        for price in (listed, contracted):
            if price is None:
                yield from (None,) * 6
            else:
                yield ids.setdefault((price.low, price.high), len(ids))
                yield units(price.low)
                yield from each(price, price.low, kind.model)
                yield from each(price, price.high, kind.model)
        known = contracted or listed
        yield sources.setdefault(known.source, len(sources)) if known else None


def units(amount: Decimal) -> int:
    """USD, rounded half-even, in units of 10^-18."""
    return int(EXACT.scaleb(round_usd(amount), SCALE))


def usd(amount: int) -> Decimal:
    """Units of 10^-18 as USD."""
    return EXACT.scaleb(Decimal(amount), -SCALE)


def each(price: Price, amount: Decimal, name: str) -> tuple[int, int]:
    """What one token or request costs at `amount` USD per pricing unit: units of 10^-18 USD, and a rest of 10^-36.

    Raises:
        TooFine: there are digits beyond the 36th decimal.
    """
    exact = EXACT.scaleb(EXACT.divide(amount, PRICING_UNITS[price.pricing_unit]), 2 * SCALE)
    if exact != exact.to_integral_value():
        raise TooFine(f"the price of {name} has too many decimals: ${amount:f} per {price.pricing_unit}")
    whole, fine = divmod(int(exact), _FINE)
    return whole, fine


def _changes(terms: Terms) -> list[date]:
    """The days from which on some price or rate is another."""
    ends = (rate.effective_to for rate in terms.rates.rates)
    return sorted({
        *(price.effective_from for price in terms.book.prices),
        *(rate.effective_from for rate in terms.rates.rates),
        *(day + timedelta(days=1) for day in ends if day and day < date.max),
    })  # fmt: skip

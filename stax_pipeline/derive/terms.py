"""A tenant's terms: list prices, what was negotiated, what was committed to. What `spend` is priced with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from stax_pipeline.pricing.commitments import Commitment
from stax_pipeline.pricing.contract_rates import ContractRates
from stax_pipeline.pricing.prices import Price, PriceBook, Usage

Uses = frozenset[str]


class Quote(NamedTuple):
    """The price of one kind of token on one day, before and after the contract rate; None where not known."""

    listed: Price | None
    contracted: Price | None


@dataclass(frozen=True)
class Terms:
    """`version_of` names the prices, rates and commitments of a day, so that a figure can be traced to them."""

    book: PriceBook
    rates: ContractRates = ContractRates()
    commitments: tuple[Commitment, ...] = ()
    _versions: dict[tuple[date, Uses], str] = field(default_factory=dict, repr=False, compare=False)

    def quote(self, usage: Usage) -> Quote:
        listed = self.book.token_price(usage)
        rate = self.rates.rate_for(usage)
        return Quote(listed, rate.applied(listed) if rate else listed)

    def version_of(self, day: date, uses: Uses) -> str:
        """A digest of the list prices of `uses` on that day, and behind a plus one of the rates and commitments.

        Terms that price these uses alike on that day have the same version, whatever else they hold.
        """
        if (day, uses) not in self._versions:
            self._versions[day, uses] = self._version_of(day, uses)
        return self._versions[day, uses]

    def _version_of(self, day: date, uses: Uses) -> str:
        commitments = [_text(one) for one in self.commitments if day in one]
        priced = sorted({*uses, *(one.model for one in self.commitments if day in one)})
        own = [
            f"{use}|{_text((rate.service_tier, rate.token_type, rate.discount, rate.usd_per_unit))}"
            for rate in self.rates.rates for use in priced if rate.holds_on(day, use.partition("/")[0])
        ]  # fmt: skip
        book = _digest(self.book.text_of(use, day) for use in priced)[:12]
        return f"{book}+{_digest([*own, *commitments])[:8]}" if own or commitments else book


def _digest(texts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def _text(row: Iterable[object]) -> str:
    return "|".join(str(part.normalize() if isinstance(part, Decimal) else part) for part in row)

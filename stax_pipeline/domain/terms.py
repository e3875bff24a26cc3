"""A tenant's terms: list prices, what was negotiated, what was committed to. What `spend` is priced with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import NamedTuple

from stax_pipeline.domain.commitments import Commitment
from stax_pipeline.domain.contract_rates import ContractRates
from stax_pipeline.domain.prices import Price, PriceBook, Usage


class Quote(NamedTuple):
    """The price of one kind of token on one day, before and after the contract rate; None where not known."""

    listed: Price | None
    contracted: Price | None


@dataclass(frozen=True)
class Terms:
    """`version` names the prices, rates and commitments, so that a figure can be traced to them."""

    book: PriceBook
    rates: ContractRates = ContractRates()
    commitments: tuple[Commitment, ...] = ()

    def quote(self, usage: Usage) -> Quote:
        listed = self.book.token_price(usage)
        rate = self.rates.rate_for(usage)
        return Quote(listed, rate.applied(listed) if rate else listed)

    @cached_property
    def version(self) -> str:
        """The book's version, with a digest of rates and commitments behind it where there are any."""
        if not self.rates.rates and not self.commitments:
            return self.book.version
        text = "\n".join(_text(row) for row in (*self.rates.rates, *self.commitments))
        return f"{self.book.version}+{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _text(row: Iterable[object]) -> str:
    return "|".join(str(part.normalize() if isinstance(part, Decimal) else part) for part in row)

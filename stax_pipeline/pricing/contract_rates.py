"""What a tenant negotiated: a discount on, or a price instead of, the list price of tokens, by date.

Web searches, code execution and sessions have no contract rate. Two rates may not hold for the same token on the same
day: there is no order of precedence to guess.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from itertools import combinations
from typing import NamedTuple

from stax_pipeline.domain.money import EXACT, multiply
from stax_pipeline.pricing.prices.book import Price, Usage, dated_model

ANY = "*"
CONTRACT = "contract"


class ContractRate(NamedTuple):
    """One row: `discount` is a share of the list price (0.15 is 15 %), `usd_per_unit` USD per 1M tokens; one is None.

    `model_pattern` is a model id, or its beginning and `*`; `effective_to` is the last UTC day, None without an end.
    """

    model_pattern: str
    service_tier: str
    token_type: str
    effective_from: date
    effective_to: date | None
    discount: Decimal | None
    usd_per_unit: Decimal | None

    def holds_for(self, usage: Usage) -> bool:
        return (
            self.effective_from <= usage.day <= (self.effective_to or date.max)
            and self.service_tier in (ANY, usage.service_tier)
            and self.token_type in (ANY, usage.token_type)
            and _matches(self.model_pattern, dated_model(usage.model))
        )

    def holds_on(self, day: date, model: str) -> bool:
        """Whether it holds for some token of the model on that day."""
        return self.effective_from <= day <= (self.effective_to or date.max) and _matches(
            self.model_pattern, dated_model(model)
        )

    def overlaps(self, other: ContractRate) -> bool:
        """Whether some token of some day would have both."""
        return (
            self.effective_from <= (other.effective_to or date.max)
            and other.effective_from <= (self.effective_to or date.max)
            and (self.service_tier == other.service_tier or ANY in (self.service_tier, other.service_tier))
            and (self.token_type == other.token_type or ANY in (self.token_type, other.token_type))
            and (
                _matches(self.model_pattern, other.model_pattern.removesuffix(ANY))
                or _matches(other.model_pattern, self.model_pattern.removesuffix(ANY))
            )
        )

    def applied(self, listed: Price | None) -> Price | None:
        """The contracted price; None where a discount meets no list price."""
        if self.usd_per_unit is not None:
            return Price(self.usd_per_unit, self.usd_per_unit, "1M tokens", CONTRACT)
        if listed is None or self.discount is None:
            return None
        share = EXACT.subtract(Decimal(1), self.discount)
        return Price(multiply(listed.low, share), multiply(listed.high, share), listed.pricing_unit, listed.source)


def _matches(pattern: str, model: str) -> bool:
    if pattern.endswith(ANY):
        return model.startswith(pattern.removesuffix(ANY))
    return dated_model(pattern) == model


def overlapping(rates: Iterable[ContractRate]) -> tuple[ContractRate, ContractRate] | None:
    """The first two rates that hold for the same tokens, if there are any."""
    return next(((a, b) for a, b in combinations(sorted(rates, key=_order), 2) if a.overlaps(b)), None)


def _order(rate: ContractRate) -> tuple[object, ...]:
    return rate[:4]


@dataclass(frozen=True)
class ContractRates:
    """One tenant's rates, none of which overlap."""

    rates: tuple[ContractRate, ...] = ()
    _found: dict[Usage, ContractRate | None] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, rates: Iterable[ContractRate]) -> ContractRates:
        return cls(tuple(sorted(rates, key=_order)))

    def rate_for(self, usage: Usage) -> ContractRate | None:
        if not self.rates:
            return None
        if usage not in self._found:
            self._found[usage] = next((rate for rate in self.rates if rate.holds_for(usage)), None)
        return self._found[usage]

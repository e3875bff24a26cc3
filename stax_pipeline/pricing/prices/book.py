"""Look a unit price up by date, context window, speed and geography.

Rules and their source (Anthropic's Pricing page, restated in `docs/operate/prices.md`): the latest price not after the
usage date holds; batch halves every token price; US-only inference costs 1.1 times on models from Claude 4.6 on; a
model whose price steps at a prompt length that the report cannot show (Haiku 5.5 at 100k) has a lower and an upper
price.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from functools import cached_property
from itertools import combinations
from typing import NamedTuple

from stax_pipeline.domain.money import multiply

BATCH_FACTOR = Decimal("0.5")
BAND_LOW, BAND_HIGH = "0-100k", "100k-1M"  # the reports of 2026 do not tell them apart; one that does is exact
BAND_LOWER = "band-lower"
SIZES = {  # which sizes of prompts a context window holds, by their upper ends
    BAND_LOW: ("100k",),
    "0-200k": ("100k", "200k"),
    BAND_HIGH: ("200k", "1M"),
    "200k-1M": ("1M",),
}
PRICED_TIERS = frozenset({"standard", "batch", "priority"})
PRICED_GEOS = frozenset({"", "global", "not_available", "us"})  # no factor is published for any other
UNITS = {"1M tokens": 1_000_000, "1k requests": 1_000, "hour": 1}

ALIASES = {
    "claude-opus-4-5": "claude-opus-4-5-20251101",
    "claude-opus-4-1": "claude-opus-4-1-20250805",
    "claude-opus-4-0": "claude-opus-4-20250514",
    "claude-sonnet-4-5": "claude-sonnet-4-5-20250929",
    "claude-sonnet-4-0": "claude-sonnet-4-20250514",
    "claude-haiku-4-5": "claude-haiku-4-5-20251001",
    "claude-3-7-sonnet-latest": "claude-3-7-sonnet-20250219",
    "claude-3-5-haiku-latest": "claude-3-5-haiku-20241022",
    "claude-3-5-sonnet-latest": "claude-3-5-sonnet-20241022",
    "claude-3-opus-latest": "claude-3-opus-20240229",
}


def dated_model(model: str) -> str:
    """The dated id of a model that may be named by its alias."""
    return ALIASES.get(model, model)


WEB_SEARCH = "web_search"


def use_of(model: str, speed: str) -> str:
    """What a token is priced by, apart from its kind: the dated model, with `/fast` behind it in fast mode."""
    return f"{dated_model(model)}/fast" if speed == "fast" else dated_model(model)


class ListPrice(NamedTuple):
    """One published price. `model` and `token_type` are '' for what is not sold by token."""

    model: str
    effective_from: date
    cost_type: str
    token_type: str
    context_window: str
    speed: str
    pricing_unit: str
    usd_per_unit: Decimal
    us_multiplier: Decimal
    source: str


METER = 6  # how many of a price's first fields, up to `speed`, say what it is for


def shadowing(prices: Iterable[ListPrice]) -> Iterator[tuple[ListPrice, ListPrice]]:
    """Pairs of prices for the same tokens from the same day on, of which a look-up would silently take one.

    Windows of one meter and day are all alike (`all`), split at 200k, or split at 100k.
    """
    by_day: dict[tuple[object, ...], list[ListPrice]] = defaultdict(list)
    for price in prices:
        by_day[price.model, price.cost_type, price.token_type, price.speed, price.effective_from].append(price)
    for same in by_day.values():
        for first, second in combinations(sorted(same), 2):
            if _kind(first.context_window) != _kind(second.context_window):
                yield first, second


def _kind(window: str) -> str:
    return "split at 100k" if window in (BAND_LOW, BAND_HIGH) else "all" if window == "all" else "split at 200k"


def _in_force(prices: Iterable[ListPrice], day: date) -> Iterator[ListPrice]:
    """Of one meter's prices the newest of each context window, without those that a newer `all` ended."""
    newest: dict[str, ListPrice] = {}
    for price in sorted(prices, key=lambda one: one.effective_from):
        if price.effective_from <= day:
            newest[price.context_window] = price
    ended = newest["all"].effective_from if "all" in newest else date.min
    return (price for price in newest.values() if price.effective_from >= ended)


class Usage(NamedTuple):
    """What a price depends on."""

    day: date
    model: str
    token_type: str
    service_tier: str
    context_window: str
    inference_geo: str
    speed: str


@dataclass(frozen=True, slots=True)
class Price:
    """USD per pricing unit before any contract rate; `high` differs from `low` only inside an unseen band."""

    low: Decimal
    high: Decimal
    pricing_unit: str
    source: str

    @property
    def banded(self) -> bool:
        return self.low != self.high

    def amount(self, quantity: int) -> tuple[Decimal, Decimal]:
        """USD of `quantity` tokens or requests at the lower and the upper price, exact."""
        units = Decimal(quantity) / UNITS[self.pricing_unit]
        low = multiply(units, self.low)
        return low, multiply(units, self.high) if self.banded else low


@dataclass(frozen=True)
class PriceBook:
    """All list prices; `version` is a digest of their content, so that a figure can name the prices it came from."""

    prices: tuple[ListPrice, ...]
    _found: dict[Usage, Price | None] = field(default_factory=dict, repr=False, compare=False)
    _texts: dict[tuple[str, date], str] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, prices: Iterable[ListPrice]) -> PriceBook:
        return cls(tuple(sorted(prices)))

    @cached_property
    def version(self) -> str:
        text = "\n".join(
            "|".join(str(part.normalize() if isinstance(part, Decimal) else part) for part in price[:-1])
            for price in self.prices
        )
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @cached_property
    def _by_meter(self) -> dict[tuple[str, str, str, str], list[ListPrice]]:
        index: dict[tuple[str, str, str, str], list[ListPrice]] = defaultdict(list)
        for price in self.prices:
            index[price.model, price.cost_type, price.token_type, price.speed].append(price)
        return index

    @cached_property
    def _by_use(self) -> dict[str, list[list[ListPrice]]]:
        index: dict[str, list[list[ListPrice]]] = defaultdict(list)
        for (model, cost_type, _, speed), prices in self._by_meter.items():
            index[use_of(model, speed) if model else cost_type].append(prices)
        return index

    def text_of(self, use: str, day: date) -> str:
        """The prices of a use on that day and where they were published, as text: books of the same text tell alike."""
        if (use, day) not in self._texts:
            held = [price for prices in self._by_use.get(use, ()) for price in _in_force(prices, day)]
            self._texts[use, day] = "\n".join(
                "|".join(str(part.normalize() if isinstance(part, Decimal) else part) for part in price)
                for price in sorted(price._replace(effective_from=day) for price in held)
            )
        return self._texts[use, day]

    def service_price(self, cost_type: str, day: date) -> Price | None:
        """The price of web searches, code execution or session hours on `day`."""
        price = self._latest(("", cost_type, "", "standard"), day)
        return price and Price(price.usd_per_unit, price.usd_per_unit, price.pricing_unit, price.source)

    def token_price(self, usage: Usage) -> Price | None:
        """The list price of one million tokens, batch and geography included; None where no price is known."""
        if usage not in self._found:
            self._found[usage] = self._token_price(usage)
        return self._found[usage]

    def _token_price(self, usage: Usage) -> Price | None:
        if usage.service_tier not in PRICED_TIERS or usage.inference_geo not in PRICED_GEOS:
            return None
        speed = "fast" if usage.speed == "fast" else "standard"
        meter = dated_model(usage.model), "tokens", usage.token_type, speed
        window = usage.context_window or "0-200k"
        held = [self._latest(meter, usage.day, size) for size in SIZES.get(window, (window,))]
        known = [price for price in held if price]
        if len(known) < len(held):
            return None
        low, high = (pick(known, key=lambda price: price.usd_per_unit) for pick in (min, max))
        factor = BATCH_FACTOR if usage.service_tier == "batch" else Decimal(1)
        if usage.inference_geo == "us":
            factor = multiply(factor, low.us_multiplier)
        low_usd, high_usd = multiply(low.usd_per_unit, factor), multiply(high.usd_per_unit, factor)
        return Price(low_usd, high_usd, low.pricing_unit, BAND_LOWER if low_usd != high_usd else low.source)

    def _latest(self, meter: tuple[str, str, str, str], day: date, size: str = "") -> ListPrice | None:
        """The newest price for prompts of that size; a window of its own wins over `all` of the same day."""
        held = (
            price
            for price in self._by_meter.get(meter, ())
            if price.effective_from <= day
            and (price.context_window == "all" or size in SIZES.get(price.context_window, ()))
        )
        return max(held, key=lambda p: (p.effective_from, p.context_window != "all"), default=None)

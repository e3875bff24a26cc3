"""What is likely a mistake in rows that are well formed: said once, in one line each, and nothing is blocked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from decimal import Decimal

from stax_pipeline.domain.money import EXACT
from stax_pipeline.pricing.contract_rates import ANY, ContractRate
from stax_pipeline.pricing.imports.sourced import Sourced, plain
from stax_pipeline.pricing.prices import ListPrice
from stax_pipeline.pricing.prices.book import METER

FACTOR = 4  # list prices have moved by a factor of three; more is likely a slip of the decimal point


def rate_warnings(rates: Iterable[Sourced[ContractRate]], models: Collection[str]) -> Iterator[str]:
    """Patterns that match none of `models`: dated ids in the price book or in use."""
    for one in rates:
        pattern = one.value.model_pattern
        start = pattern.removesuffix(ANY)
        if not any(model.startswith(start) if pattern.endswith(ANY) else model == pattern for model in models):
            yield _unknown(one, pattern)


def price_warnings(
    prices: Sequence[Sourced[ListPrice]], before: Sequence[ListPrice], models: Collection[str]
) -> Iterator[str]:
    """Models unknown so far, prices that jump, and prices by context window that end, against the book before."""
    standing = set(before)
    written = [one for one in prices if one.value not in standing]
    of_sale: dict[tuple[str, ...], list[ListPrice]] = defaultdict(list)
    for price in (*before, *(one.value for one in prices)):
        of_sale[_sale(price)].append(price)
    for one in written:
        price = one.value
        if price.model and price.model not in models:
            yield _unknown(one, price.model)
        others = [other for other in of_sale[_sale(price)] if other != price]
        yield from (
            f"row {one.row.number}: {warning}" for warning in (_jump(price, others), _ended(price, others)) if warning
        )


def _unknown(one: Sourced[ContractRate] | Sourced[ListPrice], named: str) -> str:
    return f"row {one.row.number}: no model in the price book or in use matches {named}"


def _sale(price: ListPrice) -> tuple[str, ...]:
    return price.model, price.cost_type, price.token_type, price.speed


def _jump(price: ListPrice, others: Iterable[ListPrice]) -> str:
    """How far the price lies from the one in force before it, where that is far."""
    earlier = [
        other
        for other in others
        if other.effective_from < price.effective_from or other[:METER] == price[:METER]
        if "all" in (other.context_window, price.context_window) or other.context_window == price.context_window
    ]
    if not earlier:
        return ""
    last = max(earlier, key=lambda other: (other.effective_from, other.context_window == price.context_window))
    was, now = last.usd_per_unit, price.usd_per_unit
    if max(was, now) <= FACTOR * min(was, now):
        return ""
    factor = f", factor {_short(EXACT.divide(now, was))}" if was else ""
    return f"{price.model or price.cost_type} {price.token_type} was {plain(was)} until {price.effective_from}{factor}"


def _short(factor: Decimal) -> str:
    return f"{Decimal(f'{factor:.2g}'):f}"


def _ended(price: ListPrice, others: Sequence[ListPrice]) -> str:
    """The prices by context window that a later price for all of them silently ends."""
    if price.context_window != "all":
        return ""
    until = max(
        (one.effective_from for one in others if one.context_window == "all" and one[:METER] < price[:METER]),
        default=None,
    )
    over = any(one[:METER] == price[:METER] for one in others)
    windows = {
        one.context_window: one.effective_from
        for one in sorted(others)
        if one.context_window != "all" and one.effective_from < price.effective_from
        if until is None or one.effective_from > until
    }
    if not windows or over:
        return ""
    ends = " and ".join(f"{window} (since {day})" for window, day in windows.items())
    return f"ends the {price.token_type} prices of {price.model} by context window, {ends}, on {price.effective_from}"

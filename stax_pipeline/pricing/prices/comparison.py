"""Where another book of list prices differs from ours on a day."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from stax_pipeline.pricing.prices.book import ListPrice, PriceBook, Usage, dated_model

WINDOWS = ("0-200k", "200k-1M")


class Disagreement(NamedTuple):
    """USD per 1M tokens; `ours` holds both bounds of a price that steps unseen, None where the book has no price."""

    model: str
    token_type: str
    context_window: str
    ours: tuple[Decimal, Decimal] | None
    theirs: Decimal


def disagreements(book: PriceBook, theirs: Iterable[ListPrice], day: date) -> list[Disagreement]:
    """Their standard token prices that are not the book's on `day`, for the models that the book names."""
    named = {price.model for price in book.prices}
    found = set()
    for price in theirs:
        model = dated_model(price.model)
        if model in named:
            for window in WINDOWS if price.context_window == "all" else (price.context_window,):
                usage = Usage(day, model, price.token_type, "standard", window, "global", "standard")
                held = book.token_price(usage)
                ours = (held.low, held.high) if held else None
                if ours is None or not ours[0] <= price.usd_per_unit <= ours[1]:
                    found.add(Disagreement(model, price.token_type, window, ours, price.usd_per_unit))
    return sorted(found, key=lambda one: one[:3])

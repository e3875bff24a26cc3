"""The prices this package ships: two dated CSVs of Claude models, one of services, and `genai-prices` as fallback.

`genai-prices` is read for models the CSVs lack and for base rates only: its `calc_price` picks a tier from the size of
the bucket it is given, which is wrong for aggregated reports. It is pinned exactly, its reading wrapped here alone.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from stax_pipeline.pricing.prices.book import ALIASES, ListPrice

US_FROM = date(2026, 2, 5)  # "US-only inference: 1.1 on every token type, Claude 4.6 and later"
US_MULTIPLIER = Decimal("1.1")
FALLBACK_FROM = date(2025, 8, 18)  # the book's first day: genai-prices tells no launch dates
_FALLBACK_RATES = {
    "uncached_input_tokens": "input_mtok",
    "output_tokens": "output_mtok",
    "cache_read_input_tokens": "cache_read_mtok",
    "cache_creation.ephemeral_5m_input_tokens": "cache_write_mtok",
    "cache_creation.ephemeral_1h_input_tokens": "cache_write_1h_mtok",
}


@cache
def shipped_prices() -> tuple[ListPrice, ...]:
    """Every list price of the package: CSV rows first, the fallback's for models the CSVs do not name."""
    rows = [
        *_model_rows("claude-list-prices.csv", "standard"),
        *_model_rows("claude-fast-mode-prices.csv", "fast"),
    ]
    named = {row.model for row in rows} | ALIASES.keys()
    return (
        *rows,
        *_service_rows(),
        *(row for row in genai_prices(FALLBACK_FROM) if row.model not in named),
    )


def read_csv(name: str) -> Iterator[dict[str, str]]:
    """The rows of a data file of this package."""
    with (files("stax_pipeline.pricing.prices") / name).open(encoding="utf-8") as lines:
        yield from csv.DictReader(lines)


def _model_rows(name: str, speed: str) -> list[ListPrice]:
    rows = list(read_csv(name))
    launched: dict[str, date] = {}
    for row in rows:
        day = date.fromisoformat(row["effective_from"])
        launched[row["model"]] = min(day, launched.get(row["model"], day))
    return [
        ListPrice(
            model=row["model"],
            effective_from=date.fromisoformat(row["effective_from"]),
            cost_type="tokens",
            token_type=row["token_type"],
            context_window=row["context_window"],
            speed=speed,
            pricing_unit="1M tokens",
            usd_per_unit=Decimal(row["usd_per_mtok"]),
            us_multiplier=US_MULTIPLIER if launched[row["model"]] >= US_FROM else Decimal(1),
            source=row["source"],
        )
        for row in rows
    ]


def _service_rows() -> Iterator[ListPrice]:
    for row in read_csv("claude-service-prices.csv"):
        yield ListPrice(
            model="",
            effective_from=date.fromisoformat(row["effective_from"]),
            cost_type=row["cost_type"],
            token_type="",
            context_window="all",
            speed="standard",
            pricing_unit=row["pricing_unit"],
            usd_per_unit=Decimal(row["usd_per_unit"]),
            us_multiplier=Decimal(1),
            source=row["source"],
        )


def genai_prices(day: date) -> Iterator[ListPrice]:
    """The base rates that `genai-prices` has for `day`, dated so."""
    from genai_prices import data_snapshot

    source = f"genai-prices {version('genai-prices')}"
    when = datetime.combine(day, time.min, tzinfo=UTC)
    provider = next(p for p in data_snapshot.get_snapshot().providers if p.id == "anthropic")
    for model in provider.models:
        rates = model.get_prices(when, {})
        for token_type, attribute in _FALLBACK_RATES.items():
            for window, usd in _windows(getattr(rates, attribute, None)):
                yield ListPrice(
                    model.id,
                    day,
                    "tokens",
                    token_type,
                    window,
                    "standard",
                    "1M tokens",
                    usd,
                    Decimal(1),
                    source,
                )


def _windows(rate: Any) -> Iterator[tuple[str, Decimal]]:
    """A flat rate for all windows; the base of a stepped one below 200k and its last step above."""
    if isinstance(rate, Decimal):
        yield "all", rate
    elif rate is not None:
        yield "0-200k", rate.base
        yield "200k-1M", rate.tiers[-1].price

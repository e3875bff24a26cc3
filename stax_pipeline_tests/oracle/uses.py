"""What is priced on each day, told line by line."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import date

from stax_pipeline.derive.terms import Uses
from stax_pipeline.derive.usage_lines import UsageLine
from stax_pipeline.pricing.prices.book import WEB_SEARCH, use_of


def uses_by_day(usage: Iterable[UsageLine]) -> dict[date, Uses]:
    """What is priced on each day: models, in fast mode apart, and web searches."""
    found: dict[date, set[str]] = defaultdict(set)
    for line in usage:
        found[line.usage_date].add(use_of(line.model, line.speed))
        if line.web_search_requests:
            found[line.usage_date].add(WEB_SEARCH)
    return {day: frozenset(uses) for day, uses in found.items()}

"""The price of one kind of token of a usage line."""

from __future__ import annotations

from stax_pipeline.derive.terms import Quote, Terms
from stax_pipeline.derive.usage_lines import UsageLine
from stax_pipeline.pricing.prices import Usage


def quote_of(line: UsageLine, token_type: str, terms: Terms) -> Quote:
    """The list price and the contracted price of one kind of token of a usage line."""
    return terms.quote(
        Usage(
            line.usage_date, line.model, token_type, line.service_tier or "standard",
            line.context_window, line.inference_geo, line.speed,
        )
    )  # fmt: skip

"""The join: cost lines (dollars, no tokens) meet usage lines (tokens, no dollars) in one spend line per join key.

The rules are those of `docs/understand/concepts.md`: first match wins, nothing is counted twice, a figure that is not
known stays NULL. Inputs and output are one tenant's; everything is USD and UTC days.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import date
from decimal import Decimal

from stax_pipeline.derive.cost_lines import CostLine
from stax_pipeline.derive.join import JoinKey, Pricing, Tokens, join_key, pricing, tokens
from stax_pipeline.derive.spend import METERED_TIERS, CostSource, SpendLine
from stax_pipeline.derive.terms import Quote, Terms
from stax_pipeline.derive.usage_lines import UsageLine
from stax_pipeline.domain.money import round_usd, sum_usd
from stax_pipeline.pricing.commitments import burned
from stax_pipeline.pricing.prices.book import UNITS
from stax_pipeline_tests.oracle.quotes import quote_of
from stax_pipeline_tests.oracle.uses import uses_by_day

_SERVICE_UNITS = {
    "web_search": ("requests", "1k requests"),
    "code_execution": ("hours", "hour"),
    "session_usage": ("hours", "hour"),
}


def decide(tier: str, costs: list[CostLine], price: Decimal | None, settled: bool) -> tuple[CostSource, Decimal | None]:
    """Where a line's dollars come from, and the dollars: first match wins. `price` is after the contract rate; a tier
    without a published price has one where the tenant's contract names it.
    """
    if costs:
        return CostSource.REPORTED, sum_usd(line.amount_usd for line in costs)
    if tier == "priority" and price is not None:
        return CostSource.PRIORITY_RECONSTRUCTED, price
    if tier in METERED_TIERS and settled:
        return CostSource.UNBILLED, Decimal(0)
    if price is not None:
        return CostSource.USAGE_ESTIMATED, price
    return CostSource.UNPRICED, None


def spend_lines(
    costs: Iterable[CostLine],
    usage: Iterable[UsageLine],
    terms: Terms,
    settled: frozenset[date],
) -> list[SpendLine]:
    """All spend lines of one tenant's days. Every cost line and every token lands in exactly one of them."""
    costs, usage = list(costs), list(usage)
    paid: dict[JoinKey, list[CostLine]] = defaultdict(list)
    searched: dict[tuple[date, str], list[CostLine]] = defaultdict(list)
    others: dict[tuple[object, ...], list[CostLine]] = defaultdict(list)
    for line in costs:
        if line.cost_type == "tokens" and not line.is_credit:
            paid[join_key(line, line.token_type)].append(line)
        elif line.cost_type == "web_search" and not line.is_credit:
            searched[line.usage_date, line.workspace_id].append(line)
        else:
            others[line[1:9] + (line.usage_date,)].append(line)
    used: dict[JoinKey, list[Tokens]] = defaultdict(list)
    searches: dict[tuple[date, str], int] = defaultdict(int)
    for key, part in tokens(usage):
        used[key].append(part)
    for meter in usage:
        if meter.web_search_requests:
            searches[meter.usage_date, meter.workspace_id] += meter.web_search_requests
    lines = [
        _token_line(key, paid.get(key, []), used.get(key, []), terms, settled) for key in paid.keys() | used.keys()
    ]
    lines += [
        _search_line(key, searched.get(key, []), searches.get(key, 0), terms, settled)
        for key in searched.keys() | searches.keys()
    ]
    lines += [_cost_only_line(same, terms) for same in others.values()]
    uses = uses_by_day(usage)
    dated = (
        line._replace(price_book_version=terms.version_of(line.usage_date, uses.get(line.usage_date, frozenset())))
        for line in lines
    )
    return sorted(dated, key=lambda line: (line[:10], line.quantity or 0))


def _texts(lines: Iterable[CostLine]) -> str:
    return "; ".join(sorted({line.description for line in lines if line.description}))


def _credits(lines: Iterable[CostLine]) -> Decimal:
    return sum_usd(line.amount_usd for line in lines if line.amount_usd < 0)


def _one(values: Iterable[str], several: str) -> str:
    distinct = set(values)
    return distinct.pop() if len(distinct) == 1 else several


def _token_line(
    key: JoinKey,
    costs: list[CostLine],
    used: list[Tokens],
    terms: Terms,
    settled: frozenset[date],
) -> SpendLine:
    priced = pricing((quote_of(part.line, key.token_type, terms), part.number) for part in used)
    source, cost_usd = decide(key.service_tier, costs, priced.contracted.low, key.usage_date in settled)
    shown: list[CostLine] | list[UsageLine] = [part.line for part in used] or costs
    quantity = sum(part.number for part in used) if used else None
    return SpendLine(
        usage_date=key.usage_date,
        workspace_id=key.workspace_id,
        model=_one((line.model for line in shown), key.model),
        cost_type="tokens",
        token_type=key.token_type,
        service_tier=_one((line.service_tier for line in shown), key.service_tier),
        context_window=_one((line.context_window for line in shown), key.context_window),
        inference_geo=_one((line.inference_geo for line in shown), key.inference_geo),
        speed=_one((part.line.speed for part in used), "mixed") if used else "",
        description=_texts(costs),
        quantity=quantity,
        unit="tokens",
        cost_source=source,
        cost_usd=cost_usd,
        credits_usd=_credits(costs),
        effective_cost_usd=cost_usd,
        list_cost_usd=priced.listed.low,
        list_cost_low_usd=priced.listed.low if priced.listed.banded else None,
        list_cost_high_usd=priced.listed.high if priced.listed.banded else None,
        contracted_cost_usd=priced.contracted.low,
        list_unit_price_usd=priced.listed.unit_price,
        contracted_unit_price_usd=priced.contracted.unit_price,
        pricing_quantity=_in_units(quantity, "1M tokens"),
        pricing_unit="1M tokens",
        price_source=priced.source,
        price_book_version="",
        commitment_id="",
        burndown_units=burned(key.service_tier, key.token_type, key.inference_geo, quantity),
        cost_line_count=len(costs),
    )


def _in_units(quantity: int | None, unit: str) -> Decimal | None:
    return None if quantity is None else round_usd(Decimal(quantity) / UNITS[unit])


def _search_line(
    key: tuple[date, str],
    costs: list[CostLine],
    requests: int,
    terms: Terms,
    settled: frozenset[date],
) -> SpendLine:
    """Web searches meet by day and workspace alone, summed over models and tiers."""
    day, workspace_id = key
    price = terms.book.service_price("web_search", day)
    priced = pricing([(Quote(price, price), requests)] if requests else [])
    source, cost_usd = decide("standard", costs, priced.contracted.low, day in settled)
    quantity = requests or None
    return _service_line(day, workspace_id, "web_search", costs, source, cost_usd, priced, quantity, terms)


def _cost_only_line(costs: list[CostLine], terms: Terms) -> SpendLine:
    """Code execution, session time, credits and whatever else has no count in the usage report."""
    first, total = costs[0], sum_usd(line.amount_usd for line in costs)
    line = _service_line(
        first.usage_date,
        first.workspace_id,
        first.cost_type,
        costs,
        CostSource.REPORTED,
        total,
        Pricing(),
        None,
        terms,
    )
    return line._replace(
        model=first.model,
        token_type=first.token_type,
        service_tier=first.service_tier,
        context_window=first.context_window,
        inference_geo=first.inference_geo,
    )


def _service_line(
    day: date,
    workspace_id: str,
    cost_type: str,
    costs: list[CostLine],
    source: CostSource,
    cost_usd: Decimal | None,
    priced: Pricing,
    quantity: int | None,
    terms: Terms,
) -> SpendLine:
    unit, pricing_unit = _SERVICE_UNITS.get(cost_type, ("", ""))
    return SpendLine(
        usage_date=day,
        workspace_id=workspace_id,
        model="",
        cost_type=cost_type,
        token_type="",
        service_tier="",
        context_window="",
        inference_geo="",
        speed="",
        description=_texts(costs),
        quantity=quantity,
        unit=unit,
        cost_source=source,
        cost_usd=cost_usd,
        credits_usd=_credits(costs),
        effective_cost_usd=cost_usd,
        list_cost_usd=priced.listed.low,
        list_cost_low_usd=None,
        list_cost_high_usd=None,
        contracted_cost_usd=priced.contracted.low,
        list_unit_price_usd=priced.listed.unit_price,
        contracted_unit_price_usd=priced.contracted.unit_price,
        pricing_quantity=_in_units(quantity, pricing_unit),
        pricing_unit=pricing_unit,
        price_source=priced.source,
        price_book_version="",
        commitment_id="",
        burndown_units=None,
        cost_line_count=len(costs),
    )

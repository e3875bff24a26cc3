"""What a day costs: usage times list price as cost lines, and the truth that tests compare with.

Exact decimals throughout. The shape of the cost report stays out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Context, Decimal, Inexact
from functools import lru_cache
from typing import NamedTuple

from stax_pipeline.simulator.organization import Organization
from stax_pipeline.simulator.prices import HOUR_USD, TOKEN_TYPES, WEB_SEARCH_USD, factor, usd_per_mtok
from stax_pipeline.simulator.usage import MINUTES, HourlyRow, UsageRow, hours_between, hours_until, usage_between

_EXACT = Context(prec=60, traps=[Inexact])
_CENTS_PER_USD = Decimal(100)
_DATE_LENGTH = len("20250929")
_TYPE_TEXT = dict(
    zip(
        TOKEN_TYPES,
        (
            "Input Tokens",
            "Input Tokens, Cache Write",
            "Input Tokens, Cache Write 1h",
            "Input Tokens, Cache Hit",
            "Output Tokens",
        ),
        strict=True,
    )
)
_HOUR_TEXT = {
    "code_execution": "Code Execution Usage",
    "session_usage": "Managed Agents Session Usage",
}


class CostKey(NamedTuple):
    """Everything a cost line is told apart by."""

    workspace_id: str | None
    description: str
    cost_type: str | None
    token_type: str | None = None
    model: str | None = None
    service_tier: str | None = None
    context_window: str | None = None
    inference_geo: str | None = None


def display_name(model: str) -> str:
    """`claude-sonnet-4-5-20250929` as the source writes it: `Claude Sonnet 4.5`."""
    words = [word for word in model.removeprefix("claude-").split("-") if len(word) < _DATE_LENGTH]
    numbers = ".".join(word for word in words if word.isdigit())
    names = " ".join(word.capitalize() for word in words if not word.isdigit())
    return f"Claude {numbers} {names}" if words[0].isdigit() else f"Claude {names} {numbers}"


def _list_usd(row: UsageRow, day: date) -> Iterator[tuple[str, Decimal]]:
    """List price in dollars of each token type that `row` has."""
    multiplier = factor(row.service_tier, row.inference_geo)
    for token_type, count in zip(TOKEN_TYPES, row.counts, strict=False):
        if count:
            price = usd_per_mtok(
                row.model,
                token_type,
                day,
                row.context_window,
                row.speed,
                long_prompt=row.long_prompt,
            )
            yield (
                token_type,
                _EXACT.multiply(_EXACT.multiply(Decimal(count), price), multiplier).scaleb(-6, _EXACT),
            )


@lru_cache(maxsize=1024)
def _description(model: str, speed: str, token_type: str) -> str:
    fast = " (Fast)" if speed == "fast" else ""
    return f"{display_name(model)} Usage{fast} - {_TYPE_TEXT[token_type]}"


def _token_key(row: UsageRow, token_type: str) -> CostKey:
    return CostKey(
        row.workspace_id,
        _description(row.model, row.speed, token_type),
        "tokens",
        token_type,
        row.model,
        row.service_tier,
        row.context_window,
        row.inference_geo,
    )


def cost_lines(organization: Organization, day: date, minutes: int = MINUTES) -> dict[CostKey, Decimal]:
    """The day's cost in cents by line, for what had happened by `minutes`; Priority Tier tokens are never in it."""
    usd: dict[CostKey, Decimal] = defaultdict(Decimal)
    for row in usage_between(organization, day, 0, minutes):
        if not row.billed:
            continue
        if row.service_tier != "priority":
            for token_type, amount in _list_usd(row, day):
                key = _token_key(row, token_type)
                usd[key] = _EXACT.add(usd[key], amount)
        if row.counts[-1]:
            usd[CostKey(row.workspace_id, "Web Search Usage", "web_search")] += row.counts[-1] * WEB_SEARCH_USD
    for hours in hours_until(organization, day, minutes):
        key = CostKey(hours.workspace_id, _HOUR_TEXT[hours.cost_type], hours.cost_type)
        usd[key] += Decimal(hours.milli_hours).scaleb(-3) * HOUR_USD[hours.cost_type]
    share = _EXACT.multiply(
        _EXACT.multiply(_CENTS_PER_USD, 1 - organization.discount), _share_reported(organization, day)
    )
    return {key: _EXACT.multiply(amount, share) for key, amount in usd.items()} | _credits(organization, day, minutes)


def _share_reported(organization: Organization, day: date) -> Decimal:
    """The part of the day's cost that the source shows as long as it has not corrected the day."""
    return 1 - sum((one.short for one in organization.corrections if one.day == day), Decimal(0))


def _credits(organization: Organization, day: date, minutes: int) -> dict[CostKey, Decimal]:
    """The day's credits in cents, once it is over."""
    due = [one for one in organization.credits if one.day_of_month == day.day and minutes == MINUTES]
    return {CostKey(None, one.description, None): -one.usd * _CENTS_PER_USD for one in due}


class Charge(NamedTuple):
    """What one row of use costs at list price, before the organisation's discount."""

    row: UsageRow | HourlyRow
    cost_type: str
    token_type: str | None
    list_cents: Decimal


def charges(organization: Organization, day: date, first: int, last: int) -> Iterator[Charge]:
    """The charges of the minutes from `first` to before `last`, one by one.

    Priority Tier tokens are among them only where the organisation says so.
    """
    for row in usage_between(organization, day, first, last):
        if not row.billed:
            continue
        if row.service_tier != "priority" or organization.priority_in_analytics:
            for token_type, usd in _list_usd(row, day):
                yield Charge(row, "tokens", token_type, _EXACT.multiply(usd, _CENTS_PER_USD))
        if row.counts[-1]:
            yield Charge(row, "web_search", None, row.counts[-1] * WEB_SEARCH_USD * _CENTS_PER_USD)
    for hours in hours_between(organization, day, first, last):
        usd = Decimal(hours.milli_hours).scaleb(-3) * HOUR_USD[hours.cost_type]
        yield Charge(hours, hours.cost_type, None, usd * _CENTS_PER_USD)


@dataclass(frozen=True, slots=True)
class Truth:
    """What is true of one organisation and day, for comparison with what a reader made of the reports.

    `reported_usd` is the cost report's total; `priority_usd` Priority Tier tokens at list price; `list_usd` tokens at
    list price by model and tier; `tokens` by model, tier and token type.
    """

    reported_usd: Decimal
    priority_usd: Decimal
    list_usd: dict[tuple[str, str], Decimal]
    tokens: dict[tuple[str, str, str], int]
    web_search_requests: int


def truth(organization: Organization, day: date, minutes: int = MINUTES) -> Truth:
    """The truth about what had happened by `minutes` of `day`; the whole day unless told."""
    list_usd: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    tokens: dict[tuple[str, str, str], int] = defaultdict(int)
    searches = 0
    for row in usage_between(organization, day, 0, minutes):
        where = (row.model, row.service_tier)
        for token_type, count in zip(TOKEN_TYPES, row.counts, strict=False):
            if count:
                tokens[(*where, token_type)] += count
        for _, amount in _list_usd(row, day):
            list_usd[where] = _EXACT.add(list_usd[where], amount)
        searches += row.counts[-1]
    cents = sum(cost_lines(organization, day, minutes).values(), Decimal(0))
    priority = sum((usd for (_, tier), usd in list_usd.items() if tier == "priority"), Decimal(0))
    return Truth(cents.scaleb(-2), priority, dict(list_usd), dict(tokens), searches)

"""The error bar: standard and batch usage priced by the code that prices Priority, beside what was billed for it.

Where the two differ by more than 1 %, the cause is named if the figures themselves can tell it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from stax_pipeline.domain.cost import CostLine
from stax_pipeline.domain.meeting import MeetingKey, Pricing, Tokens, meeting_key, pricing, quote_of, tokens
from stax_pipeline.domain.money import EXACT, multiply, ratio, round_usd, sum_usd
from stax_pipeline.domain.prices.book import dated_model
from stax_pipeline.domain.spend import METERED_TIERS
from stax_pipeline.domain.terms import Terms
from stax_pipeline.domain.usage import UsageLine

TOLERANCE = Decimal("0.01")
ALIKE = Decimal("0.002")  # how far token types may differ in their share of the list price under one discount
NO_DISCOUNT = Decimal("0.995")


class Cause(StrEnum):
    AGREES = ""
    BAND = "band"
    UNKNOWN_PRICE = "unknown price"
    UNBILLED = "unbilled tokens"
    NO_USAGE = "dollars without usage"
    FAST_MODE = "fast mode"
    CONTRACT_DISCOUNT = "contract discount"
    RECORDED_RATE = "recorded rate"
    ONE_TOKEN_TYPE = "one token type"
    RESTATED = "restated day"
    UNEXPLAINED = "unexplained"


class Cell(NamedTuple):
    """What one row of the error bar is about; `model` is the dated id."""

    usage_date: date
    model: str
    service_tier: str


class Reconciliation(NamedTuple):
    """Token dollars of one day, model and tier. `ratio` is priced ÷ reported, None without either."""

    usage_date: date
    model: str
    service_tier: str
    priced_usd: Decimal | None
    priced_low_usd: Decimal | None
    priced_high_usd: Decimal | None
    list_priced_usd: Decimal | None
    reported_usd: Decimal
    ratio: Decimal | None
    cause: str


@dataclass(slots=True)
class _Evidence:
    """Usage and reported dollars of one cell, by meeting key."""

    used: dict[MeetingKey, list[Tokens]] = field(default_factory=lambda: defaultdict(list))
    paid: dict[MeetingKey, list[Decimal]] = field(default_factory=lambda: defaultdict(list))
    priced: dict[MeetingKey, Pricing] = field(default_factory=dict)

    def price(self, terms: Terms) -> None:
        for key, parts in self.used.items():
            self.priced[key] = pricing((quote_of(part.line, key.token_type, terms), part.number) for part in parts)

    def bounds(self, keys: Iterable[MeetingKey]) -> tuple[Decimal | None, Decimal | None]:
        """Lowest and highest contracted dollars of these keys; None where one has no price."""
        amounts = [self.priced[key].contracted for key in keys]
        return _total(amount.low for amount in amounts), _total(amount.high for amount in amounts)

    @property
    def reported(self) -> Decimal:
        return sum_usd(usd for amounts in self.paid.values() for usd in amounts)


def reconcile(
    costs: Iterable[CostLine],
    usage: Iterable[UsageLine],
    terms: Terms,
    settled: frozenset[date],
    restated: frozenset[Cell] = frozenset(),
) -> list[Reconciliation]:
    """One row per day, model and tier of standard and batch, credits apart. A day without any cost yet is left out.

    `restated` are cells whose cost or usage changed after the fact.
    """
    cells: dict[Cell, _Evidence] = defaultdict(_Evidence)
    reported_days = set(settled)
    for line in costs:
        if line.cost_type == "tokens" and not line.is_credit:
            key = meeting_key(line, line.token_type)
            reported_days.add(key.usage_date)
            if key.service_tier in METERED_TIERS:
                cells[_cell(key)].paid[key].append(line.amount_usd)
    for key, part in tokens(usage):
        if key.service_tier in METERED_TIERS and key.usage_date in reported_days:
            cells[_cell(key)].used[key].append(part)
    return [_row(cell, evidence, terms, cell in restated) for cell, evidence in sorted(cells.items())]


def cell_of(day: date, model: str, service_tier: str) -> Cell:
    """The row of the error bar that a line of these dimensions belongs to."""
    return Cell(day, dated_model(model), service_tier or "standard")


def _cell(key: MeetingKey) -> Cell:
    return Cell(key.usage_date, key.model, key.service_tier)


def _total(amounts: Iterable[Decimal | None]) -> Decimal | None:
    known = []
    for amount in amounts:
        if amount is None:
            return None
        known.append(amount)
    return round_usd(sum_usd(known))


def _row(cell: Cell, evidence: _Evidence, terms: Terms, restated: bool) -> Reconciliation:
    evidence.price(terms)
    reported = evidence.reported
    low, high = evidence.bounds(evidence.used)
    listed = _total(priced.listed.low for priced in evidence.priced.values())
    quotient = ratio(low, reported) if evidence.used and low is not None else None
    cause = _cause(evidence, terms, low, high, restated)
    return Reconciliation(*cell, low, low, high, listed, reported, quotient, cause)


def _cause(
    evidence: _Evidence, terms: Terms, low: Decimal | None, high: Decimal | None, restated: bool
) -> Cause:  # fmt: skip
    """First match wins: what the figures prove comes before what they merely allow."""
    reported = evidence.reported
    if low is None or high is None:
        return Cause.UNKNOWN_PRICE
    if within_tolerance(low, low, reported):
        return Cause.AGREES
    if not evidence.used:
        return Cause.NO_USAGE
    if within_tolerance(low, high, reported):
        return Cause.BAND
    if reported.is_zero() or _agrees(evidence.bounds(evidence.used.keys() & evidence.paid.keys()), reported):
        return Cause.UNBILLED
    if _is_fast_mode(evidence, terms):
        return Cause.FAST_MODE
    if _is_at_list(evidence):
        return Cause.RECORDED_RATE
    if _is_discounted(evidence):
        return Cause.CONTRACT_DISCOUNT
    if _is_one_token_type(evidence):
        return Cause.ONE_TOKEN_TYPE
    return Cause.RESTATED if restated else Cause.UNEXPLAINED


def _agrees(bounds: tuple[Decimal | None, Decimal | None], reported: Decimal) -> bool:
    low, high = bounds
    return low is not None and high is not None and within_tolerance(low, high, reported)


def within_tolerance(low: Decimal, high: Decimal, reported: Decimal) -> bool:
    """Whether the bill lies within 1 % of what the book says, or of its band."""
    floor, ceiling = multiply(low, 1 - TOLERANCE), multiply(high, 1 + TOLERANCE)
    if low != high:
        return floor <= reported <= ceiling
    return EXACT.abs(EXACT.subtract(low, reported)) <= multiply(EXACT.abs(reported), TOLERANCE)


def _is_fast_mode(evidence: _Evidence, terms: Terms) -> bool:
    """Whether the bill agrees once fast tokens cost standard prices, or tokens of unknown speed fast ones."""
    for told, billed in (("fast", "standard"), ("", "fast")):
        if any(part.line.speed == told for parts in evidence.used.values() for part in parts):
            other = _Evidence(used=_at_speed(evidence.used, told, billed), paid=evidence.paid)
            other.price(terms)
            if _agrees(other.bounds(other.used), evidence.reported):
                return True
    return False


def _at_speed(used: dict[MeetingKey, list[Tokens]], told: str, billed: str) -> dict[MeetingKey, list[Tokens]]:
    return {
        key: [
            part._replace(line=part.line._replace(speed=billed)) if part.line.speed == told else part for part in parts
        ]
        for key, parts in used.items()
    }


def _is_at_list(evidence: _Evidence) -> bool:
    """Whether the list price is what was billed, and a recorded rate says otherwise."""
    listed = [priced.listed for priced in evidence.priced.values()]
    return _agrees((_total(one.low for one in listed), _total(one.high for one in listed)), evidence.reported)


def _is_discounted(evidence: _Evidence) -> bool:
    """Whether every kind of token was billed at the same share of its list price, below the whole."""
    shares = list(_shares_of_list(evidence))
    return len(shares) > 1 and max(shares) < NO_DISCOUNT and EXACT.subtract(max(shares), min(shares)) <= ALIKE


def _is_one_token_type(evidence: _Evidence) -> bool:
    """Whether all dollars but those of one token type agree: that type's price, or rate, is wrong."""
    apart = set()
    types = {key.token_type for key in evidence.paid}
    for token_type in types:
        keys = [key for key in evidence.used if key.token_type == token_type]
        paid = sum_usd(usd for key in evidence.paid if key.token_type == token_type for usd in evidence.paid[key])
        if not _agrees(evidence.bounds(keys), paid):
            apart.add(token_type)
    return len(apart) == 1 and len(types) > 1


def _shares_of_list(evidence: _Evidence) -> Iterator[Decimal]:
    for key in evidence.used.keys() & evidence.paid.keys():
        listed = evidence.priced[key].listed
        share = None if listed.low is None or listed.banded else ratio(sum_usd(evidence.paid[key]), listed.low)
        if share is not None:
            yield share

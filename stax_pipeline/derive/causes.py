"""Why bill and price book differ in a row of price accuracy, where the figures themselves can tell it.

Pure rules over the few rows that do not agree; how the figures come about is `sql/reconciliation.sql`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from stax_pipeline.derive.join import pricing
from stax_pipeline.derive.price_lists import units, usd
from stax_pipeline.derive.reconciliation import (
    ALIKE,
    LEAST_BILLED,
    NO_DISCOUNT,
    TOLERANCE,
    Cause,
    Cell,
    Change,
    within_tolerance,
)
from stax_pipeline.derive.terms import Terms
from stax_pipeline.domain.money import EXACT, round_usd
from stax_pipeline.pricing.prices import Usage

_Bounds = tuple[int | None, int | None]


class Meeting(NamedTuple):
    """One join key of a cell, in units of 10^-18 USD: its tokens at list and at contracted prices, None where those are
    not known, and what was billed, None where nothing was.
    """

    token_type: str
    is_used: bool
    list_low: int | None
    list_high: int | None
    contract_low: int | None
    contract_high: int | None
    paid: int | None


@dataclass(slots=True)
class Evidence:
    """Usage and reported dollars of one cell, by join key. `tokens` are told apart by all that their price depends on;
    only a cell with tokens that are fast, or of unknown speed, needs them.
    """

    met: list[Meeting] = field(default_factory=list)
    tokens: dict[object, list[tuple[Usage, int]]] = field(default_factory=lambda: defaultdict(list))

    @property
    def used(self) -> list[Meeting]:
        return [one for one in self.met if one.is_used]

    @property
    def is_paid(self) -> bool:
        return any(one.paid is not None for one in self.met)

    @property
    def reported(self) -> int:
        return sum(one.paid or 0 for one in self.met)


def causes_of(
    cells: Mapping[Cell, Evidence], terms: Terms, settled: Iterable[Cell], restated: Mapping[Cell, Sequence[Change]]
) -> dict[Cell, Cause]:
    """The cause of each of one tenant's cells that may not agree.

    Args:
        cells: must hold every cell that differs by more than 1 %, and those without a bill on a day and tier that has a
            bill without tokens.
        settled: those of a settled day.
        restated: the changes of a cell after the fact, the newest first.
    """
    renamed, over = _renamed(cells), frozenset(settled)
    return {
        cell: Cause.OTHER_MODEL if cell in renamed else _cause(evidence, terms, cell in over, restated.get(cell, ()))
        for cell, evidence in cells.items()
    }


def _renamed(cells: Mapping[Cell, Evidence]) -> set[Cell]:
    """Cells of tokens without a bill and of a bill without tokens that are one under two ids of a model."""
    bills = {cell: evidence.reported for cell, evidence in cells.items() if not evidence.used and evidence.reported}
    found: set[Cell] = set()
    for cell, evidence in sorted(cells.items()):
        if not bills or evidence.is_paid:
            continue
        for bill in sorted(bills.keys() - found):
            alike = bill.usage_date == cell.usage_date and bill.service_tier == cell.service_tier
            if alike and (_agrees(_bounds(evidence.used), bills[bill]) or _is_at_list(evidence, bills[bill])):
                found |= {cell, bill}
                break
    return found


def _bounds(met: Iterable[Meeting]) -> _Bounds:
    """Lowest and highest contracted dollars of these join keys; None where one has no price."""
    met = list(met)
    return _total(one.contract_low for one in met), _total(one.contract_high for one in met)


def _total(amounts: Iterable[int | None]) -> int | None:
    total = 0
    for amount in amounts:
        if amount is None:
            return None
        total += amount
    return total


def _cause(evidence: Evidence, terms: Terms, settled: bool, changes: Sequence[Change]) -> Cause:
    """First match wins: what the figures prove comes before what they merely allow."""
    (low, high), reported = _bounds(evidence.used), evidence.reported
    if low is None or high is None:
        return Cause.UNKNOWN_PRICE
    if _agrees((low, low), reported):
        return Cause.AGREES
    if not evidence.used:
        return Cause.NO_USAGE
    if _agrees((low, high), reported):
        return Cause.BAND
    if missing := _without_dollars(evidence, settled):
        return missing
    if _is_fast_mode(evidence, terms):
        return Cause.FAST_MODE
    if _is_at_list(evidence, reported):
        return Cause.RECORDED_RATE
    shares = list(_shares_of_list(evidence))
    if len(shares) > 1 and _is_discount(shares):
        return Cause.CONTRACT_DISCOUNT
    agreed_before = _agreed_before((low, high), reported, terms, changes)
    lowest, highest = _billed_shares(evidence)
    short = not agreed_before and highest <= 1 + TOLERANCE
    if short and lowest < LEAST_BILLED:
        return Cause.UNBILLED if settled else Cause.NOT_ARRIVED
    if _is_one_token_type(evidence):
        return Cause.ONE_TOKEN_TYPE
    if agreed_before:
        return Cause.RESTATED
    if _is_discount(shares):
        return Cause.CONTRACT_DISCOUNT
    return Cause.UNBILLED if short and settled else Cause.UNEXPLAINED


def _without_dollars(evidence: Evidence, settled: bool) -> Cause | None:
    """Why tokens have no dollars, where those that have some agree with them."""
    paid = [one for one in evidence.used if one.paid]
    if evidence.reported and not _agrees(_bounds(paid), evidence.reported):
        return None
    if all(one.paid is not None for one in evidence.used):
        return Cause.BILLED_AT_ZERO
    return Cause.UNBILLED if settled else Cause.NOT_ARRIVED


def _is_fast_mode(evidence: Evidence, terms: Terms) -> bool:
    """Whether the bill agrees once fast tokens cost standard prices, or tokens of unknown speed fast ones."""
    for reported, billed in (("fast", "standard"), ("", "fast")):
        if any(usage.speed == reported for parts in evidence.tokens.values() for usage, _ in parts):
            amounts = [
                pricing((terms.quote(_at_speed(usage, reported, billed)), number) for usage, number in parts).contracted
                for parts in evidence.tokens.values()
            ]
            if _agrees((_total(_units(one.low) for one in amounts), _total(_units(one.high) for one in amounts)),
                       evidence.reported):  # fmt: skip
                return True
    return False


def _at_speed(usage: Usage, reported: str, billed: str) -> Usage:
    return usage._replace(speed=billed) if usage.speed == reported else usage


def _is_at_list(evidence: Evidence, reported: int) -> bool:
    """Whether the list price is what was billed, and a recorded rate says otherwise."""
    used = evidence.used
    return _agrees((_total(one.list_low for one in used), _total(one.list_high for one in used)), reported)


def _agrees(bounds: _Bounds, reported: int) -> bool:
    """Whether the bill lies within 1 % of what the book says, or of its band."""
    low, high = bounds
    if low is None or high is None:
        return False
    if low != high:
        return 99 * low <= 100 * reported <= 101 * high
    return 100 * abs(low - reported) <= abs(reported)


def _shares_of_list(evidence: Evidence) -> Iterator[Decimal]:
    for one in evidence.used:
        if one.paid is not None and one.list_low and one.list_low == one.list_high:
            yield round_usd(EXACT.divide(Decimal(one.paid), Decimal(one.list_low)))


def _is_discount(shares: Sequence[Decimal]) -> bool:
    """Whether every kind of token was billed at the same share of its list price, below the whole."""
    return bool(shares) and max(shares) < NO_DISCOUNT and EXACT.subtract(max(shares), min(shares)) <= ALIKE


def _agreed_before(bounds: tuple[int, int], reported: int, terms: Terms, changes: Iterable[Change]) -> bool:
    """Whether bill and price book agreed before one of the changes, which are taken back one after the other."""
    low, high, paid = map(usd, (*bounds, reported))
    for change in changes:
        paid = EXACT.subtract(paid, change.usd)
        for kind, number in change.tokens:
            price = terms.quote(kind).contracted
            if price is None:
                return False
            added = price.amount(number)
            low, high = EXACT.subtract(low, added[0]), EXACT.subtract(high, added[1])
        if paid and within_tolerance(low, high, paid):
            return True
    return False


def _billed_shares(evidence: Evidence) -> tuple[Decimal, Decimal]:
    """The lowest and the highest share of its price that was billed for a kind of token, of a band's nearer bound."""
    lowest, highest = Decimal(1), Decimal(0)
    for one in evidence.met:
        if not one.contract_low or not one.contract_high:
            return Decimal(0), Decimal("Infinity")
        paid = Decimal(one.paid or 0)
        lowest = min(lowest, EXACT.divide(paid, Decimal(one.contract_low)))
        highest = max(highest, EXACT.divide(paid, Decimal(one.contract_high)))
    return lowest, highest


def _is_one_token_type(evidence: Evidence) -> bool:
    """Whether all dollars but those of one token type agree: that type's price, or rate, is wrong."""
    apart = set()
    types = {one.token_type for one in evidence.met if one.paid is not None}
    for token_type in types:
        of_type = [one for one in evidence.met if one.token_type == token_type]
        paid = sum(one.paid or 0 for one in of_type)
        if not _agrees(_bounds(one for one in of_type if one.is_used), paid):
            apart.add(token_type)
    return len(apart) == 1 and len(types) > 1


def _units(amount: Decimal | None) -> int | None:
    return None if amount is None else units(amount)

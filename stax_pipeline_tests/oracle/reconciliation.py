"""Price accuracy: standard and batch usage priced by the code that prices Priority, beside what was billed for it.

Where the two differ by more than 1 %, the cause is named if the figures themselves can tell it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from types import MappingProxyType

from stax_pipeline.derive.cost_lines import CostLine
from stax_pipeline.derive.join import JoinKey, Pricing, Tokens, join_key, pricing, tokens
from stax_pipeline.derive.reconciliation import (
    ALIKE,
    LEAST_BILLED,
    NO_DISCOUNT,
    TOLERANCE,
    Cause,
    Cell,
    Change,
    Reconciliation,
    within_tolerance,
)
from stax_pipeline.derive.spend import METERED_TIERS
from stax_pipeline.derive.terms import Terms
from stax_pipeline.derive.usage_lines import UsageLine
from stax_pipeline.domain.money import EXACT, ratio, round_usd, sum_usd
from stax_pipeline_tests.oracle.quotes import quote_of


@dataclass(slots=True)
class _Evidence:
    """Usage and reported dollars of one cell, by join key."""

    used: dict[JoinKey, list[Tokens]] = field(default_factory=lambda: defaultdict(list))
    paid: dict[JoinKey, list[Decimal]] = field(default_factory=lambda: defaultdict(list))
    priced: dict[JoinKey, Pricing] = field(default_factory=dict)

    def price(self, terms: Terms) -> None:
        for key, parts in self.used.items():
            self.priced[key] = pricing((quote_of(part.line, key.token_type, terms), part.number) for part in parts)

    def bounds(self, keys: Iterable[JoinKey]) -> tuple[Decimal | None, Decimal | None]:
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
    restated: Mapping[Cell, Sequence[Change]] = MappingProxyType({}),
) -> list[Reconciliation]:
    """One row per day, model and tier of standard and batch, credits apart. A day without any cost yet is left out.

    `restated` are the changes of cells after the fact, the newest first.
    """
    cells: dict[Cell, _Evidence] = defaultdict(_Evidence)
    reported_days = set(settled)
    for line in costs:
        if line.cost_type == "tokens" and not line.is_credit:
            key = join_key(line, line.token_type)
            reported_days.add(key.usage_date)
            if key.service_tier in METERED_TIERS:
                cells[_cell(key)].paid[key].append(line.amount_usd)
    for key, part in tokens(usage):
        if key.service_tier in METERED_TIERS and key.usage_date in reported_days:
            cells[_cell(key)].used[key].append(part)
    for evidence in cells.values():
        evidence.price(terms)
    renamed = _renamed(cells)
    rows = []
    for cell, evidence in sorted(cells.items()):
        row = _row(cell, evidence)
        cause = Cause.OTHER_MODEL if cell in renamed else None
        cause = cause or _cause(evidence, row, terms, cell.usage_date in settled, restated.get(cell, ()))
        rows.append(row._replace(cause=cause))
    return rows


def _renamed(cells: Mapping[Cell, _Evidence]) -> set[Cell]:
    """Cells of tokens without a bill and of a bill without tokens that are one under two ids of a model."""
    bills = {cell: evidence.reported for cell, evidence in cells.items() if not evidence.used and evidence.reported}
    found: set[Cell] = set()
    for cell, evidence in sorted(cells.items()):
        if not bills or evidence.paid:
            continue
        for bill in sorted(bills.keys() - found):
            alike = bill.usage_date == cell.usage_date and bill.service_tier == cell.service_tier
            if alike and (_agrees(evidence.bounds(evidence.used), bills[bill]) or _is_at_list(evidence, bills[bill])):
                found |= {cell, bill}
                break
    return found


def _cell(key: JoinKey) -> Cell:
    return Cell(key.usage_date, key.model, key.service_tier)


def _total(amounts: Iterable[Decimal | None]) -> Decimal | None:
    known = []
    for amount in amounts:
        if amount is None:
            return None
        known.append(amount)
    return round_usd(sum_usd(known))


def _row(cell: Cell, evidence: _Evidence) -> Reconciliation:
    """The figures, no cause yet."""
    reported = evidence.reported
    low, high = evidence.bounds(evidence.used)
    listed = _total(priced.listed.low for priced in evidence.priced.values())
    quotient = ratio(low, reported) if evidence.used and low is not None else None
    return Reconciliation(*cell, low, low, high, listed, reported, quotient, Cause.UNEXPLAINED)


def _cause(
    evidence: _Evidence, row: Reconciliation, terms: Terms, settled: bool, changes: Sequence[Change]
) -> Cause:  # fmt: skip
    """First match wins: what the figures prove comes before what they merely allow."""
    low, high, reported = row.priced_low_usd, row.priced_high_usd, row.reported_usd
    if low is None or high is None:
        return Cause.UNKNOWN_PRICE
    if within_tolerance(low, low, reported):
        return Cause.AGREES
    if not evidence.used:
        return Cause.NO_USAGE
    if within_tolerance(low, high, reported):
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
    agreed_before = _agreed_before(low, high, reported, terms, changes)
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


def _billed_shares(evidence: _Evidence) -> tuple[Decimal, Decimal]:
    """The lowest and the highest share of its price that was billed for a kind of token, of a band's nearer bound."""
    lowest, highest = Decimal(1), Decimal(0)
    for key in evidence.used.keys() | evidence.paid.keys():
        price, paid = evidence.priced.get(key, Pricing()).contracted, sum_usd(evidence.paid.get(key, ()))
        if not price.low or not price.high:
            return Decimal(0), Decimal("Infinity")
        lowest = min(lowest, EXACT.divide(paid, price.low))
        highest = max(highest, EXACT.divide(paid, price.high))
    return lowest, highest


def _without_dollars(evidence: _Evidence, settled: bool) -> Cause | None:
    """Why tokens have no dollars, where those that have some agree with them."""
    paid = {key for key in evidence.used.keys() & evidence.paid.keys() if sum_usd(evidence.paid[key])}
    if not evidence.reported.is_zero() and not _agrees(evidence.bounds(paid), evidence.reported):
        return None
    if evidence.used.keys() <= evidence.paid.keys():
        return Cause.BILLED_AT_ZERO
    return Cause.UNBILLED if settled else Cause.NOT_ARRIVED


def _agreed_before(low: Decimal, high: Decimal, reported: Decimal, terms: Terms, changes: Iterable[Change]) -> bool:
    """Whether bill and price book agreed before one of the changes, which are taken back one after the other."""
    for change in changes:
        reported = EXACT.subtract(reported, change.usd)
        for kind, number in change.tokens:
            price = terms.quote(kind).contracted
            if price is None:
                return False
            added = price.amount(number)
            low, high = EXACT.subtract(low, added[0]), EXACT.subtract(high, added[1])
        if reported and within_tolerance(low, high, reported):
            return True
    return False


def _agrees(bounds: tuple[Decimal | None, Decimal | None], reported: Decimal) -> bool:
    low, high = bounds
    return low is not None and high is not None and within_tolerance(low, high, reported)


def _is_fast_mode(evidence: _Evidence, terms: Terms) -> bool:
    """Whether the bill agrees once fast tokens cost standard prices, or tokens of unknown speed fast ones."""
    for reported, billed in (("fast", "standard"), ("", "fast")):
        if any(part.line.speed == reported for parts in evidence.used.values() for part in parts):
            other = _Evidence(used=_at_speed(evidence.used, reported, billed), paid=evidence.paid)
            other.price(terms)
            if _agrees(other.bounds(other.used), evidence.reported):
                return True
    return False


def _at_speed(used: dict[JoinKey, list[Tokens]], reported: str, billed: str) -> dict[JoinKey, list[Tokens]]:
    return {
        key: [
            part._replace(line=part.line._replace(speed=billed)) if part.line.speed == reported else part
            for part in parts
        ]
        for key, parts in used.items()
    }


def _is_at_list(evidence: _Evidence, reported: Decimal) -> bool:
    """Whether the list price is what was billed, and a recorded rate says otherwise."""
    listed = [priced.listed for priced in evidence.priced.values()]
    return _agrees((_total(one.low for one in listed), _total(one.high for one in listed)), reported)


def _is_discount(shares: Sequence[Decimal]) -> bool:
    """Whether every kind of token was billed at the same share of its list price, below the whole."""
    return bool(shares) and max(shares) < NO_DISCOUNT and EXACT.subtract(max(shares), min(shares)) <= ALIKE


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

"""The error bar: standard and batch usage priced by the code that prices Priority, beside what was billed for it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from stax_pipeline.domain.cost import CostLine
from stax_pipeline.domain.meeting import Tokens, meeting_key, price_of, tokens
from stax_pipeline.domain.money import EXACT, multiply, ratio, round_usd, sum_usd
from stax_pipeline.domain.prices import PriceBook
from stax_pipeline.domain.spend import METERED_TIERS
from stax_pipeline.domain.usage import UsageLine

TOLERANCE = Decimal("0.01")


class Reconciliation(NamedTuple):
    """Token dollars of one day, model and tier. `ratio` is priced ÷ reported, None when nothing was reported."""

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
class _Cell:
    low: list[Decimal] = field(default_factory=list)
    high: list[Decimal] = field(default_factory=list)
    reported: list[Decimal] = field(default_factory=list)
    unpriced: bool = False
    banded: bool = False


def reconcile(
    costs: Iterable[CostLine],
    usage: Iterable[UsageLine],
    book: PriceBook,
    settled: frozenset[date],
) -> list[Reconciliation]:
    """One row per day, model and tier of standard and batch. A day without any cost yet is left out."""
    cells: dict[tuple[date, str, str], _Cell] = defaultdict(_Cell)
    reported_days = set(settled)
    for line in costs:
        if line.cost_type == "tokens":
            key = meeting_key(line, line.token_type)
            reported_days.add(key.usage_date)
            if key.service_tier in METERED_TIERS:
                cells[key.usage_date, key.model, key.service_tier].reported.append(line.amount_usd)
    for key, part in tokens(usage):
        if key.service_tier in METERED_TIERS and key.usage_date in reported_days:
            _add(
                cells[key.usage_date, key.model, key.service_tier],
                part,
                key.token_type,
                book,
            )
    return [_row(*key, cell) for key, cell in sorted(cells.items())]


def _add(cell: _Cell, part: Tokens, token_type: str, book: PriceBook) -> None:
    price = price_of(part.line, token_type, book)
    if price is None:
        cell.unpriced = True
        return
    low, high = price.amount(part.number)
    cell.low.append(low)
    cell.high.append(high)
    cell.banded |= price.banded


def _row(day: date, model: str, tier: str, cell: _Cell) -> Reconciliation:
    reported = sum_usd(cell.reported)
    low, high = (None, None) if cell.unpriced else (round_usd(sum_usd(cell.low)), round_usd(sum_usd(cell.high)))
    quotient = None if low is None else ratio(low, reported)
    return Reconciliation(
        day, model, tier, low, low, high, low, reported, quotient, _cause(cell, low, high, reported)
    )  # fmt: skip


def _cause(cell: _Cell, low: Decimal | None, high: Decimal | None, reported: Decimal) -> str:
    if low is None or high is None:
        return "unknown price"
    if within_tolerance(low, high, reported):
        return "band" if cell.banded else ""
    if reported.is_zero():
        return "unbilled tokens"
    return "unexplained"


def within_tolerance(low: Decimal, high: Decimal, reported: Decimal) -> bool:
    """Whether the bill lies within 1 % of what the book says, or of its band."""
    floor, ceiling = multiply(low, 1 - TOLERANCE), multiply(high, 1 + TOLERANCE)
    if low != high:
        return floor <= reported <= ceiling
    return EXACT.abs(EXACT.subtract(low, reported)) <= multiply(EXACT.abs(reported), TOLERANCE)

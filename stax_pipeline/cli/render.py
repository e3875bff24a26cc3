"""How figures look in a terminal: aligned tables, exact dollars, ages in words. No query and no colour."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal

from stax_pipeline.domain.plain_text import plain
from stax_pipeline.domain.words import count_of

_WIDE = Context(prec=100, rounding=ROUND_HALF_EVEN)
_CENT = Decimal("0.01")


def usd(amount: Decimal | None) -> str:
    """Dollars to the cent with thousands separators; never through a binary float. A dash where there are none.

    What is not zero is never shown as zero.
    """
    if amount is None:
        return "-"
    rounded = amount.quantize(_CENT, context=_WIDE)
    return f"{rounded:,}" if rounded else "under one cent" if amount else "0.00"


def whole(count: int | Decimal | None) -> str:
    return "-" if count is None else f"{int(count):,}"


def in_usd(amount: Decimal | None) -> str:
    """The same with its unit, for a sentence."""
    return f"{usd(amount)} USD" if amount is not None and usd(amount)[-1].isdigit() else usd(amount)


def counted(quantity: Decimal | None, unit: str) -> str:
    """Such as `1 token` or `2,555,356,398 tokens`, in full; `unit` is a plural in s. Empty where nothing is counted."""
    return "" if quantity is None else f"{quantity:,f} {unit.removesuffix('s') if quantity == 1 else unit}"


def instant(moment: datetime | None, now: datetime | None = None) -> str:
    """A UTC instant with its age in words."""
    if moment is None:
        return "never"
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC ({age(moment, now)})"


def age(moment: datetime, now: datetime | None = None) -> str:
    passed = (now or datetime.now(UTC)) - moment
    if passed < timedelta(minutes=1):
        return "just now"
    for unit, length in (("day", timedelta(days=1)), ("hour", timedelta(hours=1)), ("minute", timedelta(minutes=1))):
        count = passed // length
        if count:
            return f"{count_of(count, unit)} ago"
    return "just now"


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()) -> str:
    """Columns in line, those named in `right` flush right; no cell can leave its place."""
    headings, rows = list(map(plain, headings)), [list(map(plain, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        fitted = (
            cell.rjust(width) if heading in right else cell.ljust(width)
            for cell, width, heading in zip(cells, widths, headings, strict=True)
        )
        return "  ".join(fitted).rstrip()

    return "\n".join([line(headings), line(["-" * width for width in widths]), *map(line, rows)])

"""How figures look in a terminal: aligned tables, exact dollars, ages in words. No query and no colour."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import partial
from textwrap import fill, wrap
from typing import TextIO

from stax_pipeline.domain.plain_text import plain
from stax_pipeline.domain.plurals import count_of

_WIDE = Context(prec=100, rounding=ROUND_HALF_EVEN)
_CENT = Decimal("0.01")
_GAP = "  "


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


def table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = (), out: TextIO | None = None
) -> str:
    """Columns in line, those named in `right` flush right; no cell can leave its place.

    Where `out` (else standard output) is a terminal that the table is too wide for, every cell has a line of its own.
    """
    headings, rows = list(map(plain, headings)), [list(map(plain, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    most = _columns(out or sys.stdout)
    if rows and most and sum(widths) + len(_GAP) * (len(widths) - 1) > most:
        return "\n\n".join(_one_below_another(headings, row, most) for row in rows)

    def line(cells: Sequence[str]) -> str:
        fitted = (
            cell.rjust(width) if heading in right else cell.ljust(width)
            for cell, width, heading in zip(cells, widths, headings, strict=True)
        )
        return _GAP.join(fitted).rstrip()

    return "\n".join([line(headings), line(["-" * width for width in widths]), *map(line, rows)])


def fitted(text: str) -> str:
    """Sentences, their lines broken between words where they are wider than the terminal on standard output."""
    most = _columns(sys.stdout)
    return "\n".join(map(partial(_broken, most=most), text.split("\n"))) if most else text


def _broken(line: str, most: int) -> str:
    indent = line[: len(line) - len(line.lstrip(" |"))]
    return fill(line, most, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _columns(out: TextIO) -> int | None:
    """How wide the terminal is; None where `out` is no terminal, or one that does not tell."""
    try:
        return os.get_terminal_size(out.fileno()).columns or None
    except (OSError, ValueError):
        return None


def _one_below_another(headings: Sequence[str], row: Sequence[str], most: int) -> str:
    """A line per cell, sentences broken between words, no word or figure ever."""
    names = max(map(len, headings)) + len(": ")
    room = max(most - names, 1)
    lines = []
    for heading, cell in zip(headings, row, strict=True):
        broken = wrap(cell, room, break_long_words=False, break_on_hyphens=False)
        value = f"\n{'':{names}}".join(broken)
        lines.append(f"{f'{heading}:':{names}}{value}".rstrip())
    return "\n".join(lines)

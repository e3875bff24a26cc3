"""An invoice's month and amount: from the command line, or summed from a file."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from stax_pipeline.domain.errors import WrongUse
from stax_pipeline.domain.money import EXACT, MAX_WHOLE_DIGITS, sum_usd
from stax_pipeline.pricing.imports.table import PLAIN, BadInput, excerpt, parse_decimal, read_table

_MONTH = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])")
_TOTAL = re.compile(r"\b(sub-?)?totals?\b", re.IGNORECASE)
_CENT = Decimal("0.01")
_MONEY_LIKE = re.compile(r"[-+ $€£(]*(USD)?[0-9.,' _$€£()eE+-]*(USD|%)?", re.IGNORECASE)


class Summed(NamedTuple):
    """The exact sum of a file's lines, the columns that had no say in it, and the rows that may be totals of others."""

    amount_usd: Decimal
    lines: int
    ignored: tuple[str, ...]
    totals: tuple[int, ...]


def parse_month(text: str, today: date) -> date:
    """The first day of the month YYYY-MM. Raises WrongUse for anything else, and for a month after today's (UTC)."""
    if not _MONTH.fullmatch(text) or text.startswith("0000"):
        raise WrongUse(f"{excerpt(text)} is not a month like {today:%Y-%m}. Nothing was changed.")
    month = date.fromisoformat(f"{text}-01")
    if month > today:
        raise WrongUse(f"The month {text} has not begun: expected {today:%Y-%m} or earlier. Nothing was changed.")
    return month


def parse_amount(text: str) -> Decimal | None:
    """The exact USD of a plain decimal, negative for a credit; None when the text can only be a file's name.

    Raises WrongUse for what looks like money and is not in the one form that cannot be misread.
    """
    amount = parse_decimal(text)
    if amount is None and _MONEY_LIKE.fullmatch(text):
        raise WrongUse(f"The amount {excerpt(text)} cannot be taken: expected {PLAIN}. Nothing was changed.")
    if amount is not None and not _is_in_cents(amount):
        raise WrongUse(f"The amount {excerpt(text)} has parts of a cent, which no invoice has. Nothing was changed.")
    return amount


def read_invoice(file: str, content: bytes) -> Summed:
    """The sum of the column `amount_usd`, which must be whole cents; credits are negative lines. Raises BadInput."""
    table = read_table(file, content, ("amount_usd",), ignore_others=True)
    total = sum_usd(row.decimal("amount_usd", negative=True) for row in table.rows)
    if abs(total) >= Decimal(10) ** MAX_WHOLE_DIGITS:
        raise BadInput(file, None, "amount_usd", "a sum below 10^20 USD", "a larger one")
    if not _is_in_cents(total):
        raise BadInput(file, None, "amount_usd", "a sum in whole cents, as invoices have", f"a sum of {total:f}")
    totals = [row.number for row in table.rows if any(_TOTAL.search(row.text(name)) for name in table.ignored)]
    return Summed(total, len(table.rows), table.ignored, tuple(totals))


def _is_in_cents(amount: Decimal) -> bool:
    return EXACT.remainder(amount, _CENT).is_zero()

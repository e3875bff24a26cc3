"""Dollars and counts: one strict grammar in, exact decimals through, one rounding out.

The source sends amounts as decimal strings in cents (`"123.45"` is $1.23, Anthropic's own example). Nothing here, or
anywhere in the product, turns money into a binary float.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from decimal import (
    ROUND_HALF_EVEN,
    Context,
    Decimal,
    DivisionByZero,
    InvalidOperation,
    Overflow,
)

from stax_pipeline.domain.errors import ContractBroken

SCALE = 18  # decimals kept by the warehouse and by decimal128(38, 18) in Parquet
MAX_WHOLE_DIGITS = 20  # 38 digits in all
MAX_COUNT = 2**63 - 1
EXACT = Context(
    prec=100,
    rounding=ROUND_HALF_EVEN,
    traps=[InvalidOperation, DivisionByZero, Overflow],
)
ZERO = Decimal(0)

_AMOUNT = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?")
_QUANTUM = Decimal(1).scaleb(-SCALE)


def cents_to_usd(amount: object) -> Decimal:
    """The USD of an API amount in cents, half-even to 18 decimals; `was_rounded` tells whether that cut digits off.

    Raises ContractBroken for anything but an ASCII decimal string of at most 20 whole digits of USD: never zero.
    """
    if not isinstance(amount, str) or len(amount) > 100 or not _AMOUNT.fullmatch(amount):
        raise ContractBroken(f"amount {_excerpt(amount)} is not a decimal string in cents")
    usd = EXACT.scaleb(Decimal(amount), -2)
    if usd.adjusted() < MAX_WHOLE_DIGITS or usd.is_zero():
        usd = round_usd(usd)
    if usd.adjusted() >= MAX_WHOLE_DIGITS:
        raise ContractBroken(f"amount {_excerpt(amount)} does not fit 20 whole digits of a dollar")
    return usd


def was_rounded(amount: str, usd: Decimal) -> bool:
    """Whether `usd` is not exactly the API amount in cents that it was made of."""
    return EXACT.scaleb(usd, 2) != Decimal(amount)


def token_count(value: object, name: str) -> int:
    """A non-negative whole number below 2^63. Raises ContractBroken otherwise; missing is never zero."""
    if type(value) is not int or not 0 <= value <= MAX_COUNT:
        raise ContractBroken(f"{name} {_excerpt(value)} is not a whole number from 0 to 2^63 - 1")
    return value


def round_usd(value: Decimal) -> Decimal:
    """Half-even to 18 decimals: applied once to each derived figure, before any sum."""
    rounded = value.quantize(_QUANTUM, context=EXACT).normalize(EXACT)
    return ZERO if rounded.is_zero() else rounded


def sum_usd(values: Iterable[Decimal]) -> Decimal:
    """The exact sum; Python's default context would lose digits past the 28th."""
    total = ZERO
    for value in values:
        total = EXACT.add(total, value)
    return total


def multiply(*factors: Decimal | int) -> Decimal:
    """The exact product."""
    product = Decimal(1)
    for factor in factors:
        product = EXACT.multiply(product, Decimal(factor))
    return product


def ratio(numerator: Decimal, denominator: Decimal) -> Decimal | None:
    """Quotient to 18 decimals, None where nothing is in the denominator."""
    return None if denominator.is_zero() else round_usd(EXACT.divide(numerator, denominator))


def split(total: Decimal, weights: Sequence[int]) -> list[Decimal]:
    """`total` in proportion to `weights`, in steps of the last decimal, by the largest remainder; sums to `total`."""
    units = int(EXACT.scaleb(total, SCALE))
    sign = -1 if units < 0 else 1
    return [round_usd(EXACT.scaleb(Decimal(sign * share), -SCALE)) for share in split_whole(abs(units), weights)]


def split_whole(total: int, weights: Sequence[int]) -> list[int]:
    """Whole units in proportion to `weights`, by the largest remainder; sums to `total`."""
    whole = sum(weights)
    shares = [divmod(total * weight, whole) for weight in weights]
    left = total - sum(share for share, _ in shares)
    lucky = set(sorted(range(len(weights)), key=lambda i: (-shares[i][1], i))[:left])
    return [share + (i in lucky) for i, (share, _) in enumerate(shares)]


def _excerpt(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "…"

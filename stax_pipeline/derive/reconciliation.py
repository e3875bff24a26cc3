"""What a row of price accuracy is, and why bill and price book may differ in it by more than 1 %.

How the figures come about is `sql/reconciliation.sql`; how a cause is told, `causes`.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from stax_pipeline.domain.money import EXACT, multiply
from stax_pipeline.pricing.prices.book import Usage, dated_model

TOLERANCE = Decimal("0.01")
ALIKE = Decimal("0.002")  # how far token types may differ in their share of the list price under one discount
NO_DISCOUNT = Decimal("0.995")
LEAST_BILLED = Decimal("0.5")  # no discount and no wrong price takes more off: the tokens were billed in part


class Cause(StrEnum):
    AGREES = ""
    BAND = "band"
    UNKNOWN_PRICE = "unknown price"
    NOT_ARRIVED = "cost not arrived"
    UNBILLED = "tokens without cost: blocked, or billed to another organization"
    NO_USAGE = "dollars without usage"
    BILLED_AT_ZERO = "billed at zero"
    OTHER_MODEL = "another model id"
    FAST_MODE = "fast mode"
    CONTRACT_DISCOUNT = "contract discount"
    RECORDED_RATE = "recorded rate"
    ONE_TOKEN_TYPE = "one token type"
    RESTATED = "restated day"
    UNEXPLAINED = "unexplained"


class Cell(NamedTuple):
    """What one row of price accuracy is about; `model` is the dated id."""

    usage_date: date
    model: str
    service_tier: str


class Change(NamedTuple):
    """What one later extraction added to a cell: reported USD, and tokens by what their price depends on."""

    usd: Decimal
    tokens: tuple[tuple[Usage, int], ...]


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


def cell_of(day: date, model: str, service_tier: str) -> Cell:
    """The row of price accuracy that a line of these dimensions belongs to."""
    return Cell(day, dated_model(model), service_tier or "standard")


def within_tolerance(low: Decimal, high: Decimal, reported: Decimal) -> bool:
    """Whether the bill lies within 1 % of what the book says, or of its band."""
    floor, ceiling = multiply(low, 1 - TOLERANCE), multiply(high, 1 + TOLERANCE)
    if low != high:
        return floor <= reported <= ceiling
    return EXACT.abs(EXACT.subtract(low, reported)) <= multiply(EXACT.abs(reported), TOLERANCE)

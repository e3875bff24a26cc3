"""What Anthropic invoiced for a month."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import NamedTuple


class Invoice(NamedTuple):
    """One tenant's invoice. `month` is the first UTC day of it; `amount_usd` is negative for a credit."""

    month: date
    amount_usd: Decimal
    note: str

"""What a row of the roll-ups of spend is; how spend is added up to them is `sql/spend_totals.sql`."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import NamedTuple


class SpendTotal(NamedTuple):
    """Spend of a day, by what most people group it by; a figure is None where no line has one."""

    usage_date: date
    workspace_id: str
    model: str
    cost_type: str
    service_tier: str
    cost_source: str
    tokens: int | None
    cost_usd: Decimal | None
    credits_usd: Decimal
    effective_cost_usd: Decimal | None
    list_cost_usd: Decimal | None
    commitment_fee_usd: Decimal


class SpendDayTotal(NamedTuple):
    """All spend of a day, its dollars told apart."""

    usage_date: date
    tokens: int
    unpriced_tokens: int
    billed_usd: Decimal
    credits_usd: Decimal
    priority_reconstructed_usd: Decimal
    estimated_usd: Decimal
    commitment_fee_usd: Decimal

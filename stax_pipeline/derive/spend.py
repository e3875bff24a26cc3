"""What a spend line is; how lines come about is `sql/spend.sql`, by the rules of `docs/understand/concepts.md`."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple


class CostSource(StrEnum):
    REPORTED = "reported"
    PRIORITY_RECONSTRUCTED = "priority-reconstructed"
    UNBILLED = "unbilled"
    USAGE_ESTIMATED = "usage-estimated"
    UNPRICED = "unpriced"
    COMMITMENT_UNUSED = "commitment-unused"


METERED_TIERS = frozenset({"standard", "batch"})


class SpendLine(NamedTuple):
    usage_date: date
    workspace_id: str
    model: str
    cost_type: str
    token_type: str
    service_tier: str
    context_window: str
    inference_geo: str
    speed: str
    description: str
    quantity: int | None
    unit: str
    cost_source: str
    cost_usd: Decimal | None
    credits_usd: Decimal
    effective_cost_usd: Decimal | None
    list_cost_usd: Decimal | None
    list_cost_low_usd: Decimal | None
    list_cost_high_usd: Decimal | None
    contracted_cost_usd: Decimal | None
    list_unit_price_usd: Decimal | None
    contracted_unit_price_usd: Decimal | None
    pricing_quantity: Decimal | None
    pricing_unit: str
    price_source: str
    price_book_version: str
    commitment_id: str
    burndown_units: Decimal | None
    cost_line_count: int

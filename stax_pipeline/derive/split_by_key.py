"""What a row of dollars per API key is; how spend is split by the tokens each key used is `sql/spend_by_key.sql`."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import NamedTuple


class KeySpend(NamedTuple):
    usage_date: date
    workspace_id: str
    api_key_id: str
    account_id: str
    model: str
    cost_type: str
    token_type: str
    service_tier: str
    cost_source: str
    quantity: int | None
    cost_usd: Decimal | None
    effective_cost_usd: Decimal | None

"""`GET /v1/organizations/cost_report`: cost lines grouped and shaped as documented.

Amounts come from `billing`; nothing here knows a price.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache

from stax_pipeline.simulator.billing import CostKey, cost_lines
from stax_pipeline.simulator.organization import Organization
from stax_pipeline.simulator.paging import Request, floor, report_page
from stax_pipeline.simulator.parameters import Parameters
from stax_pipeline.simulator.usage import minutes_visible

PATH = "/v1/organizations/cost_report"
SCALARS = frozenset({"starting_at", "ending_at", "bucket_width", "limit", "page"})
LISTS = frozenset({"group_by[]"})
_DIMENSIONS = frozenset({"workspace_id", "description"})
_DAY = timedelta(days=1)
_MINIMUM_DECIMALS = 6


def cost_report(organization: Organization, items: tuple[tuple[str, str], ...], now: datetime) -> bytes:
    """One page of the report as JSON. Days that are not over by `now`, or come late, are never part of it."""
    parameters = Parameters(items, SCALARS, LISTS)
    parameters.choice("bucket_width", ("1d",), "1d")
    group_by = frozenset(parameters.choices("group_by[]", _DIMENSIONS))
    limit = parameters.limit(default=7, maximum=31)
    request = Request(organization.id, PATH, parameters, now)

    def results(first: datetime, _: datetime) -> bytes:
        return _results(organization, first.date(), minutes_visible(first.date(), now), group_by)

    return report_page(request, _DAY, limit, floor(now - organization.cost_delay, _DAY), results)


@lru_cache(maxsize=2048)
def _results(organization: Organization, day: date, minutes: int, group_by: frozenset[str]) -> bytes:
    cents: dict[tuple[str | None, CostKey | None], Decimal] = defaultdict(Decimal)
    for line, amount in cost_lines(organization, day, minutes).items():
        workspace_id = line.workspace_id if "workspace_id" in group_by else None
        described = line._replace(workspace_id=None) if "description" in group_by else None
        cents[workspace_id, described] += amount
    rows = [_row(workspace_id, line, amount) for (workspace_id, line), amount in cents.items()]
    return json.dumps(rows, separators=(",", ":")).encode()


def _row(workspace_id: str | None, line: CostKey | None, cents: Decimal) -> Mapping[str, str | None]:
    return {
        "amount": amount_text(cents),
        "currency": "USD",
        "cost_type": line and line.cost_type,
        "description": line and line.description,
        "model": line and line.model,
        "token_type": line and line.token_type,
        "context_window": line and line.context_window,
        "service_tier": line and line.service_tier,
        "inference_geo": line and line.inference_geo,
        "workspace_id": workspace_id,
    }


def amount_text(cents: Decimal) -> str:
    """Plain decimal notation, exact, with six decimals at least: `527.999760`."""
    whole, _, decimals = f"{cents:f}".partition(".")
    return f"{whole}.{decimals.rstrip('0').ljust(_MINIMUM_DECIMALS, '0')}"

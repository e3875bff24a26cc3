"""`GET /v1/organizations/analytics/cost`: charges grouped into rows, fanned out by cost type and token type.

Amounts come from `billing`; what may be asked and how rows are paged is in `analytics`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from datetime import datetime
from decimal import Decimal
from functools import lru_cache

from stax_pipeline.simulator.analytics import (
    DIMENSIONS,
    Days,
    Query,
    Row,
    Span,
    Who,
    ask,
    days_of,
    family,
    group_key,
    rows_page,
    shown_group,
    who,
)
from stax_pipeline.simulator.billing import Charge, charges
from stax_pipeline.simulator.cost_report import amount_text
from stax_pipeline.simulator.organization import Organization

PATH = "/v1/organizations/analytics/cost"
FAN_OUT = ("cost_type", "token_type")
_SHAPE = (*DIMENSIONS, *FAN_OUT)

_Part = tuple[str | None, str | None]


def analytics_cost(
    organization: Organization, items: tuple[tuple[str, str], ...], now: datetime, betas: Collection[str]
) -> bytes:
    """One page of cost as JSON. The open day is part of it, with what is visible at `now`."""
    asked = ask(organization, PATH, items, now, betas, FAN_OUT, ("amount", "list_amount", "time"))
    rows = [row for span in asked.spans for row in _rows(organization, span, asked.query, days_of(span, now))]
    return rows_page(asked, rows)


@lru_cache(maxsize=512)
def _rows(organization: Organization, span: Span, query: Query, days: Days) -> tuple[Row, ...]:
    """The span's rows, largest amount first."""
    key_of = group_key([name for name in query.group_by if name not in FAN_OUT])
    parts: dict[tuple[str | None, ...], dict[_Part, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    groups: dict[tuple[str | None, ...], Who] = {}
    for day, first, last in days:
        billed = ((each, charge) for each in family(organization) for charge in charges(each, day, first, last))
        for member, charge in billed:
            one = who(member, charge.row, in_family=bool(organization.children))
            part = _part(charge, query)
            if part is not None and query.takes(one):
                key = key_of(one)
                groups[key] = one
                parts[key][part] += charge.list_cents
    rows = [_row(organization, span, groups[key], query, found) for key, found in parts.items()]
    return tuple(sorted(rows, key=lambda row: row.ranks["amount"], reverse=True))


def _part(charge: Charge, query: Query) -> _Part | None:
    """Where a charge belongs in the fan-out; None where the grouping leaves it out."""
    by_cost, by_token = (name in query.group_by for name in FAN_OUT)
    if by_token and charge.token_type:
        return "tokens", charge.token_type
    if by_token and not by_cost:
        return None
    return (charge.cost_type, None) if by_cost else (None, None)


def _row(organization: Organization, span: Span, one: Who, query: Query, parts: dict[_Part, Decimal]) -> Row:
    group = shown_group(organization, one, query, _SHAPE)
    counted = parts.keys() == {(None, None)}
    share = 1 - organization.discount
    total = sum(parts.values(), Decimal(0))
    shown = [
        {
            "group": {**group, "cost_type": cost_type, "token_type": token_type},
            "cost": {
                "amount": amount_text(cents * share),
                "list_amount": amount_text(cents),
                "currency": "USD",
                "requests": int(cents) + 1 if counted else None,
            },
        }
        for (cost_type, token_type), cents in parts.items()
    ]
    return Row(span, {"amount": total * share, "list_amount": total, "time": span.start}, shown)

"""What a window of days came to, per tenant: the table after a sync and after the demo, read from the warehouse."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

import sqlalchemy as sa

from stax_pipeline.cli import render
from stax_pipeline.domain.extraction import Window

_SUMMARY = sa.text("""
select t.slug, count(distinct s.usage_date) as days, count(s.line) as rows,
       coalesce(sum(s.cost_usd) filter (where s.cost_source = 'reported'), 0) as reported,
       coalesce(sum(s.cost_usd) filter (where s.cost_source = 'priority-reconstructed'), 0) as reconstructed,
       coalesce(sum(s.cost_usd) filter (where s.cost_source = 'usage-estimated'), 0) as estimated,
       coalesce(sum(s.cost_usd), 0) as total,
       coalesce(sum(s.quantity) filter (where s.unit = 'tokens'), 0) as tokens,
       (select f.data_through from stax.freshness f where f.tenant_id = t.tenant_id) as data_through
from stax.tenants t
left join stax.spend s on s.tenant_id = t.tenant_id and s.usage_date >= :start and s.usage_date < :end
where t.slug = any(:slugs)
group by t.slug, t.tenant_id
order by t.slug
""")
_HEADINGS = (
    "tenant", "days", "rows", "reported $", "priority-reconstructed $", "usage-estimated $", "total $", "tokens",
    "data through",
)  # fmt: skip


class Sum(NamedTuple):
    """One tenant's window."""

    slug: str
    days: int
    rows: int
    reported: Decimal
    reconstructed: Decimal
    estimated: Decimal
    total: Decimal
    tokens: Decimal
    data_through: datetime | None


def summarize(connection: sa.Connection, window: Window, slugs: Sequence[str]) -> list[Sum]:
    found = connection.execute(_SUMMARY, {"start": window.start, "end": window.end, "slugs": list(slugs)})
    return [Sum(*row) for row in found]


def summary_table(sums: Sequence[Sum], stale: Collection[str] = ()) -> str:
    """The table; tenants in `stale`, whose figures are not all of this run, are marked and explained."""
    rows = [
        (
            f"{s.slug} *" if s.slug in stale else s.slug, str(s.days), render.whole(s.rows), render.usd(s.reported),
            render.usd(s.reconstructed), render.usd(s.estimated), render.usd(s.total), render.whole(s.tokens),
            render.instant(s.data_through),
        )
        for s in sums
    ]  # fmt: skip
    shown = render.table(_HEADINGS, rows, right=_HEADINGS[1:-1])
    return f"{shown}\n* not all of this run: what was not published stays as it was before" if stale else shown

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
select t.slug, count(s.usage_date) as days,
       (select count(*) from stax.spend l
        where l.tenant_id = t.tenant_id and l.usage_date >= :start and l.usage_date < :end) as rows,
       coalesce(sum(s.tokens), 0) as tokens,
       (select f.data_through from stax.freshness f where f.tenant_id = t.tenant_id) as data_through,
       coalesce(sum(s.billed_usd), 0) as billed_usd, coalesce(sum(s.credits_usd), 0) as credits_usd,
       coalesce(sum(s.priority_reconstructed_usd), 0) as priority_reconstructed_usd,
       coalesce(sum(s.estimated_usd), 0) as estimated_usd, coalesce(sum(s.total_usd), 0) as total_usd
from stax.tenants t
left join lateral (select * from stax.spend_summary x
                   where x.tenant_id = t.tenant_id and x.usage_date >= :start and x.usage_date < :end) s on true
where t.slug = any(:slugs)
group by t.slug, t.tenant_id
order by t.slug
""")
DOLLARS = ("billed $", "of it credits $", "priority reconstructed $", "estimated $", "total $")
_HEADINGS = ("tenant", "days", "rows", *DOLLARS, "tokens", "data through")


class Dollars(NamedTuple):
    """USD told apart: billed holds the credits, which are negative; total is billed + reconstructed + estimated."""

    billed_usd: Decimal
    credits_usd: Decimal
    priority_reconstructed_usd: Decimal
    estimated_usd: Decimal
    total_usd: Decimal

    @property
    def shown(self) -> tuple[str, ...]:
        """The cells under `DOLLARS`."""
        return tuple(map(render.usd, self))


class Sum(NamedTuple):
    """One tenant's window."""

    slug: str
    days: int
    rows: int
    tokens: Decimal
    data_through: datetime | None
    dollars: Dollars


def summarize(connection: sa.Connection, window: Window, slugs: Sequence[str]) -> list[Sum]:
    found = connection.execute(_SUMMARY, {"start": window.start, "end": window.end, "slugs": list(slugs)})
    return [Sum(r.slug, r.days, r.rows, r.tokens, r.data_through, Dollars(*r[5:])) for r in found]


def summary_table(sums: Sequence[Sum], incomplete: Collection[str] = ()) -> str:
    """The table; tenants in `incomplete`, whose figures are not all of this run, are marked and explained."""
    rows = [
        (
            f"{s.slug} *" if s.slug in incomplete else s.slug, str(s.days), render.whole(s.rows), *s.dollars.shown,
            render.whole(s.tokens), render.instant(s.data_through),
        )
        for s in sums
    ]  # fmt: skip
    shown = render.table(_HEADINGS, rows, right=_HEADINGS[1:-1])
    return f"{shown}\n* not all of this run: what was not published stays as it was before" if incomplete else shown

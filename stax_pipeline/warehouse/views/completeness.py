"""How far data reaches: each tenant's newest data, and the grid of its days."""

from __future__ import annotations

from stax_pipeline.warehouse.views.view import View


def _newest(alias: str, report: str) -> str:
    """SQL of the instant up to which a report of tenant `t` is known on the newest day that has any of it."""
    return f"""
    left join lateral (
        select x.data_through from stax.coverage x
        where x.tenant_id = t.tenant_id and x.report = '{report}'
          and x.data_through > (x.usage_date::timestamp at time zone 'UTC')
        order by x.usage_date desc limit 1) {alias} on true"""


FRESHNESS = View(
    "freshness",
    "How far each tenant's newest data reaches, whatever is missing before it: completeness has the gaps; "
    "data_through is the usage report's",
    """
    select t.slug as tenant, t.tenant_id, u.data_through as usage_data_through, c.data_through as cost_data_through,
           w.day as complete_through, u.data_through as data_through
    from stax.tenants t
    """
    + _newest("u", "usage_report")
    + _newest("c", "cost_report")
    + """
    left join lateral (
        select x.usage_date as day
        from stax.coverage x
        join stax.coverage y on y.tenant_id = x.tenant_id and y.report = 'usage_report' and y.usage_date = x.usage_date
        where x.tenant_id = t.tenant_id and x.report = 'cost_report' and x.state = 'complete' and y.state = 'complete'
        order by x.usage_date desc limit 1) w on true
    where t.status <> 'disconnected'
    """,
    {
        "usage_data_through": "Instant up to which token usage is known on the newest day read",
        "cost_data_through": "Instant up to which cost is known on the newest day read",
        "complete_through": "The newest day of which both reports are complete",
        "data_through": "Same as usage_data_through: what people are shown",
    },
)

# `offset 0` has each day looked up through a key: without it a whole table may be hashed for a few days
COMPLETENESS = View(
    "completeness",
    "Tenant × day, from the first day read to the last without a gap: state of each report, settled, whether "
    "spend is up to date, and whether figures changed",
    """
    with days as (
        select t.slug as tenant, t.tenant_id, span.first + n as usage_date
        from stax.tenants t
        cross join lateral (select min(v.usage_date) as first, max(v.usage_date) as last
                            from stax.coverage v where v.tenant_id = t.tenant_id) span
        cross join lateral generate_series(0, span.last - span.first) as n
    )
    select d.tenant, d.tenant_id, d.usage_date, c.state as cost_state, u.state as usage_state,
           s.settled,
           coalesce((select (b.cost_digest, b.usage_digest, b.key_digest, b.settled)
                            = (coalesce(c.digest, ''), coalesce(u.digest, ''), coalesce(u.key_digest, ''), s.settled)
                     from stax.spend_builds b
                     where b.tenant_id = d.tenant_id and b.usage_date = d.usage_date
                     order by b.built_at desc limit 1),
                    c.digest is null and u.digest is null) as spend_is_current,
           exists (select 1 from stax.restatements r
                   where r.tenant_id = d.tenant_id and r.usage_date = d.usage_date offset 0) as restated
    from days d
    left join stax.coverage c
      on c.tenant_id = d.tenant_id and c.usage_date = d.usage_date and c.report = 'cost_report'
    left join stax.coverage u
      on u.tenant_id = d.tenant_id and u.usage_date = d.usage_date and u.report = 'usage_report'
    cross join lateral (
        select coalesce(c.old_enough_to_settle and (c.metered or not coalesce(u.metered, false)), false) as settled) s
    """,
    {
        "cost_state": "open, provisional, complete, or not reported yet: over, and asked for in vain; NULL where the cost "
        "report was not read",
        "usage_state": "open, provisional, complete, or not reported yet: over, and asked for in vain; NULL where the usage "
        "report was not read",
        "settled": "Whether a missing cost of the day may be read as zero",
        "spend_is_current": "Whether spend was built from the rows that are current, and from whether the day is settled",
        "restated": "Whether any figure of the day changed later; restated_days says which and why",
    },
)

COMPLETENESS_VIEWS = (FRESHNESS, COMPLETENESS)

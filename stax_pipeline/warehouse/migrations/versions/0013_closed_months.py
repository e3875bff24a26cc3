"""`invoice_check` says whether a month is closed: Anthropic's figures of a month move until about the 7th of the next."""

from stax_pipeline.warehouse.migrations.views import changed, publish
from stax_pipeline.warehouse.migrations.views_0012 import INVOICE_CHECK

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

CLOSED = changed(
    INVOICE_CHECK,
    ("else 'differs' end as status, f.credits_usd", "else 'differs' end as status, f.credits_usd, f.closing"),
    (
        "d.days_complete, d.days_settled, r.error_bar\n",
        "d.days_complete, d.days_settled, r.error_bar,\n"
        "               case when c.days_closed = l.days_in_month then 'closed'\n"
        "                    else concat('not closed until all its days are read on or after ', l.closes_on)\n"
        "               end as closing\n",
    ),
    (
        "cross join lateral (select extract(day from m.month + interval '1 month - 1 day')::int as days_in_month) l",
        "cross join lateral (select extract(day from m.month + interval '1 month - 1 day')::int as days_in_month,\n"
        "                                   (m.month + interval '1 month 7 days')::date as closes_on) l",
    ),
    (
        "    ) f\n",
        """        cross join lateral (
            select count(*) filter (where y.reports = 2) as days_closed
            from (
                select x.usage_date, count(*) as reports
                from stax.coverage x
                where x.tenant_id = m.tenant_id and x.usage_date >= m.month
                  and x.usage_date < m.month + l.days_in_month and x.report in ('cost_report', 'usage_report')
                  and x.extracted_at >= l.closes_on::timestamp at time zone 'UTC'
                group by x.usage_date
            ) y
        ) c
    ) f
""",
    ),
    columns={
        "closing": "closed once every day of both reports was read on or after the 8th of the next month, UTC: "
        "Anthropic corrects a month until about the 7th; else not closed until that is done",
    },
)


def upgrade() -> None:
    publish(CLOSED)

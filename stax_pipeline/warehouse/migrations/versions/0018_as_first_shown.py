"""What was priced is logged with every build; what changed usage moved is told in dollars; restated days say what was
first shown, and how much of a change is usage's and how much is prices'.
"""

import sqlalchemy as sa
from alembic import op

from stax_pipeline.warehouse.migrations.views import publish
from stax_pipeline.warehouse.migrations.views_0005.view import View

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

USES = (
    "What was priced, as JSON: the models (/fast behind those in fast mode) and web_search; NULL for builds before it "
    "was noted"
)
SUBJECT = (
    "cost (reported dollars), usage (tokens, searches), usage-dollars (dollars of other usage at the same prices) or "
    "price (dollars of the same usage under new prices)"
)
_DIMENSIONS = (
    "r.workspace_id, r.description, r.cost_type, r.token_type, r.model, r.service_tier, r.context_window, "
    "r.inference_geo, r.speed"
)
_IS_FIGURE = "r.subject in ('usage-dollars', 'price')"
_LINE = (
    f"partition by t.slug, r.tenant_id, r.usage_date, case when {_IS_FIGURE} then 'figure' else r.subject end, "
    f"{_DIMENSIONS}"
)
RESTATED_DAYS = View(
    "restated_days",
    "Past days whose figures are no longer what was first shown: what they said first, what they say now, and how much "
    "of it other usage and new prices moved. One row per figure: figures are never added to each other",
    f"""
    with steps as (
        select t.slug, r.*, case when {_IS_FIGURE} then r.description end as figure,
               row_number() over ({_LINE} order by r.seen_at, r.subject desc) = 1 as is_first,
               row_number() over ({_LINE} order by r.seen_at desc, r.subject) = 1 as is_last,
               sum(r.difference_usd) over ({_LINE}) as line_usd,
               sum(r.difference_quantity) over ({_LINE}) as line_quantity
        from stax.restatements r
        join stax.tenants t using (tenant_id)
    )
    select slug, tenant_id, usage_date, string_agg(distinct subject, ' and ') as subject, figure, count(*) as changes,
           case when max(subject) <> 'usage' then coalesce(sum(old_usd) filter (where is_first), 0) end as old_usd,
           case when max(subject) <> 'usage' then coalesce(sum(new_usd) filter (where is_last), 0) end as new_usd,
           case when max(subject) <> 'usage' then sum(difference_usd) end as difference_usd,
           case when max(subject) = 'usage' then coalesce(sum(old_quantity) filter (where is_first), 0) end
               as old_quantity,
           case when max(subject) = 'usage' then coalesce(sum(new_quantity) filter (where is_last), 0) end
               as new_quantity,
           case when max(subject) = 'usage' then sum(difference_quantity) end as difference_quantity,
           min(seen_at) as first_seen_at, max(seen_at) as last_seen_at, string_agg(distinct reason, '; ') as reasons,
           case when figure is not null
                then coalesce(sum(difference_usd) filter (where subject = 'usage-dollars'), 0) end
               as usage_difference_usd,
           case when figure is not null then coalesce(sum(difference_usd) filter (where subject = 'price'), 0) end
               as price_difference_usd
    from steps
    group by slug, tenant_id, usage_date, case when figure is null then subject else 'figure' end, figure
    having bool_or(case when subject = 'usage' then line_quantity <> 0 else line_usd <> 0 end)
    """,
    {
        "subject": "cost (reported dollars), usage (tokens and searches), usage-dollars (dollars of other usage), price "
        "(dollars under new prices or terms), or price and usage-dollars",
        "figure": "Of dollars that other usage or new prices moved, the column of spend: cost_usd, contracted_cost_usd or "
        "effective_cost_usd, each told completely, so never add one to another; NULL for cost and usage",
        "changes": "How many figures changed, each time counted",
        "old_usd": "USD of the changed lines as first shown; NULL for usage",
        "new_usd": "USD of the same lines now; NULL for usage",
        "difference_usd": "USD now minus USD as first shown; NULL for usage",
        "old_quantity": "Tokens and searches of the changed lines as first shown; NULL for dollars",
        "new_quantity": "Tokens and searches of the same lines now; NULL for dollars",
        "difference_quantity": "Tokens and searches now minus as first shown; NULL for dollars",
        "first_seen_at": "When the first change was published",
        "last_seen_at": "When the last change was published, and so could first be seen",
        "reasons": "Every reason, in words",
        "usage_difference_usd": "The part of difference_usd that other usage moved, at the old prices; NULL without a "
        "figure",
        "price_difference_usd": "The part of difference_usd that new prices, rates or commitments moved; NULL without a "
        "figure",
    },
    replaces=True,
)


def upgrade() -> None:
    op.add_column("spend_builds", sa.Column("uses", sa.Text(), nullable=True, comment=USES), schema="stax")
    op.drop_constraint("restatements_subject_check", "restatements", schema="stax")
    op.create_check_constraint(
        op.f("restatements_subject_check"), "restatements",
        "subject in ('cost', 'usage', 'price', 'usage-dollars')", schema="stax",
    )  # fmt: skip
    op.execute(f"comment on column stax.restatements.subject is '{SUBJECT}'")
    publish(RESTATED_DAYS)

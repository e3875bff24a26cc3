"""The roll-ups of spend by Postgres, from the spend lines that are there: another way to it than the product's."""

from __future__ import annotations

import sqlalchemy as sa

_ADD_UP = """
delete from stax.spend_totals;
insert into stax.spend_totals (usage_date, tenant_id, line, workspace_id, model, cost_type, service_tier, cost_source,
                               tokens, cost_usd, credits_usd, effective_cost_usd, list_cost_usd, commitment_fee_usd)
select usage_date, tenant_id, row_number() over (partition by usage_date, tenant_id), workspace_id, model, cost_type,
       service_tier, cost_source, sum(quantity) filter (where unit = 'tokens'), sum(cost_usd), sum(credits_usd),
       sum(effective_cost_usd), sum(list_cost_usd),
       coalesce(sum(effective_cost_usd) filter (where commitment_id <> ''), 0)
from stax.spend
group by usage_date, tenant_id, workspace_id, model, cost_type, service_tier, cost_source;
delete from stax.spend_day_totals;
insert into stax.spend_day_totals (usage_date, tenant_id, tokens, unpriced_tokens, billed_usd, credits_usd,
                                   priority_reconstructed_usd, estimated_usd, commitment_fee_usd)
select usage_date, tenant_id, coalesce(sum(quantity) filter (where unit = 'tokens'), 0),
       coalesce(sum(quantity) filter (where unit = 'tokens' and cost_source = 'unpriced'), 0),
       coalesce(sum(cost_usd) filter (where cost_source = 'reported'), 0), sum(credits_usd),
       coalesce(sum(cost_usd) filter (where cost_source = 'priority-reconstructed'), 0),
       coalesce(sum(cost_usd) filter (where cost_source = 'usage-estimated'), 0),
       coalesce(sum(effective_cost_usd) filter (where commitment_id <> ''), 0)
from stax.spend
group by usage_date, tenant_id
"""


def add_up(connection: sa.Connection) -> None:
    """Make `spend_totals` and `spend_day_totals` what `spend` says by now, in the caller's transaction."""
    connection.exec_driver_sql(_ADD_UP)

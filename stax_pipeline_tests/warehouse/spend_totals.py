"""The roll-up of spend by Postgres, from the spend lines that are there: another way to it than the product's."""

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
group by usage_date, tenant_id, workspace_id, model, cost_type, service_tier, cost_source
"""


def add_up(connection: sa.Connection) -> None:
    """Make `spend_totals` what `spend` says by now, in the caller's transaction."""
    connection.exec_driver_sql(_ADD_UP)

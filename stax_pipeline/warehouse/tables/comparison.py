"""Anthropic's two sources beside each other."""

from __future__ import annotations

from stax_pipeline.warehouse.columns import count, identity, number, table, tenant, usage_date
from stax_pipeline.warehouse.tables.shared import dimensions, loaded

source_comparison = table(
    "source_comparison",
    "The reports and the newer source beside each other; for tenants read from the newer one alone what is set aside",
    usage_date(),
    tenant(),
    *dimensions(
        "workspace_id", "model", "cost_type", "token_type", "service_tier", "context_window", "inference_geo",
        key=True,
    ),
    number("reports_usd", "USD of the cost report; NULL where the sources were not compared", null=True),
    number("analytics_usd", "USD of the newer source, set-aside dollars left out; NULL likewise", null=True),
    number(
        "analytics_set_aside_usd",
        "USD of the newer source for tokens of Priority, or any tier that the cost report never has; in no cost line",
    ),
    number("analytics_list_usd", "USD of the newer source before discounts, set-aside dollars included"),
    count("reports_quantity", "Tokens or searches of the usage report; NULL where there are none to count", null=True),
    count("analytics_quantity", "Tokens or searches of the newer source; NULL likewise", null=True),
    identity("analytics_extraction_id", "The extraction of the newer source this row was read from"),
    loaded(),
)  # fmt: skip

"""The whole graph on one screen.

raw_cost_report ──► cost_lines ──────────┐
raw_usage_report ─► usage_lines ─────────┼─► spend ──► spend_by_key
                 └► usage_by_key         └─► reconciliation
raw_organization ─► organization    price_book ─► cost_lines, spend, reconciliation
raw_analytics, cost_lines, usage_lines ─► source_comparison
"""

import dagster as dg

from stax_pipeline.assets import (
    alerts,
    automation,
    checks,
    comparison,
    extraction_check,
    normalized,
    purge_history,
    raw,
    spend,
)
from stax_pipeline.resources.dagster import AnthropicAdminApi, Lake, TenantSecrets, Warehouse, no_values
from stax_pipeline.resources.scope import scope

ASSETS = [
    raw.raw_cost_report,
    raw.raw_usage_report,
    raw.raw_organization,
    normalized.cost_lines,
    normalized.usage,
    normalized.organization,
    spend.price_book,
    spend.spend,
    raw.raw_analytics,
    comparison.source_comparison,
]

defs = dg.Definitions(
    assets=ASSETS,
    asset_checks=[*checks.ASSET_CHECKS, extraction_check.all_tenants_extracted(ASSETS)],
    jobs=[automation.sync, automation.watch, purge_history.purge_history],
    schedules=automation.schedules(),
    sensors=[automation.new_tenant_backfill, automation.catch_up, alerts.alerts],
    resources={
        "io_manager": no_values,
        "scope": scope,
        "warehouse": Warehouse(),
        "lake": Lake(),
        "secrets": TenantSecrets(),
        "anthropic": AnthropicAdminApi(),
    },
    executor=dg.in_process_executor,
)

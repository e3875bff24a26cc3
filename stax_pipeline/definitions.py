"""The whole graph on one screen.

raw_cost_report ──► cost_lines ──────────┐
raw_usage_report ─► usage_lines ─────────┼─► spend ──► spend_by_key
                 └► usage_by_key         └─► reconciliation
raw_organization ─► organization    price_book ─► cost_lines, spend, reconciliation

With STAX_SOURCE=both also raw_analytics and source_comparison, with STAX_SOURCE=analytics source_comparison.
"""

import dagster as dg

from stax_pipeline.assets import alerts, analytics, automation, checks, comparison, normalized, raw, retention
from stax_pipeline.resources.dagster import AnthropicAdminApi, Lake, Scope, TenantSecrets, Warehouse

defs = dg.Definitions(
    assets=[
        raw.raw_cost_report,
        raw.raw_usage_report,
        raw.raw_organization,
        normalized.cost_lines,
        normalized.usage,
        normalized.organization,
        analytics.price_book,
        analytics.spend,
        analytics.spend_by_key,
        analytics.reconciliation,
        *comparison.assets(),
    ],
    asset_checks=[*checks.CHECKS, *comparison.checks()],
    jobs=[automation.sync, automation.watch, retention.purge_history],
    schedules=automation.schedules(),
    sensors=[automation.new_tenant_backfill, alerts.alerts],
    resources={
        "scope": Scope.configure_at_launch(),
        "warehouse": Warehouse(),
        "lake": Lake(),
        "secrets": TenantSecrets(),
        "anthropic": AnthropicAdminApi(),
    },
    executor=dg.in_process_executor,
)

"""Every table of the warehouse, its grain and its columns: from here come the migrations, the SQL comments, the Parquet
schemas, Dagster's column schemas and `docs/reference/tables.md`.
"""

from stax_pipeline.warehouse.columns import metadata
from stax_pipeline.warehouse.tables.agreements import accepted_findings, commitments, contract_rates, invoices
from stax_pipeline.warehouse.tables.alerts import alert_channels, alerts
from stax_pipeline.warehouse.tables.comparison import source_comparison
from stax_pipeline.warehouse.tables.copies import parquet_due, parquet_layout
from stax_pipeline.warehouse.tables.history import publications, restatements, spend_builds
from stax_pipeline.warehouse.tables.normalized import (
    api_keys,
    cost_lines,
    members,
    usage_by_key,
    usage_lines,
    workspaces,
)
from stax_pipeline.warehouse.tables.people import connection_audit, invites, logins, sessions
from stax_pipeline.warehouse.tables.sources import admin_keys, coverage, extractions, tenant_grants, tenants
from stax_pipeline.warehouse.tables.spend import (
    list_prices,
    reconciliation,
    spend,
    spend_by_key,
    spend_day_totals,
    spend_totals,
)

DAILY = (cost_lines, usage_lines, usage_by_key, spend, spend_by_key, reconciliation, restatements)
"""Tables by usage date that have a Parquet copy."""

__all__ = [
    "DAILY",
    "accepted_findings",
    "admin_keys",
    "alert_channels",
    "alerts",
    "api_keys",
    "commitments",
    "connection_audit",
    "contract_rates",
    "cost_lines",
    "coverage",
    "extractions",
    "invites",
    "invoices",
    "list_prices",
    "logins",
    "members",
    "metadata",
    "parquet_due",
    "parquet_layout",
    "publications",
    "reconciliation",
    "restatements",
    "sessions",
    "source_comparison",
    "spend",
    "spend_builds",
    "spend_by_key",
    "spend_day_totals",
    "spend_totals",
    "tenant_grants",
    "tenants",
    "usage_by_key",
    "usage_lines",
    "workspaces",
]

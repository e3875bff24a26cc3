"""What the operator records about a tenant: negotiated prices, commitments and invoices. Corrections supersede, never
overwrite.
"""

from __future__ import annotations

import sqlalchemy as sa

from stax_pipeline.warehouse.columns import count, day, identity, instant, number, table, tenant, text

SUPERSEDED = "When a later row replaced it; NULL while in force"

contract_rates = table(
    "contract_rates",
    "A discount or an absolute price that a tenant negotiated, by date",
    tenant(),
    text("model_pattern", "Model id, or the beginning of one and *", key=True),
    text("service_tier", "standard, batch, priority, … or * for every tier", key=True),
    text("token_type", "Token type under the cost report's names, or * for every type", key=True),
    day("effective_from", "First UTC day", key=True),
    instant("recorded_at", "When the row was recorded", key=True),
    day("effective_to", "Last UTC day; NULL without an end", null=True),
    number("discount", "Share taken off the list price, 0.15 is 15 %; NULL where an absolute price stands", null=True),
    number("usd_per_unit", "USD per 1M tokens instead of the list price; NULL where a discount stands", null=True),
    instant("superseded_at", SUPERSEDED, null=True),
    sa.ForeignKeyConstraint(["tenant_id"], ["stax.tenants.tenant_id"]),
    sa.CheckConstraint("(discount is null) <> (usd_per_unit is null)", name="either"),
    sa.CheckConstraint("effective_to >= effective_from", name="dates"),
)


commitments = table(
    "commitments",
    "Priority Tier capacity that a tenant committed to, and its fee",
    text("commitment_id", "The operator's name for it", key=True),
    instant("recorded_at", "When the row was recorded", key=True),
    identity("tenant_id", "The tenant"),
    text("model", "Dated model id"),
    count("input_tokens_per_minute", "Committed input tokens per minute"),
    count("output_tokens_per_minute", "Committed output tokens per minute"),
    number("fee_usd", "USD for the whole term"),
    day("starts_on", "First UTC day of the term"),
    day("ends_on", "Last UTC day of the term"),
    instant("superseded_at", SUPERSEDED, null=True),
    sa.ForeignKeyConstraint(["tenant_id"], ["stax.tenants.tenant_id"]),
    sa.CheckConstraint("ends_on >= starts_on", name="dates"),
    sa.CheckConstraint("fee_usd >= 0", name="fee"),
    sa.CheckConstraint("input_tokens_per_minute >= 0 and output_tokens_per_minute >= 0", name="capacity"),
)


accepted_findings = table(
    "accepted_findings",
    "What a check finds of a tenant and the operator accepts, by date: it is not told again, and silences nothing else",
    tenant(),
    text("check_name", "The check, such as every_usage_billed", key=True),
    day("effective_from", "First UTC day", key=True),
    instant("recorded_at", "When the row was recorded", key=True),
    day("effective_to", "Last UTC day; NULL without an end", null=True),
    text("note", "Why it is accepted, in the operator's words"),
    instant("superseded_at", "When a later row replaced it, or it was withdrawn; NULL while in force", null=True),
    sa.ForeignKeyConstraint(["tenant_id"], ["stax.tenants.tenant_id"]),
    sa.CheckConstraint("effective_to >= effective_from", name="dates"),
    sa.CheckConstraint("note <> ''", name="note"),
)


invoices = table(
    "invoices",
    "What Anthropic invoiced a tenant for a month; the row recorded last holds",
    tenant(),
    day("month", "First day of the calendar month, UTC", key=True),
    instant("recorded_at", "When the row was recorded", key=True),
    number("amount_usd", "USD of the invoice; NULL takes back what was recorded before", null=True),
    text("note", "Whatever the operator noted; '' without"),
    sa.ForeignKeyConstraint(["tenant_id"], ["stax.tenants.tenant_id"]),
    sa.CheckConstraint("extract(day from month) = 1", name="month"),
)

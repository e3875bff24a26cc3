"""Inputs: who is asked, with which key, what was fetched, and what is current."""

from __future__ import annotations

import sqlalchemy as sa

from stax_pipeline.warehouse.columns import (
    binary,
    count,
    day,
    flag,
    identity,
    instant,
    table,
    tenant,
    text,
    usage_date,
)
from stax_pipeline.warehouse.tables.shared import EXTRACTION

tenants = table(
    "tenants",
    "One customer of the operator, exactly one Anthropic organisation",
    tenant(),
    text("slug", "Name in commands and URLs", unique=True),
    text("name", "Display name"),
    text(
        "organization_id",
        "Anthropic organisation id, told by /v1/organizations/me",
        unique=True,
    ),
    text("status", "connected, key_rejected or disconnected"),
    instant("created_at", "When the tenant was first connected"),
    text(
        "first_sync_run_id",
        "The run that made the first backfill, NULL before it",
        null=True,
    ),
    text("source", "reports, analytics or both: what this tenant is read from; NULL for STAX_SOURCE", null=True),
    instant(
        "newer_source_refused_at",
        "When Anthropic said that this organisation has no newer source; it is not compared from then on",
        null=True,
    ),
    sa.CheckConstraint("source in ('reports', 'analytics', 'both')", name="source"),
    sa.CheckConstraint("status in ('connected', 'key_rejected', 'disconnected')", name="status"),
)


admin_keys = table(
    "admin_keys",
    "Admin keys, encrypted (AES-256-GCM); readable by the loader alone",
    identity("tenant_id", "The tenant", key=True),
    count(
        "generation",
        "1 for the first key, one more for each that replaced it",
        key=True,
    ),
    binary("ciphertext", "The sealed key"),
    binary("wrapped_data_key", "The key's data key, wrapped by the master key"),
    text("master_key_id", "Which master key wrapped it"),
    text("key_hint", "The key's last four characters"),
    instant("validated_at", "When Anthropic last accepted the key at connect or rotate"),
    instant(
        "revoked_at",
        "When the key was replaced, disconnected or rejected; NULL while in use",
        null=True,
    ),
    sa.ForeignKeyConstraint(["tenant_id"], ["stax.tenants.tenant_id"]),
)


extractions = table(
    "extractions",
    "One fetch of one report for one tenant over a window of days; its pages lie verbatim in the lake",
    identity("extraction_id", "Random id", key=True),
    sa.Column(
        "tenant_id",
        sa.UUID,
        sa.ForeignKey("stax.tenants.tenant_id"),
        nullable=False,
        comment="The tenant",
    ),
    text("report", "cost_report, usage_report, organization, or analytics (read for comparison alone)"),
    day(
        "window_start",
        "First usage date asked for; the extraction day for organization",
    ),
    day("window_end", "The day after the last one that the source answered for"),
    instant(
        "extracted_at",
        "Earliest Date header of its pages, or the newer source's data_refreshed_at where that is earlier",
    ),
    count("pages", "Pages kept"),
    count("rows", "Report rows on those pages"),
    text("sha256", "Hash of the raw object"),
    text(
        "raw_uri",
        "Where the raw object lies, relative to the lake; NULL where nothing arrived",
        null=True,
    ),
    text("run_id", "The Dagster run that made it"),
    text("error", "Why it does not count; NULL when it does", null=True),
    instant("recorded_at", "When this row was written", server_default=sa.func.clock_timestamp()),
    day(
        "asked_end",
        "The day after the last one asked for, where the source had nothing yet of those from window_end on; else NULL",
        null=True,
    ),
    sa.Index(None, "tenant_id", "report", "extracted_at"),
)


coverage = table(
    "coverage",
    "For each tenant, report and usage date: which extraction is current and how far its data reaches",
    tenant(),
    text("report", "cost_report or usage_report", key=True),
    usage_date(),
    sa.Column(
        "extraction_id",
        sa.UUID,
        sa.ForeignKey("stax.extractions.extraction_id"),
        nullable=False,
        comment=EXTRACTION,
    ),
    instant("extracted_at", "That extraction's moment"),
    instant("data_through", "The instant up to which the day's data is complete"),
    flag(
        "old_enough_to_settle",
        "Whether the extraction was made STAX_SETTLE_HOURS after the day's end, or later",
    ),
    text("state", "open, provisional, complete, or not reported yet: over, and asked for in vain"),
    count("rows", "Rows of the day in that extraction"),
    flag("by_key", "Whether that extraction read usage by key for the day; true for cost", server_default=sa.true()),
    flag(
        "metered",
        "Whether the day has a charge (cost), or standard or batch tokens (usage): without a charge for such tokens it "
        "is not settled",
        server_default=sa.false(),
    ),
    text("digest", "Digest of the day's normalised rows, whatever their order; '' without rows", server_default=""),
    text("key_digest", "Digest of the day's usage by key; '' without rows and for cost", server_default=""),
    sa.CheckConstraint("state in ('open', 'provisional', 'complete', 'not reported yet')", name="state"),
)


tenant_grants = table(
    "tenant_grants",
    "Which login reads which tenants beside the analyst, who reads all; a login sees its own rows alone",
    text("role_name", "The login, as Postgres knows it", key=True),
    identity("tenant_id", "The tenant, by its random internal id", key=True),
    instant("granted_at", "When the login was tied to the tenant", server_default=sa.func.now()),
    sa.ForeignKeyConstraint(["tenant_id"], ["stax.tenants.tenant_id"]),
)

"""Every table of the warehouse, its grain and its columns: from here come the migrations, the SQL comments, the Parquet
schemas, Dagster's column schemas and `docs/tables.md`.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from stax_pipeline.resources.warehouse.columns import (
    binary,
    count,
    day,
    flag,
    identity,
    instant,
    json,
    metadata,
    number,
    table,
    tenant,
    text,
    usage_date,
)

__all__ = ["metadata"]

_EXTRACTION = "The extraction this row was read from"
_LOADED = "When this row was written"


def _loaded() -> sa.Column[Any]:
    return instant("loaded_at", _LOADED, server_default=sa.func.now())


def _dimensions(*names: str) -> list[sa.Column[Any]]:
    return [text(name, _DIMENSIONS[name], key=True) for name in names]


_DIMENSIONS = {
    "workspace_id": "Workspace id; 'default' is the default workspace",
    "api_key_id": "API key id; '' is use without one (Console, OAuth, service account); 'unattributed' cannot be split",
    "account_id": "OAuth account id; '' is use not made through OAuth",
    "model": "Model id as the source names it; '' where none applies",
    "service_tier": "standard, batch, priority, … as the source names it; '' where none applies",
    "context_window": "0-200k or 200k-1M; '' where none applies",
    "inference_geo": "global, us, not_available, …; '' where none applies",
    "speed": "standard, fast; '' where the source refused to tell; mixed where a spend line holds both",
    "description": "Display text of the cost report",
    "cost_type": "tokens, web_search, code_execution, session_usage, …",
    "token_type": "Token type under the cost report's names; '' where none applies",
    "currency": "Always USD: anything else stops the tenant",
}
_COUNTS = {
    "uncached_input_tokens": "Input tokens that neither hit nor wrote the cache",
    "cache_read_input_tokens": "Input tokens read from the cache",
    "cache_creation_5m_input_tokens": "Input tokens written to the 5-minute cache",
    "cache_creation_1h_input_tokens": "Input tokens written to the 1-hour cache",
    "output_tokens": "Output tokens",
    "web_search_requests": "Web searches",
}


def _counts() -> list[sa.Column[Any]]:
    return [count(name, comment) for name, comment in _COUNTS.items()]


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
    text("report", "cost_report, usage_report or organization"),
    day(
        "window_start",
        "First usage date asked for; the extraction day for organization",
    ),
    day("window_end", "The day after the last one asked for"),
    instant("extracted_at", "Earliest Date header of its pages: the source's clock"),
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
        comment=_EXTRACTION,
    ),
    instant("extracted_at", "That extraction's moment"),
    instant("data_through", "The instant up to which the day's data is complete"),
    flag(
        "old_enough_to_settle",
        "Whether the extraction was made STAX_SETTLE_HOURS after the day's end, or later",
    ),
    text("state", "open, provisional or complete"),
    count("rows", "Rows of the day in that extraction"),
    sa.CheckConstraint("state in ('open', 'provisional', 'complete')", name="state"),
)

cost_lines = table(
    "cost_lines",
    "One normalised row of the cost report, in USD",
    usage_date(),
    tenant(),
    *_dimensions(
        "workspace_id", "description", "cost_type", "token_type", "model", "service_tier", "context_window",
        "inference_geo", "currency",
    ),
    count("occurrence", "1, 2, … among rows equal in every dimension, by amount", key=True),
    number("amount_usd", "USD, exact: the report's cents ÷ 100; negative for credits"),
    json("extras", "Fields the report sent that no documentation lists"),
    identity("extraction_id", _EXTRACTION),
    _loaded(),
)  # fmt: skip

usage_lines = table(
    "usage_lines",
    "One normalised row of the usage report, with its speed",
    usage_date(),
    tenant(),
    *_dimensions(
        "workspace_id",
        "model",
        "service_tier",
        "context_window",
        "inference_geo",
        "speed",
    ),
    *_counts(),
    json("extras", "Fields the report sent that no documentation lists"),
    identity("extraction_id", _EXTRACTION),
    _loaded(),
)

usage_by_key = table(
    "usage_by_key",
    "Usage by API key and account",
    usage_date(),
    tenant(),
    *_dimensions("workspace_id", "api_key_id", "account_id", "model", "service_tier"),
    *_counts(),
    json("extras", "Fields the report sent that no documentation lists"),
    identity("extraction_id", _EXTRACTION),
    _loaded(),
)

spend = table(
    "spend",
    "What something cost, and where that figure comes from",
    usage_date(),
    tenant(),
    count("line", "1, 2, … within the tenant's day", key=True),
    *(text(name, _DIMENSIONS[name]) for name in ("workspace_id", "model", "cost_type", "token_type", "service_tier",
      "context_window", "inference_geo", "speed", "description")),
    count("quantity", "Tokens or requests; NULL where the source tells none", null=True),
    text("unit", "tokens, requests or hours"),
    text("cost_source", "reported, priority-reconstructed, unbilled, usage-estimated or unpriced"),
    number("cost_usd", "USD; NULL when unpriced", null=True),
    number("effective_cost_usd", "USD after spreading a recorded commitment; equals cost_usd without one", null=True),
    number("list_cost_usd", "USD at list price, before any contract rate; NULL where no price is known", null=True),
    number("list_cost_low_usd", "Lower bound, for a model whose price steps where the report cannot see", null=True),
    number("list_cost_high_usd", "Upper bound, likewise", null=True),
    number("contracted_cost_usd", "USD at list price after the contract rate", null=True),
    number("list_unit_price_usd", "USD per pricing unit; NULL when several prices went in", null=True),
    number("contracted_unit_price_usd", "The same after the contract rate", null=True),
    number("pricing_quantity", "quantity in pricing units", null=True),
    text("pricing_unit", "1M tokens, 1k requests or hour"),
    text("price_source", "Where the list price comes from; band-lower for the lower bound of an unseen step"),
    text("price_book_version", "Digest of the price book the line was priced with"),
    text("commitment_id", "The commitment the line burns; '' without one"),
    number("burndown_units", "Units of a Priority commitment the tokens burn; NULL for other tiers", null=True),
    count("cost_lines", "How many cost lines were met"),
    sa.Column("cost_extraction_id", sa.UUID, nullable=True, comment="Cost extraction the line was built from"),
    sa.Column("usage_extraction_id", sa.UUID, nullable=True, comment="Usage extraction the line was built from"),
    _loaded(),
)  # fmt: skip

spend_by_key = table(
    "spend_by_key",
    "Spend lines split over API keys and accounts by the tokens each used; sums tie to spend exactly",
    usage_date(),
    tenant(),
    *_dimensions(
        "workspace_id",
        "api_key_id",
        "account_id",
        "model",
        "cost_type",
        "token_type",
        "service_tier",
    ),
    text("cost_source", "As in spend", key=True),
    count(
        "quantity",
        "Tokens or requests of this key, by the by-key reading; NULL where it tells none",
        null=True,
    ),
    number("cost_usd", "This key's share in USD; NULL when unpriced", null=True),
    number("effective_cost_usd", "This key's share of the effective cost in USD", null=True),
    _loaded(),
)

reconciliation = table(
    "reconciliation",
    "The error bar: standard and batch tokens priced by the book, beside what was reported for them",
    usage_date(),
    tenant(),
    text("model", "Dated model id", key=True),
    text("service_tier", "standard or batch", key=True),
    number(
        "priced_usd",
        "Tokens × price, contract rates included; NULL where a price is unknown",
        null=True,
    ),
    number("priced_low_usd", "Lower bound of the same", null=True),
    number("priced_high_usd", "Upper bound of the same", null=True),
    number("list_priced_usd", "Tokens × list price", null=True),
    number("reported_usd", "Token dollars of the cost report"),
    number("ratio", "priced_usd ÷ reported_usd; NULL when nothing was reported", null=True),
    text(
        "cause",
        "Why the two differ, where it can be told; '' when they agree within 1 %",
    ),
    _loaded(),
)

workspaces = table(
    "workspaces",
    "Workspaces of a tenant's organisation; those that vanish are kept",
    tenant(),
    text(
        "workspace_id",
        "The id used in every other table; 'default' is the default workspace",
        key=True,
    ),
    text("anthropic_id", "The id Anthropic gives it"),
    text("name", "Name"),
    flag("is_default", "Whether it is the default workspace"),
    instant("created_at", "When it was created", null=True),
    instant("archived_at", "When it was archived; NULL while active", null=True),
    instant("last_seen_at", "The last snapshot that held it"),
    json("extras", "Every further field of the snapshot"),
)

api_keys = table(
    "api_keys",
    "API keys of a tenant's organisation; those that vanish are kept",
    tenant(),
    text("api_key_id", "Anthropic's id", key=True),
    text("name", "Name"),
    text("status", "active, inactive, archived, expired, …"),
    text("workspace_id", "The workspace it belongs to; '' for the whole organisation"),
    text("partial_key_hint", "What Anthropic shows of the key"),
    instant("created_at", "When it was created", null=True),
    instant("last_seen_at", "The last snapshot that held it"),
    json("extras", "Every further field of the snapshot"),
)

members = table(
    "members",
    "Members of a tenant's organisation; those that vanish are kept",
    tenant(),
    text("member_id", "Anthropic's user id", key=True),
    text("name", "Name"),
    text("email", "E-mail address"),
    text("role", "Role, as Anthropic names it"),
    instant("added_at", "When the member joined", null=True),
    instant("last_seen_at", "The last snapshot that held it"),
    json("extras", "Every further field of the snapshot"),
)

list_prices = table(
    "list_prices",
    "The dated price book: USD per unit as published",
    text("model", "Model id; '' for what is not sold by token", key=True),
    day("effective_from", "First UTC day of the price", key=True),
    text("cost_type", "tokens, web_search, code_execution or session_usage", key=True),
    text("token_type", "Token type; '' where none applies", key=True),
    text(
        "context_window",
        "all, 0-200k, 200k-1M; 0-100k and 100k-1M for a step the report cannot see",
        key=True,
    ),
    text("speed", "standard or fast", key=True),
    instant("recorded_at", "When the row was recorded", key=True),
    text("pricing_unit", "1M tokens, 1k requests or hour"),
    number("usd_per_unit", "USD per pricing unit"),
    number("us_multiplier", "Factor of US-only inference"),
    text("source", "Where the price was published"),
    instant("superseded_at", "When a later row replaced it; NULL while in force", null=True),
)

"""The reports' rows, typed, and the names they refer to."""

from __future__ import annotations

from stax_pipeline.warehouse.columns import (
    count,
    flag,
    identity,
    instant,
    json,
    number,
    table,
    tenant,
    text,
    usage_date,
)
from stax_pipeline.warehouse.tables.shared import EXTRACTION, counts, dimensions, extras, line, loaded

COST = (
    "workspace_id", "description", "cost_type", "token_type", "model", "service_tier", "context_window",
    "inference_geo", "currency",
)  # fmt: skip
USAGE = ("workspace_id", "model", "service_tier", "context_window", "inference_geo", "speed")
USAGE_BY_KEY = ("workspace_id", "api_key_id", "account_id", "model", "service_tier")

cost_lines = table(
    "cost_lines",
    "One normalised row of the cost report, in USD",
    usage_date(),
    tenant(),
    line(),
    *dimensions(*COST),
    count("occurrence", "1, 2, … among rows equal in every dimension, by amount"),
    number("amount_usd", "USD, exact: the report's cents ÷ 100; negative for credits"),
    extras(),
    identity("extraction_id", EXTRACTION),
    loaded(),
    apart=(*COST, "occurrence"),
)


usage_lines = table(
    "usage_lines",
    "One normalised row of the usage report, with its speed",
    usage_date(),
    tenant(),
    line(),
    *dimensions(*USAGE),
    *counts(),
    extras(),
    identity("extraction_id", EXTRACTION),
    loaded(),
    apart=USAGE,
)


usage_by_key = table(
    "usage_by_key",
    "Usage by API key and account",
    usage_date(),
    tenant(),
    line(),
    *dimensions(*USAGE_BY_KEY),
    *counts(),
    extras(),
    identity("extraction_id", EXTRACTION),
    loaded(),
    apart=USAGE_BY_KEY,
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

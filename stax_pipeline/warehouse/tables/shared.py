"""Columns that several tables share, each described once."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from stax_pipeline.warehouse.columns import count, instant, json, text

EXTRACTION = "The extraction this row was read from"
DIMENSIONS = {
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
COUNTS = {
    "uncached_input_tokens": "Input tokens that neither hit nor wrote the cache",
    "cache_read_input_tokens": "Input tokens read from the cache",
    "cache_creation_5m_input_tokens": "Input tokens written to the 5-minute cache",
    "cache_creation_1h_input_tokens": "Input tokens written to the 1-hour cache",
    "output_tokens": "Output tokens",
    "web_search_requests": "Web searches",
}


def loaded() -> sa.Column[Any]:
    return instant("loaded_at", "When this row was written", server_default=sa.func.now())


def line() -> sa.Column[Any]:
    """The narrow key of tables with many dimensions, beside the day and the tenant."""
    return count("line", "1, 2, … within the tenant's day", key=True)


def dimensions(*names: str, key: bool = False) -> list[sa.Column[Any]]:
    """Dimensions, part of the key if `key`."""
    return [text(name, DIMENSIONS[name], key=key) for name in names]


def counts() -> list[sa.Column[Any]]:
    return [count(name, comment) for name, comment in COUNTS.items()]


def extras() -> sa.Column[Any]:
    return json("extras", "Fields the report sent that no documentation lists")

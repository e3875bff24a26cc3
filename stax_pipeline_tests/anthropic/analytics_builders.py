"""Rows and pages of the newer source as they arrive; plain defaults, a test names what it is about."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from stax_pipeline.anthropic.analytics_queries import ACTOR_DIMENSIONS
from stax_pipeline.anthropic.queries import USAGE_DIMENSIONS
from stax_pipeline.domain.extraction import QueryName, RawPage, Window
from stax_pipeline_tests.derive.builders import DAY, INPUT, OPUS, list_body, raw_page, usage_row

Row = dict[str, Any]
WINDOW = Window(DAY, date(2026, 11, 8))
NEXT = DAY + timedelta(days=1)
NOW = datetime(2026, 11, 9, 12, tzinfo=UTC)
COST_DIMENSIONS = (*USAGE_DIMENSIONS, "cost_type", "token_type")
DEFAULT, SPACE = "wrkspc_default", "wrkspc_1"


def row(day: date = DAY, **parts: Row) -> Row:
    return {"starting_at": f"{day}T00:00:00Z", "ending_at": f"{day + timedelta(days=1)}T00:00:00Z", **parts}


def cost(amount: str = "123.45", day: date = DAY, *, list_amount: str = "150", **group: str | None) -> Row:
    named = {
        "workspace_id": SPACE, "model": OPUS, "service_tier": "standard", "context_window": "0-200k",
        "inference_geo": "global", "cost_type": "tokens", "token_type": INPUT,
    } | group  # fmt: skip
    paid = {"amount": amount, "list_amount": list_amount, "currency": "USD", "requests": None}
    return row(day, group=named, cost=paid)


def usage(uncached: int = 10, day: date = DAY, *, searches: int = 0, actor: Row | None = None, **group: Any) -> Row:
    named = {
        "workspace_id": SPACE, "model": OPUS, "service_tier": "standard", "context_window": "0-200k",
        "inference_geo": "global", "api_key_id": "apikey_1", "actor": actor,
    } | group  # fmt: skip
    counted = {key: value for key, value in usage_row(uncached, searches=searches).items() if key not in named}
    counted = {name: value for name, value in counted.items() if name not in ("account_id",)}
    return row(day, group=named, usage={**counted, "total_tokens": uncached, "requests": 3})


def body(*rows: Row, **changes: Any) -> str:
    return json.dumps({"data": rows, "has_more": False, "next_page": None, "data_refreshed_at": None} | changes)


def page(query: QueryName, *rows: Row, number: int = 1, **changes: Any) -> RawPage:
    asked = {QueryName.ANALYTICS_COST: COST_DIMENSIONS, QueryName.ANALYTICS_BY_KEY: ACTOR_DIMENSIONS}
    params = tuple(("group_by[]", name) for name in asked.get(query, USAGE_DIMENSIONS))
    return replace(raw_page(query, body(*rows, **changes), number), params=params)


def spaces(named: tuple[str, ...] = (SPACE,), every: tuple[str, ...] = (SPACE, DEFAULT)) -> list[RawPage]:
    return [
        raw_page(QueryName.NAMED_WORKSPACES, list_body(*({"id": each} for each in named))),
        raw_page(QueryName.WORKSPACES, list_body(*({"id": each} for each in every))),
    ]

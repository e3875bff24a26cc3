"""Lines, rows and pages for the tests of pure rules: plain defaults, a test names what it is about.

Belongs here: builders and hypothesis strategies. Stays out: expectations.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal
from functools import cache
from typing import Any

from hypothesis import strategies as st

from stax_pipeline.derive.cost_lines import CostLine
from stax_pipeline.derive.terms import Terms
from stax_pipeline.derive.usage_lines import TOKEN_TYPES, KeyUsageLine, UsageLine
from stax_pipeline.domain.extraction import QueryName, RawPage
from stax_pipeline.pricing.prices import ListPrice, PriceBook, shipped_prices

DAY = date(2026, 11, 1)
OPUS = "claude-opus-5-5"
WIDE = Context(prec=60)  # the default context would round what a strategy means to be 38 digits
INPUT, OUTPUT, READ = "uncached_input_tokens", "output_tokens", "cache_read_input_tokens"
WRITE_5M, WRITE_1H = "cache_creation.ephemeral_5m_input_tokens", "cache_creation.ephemeral_1h_input_tokens"
MILLION = 1_000_000


def scaled(number: int, decimals: int = 18) -> Decimal:
    """`number` units of the last decimal, exactly."""
    return Decimal(number).scaleb(-decimals, WIDE)


@cache
def book() -> PriceBook:
    """The book that ships."""
    return PriceBook.of(shipped_prices())


@cache
def terms() -> Terms:
    """List prices alone: no contract rate, no commitment."""
    return Terms(book())


def list_price(usd: str = "10", **changes: Any) -> ListPrice:
    price = ListPrice(
        OPUS, date(2026, 1, 1), "tokens", INPUT, "all", "standard", "1M tokens", Decimal(usd), Decimal(1), "test"
    )
    return price._replace(**changes)


def cost(amount: str | Decimal = "4", token_type: str = INPUT, **changes: Any) -> CostLine:
    line = CostLine(
        DAY, "default", "", "tokens", token_type, OPUS, "standard", "0-200k", "global", "USD", 1, Decimal(amount), "{}"
    )
    return line._replace(**changes)


def usage(uncached: int = 0, **changes: Any) -> UsageLine:
    line = UsageLine(DAY, "default", OPUS, "standard", "0-200k", "global", "standard", uncached, 0, 0, 0, 0, 0, "{}")
    return line._replace(**changes)


def key_usage(api_key_id: str = "apikey_1", uncached: int = 0, **changes: Any) -> KeyUsageLine:
    return KeyUsageLine(
        DAY, "default", api_key_id, "", OPUS, "standard", uncached, 0, 0, 0, 0, 0, "{}"
    )._replace(**changes)  # fmt: skip


def cost_row(**changes: Any) -> dict[str, Any]:
    """A row of the cost report as it arrives, all documented fields."""
    return {
        "amount": "123.45",
        "currency": "USD",
        "cost_type": "tokens",
        "description": "Claude Opus 5.5 Usage - Input Tokens",
        "model": OPUS,
        "token_type": INPUT,
        "context_window": "0-200k",
        "service_tier": "standard",
        "inference_geo": "global",
        "workspace_id": "wrkspc_1",
    } | changes


def usage_row(uncached: int = 0, *, five: int = 0, hour: int = 0, searches: int = 0, **changes: Any) -> dict[str, Any]:
    """A row of the usage report as it arrives, grouped by everything."""
    return {
        "uncached_input_tokens": uncached,
        "cache_creation": {"ephemeral_5m_input_tokens": five, "ephemeral_1h_input_tokens": hour},
        "cache_read_input_tokens": 0,
        "output_tokens": 0,
        "server_tool_use": {"web_search_requests": searches},
        "model": OPUS,
        "workspace_id": "wrkspc_1",
        "api_key_id": "apikey_1",
        "account_id": None,
        "service_tier": "standard",
        "context_window": "0-200k",
        "inference_geo": "global",
    } | changes


def report_body(*buckets: tuple[date, list[dict[str, Any]]]) -> str:
    data = [
        {
            "starting_at": f"{day}T00:00:00Z",
            "ending_at": f"{day + timedelta(days=1)}T00:00:00Z",
            "results": rows,
        }
        for day, rows in buckets
    ]
    return json.dumps({"data": data, "has_more": False, "next_page": None})


def list_body(*items: dict[str, Any]) -> str:
    return json.dumps({"data": items, "has_more": False, "first_id": None, "last_id": None})


def raw_page(query: QueryName, body: str, page_number: int = 1) -> RawPage:
    moment = datetime(2026, 11, 9, 12, tzinfo=UTC)
    return RawPage(query, page_number, "/", (), {}, 200, "req_1", moment, moment, moment, 0, "", body)


DAYS = st.sampled_from([DAY, DAY + timedelta(days=1)])
WORKSPACES = st.sampled_from(["default", "wrkspc_1"])
MODELS = st.sampled_from(
    [OPUS, "claude-haiku-5-5", "claude-opus-4-5", "claude-opus-4-5-20251101", "claude-nobody-knows", ""]
)
TIERS = st.sampled_from(["", "standard", "batch", "priority", "flex", "priority_on_demand"])
WINDOWS = st.sampled_from(["", "0-200k", "200k-1M"])
GEOS = st.sampled_from(["", "global", "not_available", "us"])
SPEEDS = st.sampled_from(["", "standard", "fast"])
COUNTS = st.one_of(st.just(0), st.integers(0, 10**13))
USD = st.integers(-(10**30), 10**30).map(scaled)

cost_lines_ = st.builds(
    CostLine,
    usage_date=DAYS,
    workspace_id=WORKSPACES,
    description=st.sampled_from(["", "Input Tokens", "Code Execution Usage"]),
    cost_type=st.sampled_from(["tokens", "tokens", "web_search", "code_execution", "session_usage", "", "new_type"]),
    token_type=st.sampled_from([*TOKEN_TYPES, "", "new_tokens"]),
    model=MODELS,
    service_tier=TIERS,
    context_window=WINDOWS,
    inference_geo=GEOS,
    currency=st.just("USD"),
    occurrence=st.just(1),
    amount_usd=USD,
    extras=st.just("{}"),
)
usage_lines_ = st.builds(
    UsageLine,
    usage_date=DAYS,
    workspace_id=WORKSPACES,
    model=MODELS,
    service_tier=TIERS,
    context_window=WINDOWS,
    inference_geo=GEOS,
    speed=SPEEDS,
    uncached_input_tokens=COUNTS,
    cache_read_input_tokens=COUNTS,
    cache_creation_5m_input_tokens=COUNTS,
    cache_creation_1h_input_tokens=COUNTS,
    output_tokens=COUNTS,
    web_search_requests=COUNTS,
    extras=st.just("{}"),
)
key_usage_lines_ = st.builds(
    KeyUsageLine,
    usage_date=DAYS,
    workspace_id=WORKSPACES,
    api_key_id=st.sampled_from(["", "apikey_1", "apikey_2", "apikey_3"]),
    account_id=st.sampled_from(["", "user_1"]),
    model=MODELS,
    service_tier=TIERS,
    uncached_input_tokens=COUNTS,
    cache_read_input_tokens=COUNTS,
    cache_creation_5m_input_tokens=COUNTS,
    cache_creation_1h_input_tokens=COUNTS,
    output_tokens=COUNTS,
    web_search_requests=COUNTS,
    extras=st.just("{}"),
)

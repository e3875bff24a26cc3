"""What is done to any bytes a source may send: read them as every kind of page, and prove what was read.

Anything but a named stop (`TenantStopped`) that comes out of it is a finding, a figure that is not the page's too.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime
from fractions import Fraction
from hashlib import sha256

from stax_pipeline.anthropic.envelope import WalkCheck, parse_report_page
from stax_pipeline.anthropic.fields import Row
from stax_pipeline.anthropic.organization import read_organization
from stax_pipeline.anthropic.queries import BY_KEY_DIMENSIONS, USAGE_DIMENSIONS
from stax_pipeline.derive.cost_lines import cost_lines
from stax_pipeline.derive.usage_lines import Counted, count_rows, disagreements, key_usage_lines, usage_lines
from stax_pipeline.domain.errors import TenantStopped
from stax_pipeline.domain.extraction import QueryName, RawPage, Window
from stax_pipeline.domain.money import MAX_COUNT, SCALE, cents_to_usd
from stax_pipeline_tests.oracle.readings import by_product, by_rows, walked_by_product, walked_by_rows

WINDOW = Window(date(2026, 11, 1), date(2026, 11, 4))
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
Buckets = list[tuple[date, list[Row]]]
WRITES = ("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens")


def read(data: bytes) -> set[str]:
    """Which kinds of page the bytes are, or could be taken for."""
    try:
        body = data.decode("utf-8")
    except UnicodeDecodeError:  # refused before any parser
        return set()
    kinds: dict[str, Callable[[], None]] = {
        "amount": lambda: _amount(body),
        "cost": lambda: _cost(_buckets(body)),
        "usage": lambda: _usage(_buckets(body)),
        "by_key": lambda: _by_key(_buckets(body)),
        "workspaces": lambda: _names(body, QueryName.WORKSPACES),
        "api_keys": lambda: _names(body, QueryName.API_KEYS),
        "members": lambda: _names(body, QueryName.MEMBERS),
    }
    found = set()
    for name, attempt in kinds.items():
        with suppress(TenantStopped):
            attempt()
            found.add(name)
    _both_ways(body)
    return found


def _both_ways(body: str) -> None:
    """Columns or rows: the same lines, or the same reason."""
    for query in (QueryName.COST, QueryName.ALL, QueryName.BY_KEY):
        pages = [RawPage(query, 1, "/v1", (), {}, 200, "req", NOON, NOON, NOON, 0, "", body)]
        assert by_product(pages, WINDOW) == by_rows(pages, WINDOW)
        assert walked_by_product([body, body], WINDOW, query) == walked_by_rows([body, body], WINDOW)


def _buckets(body: str) -> Buckets:
    envelope = parse_report_page(body, WINDOW)
    check = WalkCheck(WINDOW)
    check.add(envelope)
    check.add(envelope)
    return [(bucket.day, bucket.results) for bucket in envelope.buckets]


def _cost(buckets: Buckets) -> None:
    lines = cost_lines(buckets)
    rows = [row for _, found in buckets for row in found]
    assert len(lines) == len(rows)
    assert len({(line.dimensions, line.occurrence) for line in lines}) == len(lines)
    assert sum(Fraction(line.amount_usd) for line in lines) == sum(Fraction(row["amount"]) for row in rows) / 100
    for line in lines:
        assert (Fraction(line.amount_usd) * 10**SCALE).denominator == 1
        assert isinstance(json.loads(line.extras), dict)


def _usage(buckets: Buckets) -> None:
    counted = _counted(buckets, USAGE_DIMENSIONS)
    lines = usage_lines(counted, None)
    fast = usage_lines(counted, counted)
    assert sum(sum(line.counts) for line in lines) == sum(sum(line.counts) for line in fast) == _tokens(buckets)
    assert all(0 <= count <= MAX_COUNT for line in lines for count in line.counts)


def _by_key(buckets: Buckets) -> None:
    lines = key_usage_lines(_counted(buckets, BY_KEY_DIMENSIONS))
    assert sum(sum(line.counts) for line in lines) == _tokens(buckets)
    assert all(0 <= count <= MAX_COUNT for line in lines for count in line.counts)
    assert disagreements([], lines).keys() >= disagreements([], lines[:1]).keys()


def _counted(buckets: Buckets, dimensions: tuple[str, ...]) -> Counted:
    found: Counted = {}
    count_rows(found, buckets, dimensions, Counter(), "fuzz")
    return found


def _tokens(buckets: Buckets) -> int:
    return sum(
        row["uncached_input_tokens"] + row["cache_read_input_tokens"] + row["output_tokens"]
        + sum(row["cache_creation"][name] for name in WRITES) + row["server_tool_use"]["web_search_requests"]
        for _, rows in buckets for row in rows
    )  # fmt: skip


def _names(body: str, query: QueryName) -> None:
    digest = sha256(body.encode()).hexdigest()
    page = RawPage(query, 1, "/v1", (), {}, 200, "req", NOON, NOON, NOON, 0, digest, body)
    read_organization([page])


def _amount(body: str) -> None:
    usd = cents_to_usd(body)
    assert Fraction(usd) == Fraction(body) / 100
    assert abs(usd) < 10**20

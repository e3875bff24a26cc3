"""Usage report rows to usage lines: tokens, cache writes apart, speed told by the difference of two queries."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable
from datetime import date
from typing import NamedTuple

from stax_pipeline.anthropic.fields import Row, count_new_fields, count_unknown, extras, nested, text, workspace
from stax_pipeline.anthropic.queries import BY_KEY_DIMENSIONS, USAGE_DIMENSIONS
from stax_pipeline.domain.errors import ContractBroken
from stax_pipeline.domain.money import token_count

Buckets = Iterable[tuple[date, list[Row]]]
Key = tuple[date, tuple[str, ...]]

_COUNTS = frozenset(("uncached_input_tokens", "cache_read_input_tokens", "output_tokens", "cache_creation",
                     "server_tool_use"))  # fmt: skip
_DIMENSIONS = frozenset((*USAGE_DIMENSIONS, *BY_KEY_DIMENSIONS, "speed", "service_account_id"))
_CACHE_WRITES = frozenset(("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"))


class Counts(NamedTuple):
    """Tokens by type, and web searches, of one usage row."""

    uncached_input_tokens: int
    cache_read_input_tokens: int
    cache_creation_5m_input_tokens: int
    cache_creation_1h_input_tokens: int
    output_tokens: int
    web_search_requests: int

    def plus(self, other: Counts) -> Counts:
        return Counts(*(a + b for a, b in zip(self, other, strict=True)))

    def minus(self, other: Counts) -> Counts:
        return Counts(*(a - b for a, b in zip(self, other, strict=True)))


NOTHING = Counts(0, 0, 0, 0, 0, 0)

# The cost report's token types, each with the usage line's column: where the two reports meet.
TOKEN_TYPES: dict[str, str] = {
    "uncached_input_tokens": "uncached_input_tokens",
    "cache_read_input_tokens": "cache_read_input_tokens",
    "cache_creation.ephemeral_5m_input_tokens": "cache_creation_5m_input_tokens",
    "cache_creation.ephemeral_1h_input_tokens": "cache_creation_1h_input_tokens",
    "output_tokens": "output_tokens",
}


class UsageLine(NamedTuple):
    usage_date: date
    workspace_id: str
    model: str
    service_tier: str
    context_window: str
    inference_geo: str
    speed: str
    uncached_input_tokens: int
    cache_read_input_tokens: int
    cache_creation_5m_input_tokens: int
    cache_creation_1h_input_tokens: int
    output_tokens: int
    web_search_requests: int
    extras: str

    @property
    def counts(self) -> Counts:
        return Counts(*self[7:13])


class KeyUsageLine(NamedTuple):
    """Usage by who used it; `api_key_id` '' means without a key (Console, OAuth, service account)."""

    usage_date: date
    workspace_id: str
    api_key_id: str
    account_id: str
    model: str
    service_tier: str
    uncached_input_tokens: int
    cache_read_input_tokens: int
    cache_creation_5m_input_tokens: int
    cache_creation_1h_input_tokens: int
    output_tokens: int
    web_search_requests: int
    extras: str

    @property
    def counts(self) -> Counts:
        return Counts(*self[6:12])


class NegativeSpeedDifference(ContractBroken):
    """The `fast` query holds more than `all`: they were read around a change. Read once more, then stop."""


def counts(row: Row) -> Counts:
    """The row's six counts. Raises ContractBroken when one is missing or no count; cache writes are nested."""
    for name in _COUNTS:
        if name not in row:
            raise ContractBroken(f"field {name} is missing")
    writes, tools = nested(row, "cache_creation"), nested(row, "server_tool_use")
    return Counts(
        token_count(row["uncached_input_tokens"], "uncached_input_tokens"),
        token_count(row["cache_read_input_tokens"], "cache_read_input_tokens"),
        token_count(
            writes.get("ephemeral_5m_input_tokens"),
            "cache_creation.ephemeral_5m_input_tokens",
        ),
        token_count(
            writes.get("ephemeral_1h_input_tokens"),
            "cache_creation.ephemeral_1h_input_tokens",
        ),
        token_count(row["output_tokens"], "output_tokens"),
        token_count(tools.get("web_search_requests"), "server_tool_use.web_search_requests"),
    )


def _extras(row: Row) -> Row:
    return {
        **extras(row, _COUNTS | _DIMENSIONS),
        **extras(row["cache_creation"], _CACHE_WRITES, "cache_creation."),
        **extras(
            row["server_tool_use"],
            frozenset({"web_search_requests"}),
            "server_tool_use.",
        ),
    }


Counted = dict[Key, tuple[Counts, Row]]


def count_rows(found: Counted, buckets: Buckets, dimensions: tuple[str, ...], unknown: Counter[str], name: str) -> None:
    """Add the buckets' counts and extras to `found`, by day and dimensions; rows equal in every dimension add up."""
    for day, rows in buckets:
        for number, row in enumerate(rows, start=1):
            try:
                values = tuple(workspace(row) if d == "workspace_id" else text(row, d) for d in dimensions)
                before, kept = found.get((day, values), (NOTHING, {}))
                total = _added(before, counts(row))
            except ContractBroken as fault:
                raise ContractBroken(f"usage report ({name}), bucket {day}, row {number}: {fault}") from None
            new = _extras(row)
            count_unknown(row, unknown)
            count_new_fields(new, unknown)
            found[day, values] = total, {**kept, **new}


def _added(before: Counts, here: Counts) -> Counts:
    """The sum of two rows' counts. Raises ContractBroken when it does not fit where each of them does."""
    if before is NOTHING:
        return here
    total = before.plus(here)
    return Counts(*(token_count(value, f"the sum of {name}") for name, value in total._asdict().items()))


def usage_lines(every: Counted, quick: Counted | None, fast_days: Collection[date] | None = None) -> list[UsageLine]:
    """Usage lines with speed: `fast` as read, `standard` as the difference, '' where the source refused `fast`.

    `quick` is None where it was refused altogether; `fast_days` are the days it was read for, all of them when None.

    Raises NegativeSpeedDifference when the two queries contradict each other.
    """
    fast = quick or {}
    for key in fast:
        whole = every.get(key, (NOTHING, {}))[0]
        if min(whole.minus(fast[key][0])) < 0:
            raise NegativeSpeedDifference(f"usage of {key[0]}: the fast query exceeds the whole for {key[1]}")
    lines = []
    for (day, values), (whole, more) in every.items():
        part = fast.get((day, values), (NOTHING, {}))[0]
        rest, kept = whole.minus(part), json.dumps(more, sort_keys=True, default=str)
        if part != NOTHING:
            lines.append(UsageLine._make((day, *values, "fast", *part, "{}" if rest != NOTHING else kept)))
        if rest != NOTHING or part == NOTHING:
            speed = "" if quick is None or (fast_days is not None and day not in fast_days) else "standard"
            lines.append(UsageLine._make((day, *values, speed, *rest, kept)))
    return sorted(lines)


def key_usage_lines(found: Counted) -> list[KeyUsageLine]:
    """Usage by API key and account."""
    return sorted(
        KeyUsageLine(day, space, key, account, model, tier, *total, json.dumps(more, sort_keys=True, default=str))
        for (day, (key, account, space, model, tier)), (total, more) in found.items()
    )


def disagreements(lines: Iterable[UsageLine], by_key: Iterable[KeyUsageLine]) -> dict[Key, tuple[Counts, Counts]]:
    """Where the queries `all` and `by_key` differ, by day, workspace, model and tier: (all, by_key)."""
    left: dict[Key, Counts] = {}
    right: dict[Key, Counts] = {}
    for line in lines:
        key = line.usage_date, (line.workspace_id, line.model, line.service_tier)
        left[key] = left.get(key, NOTHING).plus(line.counts)
    for other in by_key:
        key = other.usage_date, (other.workspace_id, other.model, other.service_tier)
        right[key] = right.get(key, NOTHING).plus(other.counts)
    return {
        key: (left.get(key, NOTHING), right.get(key, NOTHING))
        for key in left.keys() | right.keys()
        if left.get(key, NOTHING) != right.get(key, NOTHING)
    }

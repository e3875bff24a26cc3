"""Strict readers for one field of one source row, shared by the cost and the usage parser.

A missing field stops the tenant (missing is never zero, never the default workspace); an unknown one is kept in
`extras`; text must be something Postgres can hold.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from stax_pipeline.domain.errors import ContractBroken

Row = dict[str, Any]
MAX_TEXT = 500  # a Postgres index row holds all dimensions of a line in 2,700 bytes
MAX_SHOWN = 100
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
DEFAULT_WORKSPACE = "default"

KNOWN_VALUES: dict[str, frozenset[str]] = {
    "cost_type": frozenset({"tokens", "web_search", "code_execution", "session_usage"}),
    "token_type": frozenset(
        {
            "uncached_input_tokens",
            "output_tokens",
            "cache_read_input_tokens",
            "cache_creation.ephemeral_5m_input_tokens",
            "cache_creation.ephemeral_1h_input_tokens",
        }
    ),
    "service_tier": frozenset({"standard", "batch", "priority", "priority_on_demand", "flex", "flex_discount"}),
    "context_window": frozenset({"0-100k", "100k-1M", "0-200k", "200k-1M"}),
    "inference_geo": frozenset({"global", "us", "not_available"}),
}


def text(row: Row, name: str) -> str:
    """The field's text, '' for null. Raises ContractBroken when it is missing, not text, or not storable."""
    if name not in row:
        raise ContractBroken(f"field {name} is missing")
    value = row[name]
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ContractBroken(f"field {name} is {type(value).__name__}, not text")
    if len(value) > MAX_TEXT or _UNSTORABLE.search(value):
        raise ContractBroken(f"field {name} holds text that cannot be stored (NUL, lone surrogate or too long)")
    return value


def workspace(row: Row) -> str:
    """The workspace's id; null, when grouped by workspace, means the default one. '' stays: use without a workspace."""
    found = text(row, "workspace_id")
    return DEFAULT_WORKSPACE if row["workspace_id"] is None else found


def nested(row: Row, name: str) -> Row:
    value = row.get(name)
    if not isinstance(value, dict):
        raise ContractBroken(f"field {name} is missing or not an object")
    return value


def extras(row: Row, known: frozenset[str], prefix: str = "") -> Row:
    """The fields nobody documented yet, under their own names."""
    return {prefix + name: value for name, value in row.items() if name not in known}


def count_unknown(row: Row, unknown: Counter[str]) -> None:
    """Count enum values that the documentation does not list, as `value field=value`."""
    for name, known in KNOWN_VALUES.items():
        value = row.get(name)
        if isinstance(value, str) and value not in known:
            unknown[unknown_value(name, value)] += 1


def unknown_value(name: str, value: str) -> str:
    return f"value {name}={value[:MAX_SHOWN]}"


def count_new_fields(names: Iterable[str], unknown: Counter[str]) -> None:
    """Count fields that the documentation does not list, as `field name`."""
    unknown.update(f"field {name[:MAX_SHOWN]}" for name in names)

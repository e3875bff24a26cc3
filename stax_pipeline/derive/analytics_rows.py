"""Rows of the newer source in the shape of the reports' rows, so that one parser makes the lines of both.

Belongs here: what the two sources name differently. Stays out: amounts and counts (`cost_lines`,
`usage_lines`).

| here | reports | lines |
| --- | --- | --- |
| the default workspace's real id | null | 'default' |
| workspace null: Claude Enterprise use | never | '' |
| geography of tokens null | `not_available` | 'not_available' |
| actor, where it is a user | `account_id` | the user's id |
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from stax_pipeline.anthropic.analytics_page import AnalyticsRow
from stax_pipeline.anthropic.fetched_page import list_page_of
from stax_pipeline.anthropic.fields import DEFAULT_WORKSPACE, Row, nested, text
from stax_pipeline.derive.cost_lines import CostLine
from stax_pipeline.domain.errors import ContractBroken
from stax_pipeline.domain.extraction import QueryName, RawPage
from stax_pipeline.domain.money import cents_to_usd, token_count

METERED_TIERS = frozenset({"", "standard", "batch"})  # the only ones the cost report knows
_COST_GROUP = ("model", "service_tier", "context_window", "cost_type", "token_type")
_USAGE_GROUP = ("model", "service_tier", "context_window")
_KEY_GROUP = ("model", "service_tier", "api_key_id")
_DERIVED = frozenset({"total_tokens", "requests"})  # no part of a usage line: they stay on the raw page


def cost_row(row: AnalyticsRow) -> Row:
    """The row as the cost report would send it; `list_amount`, `requests` and what is new come along as extras."""
    group, cost = nested(row.content, "group"), nested(row.content, "cost")
    list_usd(cost)
    found = {**cost, **_named(group, _COST_GROUP), "description": None}
    found["inference_geo"] = _geo(group) if found["cost_type"] == "tokens" else text(group, "inference_geo") or None
    return found


def list_usd(cost: Row) -> Decimal:
    """USD at list price, before discounts. Raises ContractBroken."""
    if "list_amount" not in cost:
        raise ContractBroken("field list_amount is missing")
    try:
        return cents_to_usd(cost["list_amount"])
    except ContractBroken as fault:
        raise ContractBroken(f"list_{fault}") from None


def usage_row(row: AnalyticsRow, *, by_key: bool = False) -> Row:
    """The row as the usage report would send it. Raises ContractBroken where a token is in no token type."""
    group, usage = nested(row.content, "group"), nested(row.content, "usage")
    _require_whole(usage)
    found = {name: value for name, value in usage.items() if name not in _DERIVED}
    if by_key:
        return {**found, **_named(group, _KEY_GROUP), "account_id": _account(group)}
    return {**found, **_named(group, _USAGE_GROUP), "inference_geo": _geo(group)}


def is_set_aside(line: CostLine) -> bool:
    """Whether these are dollars the cost report never has: tokens of Priority or any other tier that is not metered.

    They are shown beside the reconstruction, never added to it.
    """
    return line.cost_type == "tokens" and line.service_tier not in METERED_TIERS


def _named(group: Row, names: Iterable[str]) -> dict[str, Any]:
    """The group's values; a null workspace becomes '', so that it is not taken for the default one."""
    found = {name: text(group, name) or None for name in names}
    return {**found, "workspace_id": text(group, "workspace_id")}


def _geo(group: Row) -> str:
    return text(group, "inference_geo") or "not_available"


def _account(group: Row) -> str:
    if "actor" not in group:
        raise ContractBroken("field actor is missing")
    actor = group["actor"]
    if actor is None:
        return ""
    if not isinstance(actor, dict):
        raise ContractBroken("field actor is not an object")
    return text(actor, "user_id") if text(actor, "type") == "user_actor" else ""


def _require_whole(usage: Row) -> None:
    writes = nested(usage, "cache_creation").values()
    names = ("uncached_input_tokens", "cache_read_input_tokens", "output_tokens")
    parts = [*(usage.get(name) for name in names), *writes]
    total, known = token_count(usage.get("total_tokens"), "total_tokens"), sum(p for p in parts if type(p) is int)
    if total != known:
        raise ContractBroken(f"total_tokens is {total}, its token types add up to {known}: a type is missing")


class WorkspaceNames:
    """Which workspace is the default one, told by the workspace pages of the same extraction.

    It is the one that the list has only when asked for the default one too.
    """

    def __init__(self) -> None:
        self._every: set[str] = set()
        self._named: set[str] = set()
        self._seen: set[str] = set()

    def add(self, page: RawPage) -> None:
        """Read a page of either list. Raises ContractBroken."""
        ids = {str(item["id"]) for item in list_page_of(page).items}
        (self._every if page.query is QueryName.WORKSPACES else self._named).update(ids)

    def note(self, rows: Iterable[Row]) -> None:
        """Remember the workspaces of rows, whose names will be asked for."""
        self._seen.update(row["workspace_id"] for row in rows if row["workspace_id"])

    def require(self) -> None:
        """Raise ContractBroken where rows name workspaces and it cannot be told which is the default one."""
        if self._seen:
            self._default()

    def of(self, workspace_id: str) -> str:
        """The id of the tables; a workspace that no row of the newer source named keeps its own.

        Raises ContractBroken when the default workspace cannot be told.
        """
        is_default = workspace_id in self._seen and workspace_id == self._default()
        return DEFAULT_WORKSPACE if is_default else workspace_id

    def _default(self) -> str:
        candidates = self._every - self._named
        if len(candidates) == 1:
            return next(iter(candidates))
        raise ContractBroken(
            f"the default workspace cannot be told: {len(candidates)} workspaces are in the list with it and not in "
            "the list without it, where there must be exactly one"
        )

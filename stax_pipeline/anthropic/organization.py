"""Names: workspaces, API keys and members of an organisation, from the list endpoints' pages."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from stax_pipeline.anthropic.fetched_page import list_page_of
from stax_pipeline.anthropic.fields import DEFAULT_WORKSPACE, Row, extras, text
from stax_pipeline.domain.errors import ContractBroken
from stax_pipeline.domain.extraction import QueryName, RawPage


class Workspace(NamedTuple):
    """`workspace_id` is 'default' for the default workspace, whose real id stands in `anthropic_id`."""

    workspace_id: str
    anthropic_id: str
    name: str
    is_default: bool
    created_at: datetime | None
    archived_at: datetime | None
    extras: str


class ApiKey(NamedTuple):
    """`workspace_id` is 'default' for the default workspace and '' for a key of the whole organisation."""

    api_key_id: str
    name: str
    status: str
    workspace_id: str
    partial_key_hint: str
    created_at: datetime | None
    extras: str


class Member(NamedTuple):
    member_id: str
    name: str
    email: str
    role: str
    added_at: datetime | None
    extras: str


class Organization(NamedTuple):
    workspaces: list[Workspace]
    api_keys: list[ApiKey]
    members: list[Member]


def read_organization(pages: Iterable[RawPage]) -> Organization:
    """The snapshot on the pages of one `organization` extraction; of an id listed twice the last entry.

    Raises ContractBroken.
    """
    found: dict[QueryName, dict[str, Row]] = {name: {} for name in QueryName}
    for page in pages:
        found[page.query].update((row["id"], row) for row in list_page_of(page).items)  # type: ignore[misc]
    named = found[QueryName.NAMED_WORKSPACES]
    workspaces = [_workspace(row, id_ not in named) for id_, row in found[QueryName.WORKSPACES].items()]
    if sum(space.is_default for space in workspaces) > 1:
        raise ContractBroken("more than one workspace is left out of the list without the default one")
    default = next((space.anthropic_id for space in workspaces if space.is_default), "")
    return Organization(
        sorted(workspaces),
        sorted(_api_key(row, default) for row in found[QueryName.API_KEYS].values()),
        sorted(_member(row) for row in found[QueryName.MEMBERS].values()),
    )


def _workspace(row: Row, is_default: bool) -> Workspace:
    known = frozenset(("id", "type", "name", "created_at", "archived_at"))
    anthropic_id = text(row, "id")
    return Workspace(
        DEFAULT_WORKSPACE if is_default else anthropic_id,
        anthropic_id,
        text(row, "name"),
        is_default,
        _instant(row, "created_at"),
        _instant(row, "archived_at"),
        _rest(row, known),
    )


def _api_key(row: Row, default: str) -> ApiKey:
    known = frozenset(("id", "type", "name", "status", "workspace_id", "scope", "partial_key_hint", "created_at"))
    return ApiKey(
        text(row, "id"),
        text(row, "name"),
        text(row, "status"),
        _key_workspace(row, default),
        text(row, "partial_key_hint") if "partial_key_hint" in row else "",
        _instant(row, "created_at"),
        _rest(row, known),
    )


def _key_workspace(row: Row, default: str) -> str:
    """`scope` where it is told, else `workspace_id`, whose null means the default workspace (API 2023-06-01)."""
    scope = row.get("scope")
    if isinstance(scope, dict):
        if scope.get("type") == "organization":
            return ""
        found = text(scope, "workspace_id")
        if not default and "workspace_id" in row:  # without the list of workspaces nothing else tells the default one
            return text(row, "workspace_id") or DEFAULT_WORKSPACE
        return DEFAULT_WORKSPACE if found in ("", default) else found
    return text(row, "workspace_id") or DEFAULT_WORKSPACE


def _member(row: Row) -> Member:
    known = frozenset(("id", "type", "name", "email", "role", "added_at"))
    return Member(
        text(row, "id"), text(row, "name"), text(row, "email"), text(row, "role"), _instant(row, "added_at"),
        _rest(row, known),
    )  # fmt: skip


def _instant(row: Row, name: str) -> datetime | None:
    value = row.get(name)
    if value is None:
        return None
    try:
        instant = datetime.fromisoformat(str(value))
        if instant.tzinfo is not None:  # without a zone it would be read in this machine's own
            return instant.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise ContractBroken(f"field {name} is not an instant")


def _rest(row: Row, known: frozenset[str]) -> str:
    return json.dumps(extras(row, known), sort_keys=True, default=str)

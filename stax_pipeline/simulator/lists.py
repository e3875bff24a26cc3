"""The list endpoints and `me`: workspaces, API keys and users, paged by id.

Reports stay out; so does everything that changes from day to day.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime

from stax_pipeline.simulator.organization import ApiKey, Member, Organization, Workspace
from stax_pipeline.simulator.parameters import Parameters, bad_request

ROOT = "/v1/organizations"
_PAGING = frozenset({"after_id", "before_id", "limit"})
_KEY_STATES = ("active", "inactive", "archived", "expired")
_ROLES = (
    "admin",
    "billing",
    "claude_code_user",
    "developer",
    "managed",
    "membership_admin",
    "owner",
    "primary_owner",
    "user",
)

Items = tuple[tuple[str, str], ...]
_Object = dict[str, object]


def me(organization: Organization, items: Items) -> bytes:
    Parameters(items)
    return _json({"id": organization.id, "type": "organization", "name": organization.name})


def workspaces(organization: Organization, items: Items) -> bytes:
    parameters = Parameters(items, _PAGING | {"include_archived", "include_default"}, {"ids[]"})
    archived, default = (
        parameters.flag("include_archived"),
        parameters.flag("include_default"),
    )
    ids = parameters.many("ids[]")
    found = [
        _workspace(workspace)
        for workspace in organization.workspaces
        if (archived or workspace.archived_at is None)
        and (default or not workspace.is_default)
        and (not ids or workspace.id in ids)
    ]
    return _page(parameters, found)


def api_keys(organization: Organization, items: Items) -> bytes:
    parameters = Parameters(items, _PAGING | {"status", "workspace_id", "created_by_user_id"})
    status = parameters.choice("status", _KEY_STATES, "")
    return _page(
        parameters,
        [
            _api_key(key)
            for key in organization.api_keys
            if status in ("", key.status)
            and parameters.one("workspace_id") in (None, key.workspace.id)
            and parameters.one("created_by_user_id") in (None, key.created_by)
        ],
    )


def users(organization: Organization, items: Items) -> bytes:
    parameters = Parameters(items, _PAGING | {"email"}, {"roles[]"})
    roles = parameters.choices("roles[]", _ROLES)
    return _page(
        parameters,
        [
            _user(member)
            for member in organization.members
            if parameters.one("email") in (None, member.email) and (not roles or member.role in roles)
        ],
    )


ENDPOINTS: dict[str, Callable[[Organization, Items], bytes]] = {
    f"{ROOT}/me": me,
    f"{ROOT}/workspaces": workspaces,
    f"{ROOT}/api_keys": api_keys,
    f"{ROOT}/users": users,
}


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _page(parameters: Parameters, rows: Sequence[_Object]) -> bytes:
    limit = parameters.limit(default=20, maximum=1000)
    after, before = parameters.one("after_id"), parameters.one("before_id")
    if after is not None and before is not None:
        raise bad_request("Only one of after_id and before_id may be given")
    if before is not None:
        end = _position(rows, before, "before_id")
        first, last = max(0, end - limit), end
        more = first > 0
    else:
        first = 0 if after is None else _position(rows, after, "after_id") + 1
        last = min(len(rows), first + limit)
        more = last < len(rows)
    page = rows[first:last]
    edges = {"first_id": page[0]["id"], "last_id": page[-1]["id"]} if page else {"first_id": None, "last_id": None}
    return _json({"data": page, "has_more": more, **edges})


def _position(rows: Sequence[_Object], wanted: str, name: str) -> int:
    for position, row in enumerate(rows):
        if row["id"] == wanted:
            return position
    raise bad_request(f"{name}: no such object in this list")


def _stamp(instant: datetime | None) -> str | None:
    return None if instant is None else instant.strftime("%Y-%m-%dT%H:%M:%SZ")


def _workspace(workspace: Workspace) -> _Object:
    return {
        "id": workspace.id,
        "type": "workspace",
        "name": workspace.name,
        "created_at": _stamp(workspace.created_at),
        "archived_at": _stamp(workspace.archived_at),
        "display_color": "#6C5BB9",
        "data_residency": {
            "allowed_inference_geos": "unrestricted",
            "default_inference_geo": "global",
            "workspace_geo": "us",
        },
        "tags": {},
        "external_key_id": None,
        "compartment_id": None,
        "user_profile_id": None,
    }


def _api_key(key: ApiKey) -> _Object:
    return {
        "id": key.id,
        "type": "api_key",
        "name": key.name,
        "status": key.status,
        "created_at": _stamp(key.created_at),
        "expires_at": None,
        "partial_key_hint": key.hint,
        "created_by": {"id": key.created_by, "type": "user"},
        "principal": {"type": "user_actor", "user_id": key.created_by},
        "scope": {"type": "workspace", "workspace_id": key.workspace.id},
        "workspace_id": key.workspace.reported_id,
    }


def _user(member: Member) -> _Object:
    return {
        "id": member.id,
        "type": "user",
        "email": member.email,
        "name": member.name,
        "added_at": _stamp(member.added_at),
        "role": member.role,
    }

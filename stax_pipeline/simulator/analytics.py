"""What the two analytics endpoints share: what may be asked, how use is grouped, and pages of rows.

Dollars are in `analytics_cost`, tokens in `analytics_usage`; HTTP and keys are in `app`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from operator import attrgetter
from typing import Any, NamedTuple

from stax_pipeline.simulator.organization import Organization
from stax_pipeline.simulator.paging import Request, floor, make_token, read_token, stamp
from stax_pipeline.simulator.parameters import Parameters, bad_request
from stax_pipeline.simulator.usage import HourlyRow, UsageRow, minutes_visible

BETA = "analytics-usage-cost-2026-08-24"
EARLIEST = datetime(2026, 1, 1, tzinfo=UTC)
LOOK_BACK = timedelta(days=365)
LONGEST = timedelta(days=31)
LONGEST_BY_MINUTE = timedelta(hours=24)
MOST_GROUPS = 5
_MINUTE, _HOUR, _DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
_WIDTHS = {"1m": _MINUTE, "1h": _HOUR, "1d": _DAY}
_TIERS = ("standard", "batch", "priority", "priority_on_demand", "flex", "flex_discount")
_ID_FILTERS = {
    "agent_ids[]": "agent_id",
    "api_key_ids[]": "api_key_id",
    "claude_tag_user_ids[]": "claude_tag_user_id",
    "deployment_ids[]": "deployment_id",
    "environment_ids[]": "environment_id",
    "models[]": "model",
    "organization_ids[]": "organization_id",
    "rbac_group_ids[]": "rbac_group_id",
    "session_ids[]": "session_id",
    "slack_channel_ids[]": "slack_channel_id",
    "user_profile_ids[]": "user_profile_id",
    "workspace_ids[]": "workspace_id",
}
_PRODUCTS = (
    "chat", "chat_cowork_unified", "claude_code", "claude_console", "claude_design", "claude_in_chrome", "claude_tag",
    "cowork", "managed_agents_api", "message_batches_api", "messages_api", "office_agent",
)  # fmt: skip
_CHOICE_FILTERS: dict[str, tuple[str, Collection[str]]] = {
    "actor_types[]": ("actor_type", ("user_actor", "api_actor", "service_account_actor", "federated_actor")),
    "claude_tag_categories[]": ("claude_tag_category", ("engaged", "proactive", "scheduled", "monitoring", "dm")),
    "context_windows[]": ("context_window", ("0-200k", "200k-1M")),
    "inference_geos[]": ("inference_geo", ("global", "us", "not_available")),
    "products[]": ("product", _PRODUCTS),
    "service_tiers[]": ("service_tier", _TIERS),
    "speeds[]": ("speed", ("standard", "fast")),
}
_SCALARS = frozenset(
    {"starting_at", "ending_at", "time_bucket_width", "limit", "page", "order", "order_by", "exclude_deleted_users"}
)
_LISTS = frozenset({"group_by[]", "actor_ids[]", *_ID_FILTERS, *_CHOICE_FILTERS})
_NO_GEO = (None, "not_available")


class Who(NamedTuple):
    """One row's values under this API's names; None where the source knows none. `actor_id` stands for the actor."""

    workspace_id: str | None = None
    api_key_id: str | None = None
    actor_id: str | None = None
    actor_type: str | None = None
    model: str | None = None
    service_tier: str | None = None
    context_window: str | None = None
    inference_geo: str | None = None
    speed: str | None = None
    product: str | None = None
    agent_id: None = None
    claude_tag_category: None = None
    claude_tag_user_id: None = None
    deployment_id: None = None
    environment_id: None = None
    organization_id: str | None = None
    rbac_group_id: None = None
    session_id: None = None
    slack_channel_id: None = None
    user_profile_id: None = None


DIMENSIONS = ("actor", *(name for name in Who._fields if name != "actor_id"))


class Span(NamedTuple):
    """One time bucket: the bounds that its rows show."""

    start: datetime
    end: datetime


Days = tuple[tuple[date, int, int], ...]


@dataclass(frozen=True, slots=True)
class Query:
    """What one request asks for. Hashable, so that answers may be kept."""

    group_by: tuple[str, ...]
    filters: tuple[tuple[str, frozenset[str | None]], ...]

    def takes(self, who: Who) -> bool:
        return all(getattr(who, name) in values for name, values in self.filters)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that was found in order."""

    request: Request
    query: Query
    spans: tuple[Span, ...]
    limit: int
    order_by: str
    descending: bool


class Row(NamedTuple):
    """One combination of the groups that count, in one span: the rows it fans out to, and what it is ranked by."""

    span: Span
    ranks: Mapping[str, Any]
    shown: Sequence[Mapping[str, object]]


def ask(
    organization: Organization, path: str, items: tuple[tuple[str, str], ...], now: datetime, betas: Collection[str],
    free_groups: Collection[str], orders: Sequence[str],
) -> Asked:  # fmt: skip
    """Check a request. `free_groups` do not count among the five; the first of `orders` is the default."""
    if BETA not in betas:
        raise bad_request(f"this endpoint is in beta: send the anthropic-beta header {BETA}")
    parameters = Parameters(items, _SCALARS, _LISTS)
    if parameters.many("organization_ids[]") and not organization.children:
        raise bad_request("organization_ids[] requires an API key created at the parent organization level")
    group_by = tuple(sorted(set(parameters.choices("group_by[]", (*DIMENSIONS, *free_groups)))))
    if len(set(group_by) - set(free_groups)) > MOST_GROUPS:
        raise bad_request(f"group_by[]: at most {MOST_GROUPS} dimensions")
    if parameters.flag("exclude_deleted_users") and "actor" not in group_by:
        raise bad_request("exclude_deleted_users requires group_by[]=actor")
    return Asked(
        Request(organization.id, path, parameters, now),
        Query(group_by, _filters(parameters)),
        _spans(parameters, now),
        parameters.limit(default=20, maximum=1000),
        parameters.choice("order_by", orders, orders[0]),
        parameters.choice("order", ("asc", "desc"), "desc") == "desc",
    )


def _filters(parameters: Parameters) -> tuple[tuple[str, frozenset[str | None]], ...]:
    found: list[tuple[str, frozenset[str | None]]] = []
    for name, dimension in _ID_FILTERS.items():
        if values := parameters.many(name):
            found.append((dimension, frozenset(value or None for value in values)))
    if actors := parameters.many("actor_ids[]"):
        found.append(("actor_id", frozenset(actors)))
    for name, (dimension, allowed) in _CHOICE_FILTERS.items():
        if values := parameters.choices(name, allowed):
            found.append((dimension, frozenset(None if value == "not_available" else value for value in values)))
    return tuple(found)


def _spans(parameters: Parameters, now: datetime) -> tuple[Span, ...]:
    start, end = parameters.instant("starting_at"), parameters.instant("ending_at")
    width = _WIDTHS.get(parameters.choice("time_bucket_width", _WIDTHS, ""))
    if start is None:
        raise bad_request("starting_at: Field required")
    if start < EARLIEST:
        raise bad_request("starting_at: must not be before 2026-01-01T00:00:00Z")
    if start < now - LOOK_BACK:
        raise bad_request("starting_at: must be within the last 365 days")
    if end is None and width:
        raise bad_request("ending_at: required with time_bucket_width")
    end = min(now, start + LONGEST) if end is None else end
    if end <= start:
        raise bad_request("ending_at: must be after starting_at")
    if end - start > (LONGEST_BY_MINUTE if width == _MINUTE else LONGEST):
        raise bad_request("the range is too long: at most 31 days, and 24 hours by the minute")
    if width is None:
        return (Span(floor(start, _HOUR), floor(end, _HOUR)),)
    first, spans = floor(start, width), []
    while first < min(end, now):
        spans.append(Span(first, first + width))
        first += width
    return tuple(spans)


def days_of(span: Span, now: datetime) -> Days:
    """The span as days with their first and last minute, cut to what is visible at `now`."""
    return tuple(_days_of(span, now))


def _days_of(span: Span, now: datetime) -> Iterator[tuple[date, int, int]]:
    day = span.start.date()
    while (midnight := datetime.combine(day, time.min, tzinfo=UTC)) < span.end:
        visible = minutes_visible(day, now)
        first, last = (
            max(0, min((edge - midnight) // _MINUTE, visible)) for edge in (span.start, min(span.end, midnight + _DAY))
        )
        if first < last:
            yield day, first, last
        day += _DAY


def family(organization: Organization) -> tuple[Organization, ...]:
    """Whose use a key of this organization is told: its own, and that of its children."""
    return (organization, *organization.children)


def who(organization: Organization, row: UsageRow | HourlyRow, *, in_family: bool = False) -> Who:
    """The values of one row of use. The default workspace has its real id here; organizations are told in families."""
    workspace_id = row.workspace_id or organization.default_workspace.id
    organization_id = organization.id if in_family else None
    if isinstance(row, HourlyRow):
        product = "managed_agents_api" if row.cost_type == "session_usage" else None
        return Who(workspace_id, product=product, organization_id=organization_id)
    actor_id = row.account_id or row.service_account_id or row.api_key_id
    kinds = {row.account_id: "user_actor", row.service_account_id: "service_account_actor"}
    geo = None if row.inference_geo in _NO_GEO else row.inference_geo
    return Who(
        workspace_id, row.api_key_id, actor_id, actor_id and kinds.get(actor_id, "api_actor"), row.model,
        row.service_tier, row.context_window, geo, row.speed, _product(row), organization_id=organization_id,
    )  # fmt: skip


def _product(row: UsageRow) -> str:
    if row.service_tier == "batch":
        return "message_batches_api"
    if row.account_id:
        return "claude_code"
    return "messages_api" if row.api_key_id or row.service_account_id else "claude_console"


def group_key(group_by: Sequence[str]) -> Callable[[Who], tuple[str | None, ...]]:
    """What tells groups apart; the actor by kind and id."""
    names = [name for wanted in group_by for name in (("actor_type", "actor_id") if wanted == "actor" else (wanted,))]
    get = [attrgetter(name) for name in names]
    return lambda one: tuple(value_of(one) for value_of in get)


def shown_group(organization: Organization, one: Who, query: Query, shape: Sequence[str]) -> dict[str, object]:
    """The `group` object of a row: every dimension of the endpoint, null unless asked for."""
    group: dict[str, object] = {name: getattr(one, name, None) if name in query.group_by else None for name in shape}
    if "actor" in query.group_by and one.actor_id:
        group["actor"] = _actor(organization, one)
    return group


def _actor(organization: Organization, one: Who) -> dict[str, object]:
    if one.actor_type == "user_actor":
        members = (member for each in family(organization) for member in each.members)
        member = next(member for member in members if member.id == one.actor_id)
        actor = {"user_id": member.id, "name": member.name, "email_address": member.email, "deleted": False}
        return {"type": "user_actor", **actor}
    name = "service_account_id" if one.actor_type == "service_account_actor" else "api_key_id"
    return {"type": one.actor_type, name: one.actor_id}


def rows_page(asked: Asked, rows: Sequence[Row]) -> bytes:
    """One page as JSON: `limit` counts rows before they fan out, so `data` can be longer."""
    ranked = sorted(rows, key=lambda row: row.ranks[asked.order_by], reverse=asked.descending)
    token = asked.request.parameters.one("page")
    first = int(read_token(asked.request, token)) if token is not None else 0
    last = first + asked.limit
    more = last < len(ranked)
    return json.dumps(
        {
            "data": [
                {"starting_at": stamp(row.span.start), "ending_at": stamp(row.span.end), **shown}
                for row in ranked[first:last]
                for shown in row.shown
            ],
            "has_more": more,
            "next_page": make_token(asked.request, str(last)) if more else None,
            "data_refreshed_at": stamp(asked.request.now),
        },
        separators=(",", ":"),
    ).encode()

"""Seeded organisations as an operator would meet them, and the demo's own two.

Who and what there is, is drawn here once; usage of a day is made from it elsewhere.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

from stax_pipeline.simulator.catalogue import FOREVER, MODELS, SESSIONS_FROM, US_GEO_FROM, Model, Span
from stax_pipeline.simulator.organization import (
    Actor,
    ApiKey,
    HourlyHabit,
    Member,
    Organization,
    Stream,
    Workspace,
    admin_key,
    digest,
    identifier,
    organization_uuid,
)

EARLIEST = date(2025, 8, 18)
_ARCHIVED_ON = date(2026, 11, 5)
_SHARED_WORKSPACES = (
    "Production",
    "Claude Code",
    "Research",
    "Data Platform",
    "Support",
    "Evaluation",
)
_ARCHIVED_WORKSPACE = "Legacy Bot"
_PEOPLE = (
    ("Ada Moreau", "admin"),
    ("Bo Lindqvist", "developer"),
    ("Chiara Rossi", "developer"),
    ("Dev Patel", "billing"),
    ("Elif Kaya", "claude_code_user"),
    ("Femi Okafor", "user"),
)
_MIXES = {
    "agent": (0.07, 0.06, 0.02, 0.82, 0.03),
    "chat": (0.28, 0.07, 0.01, 0.56, 0.08),
    "bulk": (0.72, 0.03, 0.0, 0.15, 0.10),
}


def realistic_organization(
    name: str,
    seed: int = 0,
    start: date = EARLIEST,
    *,
    daily_tokens: int = 500_000_000,
    shared_workspaces: int = 4,
    priority_share: float = 0.2,
    discount: Decimal = Decimal(0),
    blocked_rate: float = 0.0,
    long_prompt_rate: float = 0.0,
    priority_in_analytics: bool = False,
) -> Organization:
    """An organisation that depends on nothing but the arguments.

    `daily_tokens` is a working day's total around November 2026, `priority_share` the part of it on Priority Tier.
    """
    chance = random.Random(f"{seed}/{name}/organization")
    workspaces = _workspaces(name, seed, start, shared_workspaces)
    members = _members(name, seed, start)
    api_keys = tuple(_api_keys(name, seed, workspaces, members))
    return Organization(
        name=name,
        id=organization_uuid(seed, name),
        seed=seed,
        start=start,
        admin_key=admin_key(seed, name),
        workspaces=workspaces,
        api_keys=api_keys,
        members=members,
        streams=tuple(_streams(workspaces, api_keys, members, chance)),
        hourly=tuple(_hourly(workspaces, start, daily_tokens)),
        daily_tokens=daily_tokens,
        tier_shares={
            "priority": priority_share,
            "batch": 0.15,
            "standard": 0.85 - priority_share,
        },
        discount=discount,
        blocked_rate=blocked_rate,
        long_prompt_rate=long_prompt_rate,
        priority_in_analytics=priority_in_analytics,
    )


def demo_organizations(seed: int = 0, names: Iterable[str] = ("acme", "globex")) -> tuple[Organization, ...]:
    """The demo's organisations: `acme` large, `globex` small, any other name somewhere between."""
    return tuple(_demo_organization(name, seed) for name in names)


def _demo_organization(name: str, seed: int) -> Organization:
    if name == "acme":
        return realistic_organization(
            name,
            seed,
            daily_tokens=1_200_000_000,
            shared_workspaces=5,
            priority_share=0.25,
        )
    if name == "globex":
        return realistic_organization(
            name,
            seed,
            daily_tokens=320_000_000,
            shared_workspaces=3,
            priority_share=0.12,
        )
    millions = 250 + int.from_bytes(digest("size", seed, name, size=2)) % 750
    return realistic_organization(name, seed, daily_tokens=millions * 1_000_000)


def _instant(day: date, hour: int = 9) -> datetime:
    return datetime.combine(day, time(hour), tzinfo=UTC)


def _workspaces(name: str, seed: int, start: date, shared: int) -> tuple[Workspace, ...]:
    def make(title: str, archived: date | None = None) -> Workspace:
        until = None if archived is None else _instant(archived)
        return Workspace(
            identifier("wrkspc", seed, name, title),
            title,
            _instant(start),
            until,
            is_default=title == "Default",
        )

    named = [make(title) for title in ("Default", *_SHARED_WORKSPACES[:shared])]
    return (
        *named,
        make(_ARCHIVED_WORKSPACE, max(_ARCHIVED_ON, start + timedelta(days=14))),
    )


def _members(name: str, seed: int, start: date) -> tuple[Member, ...]:
    return tuple(
        Member(
            identifier("user", seed, name, person),
            person,
            f"{person.split()[0].lower()}@{name}.example",
            role,
            _instant(start, 10),
        )
        for person, role in _PEOPLE
    )


def _api_keys(name: str, seed: int, workspaces: Iterable[Workspace], members: tuple[Member, ...]) -> Iterator[ApiKey]:
    for workspace in workspaces:
        for number, purpose in enumerate(("service", "jobs", "trial"), start=1):
            status = "archived" if workspace.archived_at else "inactive" if purpose == "trial" else "active"
            title = f"{workspace.name.lower().replace(' ', '-')}-{purpose}"
            identity = identifier("apikey", seed, name, title)
            creator = members[number % len(members)].id
            hint = f"sk-ant-api03-{identity[-3:]}...{identity[9:11]}AA"
            yield ApiKey(identity, title, workspace, workspace.created_at, creator, hint, status)


def _actors(
    workspace: Workspace,
    api_keys: Iterable[ApiKey],
    members: tuple[Member, ...],
    tier: str,
) -> tuple[Actor, ...]:
    service, jobs, _ = (key.id for key in api_keys if key.workspace == workspace)
    if tier == "batch":
        return (Actor(1.0, api_key_id=jobs),)
    if workspace.name == "Claude Code":
        return (
            Actor(0.5, account_id=members[1].id),
            Actor(0.3, account_id=members[4].id),
            Actor(0.2, service),
        )
    if workspace.is_default and tier == "standard":
        return (Actor(0.8, api_key_id=service), Actor(0.2))
    if workspace.name == "Data Platform":
        return (
            Actor(0.6, service),
            Actor(0.4, service_account_id=identifier("svac", workspace.id)),
        )
    return (Actor(0.7, api_key_id=service), Actor(0.3, api_key_id=jobs))


def _streams(
    workspaces: Iterable[Workspace],
    api_keys: tuple[ApiKey, ...],
    members: tuple[Member, ...],
    chance: random.Random,
) -> Iterator[Stream]:
    for workspace in workspaces:
        size = 3.0 if workspace.name == "Production" else chance.uniform(0.5, 1.5)
        until = workspace.archived_at.date() - timedelta(days=1) if workspace.archived_at else FOREVER
        for model in MODELS:
            weight = size * model.weight * chance.uniform(0.6, 1.4)
            for tier, window, geo, speed, share, span in _variants(model, workspace, chance):
                mix = "bulk" if tier == "batch" else "agent" if "opus" in model.id or window != "0-200k" else "chat"
                yield Stream(
                    workspace_id=workspace.reported_id,
                    model=model.id,
                    service_tier=tier,
                    context_window=window,
                    inference_geo=geo,
                    speed=speed,
                    first=max(model.used.first, span.first),
                    last=min(model.used.last, span.last, until),
                    weight=weight * share,
                    mix=_MIXES[mix],
                    weekend=0.85 if tier == "batch" else chance.uniform(0.25, 0.6),
                    searches=tier == "standard"
                    and speed == "standard"
                    and window == "0-200k"
                    and chance.random() < 0.4,
                    actors=_actors(workspace, api_keys, members, tier),
                )


_Variant = tuple[str, str, str, str, float, Span]


def _variants(model: Model, workspace: Workspace, chance: random.Random) -> Iterator[_Variant]:
    """How one workspace uses one model: tier, context window, geo, speed, share of the model's use, and when."""
    always = model.used
    geo = "global" if model.geo else "not_available"
    steady = workspace.name == "Production"
    yield "standard", "0-200k", geo, "standard", 1.0, always
    if steady or chance.random() < 0.5:
        yield "batch", "0-200k", geo, "standard", 1.0, always
    if model.priority and (steady or chance.random() < 0.4):
        yield "priority", "0-200k", geo, "standard", 1.0, always
    if model.long and (steady or chance.random() < 0.4):
        yield "standard", "200k-1M", geo, "standard", 0.12, model.long
        yield "batch", "200k-1M", geo, "standard", 0.1, model.long
    if model.geo and (steady or chance.random() < 0.4):
        yield "standard", "0-200k", "us", "standard", 0.25, Span(US_GEO_FROM)
        if model.priority:
            yield "priority", "0-200k", "us", "standard", 0.2, Span(US_GEO_FROM)
    if model.fast and (steady or workspace.name == "Claude Code" or chance.random() < 0.2):
        yield "standard", "0-200k", geo, "fast", 0.06, model.fast


def _hourly(workspaces: Iterable[Workspace], start: date, daily_tokens: int) -> Iterator[HourlyHabit]:
    hours = daily_tokens / 10_000_000
    for workspace in workspaces:
        if workspace.is_default or workspace.name == "Production":
            yield HourlyHabit(workspace.reported_id, "code_execution", start, hours * 1.5)
            yield HourlyHabit(workspace.reported_id, "session_usage", max(start, SESSIONS_FROM), hours)

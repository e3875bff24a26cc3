"""What a simulated organisation consists of: people, workspaces, keys and its habits of use.

Plain data and the derivation of ids and keys. Drawing a realistic organisation and turning habits into daily
usage are elsewhere.
"""

from __future__ import annotations

import base64
import hashlib
import uuid
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def digest(*parts: object, size: int = 32) -> bytes:
    """Bytes that depend on nothing but `parts`."""
    return hashlib.shake_256("\x1f".join(map(str, parts)).encode()).digest(size)


def identifier(prefix: str, *parts: object) -> str:
    """An id of the source's shape, e.g. `wrkspc_01…`."""
    return f"{prefix}_01" + "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest(prefix, *parts, size=22))


def organization_uuid(*parts: object) -> str:
    return str(uuid.UUID(bytes=digest("organization", *parts, size=16), version=4))


def admin_key(*parts: object) -> str:
    """A made-up Admin key of the true shape."""
    text = base64.urlsafe_b64encode(digest("admin-key", *parts, size=67)).decode().rstrip("=")
    return f"sk-ant-admin01-{text}"


@dataclass(frozen=True, slots=True)
class Workspace:
    id: str
    name: str
    created_at: datetime
    archived_at: datetime | None = None
    is_default: bool = False

    @property
    def reported_id(self) -> str | None:
        """The id as the reports show it: null for the default workspace."""
        return None if self.is_default else self.id


@dataclass(frozen=True, slots=True)
class Member:
    id: str
    name: str
    email: str
    role: str
    added_at: datetime


@dataclass(frozen=True, slots=True)
class ApiKey:
    id: str
    name: str
    workspace: Workspace
    created_at: datetime
    created_by: str
    hint: str
    status: str = "active"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who makes requests: an API key, an account through OAuth, a service account, or (all null) the Console."""

    share: float
    api_key_id: str | None = None
    account_id: str | None = None
    service_account_id: str | None = None


@dataclass(frozen=True, slots=True)
class Stream:
    """A steady habit of use: one combination of dimensions and who makes it up.

    `mix` is the share of each token type in the order of `prices.TOKEN_TYPES`; `last` is included.
    """

    workspace_id: str | None
    model: str
    service_tier: str
    context_window: str
    inference_geo: str
    speed: str
    first: date
    last: date
    weight: float
    mix: tuple[float, ...]
    weekend: float
    searches: bool
    actors: tuple[Actor, ...]


@dataclass(frozen=True, slots=True)
class HourlyHabit:
    """Daily hours of something billed by the hour: `code_execution` or `session_usage`."""

    workspace_id: str | None
    cost_type: str
    first: date
    hours: float


@dataclass(frozen=True, slots=True)
class Credit:
    """Dollars taken off the bill on one day of every month, as a row of the cost report that names no model."""

    day_of_month: int
    usd: Decimal
    description: str = "Service credit"


@dataclass(frozen=True, slots=True)
class Correction:
    """A day whose cost the source shows `short` too low (0.04 is 4 %) until it corrects the day."""

    day: date
    short: Decimal


@dataclass(frozen=True, slots=True)
class Commitment:
    """Priority Tier capacity for one model in tokens per minute, signed for half a year at a time from `since` on."""

    model: str
    input_tokens_per_minute: int
    output_tokens_per_minute: int
    usd_per_day: Decimal
    since: date


@dataclass(frozen=True, eq=False)
class Organization:
    """One organisation. Equal only to itself, so that caches may be keyed by it.

    `discount` reduces billed amounts, never list amounts. `blocked_rate` is the chance that all requests of a
    standard habit were blocked on a day (tokens without cost). `long_prompt_rate` is the share of tokens above the
    100k band of models that have one. `priority_in_analytics` lets Priority Tier money appear in the newer cost source.
    `children` are organizations of which this one is the parent: the newer source tells it their use too.
    `cost_delay` is how long after its end a day comes into the cost report.
    """

    name: str
    id: str
    seed: int
    start: date
    admin_key: str
    workspaces: tuple[Workspace, ...]
    api_keys: tuple[ApiKey, ...]
    members: tuple[Member, ...]
    streams: tuple[Stream, ...]
    hourly: tuple[HourlyHabit, ...]
    daily_tokens: int
    tier_shares: dict[str, float]
    discount: Decimal = Decimal(0)
    blocked_rate: float = 0.0
    long_prompt_rate: float = 0.0
    priority_in_analytics: bool = False
    children: tuple[Organization, ...] = ()
    cost_delay: timedelta = timedelta(0)
    credits: tuple[Credit, ...] = ()
    corrections: tuple[Correction, ...] = ()
    commitments: tuple[Commitment, ...] = ()

    @property
    def default_workspace(self) -> Workspace:
        return next(workspace for workspace in self.workspaces if workspace.is_default)

    def further_key(self, generation: int) -> str:
        """Another Admin key of the same organisation, for rotation."""
        return admin_key(self.seed, self.name, generation)

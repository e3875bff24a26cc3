"""Usage at its finest grain: every dimension, token counts and web searches, by day and by minute.

A day's usage depends only on the organisation's seed and the day. Both reports aggregate from here; prices and
report shapes stay out.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

from stax_pipeline.simulator.catalogue import BAND_MODELS
from stax_pipeline.simulator.organization import Organization, Stream

MINUTES = 1440
SOURCE_LAG = timedelta(minutes=5)
_GROWTH_PER_DAY = 0.0015
_GROWTH_ORIGIN = date(2026, 11, 1)
_TOKENS_PER_SEARCH = 400_000


class UsageRow(NamedTuple):
    """`counts` holds the five token types in the order of `prices.TOKEN_TYPES`, then web searches."""

    workspace_id: str | None
    api_key_id: str | None
    account_id: str | None
    service_account_id: str | None
    model: str
    service_tier: str
    context_window: str
    inference_geo: str
    speed: str
    long_prompt: bool
    billed: bool
    counts: tuple[int, ...]


class HourlyRow(NamedTuple):
    workspace_id: str | None
    cost_type: str
    milli_hours: int


def _day_curve() -> tuple[int, ...]:
    """How much of a day's usage has happened by each minute: quiet nights, busy office hours."""
    per_minute = (30 + round(70 * math.exp(-(((minute - 930) / 260) ** 2))) for minute in range(MINUTES))
    return (0, *accumulate(per_minute))


_CURVE = _day_curve()


def minutes_visible(day: date, now: datetime) -> int:
    """How many minutes of `day` the source shows at `now`: usage appears five minutes after it happened."""
    begun = now - SOURCE_LAG - datetime.combine(day, time.min, tzinfo=UTC)
    return max(0, min(MINUTES, begun // timedelta(minutes=1)))


def _part(count: int, first: int, last: int) -> int:
    return count * _CURVE[last] // _CURVE[MINUTES] - count * _CURVE[first] // _CURVE[MINUTES]


def usage_between(organization: Organization, day: date, first: int, last: int) -> Iterable[UsageRow]:
    """Usage of the minutes from `first` to before `last`; the parts of a day add up to the day exactly."""
    rows = day_usage(organization, day)
    return rows if (first, last) == (0, MINUTES) else _cut(rows, first, last)


def _cut(rows: Iterable[UsageRow], first: int, last: int) -> Iterator[UsageRow]:
    for row in rows:
        counts = tuple(_part(count, first, last) for count in row.counts)
        if any(counts):
            yield row._replace(counts=counts)


def hours_until(organization: Organization, day: date, last: int) -> Iterator[HourlyRow]:
    """Hours billed on `day` up to the minute `last`."""
    return hours_between(organization, day, 0, last)


def hours_between(organization: Organization, day: date, first: int, last: int) -> Iterator[HourlyRow]:
    """Hours billed in the minutes from `first` to before `last`."""
    for row in day_hours(organization, day):
        part = _part(row.milli_hours, first, last)
        if part:
            yield row._replace(milli_hours=part)


def _random(organization: Organization, day: date, purpose: str) -> random.Random:
    return random.Random(f"{organization.seed}/{organization.name}/{day.isoformat()}/{purpose}")


def _growth(day: date) -> float:
    return math.exp(_GROWTH_PER_DAY * (day - _GROWTH_ORIGIN).days)


@lru_cache(maxsize=512)
def day_usage(organization: Organization, day: date) -> tuple[UsageRow, ...]:
    """The whole day's usage, as it stands once the day is over."""
    if day < organization.start:
        return ()
    active = [stream for stream in organization.streams if stream.first <= day <= stream.last]
    total_weight: dict[str, float] = defaultdict(float)
    for stream in active:
        total_weight[stream.service_tier] += stream.weight
    chance = _random(organization, day, "tokens")
    scale = organization.daily_tokens * _growth(day)
    rows: list[UsageRow] = []
    for stream in active:
        tier = stream.service_tier
        volume = scale * organization.tier_shares[tier] * stream.weight / total_weight[tier]
        rows.extend(_stream_rows(organization, stream, volume * _rhythm(stream, day), chance))
    return tuple(rows)


def _rhythm(stream: Stream, day: date) -> float:
    return stream.weekend if day.weekday() >= 5 else 1.0


def _stream_rows(
    organization: Organization, stream: Stream, volume: float, chance: random.Random
) -> Iterator[UsageRow]:
    volume *= chance.lognormvariate(0, 0.2)
    may_block = "haiku" in stream.model and stream.service_tier == "standard"
    billed = not (may_block and chance.random() < organization.blocked_rate)
    for actor in stream.actors:
        tokens = volume * actor.share * chance.uniform(0.8, 1.2)
        counts = [int(tokens * share * chance.uniform(0.9, 1.1)) for share in stream.mix]
        searches = int(tokens / _TOKENS_PER_SEARCH * chance.random()) if stream.searches else 0
        if not any(counts):
            continue
        row = UsageRow(
            stream.workspace_id,
            actor.api_key_id,
            actor.account_id,
            actor.service_account_id,
            stream.model,
            stream.service_tier,
            stream.context_window,
            stream.inference_geo,
            stream.speed,
            False,
            billed,
            (*counts, searches),
        )
        yield from _banded(row, organization.long_prompt_rate)


def _banded(row: UsageRow, rate: float) -> Iterator[UsageRow]:
    """Split off the requests whose prompt lies above the band of a model that has one."""
    above = tuple(int(count * rate) for count in row.counts) if row.model in BAND_MODELS else ()
    if not any(above):
        yield row
        return
    below = tuple(count - part for count, part in zip(row.counts, above, strict=True))
    yield row._replace(counts=above, long_prompt=True)
    if any(below):
        yield row._replace(counts=below)


@lru_cache(maxsize=512)
def day_hours(organization: Organization, day: date) -> tuple[HourlyRow, ...]:
    """Hours of code execution and of sessions on the whole day."""
    if day < organization.start:
        return ()
    chance = _random(organization, day, "hours")
    return tuple(
        HourlyRow(
            habit.workspace_id,
            habit.cost_type,
            int(1000 * habit.hours * chance.uniform(0.5, 1.5)),
        )
        for habit in organization.hourly
        if habit.first <= day
    )

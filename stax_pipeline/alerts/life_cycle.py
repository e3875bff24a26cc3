"""The life of an alert: opened once, told once, kept while its cause stays, told once more when it is gone.

Pure functions over the alerts that are not closed and the causes of now. An end is told after the cause has been gone
for an hour, so that what comes and goes within the hour is one alert. A cause that ended before a channel could be told
is told to it as gone, never as new. Stays out: causes (`alerts.causes`), words
of a message (`alerts.message`), the table and the channels.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import date, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from stax_pipeline.alerts.causes import Cause, Kind

QUIET = timedelta(hours=1)
FIRST_WAIT, LONGEST_WAIT = timedelta(minutes=5), timedelta(hours=6)

Key = tuple[UUID, Kind, str]


class Alert(NamedTuple):
    """One cause from its opening to the last message about it.

    `notified_by` and `resolution_notified_by` name the channels that took the opening and the end; `notified_at` and
    `resolution_notified_at` are when the first of them did. `closed_at` is set when nothing remains to be told.
    """

    tenant_id: UUID
    slug: str
    kind: Kind
    subject: str
    opened_at: datetime
    day: date | None
    what: str
    todo: str
    last_seen_at: datetime
    expires_at: datetime | None = None
    resolved_at: datetime | None = None
    notified_at: datetime | None = None
    notified_by: frozenset[str] = frozenset()
    resolution_notified_at: datetime | None = None
    resolution_notified_by: frozenset[str] = frozenset()
    closed_at: datetime | None = None


class Due(NamedTuple):
    """What one channel has not been told yet."""

    new: list[Alert]
    gone: list[Alert]


def key_of(of: Alert | Cause) -> Key:
    return of.tenant_id, of.kind, of.subject


def advance(
    known: Iterable[Alert], causes: Iterable[Cause], judged: Collection[Kind], now: datetime
) -> list[Alert]:  # fmt: skip
    """The known alerts as they are now, and those that open. Only kinds that were `judged` can find a cause gone."""
    found: dict[Key, Cause] = {}
    for cause in sorted(causes, key=lambda one: (str(one.tenant_id), *map(str, one[2:]))):
        if cause.expires_at is None or now < cause.expires_at:
            found.setdefault(key_of(cause), cause)
    after = []
    for alert in known:
        still = found.get(key_of(alert))
        if still and not alert.resolution_notified_by:
            del found[key_of(alert)]
            after.append(_seen(alert, still, now))
        elif still:  # its end was told: this is another one
            after.append(alert._replace(closed_at=now))
        elif alert.kind in judged and alert.resolved_at is None:
            after.append(alert._replace(resolved_at=now))
        else:
            after.append(alert)
    return after + [_opened(cause, now) for cause in found.values()]


def _opened(cause: Cause, now: datetime) -> Alert:
    return Alert(
        cause.tenant_id, cause.slug, cause.kind, cause.subject, now, cause.day, cause.what, cause.todo, now,
        cause.expires_at,
    )  # fmt: skip


def _seen(alert: Alert, cause: Cause, now: datetime) -> Alert:
    return alert._replace(
        slug=cause.slug, day=cause.day, what=cause.what, todo=cause.todo, last_seen_at=now,
        expires_at=cause.expires_at, resolved_at=None,
    )  # fmt: skip


def is_over(alert: Alert, now: datetime) -> bool:
    """Whether the cause has been gone for so long that it may be called gone."""
    return alert.resolved_at is not None and now - alert.resolved_at >= QUIET


def ends_in_silence(alert: Alert) -> bool:
    """What has happened is not mended by time: its end is no news."""
    return alert.expires_at is not None and alert.resolved_at is not None and alert.resolved_at >= alert.expires_at


def due(alerts: Iterable[Alert], channel: str, now: datetime) -> Due:
    """What `channel` must hear: every opening of a cause that is still there, and every end that it did not take."""
    waiting = [alert for alert in alerts if alert.closed_at is None]
    return Due(
        [alert for alert in waiting if channel not in alert.notified_by and alert.resolved_at is None],
        [alert for alert in waiting if is_over(alert, now) and _must_hear_the_end(alert, channel)],
    )


def _must_hear_the_end(alert: Alert, channel: str) -> bool:
    if channel not in alert.notified_by:
        return True
    return channel not in alert.resolution_notified_by and not ends_in_silence(alert)


def notified(found: Due, channel: str, now: datetime) -> list[Alert]:
    """The alerts of a message that `channel` took; an end tells of the opening too, where that was not taken."""
    opened = [_opening_notified(alert, channel, now) for alert in found.new]
    return [*opened, *(_end_notified(_opening_notified(alert, channel, now), channel, now) for alert in found.gone)]


def _opening_notified(alert: Alert, channel: str, now: datetime) -> Alert:
    return alert._replace(notified_at=alert.notified_at or now, notified_by=alert.notified_by | {channel})


def _end_notified(alert: Alert, channel: str, now: datetime) -> Alert:
    return alert._replace(
        resolution_notified_at=alert.resolution_notified_at or now,
        resolution_notified_by=alert.resolution_notified_by | {channel},
    )


def closed(alerts: Iterable[Alert], channels: Collection[str], now: datetime) -> list[Alert]:
    """Those that are over and about which no channel has anything left to hear, closed."""
    return [
        alert._replace(closed_at=now)
        for alert in alerts
        if alert.closed_at is None
        and is_over(alert, now)
        and alert.notified_by.issuperset(channels)
        and (ends_in_silence(alert) or alert.resolution_notified_by.issuperset(channels))
    ]


def next_attempt(failures: int, now: datetime) -> datetime:
    """When a channel that failed `failures` times in a row is tried again: 5 minutes, 10, 20, … 6 hours."""
    return now + min(FIRST_WAIT * (1 << min(failures - 1, 10)), LONGEST_WAIT)

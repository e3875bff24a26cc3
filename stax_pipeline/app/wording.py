"""Figures and instants as people read them: dollars to the cent, UTC, how long ago."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from stax_pipeline.domain.plurals import count_of

_LEAST = Decimal("0.01")


def dollars(usd: Decimal | None, *, short: bool = False) -> str:
    """`$1,234.56`; `short` leaves whole dollars without cents. What is less than a cent is said to be so."""
    if usd is None:
        return "unknown"
    sign, size = "−" if usd < 0 else "", abs(usd)
    if short and size == size.to_integral_value():
        return f"{sign}${size:,.0f}"
    if 0 < size < _LEAST:
        return f"{sign}<$0.01"
    return f"{sign}${size:,.2f}"


def ratio(value: Decimal | None) -> str:
    """`99.98 %`, or in words that there is none."""
    return "nothing to compare" if value is None else f"{100 * value:.2f} %"


def day(value: date) -> str:
    """`27 Nov`, as in the axis of a chart."""
    return f"{value.day} {value:%b}"


def instant(at: datetime) -> str:
    """`2026-11-27 16:06 UTC`, for lists."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def moment(at: datetime, now: datetime) -> str:
    """`16:06 UTC (5 minutes ago)`; with its day where that is another than today's."""
    at, now = at.astimezone(UTC), now.astimezone(UTC)
    clock = f"{at:%H:%M} UTC" if at.date() == now.date() else f"{day(at.date())} {at:%H:%M} UTC"
    return f"{clock} ({ago(now - at)})"


def ago(age: timedelta) -> str:
    """In the largest unit that fits: `5 minutes ago`."""
    minutes = max(0, int(age.total_seconds()) // 60)
    if minutes < 1:
        return "just now"
    if minutes < 120:
        return f"{count_of(minutes, 'minute')} ago"
    hours = minutes // 60
    return f"{count_of(hours, 'hour')} ago" if hours < 48 else f"{count_of(hours // 24, 'day')} ago"


def data_through(usage: datetime | None, billed: datetime | None, now: datetime) -> str:
    """The banner: how far token usage and billed dollars reach."""
    if usage is None and billed is None:
        return "No data yet"
    of_usage = "No usage yet" if usage is None else f"Usage through {moment(usage, now)}"
    return f"{of_usage} · {_billed_through(billed, now)}"


def _billed_through(billed: datetime | None, now: datetime) -> str:
    """A whole day by its name: the instant of its end belongs to the next."""
    if billed is None:
        return "no billed dollars yet"
    at = billed.astimezone(UTC)
    if (at.hour, at.minute, at.second) == (0, 0, 0):
        return f"billed dollars through {day(at.date() - timedelta(days=1))}"
    return f"billed dollars through {moment(at, now)}"

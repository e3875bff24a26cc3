"""Days, lag and states: how far a tenant's data reaches, by the source's clock alone.

Every rule takes the extraction's moment (the earliest `Date` header of its pages) and a usage date, both UTC. The
local clock has no say: a machine two days off still tells the truth.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from enum import StrEnum

from stax_pipeline.domain.extraction import Window, midnight

FIRST_DAYS = 30  # "the initial backfill pulls cost data for the last 30 days" (provider guide)
SOURCE_LAG = timedelta(minutes=5)  # "data is typically there within 5 minutes after a request completes" (guide)
LATE_DAYS = 3  # cost is seen arriving 24 to 48 hours late: so long a day that is over may not be there yet


class State(StrEnum):
    OPEN = "open"
    PROVISIONAL = "provisional"
    COMPLETE = "complete"
    NOT_REPORTED = "not reported yet"


def day_end(day: date) -> datetime:
    return midnight(day + timedelta(days=1))


def day_state(day: date, extracted_at: datetime) -> State:
    """Open while the day runs, provisional until the lag has passed after its end, complete from then on."""
    if extracted_at < day_end(day):
        return State.OPEN
    return State.COMPLETE if extracted_at >= day_end(day) + SOURCE_LAG else State.PROVISIONAL


def may_be_late(day: date, today: date) -> bool:
    """Whether the source may have no bucket yet for `day`, which is over."""
    return today - timedelta(days=LATE_DAYS) <= day < today


def data_through(day: date, extracted_at: datetime) -> datetime:
    """The instant up to which that day's data is complete: never past the day, never past the moment minus the lag."""
    return min(day_end(day), extracted_at - SOURCE_LAG)


def is_old_enough_to_settle(day: date, extracted_at: datetime, settle: timedelta) -> bool:
    """Whether a cost extraction made at `extracted_at` may turn a missing cost of `day` into zero."""
    return day_state(day, extracted_at) is State.COMPLETE and extracted_at >= day_end(day) + settle


def trailing_window(days: int, now: datetime, first: date = date.min) -> Window:
    """The last `days` complete UTC days and the open one, none of them before `first`."""
    today = now.date()
    return Window(max(today - timedelta(days=days), first), today + timedelta(days=1))


def month_before(now: datetime, first: date = date.min) -> Window:
    """The whole calendar month before this one (UTC), none of its days before `first`."""
    end = now.date().replace(day=1)
    return Window(max((end - timedelta(days=1)).replace(day=1), first), end)


def is_first_backfill(window: Window, now: datetime, first: date) -> bool:
    """Whether a run over `window` brings all that a new tenant gets at first; `first` is the installation's day."""
    return window.start <= trailing_window(FIRST_DAYS, now, first).start and window.end >= now.date()


def completed(window: Window, server_now: datetime) -> Window:
    """The part of a window that ended by the last UTC midnight: all that the cost report answers for."""
    return Window(window.start, min(window.end, server_now.date()))


def begun(window: Window, server_now: datetime) -> Window:
    """The part of a window that has begun, the open day included: all that the usage report answers for."""
    return Window(window.start, min(window.end, server_now.date() + timedelta(days=1)))

"""Lag, states and windows, second by second around the edges; the local clock has no say."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stax_pipeline.domain.extraction import Window
from stax_pipeline.domain.time import (
    SOURCE_LAG,
    State,
    begun,
    completed,
    data_through,
    day_end,
    day_state,
    is_old_enough_to_settle,
    trailing_window,
)

DAYS = st.dates(date(2025, 8, 18), date(2032, 3, 1))
MOMENTS = st.integers(0, 210_000_000).map(lambda seconds: datetime(2025, 8, 1, tzinfo=UTC) + timedelta(seconds=seconds))


def after_midnight(day: date, **passed: float) -> datetime:
    """An instant after the midnight that ends `day`."""
    following = day + timedelta(days=1)
    return datetime(following.year, following.month, following.day, tzinfo=UTC) + timedelta(**passed)


ORDINARY_AND_ODD_DAYS = [
    date(2026, 11, 1),
    date(2028, 2, 28),
    date(2028, 2, 29),
    date(2027, 2, 28),
    date(2026, 4, 30),
    date(2026, 12, 31),
    date(2026, 3, 29),  # summer time begins in Europe
]


@pytest.mark.parametrize("day", ORDINARY_AND_ODD_DAYS)
@pytest.mark.parametrize(
    ("seconds", "state"),
    [
        (-86400, State.OPEN),
        (-1, State.OPEN),
        (0, State.PROVISIONAL),
        (4 * 60 + 59, State.PROVISIONAL),
        (5 * 60, State.COMPLETE),
        (40 * 86400, State.COMPLETE),
    ],
)
def test_a_day_is_open_then_provisional_then_complete(day: date, seconds: int, state: State) -> None:
    assert day_state(day, after_midnight(day, seconds=seconds)) is state


def test_a_day_ends_at_the_next_midnight_also_over_a_leap_day_and_a_new_year() -> None:
    assert day_end(date(2028, 2, 28)) == datetime(2028, 2, 29, tzinfo=UTC)
    assert day_end(date(2028, 2, 29)) == datetime(2028, 3, 1, tzinfo=UTC)
    assert day_end(date(2026, 12, 31)) == datetime(2027, 1, 1, tzinfo=UTC)


def test_the_open_day_reaches_five_minutes_back() -> None:
    noon = datetime(2026, 11, 1, 12, tzinfo=UTC)
    assert data_through(noon.date(), noon) == datetime(2026, 11, 1, 11, 55, tzinfo=UTC)


def test_a_provisional_day_is_not_through() -> None:
    day = date(2026, 11, 1)
    assert data_through(day, after_midnight(day, minutes=4, seconds=59)) == after_midnight(day, seconds=-1)
    assert data_through(day, after_midnight(day, minutes=5)) == after_midnight(day)
    assert data_through(day, after_midnight(day, days=9)) == after_midnight(day)


@given(DAYS, MOMENTS)
def test_data_through_never_passes_the_day_nor_the_moment_less_the_lag(day: date, moment: datetime) -> None:
    through = data_through(day, moment)
    assert through <= day_end(day)
    assert through <= moment - timedelta(minutes=5)
    assert (through == day_end(day)) == (day_state(day, moment) is State.COMPLETE)


@given(DAYS, MOMENTS, st.timedeltas(timedelta(0), timedelta(days=9)))
def test_a_later_extraction_never_takes_back(day: date, moment: datetime, later: timedelta) -> None:
    order = [State.OPEN, State.PROVISIONAL, State.COMPLETE]
    assert data_through(day, moment + later) >= data_through(day, moment)
    assert order.index(day_state(day, moment + later)) >= order.index(day_state(day, moment))


def test_a_moment_in_another_zone_is_the_same_moment() -> None:
    tokyo = datetime.fromisoformat("2026-11-02T09:04:59+09:00")
    assert day_state(date(2026, 11, 1), tokyo) is State.PROVISIONAL


def test_the_lag_is_five_minutes() -> None:
    assert timedelta(minutes=5) == SOURCE_LAG


@pytest.mark.parametrize(("seconds", "settles"), [(-1, False), (0, True), (1, True)])
def test_settling_starts_exactly_the_given_hours_after_the_day(seconds: int, settles: bool) -> None:
    day, settle = date(2026, 11, 1), timedelta(hours=24)
    assert is_old_enough_to_settle(day, after_midnight(day, hours=24, seconds=seconds), settle) is settles


def test_no_day_settles_before_it_is_complete() -> None:
    day = date(2026, 11, 1)
    assert not is_old_enough_to_settle(day, after_midnight(day, minutes=4, seconds=59), timedelta(0))
    assert is_old_enough_to_settle(day, after_midnight(day, minutes=5), timedelta(0))


def test_the_trailing_window_is_complete_days_and_the_open_one() -> None:
    window = trailing_window(7, datetime(2026, 3, 2, 0, 10, tzinfo=UTC))
    assert window == Window(date(2026, 2, 23), date(2026, 3, 3))
    assert len(window.days) == 8


@pytest.mark.parametrize("hour", [0, 12, 23])
def test_cost_is_asked_up_to_the_last_midnight_and_usage_up_to_now(hour: int) -> None:
    now, window = datetime(2027, 1, 1, hour, tzinfo=UTC), Window(date(2026, 12, 25), date(2027, 1, 9))
    assert completed(window, now) == Window(date(2026, 12, 25), date(2027, 1, 1))
    assert begun(window, now) == Window(date(2026, 12, 25), date(2027, 1, 2))


def test_a_window_of_the_past_stays_as_it_is() -> None:
    window = Window(date(2026, 1, 1), date(2026, 1, 8))
    now = datetime(2026, 11, 1, tzinfo=UTC)
    assert completed(window, now) == begun(window, now) == window


def test_a_window_of_the_open_day_has_no_cost_to_ask_for() -> None:
    now = datetime(2026, 11, 1, 23, 59, tzinfo=UTC)
    window = trailing_window(0, now)
    assert not completed(window, now)
    assert begun(window, now).days == [date(2026, 11, 1)]

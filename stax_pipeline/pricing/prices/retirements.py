"""When Anthropic stops serving a model, or a speed of it: dated data that ships with the package."""

from __future__ import annotations

from datetime import date, timedelta
from functools import cache
from typing import NamedTuple

from stax_pipeline.pricing.prices.shipped import read_csv

NOTICE = timedelta(days=60)  # how long before a model ends it is named


class Retirement(NamedTuple):
    """A model (dated id) of which requests at `speed` are rejected from `retires_on` (UTC day) on.

    `standard` ends the whole model.
    """

    model: str
    speed: str
    retires_on: date
    source: str


@cache
def shipped_retirements() -> tuple[Retirement, ...]:
    return tuple(
        Retirement(row["model"], row["speed"], date.fromisoformat(row["retires_on"]), row["source"])
        for row in read_csv("claude-retirements.csv")
    )


def retiring(day: date) -> list[Retirement]:
    """What ends on `day` or within 60 days of it, the soonest first."""
    found = (one for one in shipped_retirements() if day <= one.retires_on <= day + NOTICE)
    return sorted(found, key=lambda one: (one.retires_on, one.model, one.speed))

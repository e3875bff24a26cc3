"""The demo's organisations: the two of `realistic`, and what happens to them.

What happens hangs on the date alone, so that another start of the demo on another day finds the same past.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

from stax_pipeline.simulator.organization import Commitment, Correction, Credit, Organization
from stax_pipeline.simulator.realistic import demo_organizations

COMMITTED_MODEL = "claude-opus-4-8"
COMMITTED_SINCE = date(2026, 7, 1)
DAYS_TO_CORRECTION = 4
SHORT = Decimal("0.04")


def story_organizations(today: date, seed: int = 0) -> tuple[Organization, Organization]:
    """`acme` has a commitment for all its Priority use, a monthly credit, and one day that the source corrects.
    `globex` has Priority use without a commitment, and each day's cost comes a day late.
    """
    acme, globex = demo_organizations(seed, ("acme", "globex"))
    return (
        replace(
            acme,
            streams=tuple(
                one for one in acme.streams if one.service_tier != "priority" or one.model == COMMITTED_MODEL
            ),
            commitments=(Commitment(COMMITTED_MODEL, 60_000, 6_000, Decimal("450.00"), COMMITTED_SINCE),),
            credits=(Credit(12, Decimal("250.00")),),
            corrections=(Correction(corrected_day(today), SHORT),),
        ),
        replace(globex, cost_delay=timedelta(days=1)),
    )


def corrected_day(today: date) -> date:
    """The day of `acme` that is shown too low at first: settled, and in the week that every sync reads again."""
    return today - timedelta(days=DAYS_TO_CORRECTION)


def invoiced_month(today: date) -> date:
    """The first day of the last month of which all cost has been reported by `today`, the day that is late included."""
    yesterday = today - timedelta(days=1)
    return (yesterday.replace(day=1) - timedelta(days=1)).replace(day=1)

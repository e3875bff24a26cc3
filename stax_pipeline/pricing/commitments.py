"""Priority Tier commitments: capacity for a fee, and what burns it. How the fee is spread is in `derive.fees`.

The burndown rates are those of Anthropic's "Service tiers" page.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from itertools import combinations
from typing import NamedTuple

from stax_pipeline.domain.money import EXACT, multiply, round_usd

MINUTES_OF_DAY = 1440
BURNDOWN = {
    "uncached_input_tokens": Decimal(1),
    "output_tokens": Decimal(1),
    "cache_read_input_tokens": Decimal("0.1"),
    "cache_creation.ephemeral_5m_input_tokens": Decimal("1.25"),
    "cache_creation.ephemeral_1h_input_tokens": Decimal(2),
}
BURNDOWN_US = Decimal("1.1")


class Commitment(NamedTuple):
    """Capacity for one model in tokens per minute; `fee_usd` is for all days from `starts_on` to `ends_on`, both in."""

    commitment_id: str
    model: str
    input_tokens_per_minute: int
    output_tokens_per_minute: int
    fee_usd: Decimal
    starts_on: date
    ends_on: date

    def __contains__(self, day: object) -> bool:
        return isinstance(day, date) and self.starts_on <= day <= self.ends_on

    @property
    def days(self) -> int:
        return (self.ends_on - self.starts_on).days + 1

    def overlaps(self, other: Commitment) -> bool:
        same_days = self.starts_on <= other.ends_on and other.starts_on <= self.ends_on
        return self.model == other.model and same_days

    def fee_until(self, day: date, minutes: int = 0) -> Decimal:
        """USD of the term up to `minutes` into `day`, rounded once, so that the days sum to the fee."""
        elapsed = (day - self.starts_on).days * MINUTES_OF_DAY + minutes
        whole = Decimal(self.days * MINUTES_OF_DAY)
        return round_usd(EXACT.divide(multiply(self.fee_usd, elapsed), whole))

    def fee_of(self, day: date, minutes: int = MINUTES_OF_DAY) -> Decimal:
        """USD that falls on the first `minutes` of `day`."""
        return EXACT.subtract(self.fee_until(day, minutes), self.fee_until(day))


def overlapping(commitments: Iterable[Commitment]) -> tuple[Commitment, Commitment] | None:
    """The first two commitments for the same model on the same day, if there are any."""
    return next(((a, b) for a, b in combinations(sorted(commitments), 2) if a.overlaps(b)), None)


def burned(service_tier: str, token_type: str, inference_geo: str, quantity: int | None) -> Decimal | None:
    """Units of a commitment that so many tokens burn; None for what burns none."""
    if service_tier != "priority" or quantity is None or token_type not in BURNDOWN:
        return None
    return multiply(quantity, BURNDOWN[token_type], BURNDOWN_US if inference_geo == "us" else 1)

"""Priority Tier commitments: a fee for capacity, spread over the tokens that burned it and the part nobody used.

Rules and their source (Anthropic's "Service tiers" page for the burndown, `docs/commitments.md` for the rest): the fee
of a day is split between input and output by committed tokens per minute × list price of each; in each direction a
line bears its share, by burndown units, of the larger of committed and burned units; what is left is the
`commitment-unused` line. The open day counts its elapsed minutes, for capacity and fee alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from itertools import combinations
from typing import NamedTuple

from stax_pipeline.domain.money import EXACT, multiply, round_usd

MINUTES_OF_DAY = 1440


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

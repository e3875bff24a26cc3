"""What Priority usage really cost where a commitment is recorded: its fee, spread over the tokens that burned it.

The rules are those of `docs/operate/commitments.md`: the fee of a day is split between input and output by committed
tokens per minute × list price of each; in each direction a line bears its share, by burndown units, of the larger of
committed and burned units, and what is left is the `commitment-unused` line. The open day counts its elapsed minutes,
for capacity and fee alike. The shares of a day sum to its fee to the last digit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from stax_pipeline.derive.terms import Terms
from stax_pipeline.domain.money import EXACT, multiply, round_usd, split
from stax_pipeline.pricing.commitments import Commitment
from stax_pipeline.pricing.prices import PriceBook, Usage

INPUT, OUTPUT = "uncached_input_tokens", "output_tokens"
_THOUSANDTHS = 1000  # burndown units have three decimals at most


class _Direction(NamedTuple):
    """Where units meet capacity: a day, a model, and input or output, told by the token type that stands for it."""

    usage_date: date
    model: str
    token_type: str


class Burning(NamedTuple):
    """A spend line that burns a commitment: its number in the batch, its dated model, its units in thousandths."""

    line: int
    usage_date: date
    model: str
    token_type: str
    thousandths: int


class Borne(NamedTuple):
    """What a line bears of a fee, in USD."""

    line: int
    fee_usd: Decimal
    commitment_id: str


class Unused(NamedTuple):
    """What no line bears of a day's fee, in USD, and the units that were left over."""

    usage_date: date
    model: str
    token_type: str
    burndown_units: Decimal
    fee_usd: Decimal
    commitment_id: str


def spread(lines: Iterable[Burning], terms: Terms, minutes: Mapping[date, int]) -> tuple[list[Borne], list[Unused]]:
    """Spread the fees of one tenant's commitments over the lines that burned them, in the order of the lines.

    `minutes` gives the covered days and how many minutes of each are known, 1440 for a whole one.
    """
    burning: dict[_Direction, list[Burning]] = defaultdict(list)
    for line in lines:
        token_type = OUTPUT if line.token_type == OUTPUT else INPUT
        burning[_Direction(line.usage_date, line.model, token_type)].append(line)
    borne: list[Borne] = []
    unused: list[Unused] = []
    for commitment in terms.commitments:
        for day in sorted(day for day in minutes if day in commitment):
            for direction, tokens_per_minute, fee in _fees(commitment, day, minutes[day], terms.book):
                held = burning.pop(direction, [])
                left = max(0, tokens_per_minute * minutes[day] * _THOUSANDTHS - sum(line.thousandths for line in held))
                weights = [line.thousandths for line in held]
                *shares, rest = split(fee, [*weights, left] if left or any(weights) else [*weights, 1])
                name = commitment.commitment_id
                borne += [Borne(line.line, share, name) for line, share in zip(held, shares, strict=True)]
                unused.append(Unused(*direction, Decimal(left) / _THOUSANDTHS, rest, name))
    return borne, unused


def _fees(
    commitment: Commitment, day: date, minutes: int, book: PriceBook
) -> Iterator[tuple[_Direction, int, Decimal]]:
    """Input and output with the capacity per minute and the fee in USD of each, but for one that has neither."""
    fee = commitment.fee_of(day, minutes)
    into, out = commitment.input_tokens_per_minute, commitment.output_tokens_per_minute
    price_in, price_out = _list_prices(book, commitment.model, day)
    worth_in, worth_out = multiply(into, price_in), multiply(out, price_out)
    worth = EXACT.add(worth_in, worth_out)
    fee_in = round_usd(EXACT.divide(multiply(fee, worth_in), worth)) if worth else fee
    for token_type, capacity, share in ((INPUT, into, fee_in), (OUTPUT, out, EXACT.subtract(fee, fee_in))):
        if capacity or share:
            yield _Direction(day, commitment.model, token_type), capacity, share


def _list_prices(book: PriceBook, model: str, day: date) -> tuple[Decimal, Decimal]:
    """USD per 1M tokens of input and output; where the book lacks one, both weigh the same per token."""
    into, out = (
        book.token_price(Usage(day, model, token_type, "priority", "0-200k", "global", "standard"))
        for token_type in (INPUT, OUTPUT)
    )
    return (into.low, out.low) if into and out else (Decimal(1), Decimal(1))

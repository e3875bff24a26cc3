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

from stax_pipeline.derive.spend import CostSource, SpendLine
from stax_pipeline.derive.terms import Terms
from stax_pipeline.domain.money import EXACT, multiply, round_usd, split
from stax_pipeline.pricing.commitments import Commitment
from stax_pipeline.pricing.prices import PriceBook, Usage
from stax_pipeline.pricing.prices.book import dated_model

INPUT, OUTPUT = "uncached_input_tokens", "output_tokens"
_THOUSANDTHS = 1000  # burndown units have three decimals at most


class _Direction(NamedTuple):
    """Where units meet capacity: a day, a model, and input or output, told by the token type that stands for it."""

    usage_date: date
    model: str
    token_type: str


def spread_fees(lines: Iterable[SpendLine], terms: Terms, minutes: Mapping[date, int]) -> list[SpendLine]:
    """The lines with their share of the fees in `effective_cost_usd`, and one line for each unused part.

    `minutes` gives the covered days and how many minutes of each are known, 1440 for a whole one.
    """
    if not terms.commitments:
        return list(lines)
    lines = list(lines)
    versions = {line.usage_date: line.price_book_version for line in lines}
    others: list[SpendLine] = []
    burning: dict[_Direction, list[SpendLine]] = defaultdict(list)
    for line in lines:
        burning[_direction(line)].append(line) if _burns(line) else others.append(line)
    spread: list[SpendLine] = []
    for commitment in terms.commitments:
        for day in sorted(day for day in minutes if day in commitment):
            for direction, tokens_per_minute, fee in _fees(commitment, day, minutes[day], terms.book):
                capacity = tokens_per_minute * minutes[day]
                version = versions.get(day) or terms.version_of(day, frozenset())
                spread += _spread(commitment, burning.pop(direction, []), direction, capacity, fee, version)
    uncommitted = [line for rest in burning.values() for line in rest]
    return sorted([*others, *uncommitted, *spread], key=lambda line: (line[:10], line.quantity or 0))


def _burns(line: SpendLine) -> bool:
    return line.burndown_units is not None and line.cost_source != CostSource.REPORTED


def _direction(line: SpendLine) -> _Direction:
    return _Direction(line.usage_date, dated_model(line.model), OUTPUT if line.token_type == OUTPUT else INPUT)


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


def _spread(
    commitment: Commitment, lines: list[SpendLine], direction: _Direction, capacity: int, fee: Decimal, version: str
) -> Iterator[SpendLine]:
    burned = [int(multiply(line.burndown_units or 0, _THOUSANDTHS)) for line in lines]
    unused = max(0, capacity * _THOUSANDTHS - sum(burned))
    weights = [*burned, unused] if unused or any(burned) else [*burned, 1]
    *shares, rest = split(fee, weights)
    for line, share in zip(lines, shares, strict=True):
        yield line._replace(effective_cost_usd=share, commitment_id=commitment.commitment_id)
    yield _unused_line(commitment, direction, Decimal(unused) / _THOUSANDTHS, rest, version)


def _unused_line(
    commitment: Commitment, direction: _Direction, units: Decimal, usd: Decimal, version: str
) -> SpendLine:
    return SpendLine(
        usage_date=direction.usage_date,
        workspace_id="",
        model=commitment.model,
        cost_type="tokens",
        token_type=direction.token_type,
        service_tier="priority",
        context_window="",
        inference_geo="",
        speed="",
        description=f"Unused part of commitment {commitment.commitment_id}",
        quantity=None,
        unit="tokens",
        cost_source=CostSource.COMMITMENT_UNUSED,
        cost_usd=Decimal(0),
        credits_usd=Decimal(0),
        effective_cost_usd=usd,
        list_cost_usd=None,
        list_cost_low_usd=None,
        list_cost_high_usd=None,
        contracted_cost_usd=None,
        list_unit_price_usd=None,
        contracted_unit_price_usd=None,
        pricing_quantity=None,
        pricing_unit="1M tokens",
        price_source="",
        price_book_version=version,
        commitment_id=commitment.commitment_id,
        burndown_units=units,
        cost_line_count=0,
    )

"""Cost report rows to cost lines: USD, exact, every documented field kept."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from itertools import groupby
from typing import NamedTuple

from stax_pipeline.anthropic.fields import Row, count_new_fields, count_unknown, extras, text, workspace
from stax_pipeline.domain.errors import ContractBroken
from stax_pipeline.domain.money import cents_to_usd, was_rounded

_KNOWN = frozenset(
    [
        "amount",
        "currency",
        "cost_type",
        "description",
        "model",
        "token_type",
        "context_window",
        "service_tier",
        "inference_geo",
        "workspace_id",
    ]
)

GROUPED = ("cost_type", "token_type", "model", "description")
_DOCUMENTED = _KNOWN | {"list_amount", "requests"}  # the newer source's, without a column here


class CostLine(NamedTuple):
    """One row of the cost report. `occurrence` numbers rows equal in every dimension, by amount: both count."""

    usage_date: date
    workspace_id: str
    description: str
    cost_type: str
    token_type: str
    model: str
    service_tier: str
    context_window: str
    inference_geo: str
    currency: str
    occurrence: int
    amount_usd: Decimal
    extras: str

    @property
    def dimensions(self) -> tuple[object, ...]:
        return self[:10]

    @property
    def is_credit(self) -> bool:
        """Whether the line takes dollars off the bill, and not off the price of one kind of token of a model."""
        return self.amount_usd < 0 and not (self.model and self.token_type)

    @property
    def is_rounded(self) -> bool:
        """Whether the amount has more decimals than are kept: `extras` holds its text."""
        return "amount" in json.loads(self.extras)


def cost_line(day: date, row: Row) -> CostLine:
    """One normalised row. Raises ContractBroken, never naming more than the field and a short excerpt."""
    for required in ("amount", "currency"):
        if required not in row:
            raise ContractBroken(f"field {required} is missing")
    if row["currency"] != "USD":
        raise ContractBroken(f"currency {str(row['currency'])[:10]!r} is not USD")
    if not any(text(row, name) for name in GROUPED):
        raise ContractBroken("not grouped as asked: cost type, token type, model and description are null")
    usd = cents_to_usd(row["amount"])
    more = extras(row, _KNOWN) | ({"amount": row["amount"]} if was_rounded(row["amount"], usd) else {})
    return CostLine(
        usage_date=day,
        workspace_id=workspace(row),
        description=text(row, "description"),
        cost_type=text(row, "cost_type"),
        token_type=text(row, "token_type"),
        model=text(row, "model"),
        service_tier=text(row, "service_tier"),
        context_window=text(row, "context_window"),
        inference_geo=text(row, "inference_geo") if "inference_geo" in row else "",
        currency="USD",
        occurrence=1,
        amount_usd=usd,
        extras=json.dumps(more, sort_keys=True, default=str),
    )


def cost_lines(buckets: Iterable[tuple[date, list[Row]]], unknown: Counter[str] | None = None) -> list[CostLine]:
    """The lines of these buckets, in a stable order, equal rows numbered.

    `unknown` counts fields and enum values that no documentation lists. A fault names the day and the row.
    """
    counted: Counter[str] = unknown if unknown is not None else Counter()
    lines = []
    for day, rows in buckets:
        for number, row in enumerate(rows, start=1):
            try:
                lines.append(cost_line(day, row))
            except ContractBroken as fault:
                raise ContractBroken(f"cost report, bucket {day}, row {number}: {fault}") from None
            count_unknown(row, counted)
            count_new_fields(row.keys() - _DOCUMENTED, counted)
    return numbered(lines)


def numbered(lines: Iterable[CostLine]) -> list[CostLine]:
    """The lines in a stable order, those equal in every dimension numbered by amount."""
    ordered = sorted(lines, key=lambda line: (line.dimensions, line.amount_usd, line.extras))
    return [
        line._replace(occurrence=occurrence)
        for _, equal in groupby(ordered, key=lambda line: line.dimensions)
        for occurrence, line in enumerate(equal, start=1)
    ]

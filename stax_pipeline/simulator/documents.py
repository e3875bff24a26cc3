"""What an organisation has on paper: its commitments and its invoices, as files that an operator hands in.

Amounts come from `billing`; who signed what is in `organization`.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from stax_pipeline.simulator.billing import cost_lines, truth
from stax_pipeline.simulator.organization import Commitment, Organization

COMMITMENTS = "commitments.csv"
_COMMITMENT_COLUMNS = (
    "commitment_id", "tenant", "model", "input_tokens_per_minute", "output_tokens_per_minute", "fee_usd", "starts_on",
    "ends_on",
)  # fmt: skip
_DAY = timedelta(days=1)
_CENT = Decimal("0.01")


class Term(NamedTuple):
    """One half of a year of a commitment, both days included."""

    commitment_id: str
    first: date
    last: date
    usd: Decimal


def write_documents(folder: Path, organizations: Sequence[Organization], first: date, last: date, month: date) -> None:
    """The commitments for the days from `first` to `last`, and the invoices of the month that begins with `month`."""
    folder.mkdir(parents=True, exist_ok=True)
    terms = [
        (term.commitment_id, one.name, held.model, held.input_tokens_per_minute, held.output_tokens_per_minute,
         term.usd, term.first, term.last)
        for one in organizations for held in one.commitments for term in terms_of(one, held, first, last)
    ]  # fmt: skip
    _write(folder / COMMITMENTS, _COMMITMENT_COLUMNS, terms)
    for one in organizations:
        _write(folder / invoice_name(one.name, month), ("description", "amount_usd"), invoice_lines(one, month))


def invoice_name(organization: str, month: date) -> str:
    return f"invoice-{organization}-{month:%Y-%m}.csv"


def terms_of(organization: Organization, held: Commitment, first: date, last: date) -> Iterator[Term]:
    """The half-years since its signature that the days from `first` to `last` lie in, oldest first."""
    start = date(first.year, 1 if first.month < 7 else 7, 1)
    while start <= last:
        end = date(start.year, 6, 30) if start.month == 1 else date(start.year, 12, 31)
        usd = held.usd_per_day * ((end - start).days + 1)
        if start >= held.since:
            yield Term(f"{organization.name}-{start.year}-h{1 if start.month == 1 else 2}", start, end, usd)
        start = end + _DAY


def invoice_lines(organization: Organization, month: date) -> Iterator[tuple[str, Decimal]]:
    """What the organisation is invoiced for a month, in whole cents and after every correction.

    Priority Tier tokens are paid by the commitment where there is one, else by the token; no cost report holds either.
    """
    days = [month + _DAY * n for n in range((_last_of_month(month) - month).days + 1)]
    corrected = replace(organization, corrections=())
    lines = [line for day in days for line in cost_lines(corrected, day).items()]
    charged = sum((cents for key, cents in lines if key.cost_type), Decimal(0)).scaleb(-2)
    yield f"Claude usage in {month:%B %Y}", charged.quantize(_CENT)
    for held in organization.commitments:
        for term in terms_of(organization, held, days[0], days[-1]):
            yield f"Priority Tier commitment {term.commitment_id}: {len(days)} days", held.usd_per_day * len(days)
    if not organization.commitments:
        priority = sum((truth(organization, day).priority_usd for day in days), Decimal(0))
        yield "Priority Tier usage", priority.quantize(_CENT)
    for key, cents in lines:
        if not key.cost_type:
            yield key.description, cents.scaleb(-2).quantize(_CENT)


def _last_of_month(month: date) -> date:
    return (month.replace(day=28) + timedelta(days=4)).replace(day=1) - _DAY


def _write(file: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)

"""Price accuracy of a batch: the figures that SQL made, with their ratio, and the cause where they do not agree."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal

import pyarrow as pa

from stax_pipeline.derive.batch_days import Day
from stax_pipeline.derive.causes import Evidence, Meeting, causes_of
from stax_pipeline.derive.engine import Session
from stax_pipeline.derive.price_lists import usd
from stax_pipeline.derive.reconciliation import Cause, Cell, Change
from stax_pipeline.derive.schemas import RECONCILIATION, table_of_rows
from stax_pipeline.derive.terms import Terms
from stax_pipeline.domain.money import ratio
from stax_pipeline.pricing.prices import Usage

Restated = Mapping[str, Mapping[Cell, Sequence[Change]]]
_Place = tuple[int, str, str]  # a cell of the batch: number of its day, model, tier


def price_accuracy(session: Session, days: Sequence[Day], terms: Mapping[str, Terms], restated: Restated) -> pa.Table:
    """The table RECONCILIATION of what `sql/reconciliation.sql` made of the batch, by tenant, day, model and tier."""
    causes = _causes(session, days, terms, restated)
    rows = []
    for number, model, tier, is_used, *figures in session.rows(_ACCURACY):
        low, high, listed, reported = map(_usd, figures)
        assert reported is not None
        quotient = ratio(low, reported) if is_used and low is not None else None
        day, cause = days[number], causes.get((number, model, tier), Cause.AGREES)
        rows.append((
            day.tenant_id, day.usage_date, model, tier, low, low, high, listed, reported, quotient, cause.value,
        ))  # fmt: skip
    return table_of_rows(RECONCILIATION, rows)


_ACCURACY = """
select day, model, tier, is_used, low, high, listed, reported from accuracy order by day, model, tier
"""
_EVIDENCE = """
select cell, token_type, is_used, list_low, list_high, contract_low, contract_high, usd from evidence
"""
_SPEEDS = """
select cell, day, space, met, token_type, number, s.model, service_tier, context_window, inference_geo, speed
from speeds s join doubted using (cell)
"""


def _causes(
    session: Session, days: Sequence[Day], terms: Mapping[str, Terms], restated: Restated
) -> dict[_Place, Cause]:  # fmt: skip
    session.run("evidence")
    places = {cell: place for cell, *place in session.rows("select cell, day, model, tier from doubted")}
    evidence: dict[int, Evidence] = {cell: Evidence() for cell in places}
    for cell, *meeting in session.rows(_EVIDENCE):
        evidence[cell].met.append(Meeting(*meeting))
    for cell, number, space, met, token_type, count, model, tier, *rest in session.rows(_SPEEDS):
        usage = Usage(days[number].usage_date, model, token_type, tier or "standard", *rest)
        evidence[cell].tokens[space, met, token_type].append((usage, count))
    by_tenant: dict[str, dict[Cell, int]] = defaultdict(dict)
    for cell, (number, model, tier) in places.items():
        by_tenant[days[number].tenant_id][Cell(days[number].usage_date, model, tier)] = cell
    found: dict[_Place, Cause] = {}
    for tenant_id, cells in by_tenant.items():
        settled = {cell for cell, number in cells.items() if days[places[number][0]].settled}
        own = {cell: evidence[number] for cell, number in cells.items()}
        told = causes_of(own, terms[tenant_id], settled, restated.get(tenant_id, {}))
        found |= {tuple(places[cells[cell]]): cause for cell, cause in told.items()}
    return found


def _usd(amount: int | None) -> Decimal | None:
    return None if amount is None else usd(amount)

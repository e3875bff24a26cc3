"""What must not be published, of a batch: the rules of `derive.guards` put to each tenant whose rows changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from uuid import UUID

import sqlalchemy as sa

from stax_pipeline.derive.cost_lines import CostLine
from stax_pipeline.derive.guards import DOLLARS, grouping_fault, settled_days, shrink_reason, shrunk_days, unit_fault
from stax_pipeline.derive.schemas import USAGE_BY_KEY, USAGE_LINES, lines_of
from stax_pipeline.derive.usage_lines import KeyUsageLine, UsageLine
from stax_pipeline.domain.errors import ContractBroken, TenantStopped
from stax_pipeline.domain.money import EXACT
from stax_pipeline.domain.time import is_old_enough_to_settle
from stax_pipeline.pipeline.publish_batch import Lines, Share, Stores
from stax_pipeline.warehouse import tables
from stax_pipeline.warehouse.agreements import read_terms
from stax_pipeline.warehouse.arrow_copy import read_arrow


class Shrunk(TenantStopped):
    """A settled day lost more than half of its figure: kept raw, not published unless accepted."""


class UnitMismatch(TenantStopped):
    """Reported dollars and priced tokens are far apart: the source must have changed its unit."""


def cost_faults(
    connection: sa.Connection, stores: Stores, shares: Sequence[Share], held: Lines
) -> dict[UUID, TenantStopped]:
    """Cost whose unit changed, that is not grouped as asked, or that shrank on a settled day."""
    slots = [slot for share in shares for slot in share.slots]
    used = lines_of(read_arrow(connection, tables.usage_lines, USAGE_LINES.names, slots), UsageLine)
    found: dict[UUID, TenantStopped] = {}
    for share in shares:
        own = str(share.tenant.tenant_id)
        fresh = lines_of(share.tables[0], CostLine).get(own, [])
        fault = _cost_fault(connection, stores, share, fresh, used.get(own, []), held.get(own, []))
        if fault:
            found[share.tenant.tenant_id] = fault
    return found


def _cost_fault(
    connection: sa.Connection, stores: Stores, share: Share, fresh: list[CostLine], usage: list[UsageLine],
    held: list[CostLine],
) -> TenantStopped | None:  # fmt: skip
    terms = read_terms(connection, share.tenant.tenant_id, stores.book.read(connection))
    if words := unit_fault(fresh, usage, terms):
        return UnitMismatch(words)
    moments = dict.fromkeys(share.changed, share.arrival.extraction.extracted_at)
    if words := grouping_fault(fresh, usage, settled_days(moments, fresh, usage, stores.settle)):
        return ContractBroken(words)
    held_at = {day: share.before[day].extracted_at for day in share.changed if day in share.before}
    settled = settled_days(held_at, held, usage, stores.settle)
    return _shrunk(stores, share, _charges(held), _charges(fresh), settled, DOLLARS)


def usage_faults(
    connection: sa.Connection, stores: Stores, shares: Sequence[Share], held: Lines
) -> dict[UUID, TenantStopped]:
    """Tokens, or tokens by key, that shrank on a settled day."""
    keys = _held_by_key(connection, shares)
    found: dict[UUID, TenantStopped] = {}
    for share in shares:
        own = str(share.tenant.tenant_id)
        settled = frozenset(
            day for day, row in share.before.items()
            if is_old_enough_to_settle(day, row.extracted_at, stores.settle)
        )  # fmt: skip
        fresh = _tokens(lines_of(share.tables[0], UsageLine).get(own, []))
        fresh_keys = _tokens(lines_of(share.tables[1], KeyUsageLine).get(own, []))
        fault = _shrunk(stores, share, _tokens(held.get(own, [])), fresh, settled, "tokens") or _shrunk(
            stores, share, _tokens(keys.get(own, [])), fresh_keys, settled, "tokens by key"
        )
        if fault:
            found[share.tenant.tenant_id] = fault
    return found


def _held_by_key(connection: sa.Connection, shares: Sequence[Share]) -> Lines:
    slots = [(s.tenant.tenant_id, day) for s in shares for day in s.changed_keys if day in s.before]
    return lines_of(read_arrow(connection, tables.usage_by_key, USAGE_BY_KEY.names, slots), KeyUsageLine)


def _shrunk(
    stores: Stores, share: Share, before: Mapping[date, Decimal], after: Mapping[date, Decimal],
    settled: frozenset[date], what: str,
) -> Shrunk | None:  # fmt: skip
    if stores.accept_shrink:
        return None
    days = shrunk_days(before, after, settled)
    return Shrunk(shrink_reason(share.tenant.slug, days, before, after, what)) if days else None


def _charges(lines: Iterable[CostLine]) -> dict[date, Decimal]:
    """What is charged by day, in USD: a credit is no loss of data."""
    totals: dict[date, Decimal] = defaultdict(Decimal)
    for line in lines:
        totals[line.usage_date] = EXACT.add(totals[line.usage_date], max(line.amount_usd, Decimal(0)))
    return totals


def _tokens(lines: Iterable[UsageLine | KeyUsageLine]) -> dict[date, Decimal]:
    totals: dict[date, Decimal] = defaultdict(Decimal)
    for line in lines:
        totals[line.usage_date] += sum(line.counts[:5])
    return totals

"""Build what people read from the normalised tables: spend, spend by key, reconciliation. No network, no raw pages.

Batches of tenants' days are built together, all three tables in one transaction; a day whose figures would follow from
the same rows, prices and rules as before is left as it is.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from functools import partial
from itertools import groupby

import sqlalchemy as sa

from stax_pipeline.domain.extraction import Window
from stax_pipeline.domain.money import EXACT
from stax_pipeline.domain.tenant import Tenant
from stax_pipeline.pipeline.batches import BATCH_ROWS, in_batches, work_through
from stax_pipeline.pipeline.build_batch import Books, Built, Due, build_batch
from stax_pipeline.pipeline.isolation import Outcome, Progress, Tally, no_progress, reason
from stax_pipeline.pipeline.rules_engine import rules_engine
from stax_pipeline.pipeline.tenant_days import tenant_days, to_build
from stax_pipeline.warehouse.agreements import terms_of
from stax_pipeline.warehouse.engine import plain_faults
from stax_pipeline.warehouse.publication_log import last_builds
from stax_pipeline.warehouse.tenants import set_first_sync

BUILDING = "building spend"
LOOKED_AT = 500  # tenants whose days are looked at together


@dataclass(slots=True)
class Totals:
    """Dollars and lines built, by cost source, for people who look at a run."""

    usd: dict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    lines: Counter[str] = field(default_factory=Counter)

    def add(self, built: Built) -> None:
        for source, usd, lines in built.sums:
            self.usd[source] = EXACT.add(self.usd[source], usd)
            self.lines[source] += lines


def publish_spend(
    books: Books, tenants: Sequence[Tenant], window: Window, progress: Progress = no_progress, *, anew: bool = False
) -> tuple[Outcome, Totals]:
    """Build `spend`, `spend_by_key` and `reconciliation` for the tenants' days that need it; every day where `anew`."""
    outcome, totals = Outcome(tenants=len(tenants)), Totals()
    tally = Tally(progress, len(tenants), len(window.days))
    counted: Counter[str] = Counter()

    def refuse(due: Due, fault: Exception) -> None:
        outcome.failures[due.tenant.slug] = reason(fault, BUILDING)

    with rules_engine(books.lake) as rules:
        by_id = sorted(tenants, key=lambda tenant: tenant.tenant_id)  # a batch's rows are in few Parquet files
        batches = in_batches(_due(books, by_id, window, anew))
        work = partial(build_batch, books, rules, anew)
        for items, built in work_through(books.engine, BUILDING, batches, work, refuse):
            outcome.rows += built.rows
            totals.add(built)
            for due in items:
                counted[due.tenant.slug] += len(due.days)
                tally.step(len(due.days))
    for tenant in tenants:
        done = counted[tenant.slug]
        tally.tenant_ended(done, failed=tenant.slug in outcome.failures, worked=done > 0)
    return outcome, totals


def note_first_sync(engine: sa.Engine, tenants: Sequence[Tenant], run_id: str) -> None:
    """Tenants that now have data for the first time: the sensor need not backfill them."""
    with plain_faults("noting first syncs"), engine.begin() as connection:
        set_first_sync(connection, [tenant.tenant_id for tenant in tenants], run_id)


def _due(books: Books, tenants: Sequence[Tenant], window: Window, anew: bool) -> Iterator[Due]:
    """The days to build of each tenant, in pieces that fit into a batch; they are judged again under the lock."""
    for start in range(0, len(tenants), LOOKED_AT):
        part = {tenant.tenant_id: tenant for tenant in tenants[start : start + LOOKED_AT]}
        with plain_faults("looking for days to build"), books.engine.begin() as connection:
            held = tenant_days(connection, part, window)
            terms = terms_of(connection, part, books.book.read(connection))
            slots = (
                [(tenant_id, day) for tenant_id in part for day in window.days]
                if anew
                else to_build(held, last_builds(connection, part, window), terms, books.settle)
            )
        for tenant_id, own in groupby(slots, key=lambda slot: slot[0]):
            rows = ((slot[1], held[slot].rows if slot in held else 0) for slot in own)
            yield from _pieces(part[tenant_id], rows)


def _pieces(tenant: Tenant, days: Iterable[tuple[date, int]]) -> Iterator[Due]:
    """The tenant's days, each with its rows, cut where they would not fit into one batch."""
    piece: list[date] = []
    size = 0
    for day, rows in days:
        if piece and size + rows > BATCH_ROWS:
            yield Due(tenant, piece, size)
            piece, size = [], 0
        piece.append(day)
        size += rows
    if piece:
        yield Due(tenant, piece, size)

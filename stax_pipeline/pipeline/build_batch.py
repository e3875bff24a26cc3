"""Build spend, spend by key and reconciliation of a batch of tenants' days in one transaction, and log what of."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from stax_pipeline.derive.batch import Batch, Derived, derive
from stax_pipeline.derive.batch_days import uses_by_tenant
from stax_pipeline.derive.day_facts import RULES_VERSION
from stax_pipeline.derive.engine import Engine
from stax_pipeline.derive.reconciliation import Cell, Change, cell_of
from stax_pipeline.derive.restatement import Restatement, RestatementKind
from stax_pipeline.derive.schemas import COST_LINES, DAYS, USAGE_BY_KEY, USAGE_LINES
from stax_pipeline.derive.terms import Terms, Uses
from stax_pipeline.domain.money import EXACT, SCALE, sum_usd
from stax_pipeline.domain.tenant import Tenant
from stax_pipeline.lake.store import Lake
from stax_pipeline.pipeline.arrivals import span_of
from stax_pipeline.pipeline.history import Archive, dollar_restatements
from stax_pipeline.pipeline.tenant_days import TenantDay, tenant_days, to_build
from stax_pipeline.pricing.prices import Usage
from stax_pipeline.warehouse import tables
from stax_pipeline.warehouse.agreements import last_changes, terms_of
from stax_pipeline.warehouse.arrow_copy import Slot, read_arrow
from stax_pipeline.warehouse.fresh_rows import FreshRows
from stax_pipeline.warehouse.prices import LatestBook
from stax_pipeline.warehouse.publication_log import Build, add_builds, last_builds, now
from stax_pipeline.warehouse.publish import replace_tenant_days
from stax_pipeline.warehouse.restatements import add_restatements, drop_round_trips, restated_tokens


@dataclass(frozen=True, slots=True)
class Books:
    """What spend is built with: the list prices, and the raw pages that tell what changed prices changed."""

    engine: sa.Engine
    lake: Lake
    settle: timedelta
    book: LatestBook = field(default_factory=LatestBook)
    fresh: FreshRows = field(default_factory=FreshRows)


class Due(NamedTuple):
    """Days of one tenant to build, and about how many rows they have."""

    tenant: Tenant
    days: list[date]
    rows: int


class Built(NamedTuple):
    """Rows written, and of spend the USD and lines by cost source."""

    rows: int
    sums: list[tuple[str, Decimal, int]]


class Held(NamedTuple):
    """What the batch's tenants hold under their locks, over the days from the first to the last."""

    days: dict[Slot, TenantDay]
    last: dict[Slot, Build]
    terms: dict[UUID, Terms]
    priced_at: dict[UUID, datetime]


def build_batch(books: Books, rules: Engine, anew: bool, connection: sa.Connection, items: Sequence[Due]) -> Built:
    """Build what of these days still needs it, every day where `anew`, in the caller's transaction, which holds the
    locks of all tenants.
    """
    held = _held(connection, books, items)
    asked = {(item.tenant.tenant_id, day) for item in items for day in item.days}
    slots = sorted(asked if anew else asked.intersection(to_build(held.days, held.last, held.terms, books.settle)))
    if not slots:
        return Built(0, [])
    costs = read_arrow(connection, tables.cost_lines, COST_LINES.names, slots)
    usage = read_arrow(connection, tables.usage_lines, USAGE_LINES.names, slots)
    by_key = read_arrow(connection, tables.usage_by_key, USAGE_BY_KEY.names, slots)
    builds = _builds(connection, held, slots, uses_by_tenant(rules, usage), books.settle)
    _note_builds(connection, books, rules, items, held, builds)
    terms = {str(tenant_id): own for tenant_id, own in held.terms.items()}
    days = _days(held.days, slots, books.settle)
    found = derive(rules, Batch(costs, usage, by_key, days, terms, _restated(connection, slots)))
    contents = {
        tables.spend: _with_sources(found.spend, builds),
        tables.spend_totals: found.spend_totals,
        tables.spend_day_totals: found.spend_day_totals,
        tables.spend_by_key: found.spend_by_key,
        tables.reconciliation: found.reconciliation,
    }
    written = replace_tenant_days(connection, contents, slots, books.fresh)
    return Built(written[tables.spend], _sums(rules, found))


def _held(connection: sa.Connection, books: Books, items: Sequence[Due]) -> Held:
    ids = {item.tenant.tenant_id for item in items}
    window = span_of(day for item in items for day in item.days)
    return Held(
        tenant_days(connection, ids, window),
        last_builds(connection, ids, window),
        terms_of(connection, ids, books.book.read(connection)),
        last_changes(connection, ids),
    )


def _days(held: Mapping[Slot, TenantDay], slots: Iterable[Slot], settle: timedelta) -> pa.Table:
    rows = [
        {"tenant_id": str(slot[0]), "usage_date": slot[1], "settled": day.settled(settle), "minutes": day.minutes}
        for slot in slots
        for day in [held.get(slot, TenantDay(None, None))]
    ]
    return pa.Table.from_pylist(rows, DAYS)


def _builds(
    connection: sa.Connection, held: Held, slots: Iterable[Slot], uses: Mapping[str, Mapping[date, Uses]],
    settle: timedelta,
) -> dict[Slot, Build]:  # fmt: skip
    """What spend of each covered day is built from: the build before, where rows, prices and rules are the same."""
    moment = now(connection)
    found = {}
    for slot in slots:
        if slot in held.days:
            (tenant_id, day), own = slot, held.days[slot]
            used = uses.get(str(tenant_id), {}).get(day, frozenset())
            build = Build(
                day, moment, held.terms[tenant_id].version_of(day, used), held.priced_at[tenant_id],
                own.cost and own.cost.extraction_id, own.usage and own.usage.extraction_id, json.dumps(sorted(used)),
                *own.digests, own.settled(settle), RULES_VERSION,
            )  # fmt: skip
            last = held.last.get(slot)
            found[slot] = last if last and last.made_of == build.made_of else build
    return found


def _note_builds(
    connection: sa.Connection,
    books: Books,
    rules: Engine,
    items: Sequence[Due],
    held: Held,
    builds: Mapping[Slot, Build],
) -> None:
    """Log the builds that follow from something else than before, and what that restates."""
    changed = {slot: build for slot, build in builds.items() if build is not held.last.get(slot)}
    add_builds(connection, ((tenant_id, build) for (tenant_id, _), build in changed.items()))
    archive = Archive(connection, books.lake, books.settle, rules)
    for item in items:
        own = [(item.tenant.tenant_id, day) for day in item.days]
        pairs = [(held.last[slot], changed[slot]) for slot in own if slot in changed and slot in held.last]
        if pairs:
            restated = dollar_restatements(archive, item.tenant, span_of(item.days), pairs)
            if add_restatements(connection, item.tenant.tenant_id, restated):
                drop_round_trips(connection, item.tenant.tenant_id, item.days)


def _restated(connection: sa.Connection, slots: Sequence[Slot]) -> dict[str, dict[Cell, list[Change]]]:
    """By tenant, what later extractions changed in each row of price accuracy, the newest first."""
    found: dict[tuple[str, Cell], dict[datetime, list[Restatement]]] = defaultdict(lambda: defaultdict(list))
    for tenant_id, row in restated_tokens(connection, slots):
        found[str(tenant_id), cell_of(row.usage_date, row.model, row.service_tier)][row.seen_at].append(row)
    changes: dict[str, dict[Cell, list[Change]]] = defaultdict(dict)
    for (own, cell), by_time in found.items():
        changes[own][cell] = [_change(by_time[at]) for at in sorted(by_time, reverse=True)]
    return changes


def _change(rows: list[Restatement]) -> Change:
    usd = sum_usd(EXACT.subtract(row.new_usd or Decimal(0), row.old_usd or Decimal(0)) for row in rows)
    tokens = tuple(
        (
            Usage(row.usage_date, row.model, row.token_type, row.service_tier or "standard", row.context_window,
                  row.inference_geo, row.speed),
            int((row.new_quantity or 0) - (row.old_quantity or 0)),
        )
        for row in rows if row.kind == RestatementKind.USAGE
    )  # fmt: skip
    return Change(usd, tokens)


def _with_sources(spend: pa.Table, builds: Mapping[Slot, Build]) -> pa.Table:
    """Spend with the extractions that each line was built from."""
    day = spend.column("usage_date").cast(pa.string())
    joined: Any = pc.binary_join_element_wise(spend.column("tenant_id"), day, "/")  # type: ignore[call-overload]
    keys = joined.combine_chunks().dictionary_encode()
    slots = [(UUID(key[:36]), date.fromisoformat(key[37:])) for key in keys.dictionary.to_pylist()]
    for name in ("cost_extraction_id", "usage_extraction_id"):
        found = [getattr(builds.get(slot), name, None) for slot in slots]
        ids = pa.array([one and str(one) for one in found], pa.string())
        spend = spend.append_column(name, ids.take(keys.indices))
    return spend


def _sums(rules: Engine, found: Derived) -> list[tuple[str, Decimal, int]]:
    counted = found.spend.group_by("cost_source").aggregate([([], "count_all")])
    lines = dict(zip(*(column.to_pylist() for column in counted.columns), strict=True))
    with rules.session() as session:
        session.give("spend_totals", found.spend_totals)
        rows = session.rows("select cost_source, coalesce(sum(cost_usd), 0)::hugeint from spend_totals group by 1")
    return [(source, EXACT.scaleb(Decimal(units), -SCALE), lines[source]) for source, units in rows]

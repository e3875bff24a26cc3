"""What a tenant's days held, now or as of an earlier instant, and the spend lines that follow: no network, no writing.

The past is read from the raw pages that were kept, and priced by what was recorded by then.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from datetime import date, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import pyarrow as pa
import sqlalchemy as sa

from stax_pipeline.anthropic.organization import read_organization
from stax_pipeline.derive import restatement
from stax_pipeline.derive.batch import Batch, derive
from stax_pipeline.derive.day_facts import DayFacts
from stax_pipeline.derive.engine import Engine
from stax_pipeline.derive.guards import settlement
from stax_pipeline.derive.normalise import Normalised, read_pages
from stax_pipeline.derive.restatement import Later, Repricing, Restatement, price_restatements
from stax_pipeline.derive.schemas import (
    COST_LINES,
    DAYS,
    SPEND,
    USAGE_BY_KEY,
    USAGE_LINES,
    lines_of,
    schema_of,
    table_of_rows,
)
from stax_pipeline.derive.spend import SpendLine
from stax_pipeline.derive.terms import Terms
from stax_pipeline.domain.errors import TenantStopped
from stax_pipeline.domain.extraction import Report, Window, midnight
from stax_pipeline.domain.tenant import Tenant
from stax_pipeline.domain.time import State, data_through, day_state, is_old_enough_to_settle
from stax_pipeline.lake.raw import read_raw
from stax_pipeline.lake.store import Lake, ObjectMissing
from stax_pipeline.warehouse import tables
from stax_pipeline.warehouse.agreements import read_terms
from stax_pipeline.warehouse.extractions import Covered, Extraction, get_extractions, in_order
from stax_pipeline.warehouse.prices import read_book
from stax_pipeline.warehouse.publication_log import Build, builds_of
from stax_pipeline.warehouse.restatements import usage_changes


class Held(NamedTuple):
    """COST_LINES and USAGE_LINES of a tenant's days, and what is current for them."""

    cost_lines: pa.Table
    usage_lines: pa.Table
    cost_coverage: dict[date, Covered]
    usage_coverage: dict[date, Covered]


class Archive(NamedTuple):
    """Where the past is kept, the age at which a day settles, and what derives spend."""

    connection: sa.Connection
    lake: Lake
    settle: timedelta
    rules: Engine


def held_of(archive: Archive, tenant: Tenant, builds: Iterable[Build]) -> Held:
    """What spend of these days was built from, read from the raw pages."""
    builds = list(builds)
    costs, usage = [COST_LINES.empty_table()], [USAGE_LINES.empty_table()]
    coverage: dict[Report, dict[date, Covered]] = {Report.COST: {}, Report.USAGE: {}}
    for report, current in coverage.items():
        days: dict[UUID, list[date]] = defaultdict(list)
        for build in builds:
            source = build.cost_extraction_id if report is Report.COST else build.usage_extraction_id
            if source:
                days[source].append(build.usage_date)
        for source, extraction in get_extractions(archive.connection, days).items():
            found = read_extraction(archive.lake, extraction, days[source])
            costs.append(_of_tenant(found.cost_lines, tenant, COST_LINES))
            usage.append(_of_tenant(found.usage_lines, tenant, USAGE_LINES))
            current.update(
                (r.usage_date, r) for r in coverage_of(extraction, days[source], {}, archive.settle, days[source])
            )
    return Held(pa.concat_tables(costs), pa.concat_tables(usage), coverage[Report.COST], coverage[Report.USAGE])


def _of_tenant(lines: pa.Table, tenant: Tenant, schema: pa.Schema) -> pa.Table:
    ids = pa.repeat(pa.scalar(str(tenant.tenant_id)), lines.num_rows)
    return lines.add_column(0, "tenant_id", ids).cast(schema)


def spend_of(archive: Archive, tenant: Tenant, held: Held, terms: Terms) -> pa.Table:
    """SPEND of what is held, under a tenant's terms."""
    own = str(tenant.tenant_id)
    settled = settlement(archive.rules, held.cost_lines, held.usage_lines, _old_enough(archive, tenant, held))
    is_settled = {row["usage_date"]: row["settled"] for row in settled.to_pylist()}
    days = [
        (own, day, is_settled.get(day, False), _minutes(held.usage_coverage.get(day)))
        for day in held.cost_coverage.keys() | held.usage_coverage.keys()
    ]
    lines = held.cost_lines, held.usage_lines, USAGE_BY_KEY.empty_table()
    batch = Batch(*lines, table_of_rows(DAYS, days), {own: terms}, {})
    return derive(archive.rules, batch, frozenset({"spend"})).spend


def _old_enough(archive: Archive, tenant: Tenant, held: Held) -> pa.Table:
    rows = [
        (str(tenant.tenant_id), day, is_old_enough_to_settle(day, row.extracted_at, archive.settle))
        for day, row in held.cost_coverage.items()
        if row.state != State.NOT_REPORTED
    ]
    schema = schema_of(tenant_id=pa.string(), usage_date=pa.date32(), old_enough=pa.bool_())
    return table_of_rows(schema, rows)


def _minutes(covered: Covered | None) -> int | None:
    """How many minutes of a day are known; 1440 for a whole one."""
    return covered and max(0, (covered.data_through - midnight(covered.usage_date)) // timedelta(minutes=1))


def spend_as_of(archive: Archive, tenant: Tenant, window: Window, instant: datetime) -> list[SpendLine]:
    """What `spend` held at `instant` (UTC), from the raw pages and the prices that it was built from."""
    by_terms: dict[datetime, list[Build]] = defaultdict(list)
    for known in builds_of(archive.connection, tenant.tenant_id, window, instant).values():
        by_terms[known[-1].priced_at].append(known[-1])
    found = [
        spend_of(archive, tenant, held_of(archive, tenant, builds), terms_at(archive.connection, tenant, priced_at))
        for priced_at, builds in by_terms.items()
    ]
    lines = lines_of(pa.concat_tables([SPEND.empty_table(), *found]), SpendLine).get(str(tenant.tenant_id), [])
    return sorted(lines, key=lambda line: line.usage_date)


def workspace_names_at(archive: Archive, tenant: Tenant, instant: datetime) -> dict[str, str]:
    """Names by workspace id as the last snapshot by `instant` (UTC) told them; of vanished ones the last known.

    Without such a snapshot in the lake, the names of now.
    """
    table = tables.workspaces
    held = archive.connection.execute(
        sa.select(table.c.workspace_id, table.c.name).where(table.c.tenant_id == tenant.tenant_id)
    )
    names = {row.workspace_id: row.name for row in held}
    ever = Window(date.min, date.max)
    for extraction in reversed(in_order(archive.connection, tenant.tenant_id, Report.ORGANIZATION, ever, instant)):
        with suppress(ObjectMissing, TenantStopped):
            snapshot = read_organization(read_raw(archive.lake, extraction.raw_uri or "", extraction.sha256)[1])
            return names | {workspace.workspace_id: workspace.name for workspace in snapshot.workspaces}
    return names


def terms_at(connection: sa.Connection, tenant: Tenant, instant: datetime) -> Terms:
    return read_terms(connection, tenant.tenant_id, read_book(connection, at=instant), at=instant)


def dollar_restatements(
    archive: Archive, tenant: Tenant, window: Window, changes: Iterable[tuple[Build, Build]]
) -> list[Restatement]:
    """From the figures shown to those shown next: what other usage moved at the old prices, and then what new prices,
    rates or commitments moved. A day that still ran when it was shown, or had just ended, has nothing to restate.
    """
    moved = usage_changes(archive.connection, tenant.tenant_id, window)
    together: dict[tuple[datetime, datetime, datetime], list[tuple[Build, Build]]] = defaultdict(list)
    for old, new in _were_over(archive, changes):
        if old.price_book_version != new.price_book_version or _has_moved(moved, old, new):
            together[old.priced_at, new.priced_at, new.built_at].append((old, new))
    found: list[Restatement] = []
    own = str(tenant.tenant_id)
    for (before, after, built_at), pairs in together.items():
        terms, new_terms = (terms_at(archive.connection, tenant, at) for at in (before, after))
        held = held_of(archive, tenant, [new for _, new in pairs])
        other_usage = [(old, new) for old, new in pairs if _has_moved(moved, old, new)]
        between = spend_of(archive, tenant, held, terms)
        if other_usage:
            shown = held_of(
                archive, tenant,
                [new._replace(usage_extraction_id=old.usage_extraction_id) for old, new in other_usage],
            )  # fmt: skip
            moments = {own: {new.usage_date: built_at for _, new in other_usage}}
            published = spend_of(archive, tenant, shown, terms)
            found += restatement.dollar_restatements(archive.rules, published, between, moments).get(own, [])
        changed = {
            new.usage_date: Repricing(built_at, old.price_book_version, new.price_book_version) for old, new in pairs
        }
        priced = spend_of(archive, tenant, held, new_terms)
        found += price_restatements(archive.rules, between, priced, {own: changed}).get(own, [])
    return found


def _has_moved(moved: Mapping[date, Iterable[datetime]], old: Build, new: Build) -> bool:
    return any(old.built_at < at <= new.built_at for at in moved.get(new.usage_date, ()))


def _were_over(archive: Archive, changes: Iterable[tuple[Build, Build]]) -> list[tuple[Build, Build]]:
    """Changes of days whose usage was complete in what was shown before."""
    changes = list(changes)
    sources = {old.usage_extraction_id for old, _ in changes if old.usage_extraction_id}
    read = get_extractions(archive.connection, sources)
    return [
        (old, new)
        for old, new in changes
        if old.usage_extraction_id in read
        and day_state(old.usage_date, read[old.usage_extraction_id].extracted_at) == State.COMPLETE
    ]


def read_extraction(lake: Lake, extraction: Extraction, days: Iterable[date]) -> Normalised:
    """The extraction's lines of these days, from its raw pages. Raises ContractBroken, NegativeSpeedDifference."""
    chosen = set(days) & set(extraction.window.days)
    pages = read_raw(lake, extraction.raw_uri or "", extraction.sha256)[1] if chosen else ()
    return read_pages(pages, extraction.asked).on(chosen)


def coverage_of(
    extraction: Extraction, days: Iterable[date], facts: Mapping[date, DayFacts], settle: timedelta,
    keyed: Collection[date],
) -> list[Covered]:  # fmt: skip
    """What the extraction says of these days, with the facts of its rows by day."""
    moment = extraction.extracted_at
    return [
        Covered(
            extraction.tenant_id, extraction.report, day, extraction.extraction_id, moment, data_through(day, moment),
            is_old_enough_to_settle(day, moment, settle), day_state(day, moment), own.rows, day in keyed, own.metered,
            own.digest, own.key_digest,
        )
        if day in extraction.window
        else not_reported(extraction, day)
        for day in days
        for own in [facts.get(day, DayFacts())]
    ]  # fmt: skip


def not_reported(extraction: Extraction, day: date) -> Covered:
    """A day that is over and that the extraction asked for in vain: nothing is known of it."""
    return Covered(
        extraction.tenant_id, extraction.report, day, extraction.extraction_id, extraction.extracted_at, midnight(day),
        False, State.NOT_REPORTED, 0,
    )  # fmt: skip


def later(extraction: Extraction, published_at: datetime, before: Mapping[date, Covered]) -> Later:
    """What makes a change a restatement: the day was over, and its figures had arrived, at the extraction before."""
    past = {
        day: row.extraction_id
        for day, row in before.items()
        if row.state == State.COMPLETE and (row.rows or row.old_enough_to_settle)
    }
    return Later(extraction.extraction_id, published_at, past)

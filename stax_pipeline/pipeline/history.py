"""What a tenant's days held, now or as of an earlier instant, and the spend lines that follow: no network, no writing.

The past is read from the raw pages that were kept, and priced by what was recorded by then.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa

from stax_pipeline.anthropic.organization import read_organization
from stax_pipeline.derive.cost_lines import CostLine
from stax_pipeline.derive.day_facts import DayFacts
from stax_pipeline.derive.fees import spread_fees
from stax_pipeline.derive.guards import settled_days
from stax_pipeline.derive.normalise import Normalised, read_pages
from stax_pipeline.derive.plain_rows import lines_of_table
from stax_pipeline.derive.restatement import Later, Repricing, Restatement, restated_dollars, restated_prices
from stax_pipeline.derive.spend import SpendLine, spend_lines
from stax_pipeline.derive.terms import Terms
from stax_pipeline.derive.usage_lines import UsageLine
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


@dataclass(frozen=True, slots=True)
class Held:
    """A tenant's normalised rows of some days, and what is current for them."""

    costs: list[CostLine]
    usage: list[UsageLine]
    cost_coverage: dict[date, Covered]
    usage_coverage: dict[date, Covered]

    def settled(self, settle: timedelta) -> frozenset[date]:
        """Days on which a missing cost may be read as zero."""
        moments = {day: row.extracted_at for day, row in self.cost_coverage.items() if row.state != State.NOT_REPORTED}
        return settled_days(moments, self.costs, self.usage, settle)

    @property
    def minutes(self) -> dict[date, int]:
        """How many minutes of each covered day are known; 1440 for a whole one."""
        return {
            day: max(0, (row.data_through - midnight(day)) // timedelta(minutes=1))
            for day, row in self.usage_coverage.items()
        }


class Archive(NamedTuple):
    """Where the past is kept, and the age at which a day settles."""

    connection: sa.Connection
    lake: Lake
    settle: timedelta


def held_of(archive: Archive, window: Window, builds: Iterable[Build]) -> Held:
    """What spend of these days was built from, read from the raw pages."""
    builds = list(builds)
    costs: list[CostLine] = []
    usage: list[UsageLine] = []
    coverage: dict[Report, dict[date, Covered]] = {Report.COST: {}, Report.USAGE: {}}
    for report, current in coverage.items():
        days: dict[UUID, list[date]] = defaultdict(list)
        for build in builds:
            source = build.cost_extraction_id if report is Report.COST else build.usage_extraction_id
            if source:
                days[source].append(build.usage_date)
        for source, extraction in get_extractions(archive.connection, days).items():
            found = read_extraction(archive.lake, extraction, days[source])
            costs += lines_of_table(found.cost_lines, CostLine)
            usage += lines_of_table(found.usage_lines, UsageLine)
            current.update(
                (r.usage_date, r) for r in coverage_of(extraction, days[source], {}, archive.settle, days[source])
            )
    return Held(sorted(costs), sorted(usage), coverage[Report.COST], coverage[Report.USAGE])


def spend_of(held: Held, terms: Terms, settle: timedelta) -> list[SpendLine]:
    """The spend lines of what is held, under a tenant's terms."""
    return spread_fees(spend_lines(held.costs, held.usage, terms, held.settled(settle)), terms, held.minutes)


def spend_as_of(archive: Archive, tenant: Tenant, window: Window, instant: datetime) -> list[SpendLine]:
    """What `spend` held at `instant` (UTC), from the raw pages and the prices that it was built from."""
    by_terms: dict[datetime, list[Build]] = defaultdict(list)
    for known in builds_of(archive.connection, tenant.tenant_id, window, instant).values():
        by_terms[known[-1].priced_at].append(known[-1])
    lines = [
        line
        for priced_at, builds in by_terms.items()
        for line in spend_of(
            held_of(archive, window, builds), terms_at(archive.connection, tenant, priced_at), archive.settle
        )
    ]
    return sorted(lines, key=lambda line: (line[:10], line.quantity or 0))


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
    for (before, after, built_at), pairs in together.items():
        terms, new_terms = (terms_at(archive.connection, tenant, at) for at in (before, after))
        held = held_of(archive, window, [new for _, new in pairs])
        old_usage = [
            new._replace(usage_extraction_id=old.usage_extraction_id)
            for old, new in pairs if _has_moved(moved, old, new)
        ]  # fmt: skip
        published = _by_day(spend_of(held_of(archive, window, old_usage), terms, archive.settle)) if old_usage else {}
        between = _by_day(spend_of(held, terms, archive.settle))
        priced = _by_day(spend_of(held, new_terms, archive.settle))
        for old, new in pairs:
            day = new.usage_date
            if _has_moved(moved, old, new):
                found += restated_dollars(published.get(day, []), between.get(day, []), built_at)
            change = Repricing(built_at, old.price_book_version, new.price_book_version)
            found += restated_prices(between.get(day, []), priced.get(day, []), change)
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


def _by_day(lines: Iterable[SpendLine]) -> dict[date, list[SpendLine]]:
    found: dict[date, list[SpendLine]] = defaultdict(list)
    for line in lines:
        found[line.usage_date].append(line)
    return found


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

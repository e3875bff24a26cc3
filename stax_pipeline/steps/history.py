"""What a tenant's days held, now or as of an earlier instant, and the spend lines that follow: no network, no writing.

The past is read from the raw pages that were kept, and priced by what was recorded by then.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

import sqlalchemy as sa

from stax_pipeline.domain.cost import CostLine
from stax_pipeline.domain.extraction import Report, Window, midnight
from stax_pipeline.domain.fees import spread_fees
from stax_pipeline.domain.guards import settled_days
from stax_pipeline.domain.readings import read_cost, read_usage
from stax_pipeline.domain.restatement import Later, Repricing, Restatement, restated_prices
from stax_pipeline.domain.spend import SpendLine, spend_lines
from stax_pipeline.domain.terms import Terms
from stax_pipeline.domain.time import State, data_through, day_state, is_old_enough_to_settle
from stax_pipeline.domain.usage import KeyUsageLine, UsageLine
from stax_pipeline.resources.lake.raw import read_raw
from stax_pipeline.resources.lake.store import Lake
from stax_pipeline.resources.warehouse import tables
from stax_pipeline.resources.warehouse.agreements import read_terms
from stax_pipeline.resources.warehouse.extractions import Covered, Extraction, covered, newest_by_day
from stax_pipeline.resources.warehouse.prices import read_book
from stax_pipeline.resources.warehouse.publish import read_days
from stax_pipeline.resources.warehouse.tenants import Tenant


@dataclass(frozen=True, slots=True)
class Held:
    """A tenant's normalised rows of some days, and what is current for them."""

    costs: list[CostLine]
    usage: list[UsageLine]
    cost_coverage: dict[date, Covered]
    usage_coverage: dict[date, Covered]

    def settled(self, settle: timedelta) -> frozenset[date]:
        """Days on which a missing cost may be read as zero."""
        moments = {day: row.extracted_at for day, row in self.cost_coverage.items()}
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


def held_now(connection: sa.Connection, tenant: Tenant, window: Window) -> Held:
    """What the normalised tables hold."""
    return Held(
        read_cost_lines(connection, tenant, window),
        read_usage_lines(connection, tenant, window),
        covered(connection, tenant.tenant_id, Report.COST, window),
        covered(connection, tenant.tenant_id, Report.USAGE, window),
    )


def held_at(archive: Archive, tenant: Tenant, window: Window, instant: datetime) -> Held:
    """What the extractions recorded by `instant` (UTC) said."""
    costs: list[CostLine] = []
    usage: list[UsageLine] = []
    coverage: dict[Report, dict[date, Covered]] = {Report.COST: {}, Report.USAGE: {}}
    for report, current in coverage.items():
        for extraction, days in newest_by_day(archive.connection, tenant.tenant_id, report, window, instant):
            if report is Report.COST:
                costs += read_costs(archive.lake, extraction, days)
            else:
                usage += read_usages(archive.lake, extraction, days)[0]
            current.update((row.usage_date, row) for row in coverage_of(extraction, days, {}, archive.settle))
    return Held(sorted(costs), sorted(usage), coverage[Report.COST], coverage[Report.USAGE])


def spend_of(held: Held, terms: Terms, settle: timedelta) -> list[SpendLine]:
    """The spend lines of what is held, under a tenant's terms."""
    return spread_fees(spend_lines(held.costs, held.usage, terms, held.settled(settle)), terms, held.minutes)


def spend_as_of(archive: Archive, tenant: Tenant, window: Window, instant: datetime) -> list[SpendLine]:
    """What the product said at `instant` (UTC), from the extractions, prices and agreements recorded by then."""
    terms = terms_at(archive.connection, tenant, instant)
    return spend_of(held_at(archive, tenant, window, instant), terms, archive.settle)


def terms_at(connection: sa.Connection, tenant: Tenant, instant: datetime) -> Terms:
    return read_terms(connection, tenant.tenant_id, read_book(connection, at=instant), at=instant)


def price_restatements(archive: Archive, tenant: Tenant, window: Window) -> list[Restatement]:
    """Every change of prices, rates or commitments that met days already fetched: their dollars before and after."""
    found: list[Restatement] = []
    for before, moment in pairwise(_price_changes(archive.connection, tenant)):
        old, new = (terms_at(archive.connection, tenant, at) for at in (before, moment))
        if old.version != new.version:
            held = held_at(archive, tenant, window, moment)
            before_lines, after_lines = (spend_of(held, terms, archive.settle) for terms in (old, new))
            found += restated_prices(before_lines, after_lines, Repricing(moment, old.version, new.version))
    return found


def _price_changes(connection: sa.Connection, tenant: Tenant) -> list[datetime]:
    """Instants (UTC) at which something that prices this tenant's tokens was recorded or superseded."""
    moments: set[datetime] = set()
    for table in (tables.list_prices, tables.contract_rates, tables.commitments):
        of_tenant = table.c.tenant_id == tenant.tenant_id if "tenant_id" in table.c else sa.true()
        for column in (table.c.recorded_at, table.c.superseded_at):
            moments.update(
                connection.execute(sa.select(column).distinct().where(of_tenant, column.is_not(None))).scalars()
            )
    return sorted(moments)


def read_costs(lake: Lake, extraction: Extraction, days: Iterable[date]) -> list[CostLine]:
    """The extraction's cost lines of these days, from its raw pages."""
    chosen = set(days)
    pages = read_raw(lake, extraction.raw_uri or "", extraction.sha256)[1]
    return [line for line in read_cost(pages, extraction.window) if line.usage_date in chosen]


def read_usages(lake: Lake, extraction: Extraction, days: Iterable[date]) -> tuple[list[UsageLine], list[KeyUsageLine]]:
    """The extraction's usage lines and usage by key of these days, from its raw pages."""
    chosen = set(days)
    found = read_usage(read_raw(lake, extraction.raw_uri or "", extraction.sha256)[1], extraction.window)
    return (
        [line for line in found.lines() if line.usage_date in chosen],
        [line for line in found.by_key() if line.usage_date in chosen],
    )


def coverage_of(
    extraction: Extraction, days: Iterable[date], rows: dict[date, int], settle: timedelta
) -> list[Covered]:
    """What the extraction covers, with the number of rows by day."""
    moment = extraction.extracted_at
    return [
        Covered(
            extraction.tenant_id, extraction.report, day, extraction.extraction_id, moment, data_through(day, moment),
            is_old_enough_to_settle(day, moment, settle), day_state(day, moment), rows.get(day, 0),
        )
        for day in days
    ]  # fmt: skip


def count_by_day(lines: Iterable[CostLine | UsageLine]) -> dict[date, int]:
    counts: dict[date, int] = defaultdict(int)
    for line in lines:
        counts[line.usage_date] += 1
    return counts


def later(extraction: Extraction, before: Mapping[date, Covered]) -> Later:
    """What makes a change a restatement: the day was over, and its figures had arrived, at the extraction before."""
    past = {
        day: row.extraction_id
        for day, row in before.items()
        if row.state == State.COMPLETE and (row.rows or row.old_enough_to_settle)
    }
    return Later(extraction.extraction_id, extraction.recorded_at or extraction.extracted_at, past)


def read_cost_lines(connection: sa.Connection, tenant: Tenant, window: Window) -> list[CostLine]:
    rows = read_days(connection, tables.cost_lines, CostLine._fields, tenant.tenant_id, window.start, window.end)
    return [CostLine(*row) for row in rows]


def read_usage_lines(connection: sa.Connection, tenant: Tenant, window: Window) -> list[UsageLine]:
    rows = read_days(connection, tables.usage_lines, UsageLine._fields, tenant.tenant_id, window.start, window.end)
    return [UsageLine(*row) for row in rows]


def read_key_usage_lines(connection: sa.Connection, tenant: Tenant, window: Window) -> list[KeyUsageLine]:
    columns = KeyUsageLine._fields
    rows = read_days(connection, tables.usage_by_key, columns, tenant.tenant_id, window.start, window.end)
    return [KeyUsageLine(*row) for row in rows]

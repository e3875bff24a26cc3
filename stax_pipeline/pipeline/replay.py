"""Rebuild a tenant's days from the raw pages that were kept: no network, and the same content but for times.

Extractions become current in the order and for the days in which they did when they came (`publications`); what was
refused then, or not yet judged, stays out. A tenant's days change in one transaction, from what they held to what they
hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import pairwise
from typing import Protocol

import pyarrow as pa
import sqlalchemy as sa

from stax_pipeline.derive.engine import Engine
from stax_pipeline.derive.normalise import on_days
from stax_pipeline.derive.restatement import Restatement, RestatementKind
from stax_pipeline.domain.extraction import DataSource, Window
from stax_pipeline.domain.tenant import Tenant
from stax_pipeline.pipeline.arrivals import COST, USAGE, Kind, from_extraction, read_arrival
from stax_pipeline.pipeline.arrived import Arrived
from stax_pipeline.pipeline.build_batch import Books
from stax_pipeline.pipeline.history import Archive, dollar_restatements, later
from stax_pipeline.pipeline.isolation import Outcome, Progress, Tally, reason
from stax_pipeline.pipeline.late_days import mark_not_reported
from stax_pipeline.pipeline.publish_batch import covering_of, share_of
from stax_pipeline.pipeline.publish_comparison import publish_comparison
from stax_pipeline.pipeline.publish_organization import replay_organization
from stax_pipeline.pipeline.publish_spend import publish_spend
from stax_pipeline.pipeline.rules_engine import rules_engine
from stax_pipeline.warehouse.engine import plain_faults
from stax_pipeline.warehouse.extractions import Covered, Extraction, ended_early, get_extractions
from stax_pipeline.warehouse.publication_log import Publication, builds_of, published
from stax_pipeline.warehouse.publish import cover, lock_tenant, replace_tenant_days
from stax_pipeline.warehouse.restatements import drop_round_trips, replace_restatements

CHUNK = 31  # days replayed at a time, so that a long history stays small in memory


class StageProgress(Protocol):
    """Gives the progress of a named step, counted in `unit`."""

    def __call__(self, stage: str, unit: str = "tenant-days") -> Progress: ...


@dataclass(slots=True)
class _Replayed:
    """One report of a tenant's days while its extractions are gone through: its tables, and what is current."""

    tables: list[pa.Table]
    current: dict[date, Covered] = field(default_factory=dict)
    restated: list[Restatement] = field(default_factory=list)


def replay(
    books: Books, reads: DataSource, tenants: Sequence[Tenant], window: Window, progress_of: StageProgress
) -> Iterator[Outcome]:
    """Rebuild every table over the window, step by step; `reads` as in `publish_comparison`."""
    yield replay_lines(books, tenants, window, progress_of("replaying reports"))
    yield replay_organization(books.engine, books.lake, tenants, progress_of("replaying names", "tenants"))
    yield publish_spend(books, tenants, window, progress_of("building spend"), anew=True)[0]
    yield publish_comparison(
        books.engine, books.lake, reads, tenants, window, progress_of("comparing sources", "tenants")
    )


def replay_lines(books: Books, tenants: Sequence[Tenant], window: Window, progress: Progress) -> Outcome:
    """Rebuild cost lines, usage lines and usage by key, with their coverage and restatements."""
    outcome = Outcome(tenants=len(tenants))
    tally = Tally(progress, len(tenants), len(window.days))
    with rules_engine(books.lake) as rules:
        for tenant in tenants:
            counted = 0
            try:
                for part in parts(window):
                    with plain_faults(f"tenant {tenant.slug}: replaying"), books.engine.begin() as connection:
                        lock_tenant(connection, tenant.tenant_id)
                        for kind in (USAGE, COST):
                            outcome.rows += _replay(connection, books, rules, tenant, part, kind)
                        _replay_dollars(connection, books, rules, tenant, part)
                    counted += len(part.days)
                    tally.step(len(part.days))
            except Exception as fault:
                outcome.failures[tenant.slug] = reason(fault, "replaying")
            tally.tenant_ended(counted, failed=tenant.slug in outcome.failures, worked=True)
    return outcome


def parts(window: Window) -> Iterator[Window]:
    """The window in pieces that are replayed one at a time."""
    start = window.start
    while start < window.end:
        end = min(start + timedelta(days=CHUNK), window.end)
        yield Window(start, end)
        start = end


def _replay(
    connection: sa.Connection, books: Books, rules: Engine, tenant: Tenant, part: Window, kind: Kind
) -> int:  # fmt: skip
    found = _Replayed([from_extraction(schema.empty_table(), None) for schema in kind.schemas])
    publications = published(connection, tenant.tenant_id, kind.report, part)
    extractions = get_extractions(connection, [publication.extraction_id for publication in publications])
    for publication in publications:
        _go_through(found, extractions[publication.extraction_id], publication, books, rules, tenant, kind)
    covering = sorted(found.current.values(), key=lambda row: row.usage_date)
    cover(connection, tenant.tenant_id, kind.report, part.days, covering)
    early = ended_early(connection, [tenant.tenant_id], kind.report, part).get(tenant.tenant_id, ())
    mark_not_reported(connection, tenant.tenant_id, kind.report, part, early)
    replace_restatements(connection, tenant.tenant_id, part.days, kind.restatements, found.restated)
    slots = [(tenant.tenant_id, day) for day in part.days]
    contents = dict(zip(kind.tables, found.tables, strict=True))
    return sum(replace_tenant_days(connection, contents, slots).values())


def _replay_dollars(connection: sa.Connection, books: Books, rules: Engine, tenant: Tenant, part: Window) -> None:
    """What changed usage and changed prices restated, once more."""
    changes = [pair for known in builds_of(connection, tenant.tenant_id, part).values() for pair in pairwise(known)]
    found = dollar_restatements(Archive(connection, books.lake, books.settle, rules), tenant, part, changes)
    for restated in (RestatementKind.USAGE_DOLLARS, RestatementKind.PRICE):
        of_kind = [row for row in found if row.kind == restated]
        replace_restatements(connection, tenant.tenant_id, part.days, restated, of_kind)
    drop_round_trips(connection, tenant.tenant_id, part.days)


def _go_through(
    found: _Replayed, extraction: Extraction, publication: Publication, books: Books, rules: Engine, tenant: Tenant,
    kind: Kind,
) -> None:  # fmt: skip
    """Let the extraction become current for its days, as it did when it was published."""
    arrival = read_arrival(books.lake, Arrived(), kind, tenant, extraction, publication.days)
    with rules.session() as session:
        facts = kind.facts(session, arrival.tables)
    before = {day: found.current[day] for day in publication.days if day in found.current}
    share = share_of(arrival, publication.days, before, facts)
    since = later(extraction, publication.published_at, before)
    if since.before and share.changed:
        own, held = str(tenant.tenant_id), found.tables[0].select(kind.schemas[0].names)
        changed = kind.restated(rules, on_days(held, share.changed), share.changed_rows[0], {own: since})
        found.restated += changed.get(own, [])
    for place, days in zip(range(len(kind.tables)), (share.changed, share.changed_keys), strict=False):
        rest = on_days(found.tables[place], set(found.current) - set(days))
        new = from_extraction(share.changed_rows[place], extraction.extraction_id)
        found.tables[place] = pa.concat_tables([rest, new])
    found.current.update((row.usage_date, row) for row in covering_of(share, books.settle))

"""Publish extractions in the order they were recorded: cost lines, usage lines, usage by key, coverage, restatements.

Tenants are published in batches. Of a tenant's day whose rows are those that are held already, only the coverage moves.
Extractions that cannot be published (they do not parse, changed their unit, or shrink a settled day) keep their raw
pages and get the reason; the tenant's last good rows stay.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from itertools import zip_longest
from uuid import UUID

import sqlalchemy as sa

from stax_pipeline.derive.engine import Engine
from stax_pipeline.domain.errors import TenantStopped
from stax_pipeline.domain.extraction import Window
from stax_pipeline.domain.tenant import Tenant
from stax_pipeline.lake.raw import refuse_raw
from stax_pipeline.pipeline.arrivals import COST, USAGE, Arrival, Kind, read_arrival
from stax_pipeline.pipeline.batches import in_batches, one_by_one, work_through
from stax_pipeline.pipeline.isolation import Outcome, Progress, Tally, no_progress, reason
from stax_pipeline.pipeline.late_days import mark_not_reported
from stax_pipeline.pipeline.publish_batch import Guard, Share, Stores, publish_batch
from stax_pipeline.pipeline.publish_guards import cost_faults, usage_faults
from stax_pipeline.pipeline.rules_engine import rules_engine
from stax_pipeline.warehouse.arrow_copy import Slot
from stax_pipeline.warehouse.engine import plain_faults
from stax_pipeline.warehouse.extractions import Extraction, ended_early, set_error, unpublished


def publish_cost(
    stores: Stores, tenants: Sequence[Tenant], window: Window, progress: Progress = no_progress
) -> Outcome:
    """Cost lines of what was not published yet, after the unit guard, the grouping guard and the shrink guard."""
    return _Publisher(stores, COST, cost_faults, window, Outcome(tenants=len(tenants))).publish(tenants, progress)


def publish_usage(
    stores: Stores, tenants: Sequence[Tenant], window: Window, progress: Progress = no_progress
) -> Outcome:
    """Usage lines and usage by key of what was not published yet, in one transaction."""
    return _Publisher(stores, USAGE, usage_faults, window, Outcome(tenants=len(tenants))).publish(tenants, progress)


@dataclass(frozen=True, slots=True)
class _Publisher:
    stores: Stores
    kind: Kind
    guard: Guard
    window: Window
    outcome: Outcome
    refused: dict[Tenant, list[tuple[Extraction, str]]] = field(default_factory=lambda: defaultdict(list))

    def publish(self, tenants: Sequence[Tenant], progress: Progress) -> Outcome:
        by_id = {tenant.tenant_id: tenant for tenant in tenants}
        with plain_faults("looking for extractions"), self.stores.engine.begin() as connection:
            unsorted = unpublished(connection, by_id, self.kind.report, self.window)
        found = dict(sorted(unsorted.items()))  # by id: a batch's rows are in few Parquet files
        tally = Tally(progress, len(tenants), len(self.window.days))
        for _ in by_id.keys() - found.keys():
            tally.tenant_without_work()
        counted: Counter[UUID] = Counter()
        with rules_engine(self.stores.lake) as rules:
            for turn in zip_longest(*found.values()):  # a tenant's extractions one after the other
                due = [(by_id[e.tenant_id], e, days) for e, days in filter(None, turn)]
                for share in self._turn(rules, due):
                    counted[share.tenant.tenant_id] += len(share.days)
                    tally.step(len(share.days))
        self._record_refusals()
        self._note_late_days(by_id)
        for tenant_id in found:
            failed = by_id[tenant_id].slug in self.outcome.failures
            tally.tenant_ended(counted[tenant_id], failed=failed, worked=True)
        return self.outcome

    def _turn(self, rules: Engine, due: Iterable[tuple[Tenant, Extraction, list[date]]]) -> Iterator[Share]:
        """Publish one extraction of each tenant; what was published, batch by batch."""
        work = partial(publish_batch, self.stores, rules, self.kind, self.guard)
        batches = in_batches(self._arrivals(due))
        for _, result in work_through(self.stores.engine, self.kind.doing, batches, work, self._refuse):
            self.outcome.rows += result.rows
            for arrival, fault in result.refused:
                self._refuse(arrival, fault)
            for share in result.shares:
                self._note_missing_cost(share, result.without_cost)
                yield share

    def _arrivals(self, due: Iterable[tuple[Tenant, Extraction, list[date]]]) -> Iterator[Arrival]:
        for tenant, extraction, days in due:
            try:
                yield read_arrival(self.stores.lake, self.stores.arrived, self.kind, tenant, extraction, days)
            except Exception as fault:
                self._refuse(Arrival(tenant, extraction, days, [], ()), fault)

    def _note_late_days(self, tenants: Mapping[UUID, Tenant]) -> None:
        report = self.kind.report
        with plain_faults("looking for late days"), self.stores.engine.begin() as connection:
            early = ended_early(connection, tenants, report, self.window)
        doing = "noting late days"

        def note(connection: sa.Connection, tenant: Tenant) -> bool:
            mark_not_reported(connection, tenant.tenant_id, report, self.window, early[tenant.tenant_id])
            return True

        def refuse(tenant: Tenant, fault: Exception) -> None:
            self.outcome.failures[tenant.slug] = reason(fault, doing)

        for _ in one_by_one(self.stores.engine, doing, [tenants[one] for one in early], note, refuse):
            pass

    def _note_missing_cost(self, share: Share, without_cost: Collection[Slot]) -> None:
        slug, days = share.tenant.slug, [day for day in share.days if (share.tenant.tenant_id, day) in without_cost]
        if days:
            more = f" and {len(days) - 3} more days" if len(days) > 3 else ""
            named = ", ".join(map(str, days[:3])) + more
            words = f"cost missing for {named}: not settled, the tokens are estimated until it comes"
            self.outcome.find(slug, words)

    def _refuse(self, arrival: Arrival, fault: Exception) -> None:
        """Name the reason. An extraction whose content is at fault no longer counts; a failing disk or database, or a
        damaged object that can be restored, is not its fault: the next sync publishes it.
        """
        slug = arrival.tenant.slug
        self.outcome.failures[slug] = why = reason(fault, f"publishing {arrival.extraction.report}")
        if isinstance(fault, TenantStopped):
            self.refused[arrival.tenant].append((arrival.extraction, why))

    def _record_refusals(self) -> None:
        """Note what was refused and why, beside the extraction and in the lake."""
        doing, failures = "recording a fault", self.outcome.failures

        def note(connection: sa.Connection, tenant: Tenant) -> list[tuple[Extraction, str]]:
            found = self.refused[tenant]
            return [(e, why) for e, why in found if set_error(connection, e.extraction_id, why)]

        def refuse(tenant: Tenant, fault: Exception) -> None:
            failures[tenant.slug] += f" (not recorded: {reason(fault, doing)})"

        for tenant, noted in one_by_one(self.stores.engine, doing, list(self.refused), note, refuse):
            for extraction, why in noted:
                try:
                    if extraction.raw_uri:
                        refuse_raw(self.stores.lake, extraction.raw_uri, why)
                except OSError as broken:
                    failures[tenant.slug] = f"{why} (the lake could not note it: {broken.strerror})"

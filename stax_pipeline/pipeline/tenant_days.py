"""What is current of tenants' days, and which of them spend has to be built for."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa

from stax_pipeline.derive.day_facts import RULES_VERSION
from stax_pipeline.derive.terms import Terms
from stax_pipeline.domain.extraction import Report, Window, midnight
from stax_pipeline.domain.time import State, is_old_enough_to_settle
from stax_pipeline.warehouse.arrow_copy import Slot
from stax_pipeline.warehouse.extractions import Covered, current
from stax_pipeline.warehouse.publication_log import Build


class TenantDay(NamedTuple):
    """What is current of both reports of one tenant's day; None where a report was not read."""

    cost: Covered | None
    usage: Covered | None

    def settled(self, settle: timedelta) -> bool:
        """Whether a missing cost may be read as zero: the day is old enough, and has a charge where it needs one."""
        cost = self.cost
        if cost is None or cost.state == State.NOT_REPORTED:
            return False
        is_charged = cost.metered or not (self.usage and self.usage.metered)
        return is_charged and is_old_enough_to_settle(cost.usage_date, cost.extracted_at, settle)

    @property
    def minutes(self) -> int | None:
        """How many minutes of the day's usage are known; 1440 for a whole day."""
        if self.usage is None:
            return None
        return max(0, (self.usage.data_through - midnight(self.usage.usage_date)) // timedelta(minutes=1))

    @property
    def digests(self) -> tuple[str, str, str]:
        """Of cost lines, usage lines and usage by key."""
        cost, usage = self.cost, self.usage
        return cost.digest if cost else "", usage.digest if usage else "", usage.key_digest if usage else ""

    @property
    def rows(self) -> int:
        """About how many rows spend is built from."""
        return (self.cost.rows if self.cost else 0) + 2 * (self.usage.rows if self.usage else 0)

    @property
    def runs_on(self) -> bool:
        """Whether more of the day's usage may come, so that its minutes count."""
        return self.usage is not None and self.usage.state != State.COMPLETE


def tenant_days(connection: sa.Connection, tenant_ids: Collection[UUID], window: Window) -> dict[Slot, TenantDay]:
    """Every tenant-day of the window of which a report was read."""
    cost, usage = (current(connection, tenant_ids, report, window) for report in (Report.COST, Report.USAGE))
    return {
        slot: TenantDay(
            cost[slot].covered if slot in cost else None, usage[slot].covered if slot in usage else None
        )
        for slot in cost.keys() | usage.keys()
    }  # fmt: skip


def is_built(slot: Slot, held: TenantDay, last: Build, terms: Terms, settle: timedelta) -> bool:
    """Whether spend of the day follows from the same rows, prices, terms and rules as when it was built last.

    A day under a commitment whose usage is not complete is built each time: its fee grows with the minutes.
    """
    day = slot[1]
    if held.runs_on and any(day in commitment for commitment in terms.commitments):
        return False
    version = terms.version_of(day, frozenset(json.loads(last.uses)))
    return last.made_of == (version, *held.digests, held.settled(settle), RULES_VERSION)


def to_build(
    held: Mapping[Slot, TenantDay], last: Mapping[Slot, Build], terms: Mapping[UUID, Terms], settle: timedelta
) -> list[Slot]:
    """The tenant-days to build, in order: those never built, built from something else, or no longer covered."""
    return sorted(
        slot
        for slot in held.keys() | last.keys()
        if slot not in held or slot not in last or not is_built(slot, held[slot], last[slot], terms[slot[0]], settle)
    )

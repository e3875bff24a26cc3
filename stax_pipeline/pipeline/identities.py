"""What a run asks of the source no oftener than it changes: whose a key is, and the lists of names."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import date, timedelta
from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa

from stax_pipeline.anthropic import OrganizationSession, WhoAmI
from stax_pipeline.domain.errors import ContractBroken
from stax_pipeline.domain.extraction import Report
from stax_pipeline.domain.tenant import Tenant


class _Told(NamedTuple):
    """What the source said of a key of this generation, and when by the monotonic clock."""

    generation: int
    me: WhoAmI
    at: float


class Identities:
    """The organization of each tenant's key, asked for once: one object for the reports of one run.

    `monotonic` (seconds) moves the server's clock on from the moment at which it was told.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._told: dict[UUID, _Told] = {}

    async def of(self, session: OrganizationSession, tenant: Tenant, generation: int) -> WhoAmI:
        """Whose the session's key is, and the server's clock. Raises ContractBroken where it is not the tenant's."""
        told = self._told.get(tenant.tenant_id)
        if told is None or told.generation != generation:
            me = await session.whoami()
            _require_same_organization(tenant, me)
            told = self._told[tenant.tenant_id] = _Told(generation, me, self._monotonic())
        return self._now(told)

    def today(self, tenant: Tenant) -> date | None:
        """The UTC day by the server's clock, None where this run has not heard of it yet."""
        told = self._told.get(tenant.tenant_id)
        return self._now(told).server_date.date() if told else None

    def _now(self, told: _Told) -> WhoAmI:
        passed = timedelta(seconds=self._monotonic() - told.at)
        return replace(told.me, server_date=told.me.server_date + passed)


def _require_same_organization(tenant: Tenant, me: WhoAmI) -> None:
    if me.organization_id != tenant.organization_id:
        raise ContractBroken(
            f"the stored key belongs to another organisation ({me.name!r}) than the tenant's; "
            f"`stax rotate-key {tenant.slug}` with a key of the right one"
        )


def days_of_names(connection: sa.Connection, tenants: Iterable[Tenant]) -> dict[UUID, date]:
    """The UTC day of each tenant's last lists of names; none for a tenant whose last were not whole."""
    last = sa.text(
        "select tenant_id, window_start from unnest(cast(:tenants as uuid[])) as asked (tenant_id)"
        " cross join lateral (select window_start, error from stax.extractions"
        " where extractions.tenant_id = asked.tenant_id and report = :report"
        " order by extracted_at desc, recorded_at desc limit 1) as last where error is null"
    )
    values = {"tenants": [tenant.tenant_id for tenant in tenants], "report": Report.ORGANIZATION}
    return {row.tenant_id: row.window_start for row in connection.execute(last, values)}

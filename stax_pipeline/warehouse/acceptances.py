"""Accepted findings as the warehouse keeps them: dated, corrections supersede."""

from __future__ import annotations

from collections import defaultdict
from datetime import date
from uuid import UUID

import sqlalchemy as sa

from stax_pipeline.domain.acceptance import Acceptance
from stax_pipeline.warehouse.publish import lock_tenant
from stax_pipeline.warehouse.tables import accepted_findings, tenants
from stax_pipeline.warehouse.versioned_rows import Recorded, compare, in_force, supersede

_KEY = Acceptance._fields[:2]  # check_name, effective_from
_COLUMNS = [accepted_findings.c[name] for name in Acceptance._fields]


def read_acceptances(connection: sa.Connection) -> dict[str, list[Acceptance]]:
    """What is accepted now, by the tenant's slug, by check and first day."""
    query = (
        sa.select(tenants.c.slug, *_COLUMNS)
        .join(tenants, tenants.c.tenant_id == accepted_findings.c.tenant_id)
        .where(in_force(accepted_findings, None))
        .order_by(tenants.c.slug, *_COLUMNS[:2])
    )
    found: dict[str, list[Acceptance]] = defaultdict(list)
    for slug, *row in connection.execute(query):
        found[slug].append(Acceptance(*row))
    return dict(found)


def record_acceptance(connection: sa.Connection, tenant_id: UUID, acceptance: Acceptance) -> Recorded[Acceptance]:
    """Record in the caller's transaction; one of the same check and first day is superseded."""
    lock_tenant(connection, tenant_id)
    recorded = compare(_in_force(connection, tenant_id), [acceptance], lambda row: row[:2])
    supersede(connection, accepted_findings, _KEY, recorded, {"tenant_id": tenant_id})
    return recorded


def withdraw_acceptance(
    connection: sa.Connection, tenant_id: UUID, check_name: str, effective_from: date
) -> Acceptance | None:
    """Close it in the caller's transaction; None when there is no such one in force."""
    lock_tenant(connection, tenant_id)
    key = check_name, effective_from
    found = next((one for one in _in_force(connection, tenant_id) if one[:2] == key), None)
    if found:
        supersede(connection, accepted_findings, _KEY, Recorded([], [], []), {"tenant_id": tenant_id}, [found])
    return found


def _in_force(connection: sa.Connection, tenant_id: UUID) -> list[Acceptance]:
    query = sa.select(*_COLUMNS).where(accepted_findings.c.tenant_id == tenant_id, in_force(accepted_findings, None))
    return [Acceptance(*row) for row in connection.execute(query)]

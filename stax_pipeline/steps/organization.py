"""Publish names: the newest snapshot of workspaces, API keys and members; what vanished from it is kept."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, insert

from stax_pipeline.domain.extraction import Report, Window
from stax_pipeline.domain.organization import ApiKey, Member, Workspace, read_organization
from stax_pipeline.resources.lake.raw import read_raw
from stax_pipeline.resources.lake.store import Lake
from stax_pipeline.resources.warehouse import tables
from stax_pipeline.resources.warehouse.engine import plain_faults
from stax_pipeline.resources.warehouse.extractions import newest
from stax_pipeline.resources.warehouse.publish import lock_tenant
from stax_pipeline.resources.warehouse.tenants import Tenant
from stax_pipeline.steps.isolation import Outcome, Progress, no_progress, reason

EVER = Window(date.min, date.max)


def publish_organization(
    engine: sa.Engine, lake: Lake, tenants: Sequence[Tenant], progress: Progress = no_progress
) -> Outcome:
    """Upsert each tenant's newest snapshot; an older one never replaces a newer."""
    outcome = Outcome(tenants=len(tenants))
    for done, tenant in enumerate(tenants, start=1):
        try:
            outcome.rows += _publish_one(engine, lake, tenant)
        except Exception as fault:
            outcome.failures[tenant.slug] = reason(fault, "publishing organization")
        progress(done, len(tenants))
    return outcome


def _publish_one(engine: sa.Engine, lake: Lake, tenant: Tenant) -> int:
    with plain_faults(f"tenant {tenant.slug}: publishing names"), engine.begin() as connection:
        lock_tenant(connection, tenant.tenant_id)
        found = newest(connection, tenant.tenant_id, Report.ORGANIZATION, EVER)
        if not found:
            return 0
        snapshot = read_organization(read_raw(lake, found[0].raw_uri or "", found[0].sha256)[1])
        seen = found[0].extracted_at
        return (
            _upsert(connection, tables.workspaces, tenant.tenant_id, snapshot.workspaces, Workspace, seen)
            + _upsert(connection, tables.api_keys, tenant.tenant_id, snapshot.api_keys, ApiKey, seen)
            + _upsert(connection, tables.members, tenant.tenant_id, snapshot.members, Member, seen)
        )


def _upsert(
    connection: sa.Connection, table: sa.Table, tenant_id: UUID, rows: Sequence[Any], kind: Any, seen: datetime
) -> int:
    if not rows:
        return 0
    values = [{**row._asdict(), "tenant_id": tenant_id, "last_seen_at": seen} for row in rows]
    for value in values:
        value["extras"] = sa.cast(value["extras"], JSONB)
    statement = insert(table).values(values)
    changed = {name: statement.excluded[name] for name in (*kind._fields[1:], "last_seen_at")}
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[c.name for c in table.primary_key.columns], set_=changed,
            where=table.c.last_seen_at <= statement.excluded.last_seen_at,
        )
    )  # fmt: skip
    return len(rows)

"""Publish names: the newest snapshots of workspaces, API keys and members; what vanished from it is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from stax_pipeline.resources.warehouse.extractions import in_order
from stax_pipeline.resources.warehouse.publish import lock_tenant
from stax_pipeline.resources.warehouse.tenants import Tenant
from stax_pipeline.steps.isolation import Outcome, Progress, no_progress, reason

EVER = Window(date.min, date.max)
NAMES = (tables.workspaces, tables.api_keys, tables.members)


def publish_organization(
    engine: sa.Engine, lake: Lake, tenants: Sequence[Tenant], progress: Progress = no_progress
) -> Outcome:
    """Upsert each tenant's snapshots that are not older than what is held; an older one never replaces a newer."""
    return _for_each(
        engine, tenants, progress, "publishing names", lambda connection, tenant: _publish(connection, tenant, lake)
    )


def replay_organization(
    engine: sa.Engine, lake: Lake, tenants: Sequence[Tenant], progress: Progress = no_progress
) -> Outcome:
    """Rebuild each tenant's names from all its snapshots."""

    def rebuild(connection: sa.Connection, tenant: Tenant) -> int:
        for table in NAMES:
            connection.execute(table.delete().where(table.c.tenant_id == tenant.tenant_id))
        return _publish(connection, tenant, lake)

    return _for_each(engine, tenants, progress, "replaying names", rebuild)


def _for_each(
    engine: sa.Engine, tenants: Sequence[Tenant], progress: Progress, doing: str,
    work: Callable[[sa.Connection, Tenant], int],
) -> Outcome:  # fmt: skip
    outcome = Outcome(tenants=len(tenants))
    for done, tenant in enumerate(tenants, start=1):
        try:
            with plain_faults(f"tenant {tenant.slug}: {doing}"), engine.begin() as connection:
                lock_tenant(connection, tenant.tenant_id)
                outcome.rows += work(connection, tenant)
        except Exception as fault:
            outcome.failures[tenant.slug] = reason(fault, doing)
        progress(done, len(tenants))
    return outcome


def _publish(connection: sa.Connection, tenant: Tenant, lake: Lake) -> int:
    held = [seen for table in NAMES if (seen := connection.execute(_last_seen(table, tenant)).scalar())]
    rows = 0
    for extraction in in_order(connection, tenant.tenant_id, Report.ORGANIZATION, EVER):
        seen = extraction.extracted_at
        if held and seen < max(held):
            continue
        snapshot = read_organization(read_raw(lake, extraction.raw_uri or "", extraction.sha256)[1])
        rows = (
            _upsert(connection, tables.workspaces, tenant.tenant_id, snapshot.workspaces, Workspace, seen)
            + _upsert(connection, tables.api_keys, tenant.tenant_id, snapshot.api_keys, ApiKey, seen)
            + _upsert(connection, tables.members, tenant.tenant_id, snapshot.members, Member, seen)
        )
    return rows


def _last_seen(table: sa.Table, tenant: Tenant) -> sa.Select[tuple[datetime | None]]:
    return sa.select(sa.func.max(table.c.last_seen_at)).where(table.c.tenant_id == tenant.tenant_id)


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

"""Publish names: the newest snapshots of workspaces, API keys and members; what vanished from it is kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from stax_pipeline.anthropic.organization import ApiKey, Member, Workspace, read_organization
from stax_pipeline.domain.errors import TenantStopped
from stax_pipeline.domain.tenant import Tenant
from stax_pipeline.lake.raw import read_raw
from stax_pipeline.lake.store import Lake
from stax_pipeline.pipeline.batches import in_batches, work_through
from stax_pipeline.pipeline.isolation import Outcome, Progress, Tally, no_progress, reason
from stax_pipeline.warehouse import tables
from stax_pipeline.warehouse.extractions import set_error, snapshots_due

BATCH_ROWS_OF_A_TENANT = 1000  # what a tenant's names are taken for before they are read
Name = Workspace | ApiKey | Member
NAMES: dict[sa.Table, tuple[str, ...]] = {
    tables.workspaces: Workspace._fields, tables.api_keys: ApiKey._fields, tables.members: Member._fields,
}  # fmt: skip
"""The columns of each table that a snapshot fills, its id first."""


class _Share(NamedTuple):
    tenant: Tenant
    rows: int = BATCH_ROWS_OF_A_TENANT


@dataclass(slots=True)
class Published:
    """Rows of a tenant's snapshots, and why others were refused."""

    rows: int = 0
    refused: list[str] = field(default_factory=list)


def publish_organization(
    engine: sa.Engine, lake: Lake, tenants: Sequence[Tenant], progress: Progress = no_progress
) -> Outcome:
    """Upsert each tenant's snapshots that are not older than what is held; an older one never replaces a newer."""
    return _for_each(
        engine, tenants, progress, "publishing names", lambda connection, some: _publish(connection, some, lake)
    )


def replay_organization(
    engine: sa.Engine, lake: Lake, tenants: Sequence[Tenant], progress: Progress = no_progress
) -> Outcome:
    """Rebuild each tenant's names from all its snapshots."""

    def rebuild(connection: sa.Connection, some: Sequence[UUID]) -> dict[UUID, Published]:
        for table in NAMES:
            connection.execute(table.delete().where(table.c.tenant_id == sa.func.any(some)))
        return _publish(connection, some, lake)

    return _for_each(engine, tenants, progress, "replaying names", rebuild)


def _for_each(
    engine: sa.Engine, tenants: Sequence[Tenant], progress: Progress, doing: str,
    work: Callable[[sa.Connection, Sequence[UUID]], dict[UUID, Published]],
) -> Outcome:  # fmt: skip
    outcome = Outcome(tenants=len(tenants))
    tally = Tally(progress, len(tenants), 1)

    def refuse(share: _Share, fault: Exception) -> None:
        outcome.failures[share.tenant.slug] = reason(fault, doing)
        tally.tenant_failed(0)

    def publish(connection: sa.Connection, shares: list[_Share]) -> dict[UUID, Published]:
        return work(connection, [share.tenant.tenant_id for share in shares])

    batches = in_batches(_Share(tenant) for tenant in tenants)
    for shares, found in work_through(engine, doing, batches, publish, refuse):
        for tenant, _ in shares:
            published = found[tenant.tenant_id]
            outcome.rows += published.rows
            if published.refused:
                outcome.failures[tenant.slug] = published.refused[-1]
            tally.tenant_ended(0, failed=bool(published.refused), worked=published.rows > 0)
    return outcome


def _publish(connection: sa.Connection, tenant_ids: Sequence[UUID], lake: Lake) -> dict[UUID, Published]:
    """Snapshots as they were recorded; one that cannot be read is refused with its reason, and the next one counts."""
    found = {tenant_id: Published() for tenant_id in tenant_ids}
    newest: dict[UUID, datetime] = {}
    rows: dict[sa.Table, dict[tuple[UUID, str], dict[str, Any]]] = {table: {} for table in NAMES}
    for extraction in snapshots_due(connection, tenant_ids):
        tenant_id, seen = extraction.tenant_id, extraction.extracted_at
        if seen < newest.get(tenant_id, seen):
            continue
        try:
            snapshot: Sequence[Sequence[Name]] = read_organization(
                read_raw(lake, extraction.raw_uri or "", extraction.sha256)[1]
            )
        except TenantStopped as fault:
            set_error(connection, extraction.extraction_id, str(fault))
            found[tenant_id].refused.append(str(fault))
            continue
        newest[tenant_id] = seen
        for table, names in zip(NAMES, snapshot, strict=True):
            rows[table] |= {(tenant_id, name[0]): _row(tenant_id, name, seen) for name in names}
            found[tenant_id].rows += len(names)
    for table, named in rows.items():
        _upsert(connection, table, list(named.values()))
    return found


def _row(tenant_id: UUID, name: Name, seen: datetime) -> dict[str, Any]:
    extras = json.loads(name.extras)
    return {**name._asdict(), "extras": extras, "tenant_id": tenant_id, "last_seen_at": seen}


def _upsert(connection: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    statement = insert(table)
    changed = {name: statement.excluded[name] for name in (*NAMES[table][1:], "last_seen_at")}
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[c.name for c in table.primary_key.columns], set_=changed,
            where=table.c.last_seen_at <= statement.excluded.last_seen_at,
        ),
        rows,
    )  # fmt: skip

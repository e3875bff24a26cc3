"""Publish names: the newest snapshots of workspaces, API keys and members; what vanished from it is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from typing import Any, NamedTuple
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, insert

from stax_pipeline.anthropic.organization import ApiKey, Member, Workspace, read_organization
from stax_pipeline.domain.errors import TenantStopped
from stax_pipeline.domain.extraction import Report, Window
from stax_pipeline.domain.tenant import Tenant
from stax_pipeline.lake.raw import read_raw
from stax_pipeline.lake.store import Lake
from stax_pipeline.pipeline.batches import one_by_one
from stax_pipeline.pipeline.isolation import Outcome, Progress, Tally, no_progress, reason
from stax_pipeline.warehouse import tables
from stax_pipeline.warehouse.extractions import in_order, set_error

EVER = Window(date.min, date.max)
BEFORE_ALL = datetime.min.replace(tzinfo=UTC)
NAMES = (tables.workspaces, tables.api_keys, tables.members)


class Published(NamedTuple):
    """Rows of the last snapshot, and why others were refused."""

    rows: int
    refused: list[str]


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

    def rebuild(connection: sa.Connection, tenant: Tenant) -> Published:
        for table in NAMES:
            connection.execute(table.delete().where(table.c.tenant_id == tenant.tenant_id))
        return _publish(connection, tenant, lake)

    return _for_each(engine, tenants, progress, "replaying names", rebuild)


def _for_each(
    engine: sa.Engine, tenants: Sequence[Tenant], progress: Progress, doing: str,
    work: Callable[[sa.Connection, Tenant], Published],
) -> Outcome:  # fmt: skip
    outcome = Outcome(tenants=len(tenants))
    tally = Tally(progress, len(tenants), 1)

    def refuse(tenant: Tenant, fault: Exception) -> None:
        outcome.failures[tenant.slug] = reason(fault, doing)
        tally.tenant_failed(0)

    for tenant, found in one_by_one(engine, doing, tenants, work, refuse):
        outcome.rows += found.rows
        if found.refused:
            outcome.failures[tenant.slug] = found.refused[-1]
        tally.tenant_ended(0, failed=bool(found.refused), worked=found.rows > 0)
    return outcome


def _publish(connection: sa.Connection, tenant: Tenant, lake: Lake) -> Published:
    """Snapshots as they were recorded; one that cannot be read is refused with its reason, and the next one counts."""
    newest = max((seen for table in NAMES if (seen := _last_seen(connection, table, tenant))), default=BEFORE_ALL)
    rows, refused = 0, []
    for extraction in in_order(connection, tenant.tenant_id, Report.ORGANIZATION, EVER):
        seen = extraction.extracted_at
        if seen < newest:
            continue
        try:
            snapshot = read_organization(read_raw(lake, extraction.raw_uri or "", extraction.sha256)[1])
        except TenantStopped as fault:
            set_error(connection, extraction.extraction_id, str(fault))
            refused.append(str(fault))
            continue
        newest = seen
        rows = (
            _upsert(connection, tables.workspaces, tenant.tenant_id, snapshot.workspaces, Workspace, seen)
            + _upsert(connection, tables.api_keys, tenant.tenant_id, snapshot.api_keys, ApiKey, seen)
            + _upsert(connection, tables.members, tenant.tenant_id, snapshot.members, Member, seen)
        )
    return Published(rows, refused)


def _last_seen(connection: sa.Connection, table: sa.Table, tenant: Tenant) -> datetime | None:
    query = sa.select(sa.func.max(table.c.last_seen_at)).where(table.c.tenant_id == tenant.tenant_id)
    return connection.execute(query).scalar()


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

"""Alerts and the state of their channels, as the warehouse keeps them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from stax_pipeline.alerts.causes import Kind
from stax_pipeline.alerts.life_cycle import Alert
from stax_pipeline.warehouse.tables import alert_channels, alerts, tenants

_LOCK = "stax alerts"
_LISTS = ("notified_by", "resolution_notified_by")


class Failing(NamedTuple):
    """A channel whose last attempt failed."""

    channel: str
    failures: int
    failing_since: datetime
    retry_at: datetime
    reason: str


def take_turn(connection: sa.Connection) -> bool:
    """Whether nobody else judges or tells alerts at this moment; held until the transaction ends."""
    query = sa.text("select pg_try_advisory_xact_lock(hashtextextended(:name, 0))")
    return bool(connection.execute(query, {"name": _LOCK}).scalar_one())


def read_alerts(connection: sa.Connection) -> list[Alert]:
    """The alerts that are not closed, oldest first."""
    columns = [tenants.c.slug if name == "slug" else alerts.c[name] for name in Alert._fields]
    query = (
        sa.select(*columns)
        .join(tenants, tenants.c.tenant_id == alerts.c.tenant_id)
        .where(alerts.c.closed_at.is_(None))
        .order_by(alerts.c.opened_at, tenants.c.slug, alerts.c.kind, alerts.c.subject)
    )
    return [_alert(row._mapping) for row in connection.execute(query)]


def _alert(row: Mapping[Any, Any]) -> Alert:
    lists = {name: frozenset(str(row[name]).split()) for name in _LISTS}
    return Alert(**{**row, **lists, "kind": Kind(row["kind"])})


def write_alerts(connection: sa.Connection, changed: Iterable[Alert]) -> None:
    """Store alerts as they are now, each under its tenant, kind, subject and opening."""
    rows = []
    for alert in changed:
        row = alert._asdict()
        del row["slug"]
        rows.append({**row, **{name: " ".join(sorted(row[name])) for name in _LISTS}})
    if not rows:
        return
    statement = insert(alerts)
    keys = [column.name for column in alerts.primary_key]
    fresh = {name: statement.excluded[name] for name in rows[0] if name not in keys}
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=fresh), rows)


def read_failing(connection: sa.Connection) -> dict[str, Failing]:
    """Channels that failed last, by name."""
    query = sa.select(*(alert_channels.c[name] for name in Failing._fields))
    return {row.channel: Failing(*row) for row in connection.execute(query)}


def note_failure(connection: sa.Connection, failing: Failing) -> None:
    statement = insert(alert_channels)
    fresh = {name: statement.excluded[name] for name in Failing._fields if name != "channel"}
    connection.execute(statement.on_conflict_do_update(index_elements=["channel"], set_=fresh), failing._asdict())


def note_success(connection: sa.Connection, channel: str) -> None:
    connection.execute(alert_channels.delete().where(alert_channels.c.channel == channel))

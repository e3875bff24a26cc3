"""Who changed a tenant's connection, and when. What the app does is noted by `app_functions`, in the same table."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa

from stax_pipeline.warehouse.tables import connection_audit

COMMAND_LINE = "command line"


class Change(NamedTuple):
    """One change; `what` is connected, rotated or disconnected, `key_hint` '' where no key is in use after it."""

    at: datetime
    what: str
    who: str
    key_hint: str


def note(loader: sa.Connection, tenant_id: UUID, what: str, key_hint: str = "") -> None:
    """Note what was done at the command line, in the transaction that does it."""
    loader.execute(
        connection_audit.insert().values(
            tenant_id=tenant_id, at=sa.func.clock_timestamp(), what=what, who=COMMAND_LINE, key_hint=key_hint
        )
    )


def changes(connection: sa.Connection, tenant_id: UUID) -> list[Change]:
    """Every change of a tenant's connection, the newest first."""
    columns = [connection_audit.c[name] for name in Change._fields]
    query = sa.select(*columns).where(connection_audit.c.tenant_id == tenant_id).order_by(connection_audit.c.at.desc())
    return [Change(*row) for row in connection.execute(query)]

"""What a tenant's day comes to, in a few facts: enough to tell whether anything follows from reading it again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import NamedTuple

import pyarrow as pa

from stax_pipeline.derive.engine import Session

RULES_VERSION = "1"
"""Raise it with every rule whose results differ: each tenant-day is then built anew."""


class DayFacts(NamedTuple):
    """Of one report of a tenant's day: how many rows, whether they are metered, and a digest of them.

    `metered` says of cost whether the day has a line other than credits, of usage whether it has standard or batch
    tokens. Digests are '' without rows and equal for equal rows in any order.
    """

    rows: int = 0
    metered: bool = False
    digest: str = ""
    key_digest: str = ""


Facts = Mapping[tuple[str, date], DayFacts]


def cost_facts(session: Session, cost_lines: pa.Table) -> Facts:
    """Facts by tenant and day of COST_LINES."""
    session.give("cost_lines", cost_lines)
    session.run("cost_days")
    rows = session.rows("select tenant_id, usage_date, rows, metered, digest from cost_days")
    return {(tenant, day): DayFacts(*facts) for tenant, day, *facts in rows}


def usage_facts(session: Session, usage_lines: pa.Table, usage_by_key: pa.Table) -> Facts:
    """Facts by tenant and day of USAGE_LINES and USAGE_BY_KEY."""
    session.give("usage_lines", usage_lines)
    session.give("usage_by_key", usage_by_key)
    session.run("usage_days")
    rows = session.rows(
        "select tenant_id, usage_date, coalesce(u.rows, 0), coalesce(u.metered, false), coalesce(u.digest, ''),"
        " coalesce(k.digest, '') from usage_days u full join key_days k using (tenant_id, usage_date)"
    )
    return {(tenant, day): DayFacts(*facts) for tenant, day, *facts in rows}

"""Deleted rows out of the tables' files, as far as Postgres lets one say so: a delete only marks them.

What stays out: WAL, backups, and sorted copies of values in the planner's statistics until a table has rows again.
"""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from stax_pipeline.warehouse.engine import plain_faults
from stax_pipeline.warehouse.tables import admin_keys

LOCK_TIMEOUT = "10s"
GROWS_FOR_YEARS = (
    "autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.02, "
    "autovacuum_analyze_scale_factor = 0.01"
)
"""Storage parameters of tables by usage date. A run writes a small share of what years hold: left to itself, Postgres
would wait until a fifth of the rows is dead, and a tenth is new, before the planner knows of the newest days.
"""


def vacuum(owner: sa.Engine, tables: Iterable[sa.Table]) -> None:
    """Write `admin_keys` anew without its dead rows, and free those of the other tables for reuse.

    The owner may, on every version of Postgres. Rows that an older snapshot still sees stay until the next vacuum.
    Raises WarehouseFault when a session holds `admin_keys` for longer than 10 seconds.
    """
    with plain_faults("vacuuming"), owner.connect() as opened:
        connection = opened.execution_options(isolation_level="AUTOCOMMIT")
        connection.exec_driver_sql(f"set lock_timeout = '{LOCK_TIMEOUT}'")
        for table in tables:
            way = "full, analyze" if table is admin_keys else "analyze"
            connection.exec_driver_sql(f"vacuum ({way}) {table.fullname}")

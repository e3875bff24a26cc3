"""Whether Dagster's history and the logs name what belonged to one tenant: its workspaces, keys and figures.

Its slug in runs' tags and configuration is the one thing that stays. Stays out: what a purge removes (`disconnect`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa

from stax_pipeline.warehouse.engine import connect_engine, plain_faults
from stax_pipeline.warehouse.tenants import Tenant

MOST = 100  # marks of one kind: each is looked for in every event
_MARKS = """
(select w.workspace_id from stax.workspaces w where w.tenant_id = :id and length(w.workspace_id) > 8 limit :most)
union (select k.api_key_id from stax.api_keys k where k.tenant_id = :id and length(k.api_key_id) > 8 limit :most)
union (select distinct model from stax.spend s where s.tenant_id = :id and length(model) > 8
       and not exists (select 1 from stax.spend o where o.model = s.model and o.tenant_id <> :id)
       and not exists (select 1 from stax.list_prices p where p.model = s.model) limit :most)
union (select distinct trim_scale(cost_usd)::text from stax.spend
       where tenant_id = :id and length(trim_scale(abs(cost_usd))::text) > 8 limit :most)
"""
_COLUMNS = """
select c.relname, a.attname from pg_class c join pg_namespace n on n.oid = c.relnamespace
join pg_attribute a on a.attrelid = c.oid
where n.nspname = 'dagster' and c.relkind = 'r' and a.attnum > 0
  and a.atttypid in ('text'::regtype, 'varchar'::regtype)
"""


_FOUND = """
select count(*) from dagster."{table}" where exists (select 1 from unnest(:marks) m where position(m in "{column}") > 0)
"""


def marks_of(engine: sa.Engine, tenant: Tenant) -> list[str]:
    """Texts that name this tenant's data and nobody else's: ids, models that are in no price list, long amounts."""
    with plain_faults(f"tenant {tenant.slug}: looking for what names it"), engine.connect() as connection:
        found = connection.execute(sa.text(_MARKS), {"id": tenant.tenant_id, "most": MOST}).scalars()
        return sorted(set(found))


def in_history(dagster_url: str, marks: list[str]) -> dict[str, int]:
    """Rows of Dagster's storage that hold a mark, by table."""
    engine = connect_engine(dagster_url)
    try:
        with plain_faults("looking through Dagster's history"), engine.connect() as connection:
            counts: Counter[str] = Counter()
            for table, column in connection.execute(sa.text(_COLUMNS)).all():
                query = _FOUND.format(table=table, column=column)
                counts[f"Dagster's {table}"] += connection.execute(sa.text(query), {"marks": marks}).scalar_one()
    finally:
        engine.dispose()
    return {place: count for place, count in counts.items() if count}


def in_files(home: Path, marks: list[str]) -> dict[str, int]:
    """Marks in Dagster's logs and in stax.log, by file."""
    found = {str(file): sum(mark.encode() in file.read_bytes() for mark in marks) for file in _logs(home)}
    return {place: count for place, count in found.items() if count}


def _logs(home: Path) -> Iterator[Path]:
    yield from (file for file in (home / "dagster").rglob("*") if file.is_file())
    yield from (file for file in [home / "stax.log"] if file.is_file())

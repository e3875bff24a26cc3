"""End a tenancy: its key is destroyed first, and on request everything that was fetched for it.

Belongs here: the order (key, raw pages, rows, Parquet, and only then the tenant itself, so that a killed purge can be
run again) and the proof that nothing is left. Stays out: asking whether one is sure (`cli`), Dagster's own history,
which holds no amounts of single tenants.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from io import BytesIO
from uuid import UUID

import sqlalchemy as sa

from stax_pipeline.domain.extraction import Report, Window
from stax_pipeline.domain.plurals import count_of
from stax_pipeline.domain.say import Say, say_nothing
from stax_pipeline.domain.tenant import DISCONNECTED, Tenant
from stax_pipeline.lake.store import Lake, ObjectMissing
from stax_pipeline.warehouse import tables
from stax_pipeline.warehouse.connection_audit import note
from stax_pipeline.warehouse.engine import plain_faults
from stax_pipeline.warehouse.parquet_due import mark_due
from stax_pipeline.warehouse.publish import lock_tenant
from stax_pipeline.warehouse.tenants import destroy_keys, get_tenant, set_status
from stax_pipeline.warehouse.vacuum import vacuum

_NEEDED_TO_RESUME = frozenset({"tenants", "coverage", "extractions", "admin_keys"})


@dataclass(slots=True)
class Purged:
    """What was removed, and what a look afterwards still found (nothing, or the purge failed)."""

    slug: str
    raw_objects: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    parquet_days: int = 0
    left: dict[str, int] = field(default_factory=dict)


def disconnect(engine: sa.Engine, slug: str) -> int:
    """Destroy the tenant's stored key and stop its syncs; its data stays. Returns how many keys were destroyed."""
    with plain_faults(f"tenant {slug}: disconnecting"), engine.begin() as connection:
        tenant = get_tenant(connection, slug)
        lock_tenant(connection, tenant.tenant_id)
        destroyed = destroy_keys(connection, tenant.tenant_id)
        set_status(connection, tenant.tenant_id, DISCONNECTED)
        note(connection, tenant.tenant_id, "disconnected")
    return destroyed


def purge(engine: sa.Engine, lake: Lake, slug: str, say: Say = say_nothing) -> Purged:
    """Remove everything of a tenant and look whether anything is left. Killed half-way, run it again."""
    with plain_faults(f"tenant {slug}: looking it up"), engine.connect() as connection:
        tenant = get_tenant(connection, slug)
    done = Purged(slug)
    say(f"Destroyed {count_of(disconnect(engine, slug), 'stored key')}.")
    done.raw_objects = _delete_raw(lake, tenant)
    say(f"Removed {count_of(done.raw_objects, 'raw object')} from the lake.")
    days = _published_days(engine, tenant)
    done.rows = _delete_rows(engine, tenant, days, _NEEDED_TO_RESUME)
    done.raw_objects += _delete_raw(lake, tenant)
    done.parquet_days = _rebuild_parquet(engine, lake, days)
    _copy_names(engine, lake, tenant.tenant_id)
    done.left = _left_in_lake(lake, tenant.tenant_id, days)
    if done.left:  # the tenant stays, so that the purge can be run again
        return done
    done.rows = dict(Counter(done.rows) + Counter(_delete_rows(engine, tenant)))
    done.raw_objects += _delete_raw(lake, tenant)
    _copy_names(engine, lake, tenant.tenant_id)  # a run may have written them meanwhile
    rows, from_tables = sum(done.rows.values()), sum(map(bool, done.rows.values()))
    say(f"Removed {count_of(rows, 'row')} from {count_of(from_tables, 'table')}.")
    say(f"Rebuilt the Parquet files of {count_of(done.parquet_days, 'day')} without the tenant.")
    done.left = _left_in_tables(engine, tenant.tenant_id) | _left_raw(lake, tenant.tenant_id)
    return done


def sweep(owner: sa.Engine, *, everything: bool) -> None:
    """After the end of a tenancy: rows that are deleted leave the tables' files too, the sealed key's first."""
    vacuum(owner, [tables.admin_keys, *(t for t in _of_tenants() if everything and t is not tables.admin_keys)])


def _delete_raw(lake: Lake, tenant: Tenant) -> int:
    return sum(map(lake.delete_folder, _raw_folders(tenant.tenant_id)))


def _raw_folders(tenant_id: UUID) -> list[str]:
    return [f"raw/{report}/tenant={tenant_id}" for report in Report]


def _published_days(engine: sa.Engine, tenant: Tenant) -> Window | None:
    query = sa.select(sa.func.min(tables.coverage.c.usage_date), sa.func.max(tables.coverage.c.usage_date)).where(
        tables.coverage.c.tenant_id == tenant.tenant_id
    )
    with plain_faults(f"tenant {tenant.slug}: looking for its days"), engine.connect() as connection:
        first, last = connection.execute(query).one()
    return None if first is None else Window(first, last + timedelta(days=1))


def _of_tenants() -> Iterator[sa.Table]:
    """Every table that holds tenants' rows, those that refer to others first."""
    return (table for table in reversed(tables.metadata.sorted_tables) if "tenant_id" in table.c)


def _delete_rows(
    engine: sa.Engine, tenant: Tenant, days: Window | None = None, but: Collection[str] = ()
) -> dict[str, int]:
    """The tenant's rows in every table but those named; how many there were by table. Parquet of `days` becomes due."""
    counts: dict[str, int] = {}
    with plain_faults(f"tenant {tenant.slug}: removing rows"), engine.begin() as connection:
        lock_tenant(connection, tenant.tenant_id)
        for table in _of_tenants():
            if table.name not in but:
                removed = connection.execute(table.delete().where(table.c.tenant_id == tenant.tenant_id))
                counts[table.name] = removed.rowcount
        mark_due(connection, tables.DAILY, {(tenant.tenant_id, day) for day in (days.days if days else ())})
    return counts


def _rebuild_parquet(engine: sa.Engine, lake: Lake, days: Window | None) -> int:
    from stax_pipeline.lake.parquet import rebuild

    if days is None:
        return 0
    for table in tables.DAILY:
        rebuild(engine, lake, table, days)
    return len(days.days)


def _copy_names(engine: sa.Engine, lake: Lake, without: UUID) -> None:
    from stax_pipeline.lake.parquet_names import OF_TENANTS, copy_names

    copy_names(engine, lake, OF_TENANTS, without=without)


def _left_in_lake(lake: Lake, tenant_id: UUID, days: Window | None) -> dict[str, int]:
    """Raw objects and Parquet rows that still name the tenant, by place; a place with none is not listed."""
    from stax_pipeline.lake.parquet import files_of
    from stax_pipeline.lake.parquet_names import OF_TENANTS, path_of

    left = _left_raw(lake, tenant_id)
    files = [(table, files_of(lake, table, day)) for table in tables.DAILY for day in (days.days if days else ())]
    found: Counter[str] = Counter()
    for table, paths in [*files, *((table, {path_of(table)}) for table in OF_TENANTS)]:
        found[f"Parquet {table.name}"] += sum(_rows_in_file(lake, path, tenant_id) for path in paths)
    return left | {place: rows for place, rows in found.items() if rows}


def _left_raw(lake: Lake, tenant_id: UUID) -> dict[str, int]:
    return {folder: count for folder in _raw_folders(tenant_id) if (count := lake.count(folder))}


def _left_in_tables(engine: sa.Engine, tenant_id: UUID) -> dict[str, int]:
    left: dict[str, int] = {}
    with plain_faults("looking what is left"), engine.connect() as connection:
        for table in _of_tenants():
            query = sa.select(sa.func.count()).select_from(table).where(table.c.tenant_id == tenant_id)
            left[table.name] = connection.execute(query).scalar_one()
    return {place: count for place, count in left.items() if count}


def _rows_in_file(lake: Lake, path: str, tenant_id: UUID) -> int:
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(BytesIO(lake.get(path)), page_checksum_verification=True)
    except ObjectMissing:
        return 0
    tenants = file.read(columns=["tenant_id"]).column("tenant_id")
    return tenants.to_pylist().count(str(tenant_id))

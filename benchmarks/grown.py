"""A warehouse as it is after years: the month of one tenant, told again for many tenants and days.

Day by day, oldest first, as the runs of years would have written it. Each tenant's day was published and built three
times (open, over, settled), as daily runs do. Raw pages and Parquet files there are none.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import date, timedelta

import sqlalchemy as sa

from stax_pipeline.warehouse.tables import metadata

NEWEST = timedelta(days=62)
_NAMES = ("workspaces", "api_keys", "members")
_LOGS = ("publications", "spend_builds")
_AGAIN = "(values (interval '0'), (interval '1 hour'), (interval '3 days'))"
_ONCE = "(values (interval '0'))"


def more_tenants(admin: sa.Connection, tenants: int) -> None:
    """So many tenants in all, each with the names that the one there is has."""
    admin.exec_driver_sql("create table public.copies as select tenant_id, 1 as number from stax.tenants")
    admin.exec_driver_sql(
        f"insert into public.copies select gen_random_uuid(), n from generate_series(2, {tenants}) n"  # noqa: S608
    )
    admin.exec_driver_sql(
        "insert into stax.tenants (tenant_id, slug, name, organization_id, status, created_at) "
        "select c.tenant_id, concat(t.slug, '-', c.number), t.name, concat(t.organization_id, c.number), t.status, "
        "t.created_at from stax.tenants t, public.copies c where c.number > 1"
    )
    for name in _NAMES:
        _tell_again(admin, metadata.tables[f"stax.{name}"], "c.number > 1", {})
    admin.commit()


def older_days(admin: sa.Connection, told: Sequence[date], days: int, thin: Collection[str]) -> Iterator[date]:
    """Tell the days `told` again, for every tenant and so many days back from the last of them.

    Of the tables that are `thin`, the newest 62 days alone. Yields each day when it is committed.
    """
    last = told[-1]
    first = last - timedelta(days=days - 1)
    for number in range(days):
        day = first + timedelta(days=number)
        source = day if day in told else told[number % len(told)]
        values = {"source": source, "day": day, "later": (day - source).days}
        whose = "c.number > 1" if day in told else "true"
        for table in metadata.sorted_tables:
            if table.name == "extractions":
                current = "select extraction_id from stax.coverage where usage_date = :source"
                _tell_again(admin, table, f"{whose} and x.extraction_id in ({current})", values)
            elif {"usage_date", "tenant_id"} <= set(table.c.keys()) and not (
                table.name in thin and day <= last - NEWEST
            ):
                _tell_again(admin, table, f"{whose} and x.usage_date = :source", values)
        admin.commit()
        yield day


def _tell_again(admin: sa.Connection, table: sa.Table, where: str, values: dict[str, object]) -> None:
    names = [column.name for column in table.columns if not column.computed]
    times = _AGAIN if table.name in _LOGS else _ONCE
    admin.execute(
        sa.text(
            f"insert into {table} ({', '.join(names)}) select {', '.join(map(_value, names))} "  # noqa: S608
            f"from (select * from {table} where tenant_id = (select tenant_id from public.copies where number = 1)) x "
            f"cross join public.copies c cross join {times} again (after) where {where} on conflict do nothing"
        ),
        values,
    )


def _value(name: str) -> str:
    """SQL of a column of a row that is told again."""
    if name == "tenant_id":
        return "c.tenant_id"
    if name.endswith("extraction_id"):
        return f"md5(concat(c.tenant_id, x.{name}, :day))::uuid"
    if name in ("usage_date", "window_start"):
        return ":day"
    if name == "window_end":
        return ":day + 1"
    if name in ("published_at", "built_at"):
        return f"x.{name} + :later * interval '1 day' + after"
    if name in ("data_through", "extracted_at", "recorded_at", "priced_at"):
        return f"x.{name} + :later * interval '1 day'"
    return f"x.{name}"

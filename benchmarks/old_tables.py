"""What queries, a replaced day and the checks of a run cost when the tables are years old.

Usage: python -m benchmarks.old_tables [--days N] [--tenants N] [--thin] [--plans FILE]. Without words: 76 tenants over
372 days, about 13 million rows of spend, 20 GB. `--thin` fills the other large tables for the newest 62 days alone.
Each query is asked as the analyst, who reads all tenants, and as a login that was granted one; the median of five.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa

from benchmarks.cpu import Server, spending
from benchmarks.grown import more_tenants, older_days
from benchmarks.installed import connect, installed
from benchmarks.source import serving
from benchmarks.suite import run
from stax_pipeline.assets.looks import OF_VIEWS
from stax_pipeline.checks.changed import written_last
from stax_pipeline.checks.rules import RULES
from stax_pipeline.checks.runner import run_rule
from stax_pipeline.domain.extraction import Window
from stax_pipeline.domain.time import trailing_window
from stax_pipeline.installation.settings import Settings
from stax_pipeline.resources.dagster import loader_engine
from stax_pipeline.tenants.grant import grant
from stax_pipeline.warehouse import tables
from stax_pipeline.warehouse.arrow_copy import Slot, read_arrow
from stax_pipeline.warehouse.engine import connect_engine
from stax_pipeline.warehouse.granted_logins import granted_login
from stax_pipeline.warehouse.publish import replace_tenant_days
from stax_pipeline.warehouse.roles import logins

READER = "benchmark_reader"
SEED_DAYS = 31
THIN = ("cost_lines", "usage_lines", "usage_by_key", "spend_by_key")
DERIVED = (tables.spend, tables.spend_totals, tables.spend_day_totals, tables.spend_by_key, tables.reconciliation)


class Query(NamedTuple):
    """What is asked, and how many milliseconds it may take."""

    name: str
    most: int
    sql: str


QUERIES = (
    Query("overview of a month", 200,
          "select usage_date, sum(billed_usd), sum(priority_reconstructed_usd), sum(estimated_usd), sum(tokens) "
          "from stax.spend_summary where usage_date >= :month and usage_date < :next group by usage_date"),
    Query("a month by model", 200,
          "select model, cost_source, sum(cost_usd), sum(tokens) from stax.spend_daily "
          "where usage_date >= :month and usage_date < :next group by model, cost_source"),
    Query("a month of spend_monthly", 200,
          "select tenant, cost_source, sum(cost_usd) from stax.spend_monthly where month = :month group by 1, 2"),
    Query("one tenant's year by month", 300,
          "select month, cost_source, sum(cost_usd) from stax.spend_monthly where tenant = :slug and month >= :year "
          "group by 1, 2"),
    Query("one tenant's year by day", 300,
          "select usage_date, workspace, cost_source, sum(cost_usd) from stax.spend_daily "
          "where tenant = :slug and usage_date >= :year group by 1, 2, 3"),
    Query("FOCUS of one tenant's month", 1000,
          "select * from stax.focus_cost_and_usage "
          'where "x_Tenant" = :slug and "x_UsageDate" >= :month and "x_UsageDate" < :next'),
    Query("tier_mix of one tenant's month", 300,
          "select * from stax.tier_mix where tenant = :slug and usage_date >= :month and usage_date < :next"),
    Query("effective_prices of one tenant's month", 300,
          "select * from stax.effective_prices where tenant = :slug and usage_date >= :month and usage_date < :next"),
    Query("freshness", 50, "select * from stax.freshness"),
    Query("completeness of a month", 300,
          "select * from stax.completeness where usage_date >= :month and usage_date < :next"),
    Query("completeness, whole", 1000, "select * from stax.completeness"),
    Query("invoice_check, whole", 1000, "select * from stax.invoice_check"),
)  # fmt: skip


def fill(settings: Settings, tenants: int, days: int, thin: bool) -> None:
    """One tenant read by the product over a month, told again for the others and for older days."""
    with serving(2) as source:
        slug = list(source.keys)[0]
        connect(settings, source, [slug])
        window = trailing_window(SEED_DAYS, datetime.now(UTC))
        run(source, window)
    grant(settings, READER, [slug])
    engine = sa.create_engine(logins(settings).admin)
    with engine.connect() as admin:
        more_tenants(admin, tenants)
        for day in older_days(admin, window.days, days, THIN if thin else ()):
            if day.day == 1:
                print(f"  {day:%Y-%m} is there", flush=True)
        admin.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql("vacuum (analyze)")
    engine.dispose()


def ask(settings: Settings, server: Server, plans: Path | None) -> None:
    """Each query, as the analyst and as a login of one tenant."""
    last = datetime.now(UTC).date().replace(day=1) - timedelta(days=1)
    with loader_engine(settings).connect() as connection:
        slug = connection.execute(sa.text("select min(slug) from stax.tenants")).scalar_one()
    values = {"slug": slug, "month": last.replace(day=1), "next": last + timedelta(days=1),
              "year": last.replace(day=1) - timedelta(days=335)}  # fmt: skip
    for url in (logins(settings).analyst, granted_login(settings, READER)):
        engine = connect_engine(url)
        with engine.connect() as connection:
            role = connection.execute(sa.text("select current_user")).scalar_one()
            for query in QUERIES:
                statement = sa.text(query.sql)
                told(server, f"{query.name}, {role}", query.most, partial(_rows, connection, statement, values))
                if plans:
                    explained = connection.execute(sa.text(f"explain (analyze, buffers) {query.sql}"), values)
                    with plans.open("a") as out:
                        out.write(f"\n== {query.name}, {role}\n" + "\n".join(row[0] for row in explained) + "\n")
        engine.dispose()


def _rows(connection: sa.Connection, statement: sa.TextClause, values: Mapping[str, object]) -> object:
    return connection.execute(statement, values).fetchall()


def told(server: Server, name: str, most: int | None, work: Callable[[], object], times: int = 5) -> None:
    """Print the median time of `work`, once it ran unmeasured, what it may take, and its CPU time, server's and own."""
    found = []
    work()
    with spending(server) as spent:
        for _ in range(times):
            began = time.perf_counter()
            work()
            found.append(1000 * (time.perf_counter() - began))
    wall = statistics.median(found)
    verdict = "" if most is None else f"of {most}{'' if wall <= most else '  TOO SLOW'}"
    print(f"{wall:8.0f} ms {verdict:<17} CPU {1000 * spent.cpu / times:6.0f} ms  {name}", flush=True)


def replaced(settings: Settings, server: Server) -> None:
    """A tenant's day written anew with the rows that it has, in all tables that are derived."""
    with loader_engine(settings).connect() as connection:
        slot = connection.execute(
            sa.text("select tenant_id, usage_date from stax.spend_day_totals "
                    "where usage_date < current_date - 3 order by usage_date desc, tenant_id limit 1")
        ).one()  # fmt: skip
        whole = {
            table: read_arrow(connection, table, [c.name for c in table.columns if c.name not in _made_anew(table)],
                              [tuple(slot)])
            for table in DERIVED
        }  # fmt: skip
        connection.rollback()

        def work() -> None:
            replace_tenant_days(connection, whole, [tuple(slot)])
            connection.commit()

        told(server, "a tenant's day replaced", 30, work)


def _made_anew(table: sa.Table) -> set[str]:
    return {"loaded_at"} | ({"line"} if table.info.get("apart") else set())


def checked(settings: Settings, server: Server) -> None:
    """The checks of a daily run: every day of its eight, and the days that changed alone."""
    window = trailing_window(7, datetime.now(UTC))
    with loader_engine(settings).connect() as connection:
        ids = connection.execute(sa.text("select tenant_id from stax.tenants")).scalars().all()
        of_yesterday = {(tenant_id, window.days[-2]) for tenant_id in ids}
        told(
            server,
            "checks of a run, one day changed",
            3000,
            lambda: _run(connection, window, settings, of_yesterday),
            1,
        )
        told(
            server, "checks of a run, eight days", None, lambda: _run(connection, window, settings, None, shown=True), 1
        )


def _run(
    connection: sa.Connection, window: Window, settings: Settings, changed: Collection[Slot] | None,
    shown: bool = False,
) -> None:  # fmt: skip
    of_views = written_last(connection, window, OF_VIEWS)
    for rule in RULES:
        began = time.perf_counter()
        looked_at = of_views if rule.of_views else changed
        run_rule(connection, rule, window, datetime.now(UTC), settings, changed=looked_at)
        connection.rollback()
        if shown:
            print(f"{1000 * (time.perf_counter() - began):14.0f} ms {rule.name}")


@contextmanager
def sizes(settings: Settings, what: str) -> Iterator[None]:
    """Print rows and megabytes of the large tables after the block."""
    yield
    query = (
        "select relname, n_live_tup, n_dead_tup, pg_table_size(relid) >> 20, pg_indexes_size(relid) >> 20 "
        "from pg_stat_user_tables where schemaname = 'stax' order by pg_total_relation_size(relid) desc limit 12"
    )
    print(f"{what}: rows, dead rows, MB, MB of indexes")
    with loader_engine(settings).connect() as connection:
        connection.execute(sa.text("select pg_stat_force_next_flush(), pg_stat_clear_snapshot()"))
        for name, live, dead, table, indexes in connection.execute(sa.text(query)):
            print(f"  {name:20} {live:>11,} {dead:>10,} {table:>7,} {indexes:>6,}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.old_tables")
    parser.add_argument("--tenants", type=int, default=76)
    parser.add_argument("--days", type=int, default=372)
    parser.add_argument("--thin", action="store_true", help="other large tables have the newest 62 days alone")
    parser.add_argument("--plans", type=Path, metavar="FILE", help="the plan of each query, as it ran")
    options = parser.parse_args()
    with installed() as settings:
        with sizes(settings, "filled"):
            fill(settings, options.tenants, options.days, options.thin)
        server = Server(sa.create_engine(logins(settings).admin))
        ask(settings, server, options.plans)
        with sizes(settings, "after replacing"):
            replaced(settings, server)
        checked(settings, server)


if __name__ == "__main__":
    main()

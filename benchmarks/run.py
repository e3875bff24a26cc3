"""One run of the product in this process, as `stax sync` or `stax replay` makes it; its figures as a line of JSON.

Usage: python -m benchmarks.run FIRST LAST [--replay] [SLUG …]. The clock starts when everything is imported: what is
measured is the run, from its first event to its last.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import date, timedelta
from typing import Any

import sqlalchemy as sa

from benchmarks.cpu import Server, peak_mb, spending
from benchmarks.stages import Watch
from stax_pipeline.cli.commands.replay import replay
from stax_pipeline.cli.environment import one_of_dagsters_processes
from stax_pipeline.cli.main import collect_seldom
from stax_pipeline.cli.runs import run_sync
from stax_pipeline.domain.extraction import Window
from stax_pipeline.installation.settings import Settings, read_settings
from stax_pipeline.resources.dagster import loader_engine
from stax_pipeline.warehouse.roles import logins

FACTS = (
    "cost_lines",
    "usage_lines",
    "usage_by_key",
    "spend",
    "spend_totals",
    "spend_day_totals",
    "spend_by_key",
    "reconciliation",
)
_WRITTEN = (
    "select relname, n_tup_ins + n_tup_upd + n_tup_del from pg_stat_user_tables where schemaname = 'stax' "
    "and relname = any(:facts)"
)


def measure(window: Window, slugs: Sequence[str], *, replayed: bool) -> dict[str, Any]:
    """CPU seconds by stage, rows written by table, and the most memory of one run."""
    settings = read_settings()
    admin = sa.create_engine(logins(settings).admin)
    server = Server(admin)
    work = _replay(window) if replayed else _sync(settings, window, slugs)
    before = rows_written(admin)
    with spending(server) as spent, Watch(server.postmaster) as watch:
        work()
    loader_engine(settings).dispose()
    after = rows_written(admin)
    spent.client -= watch.own
    watch.client["rest"] += spent.client - sum(watch.client.values())
    watch.server["rest"] += spent.server - sum(watch.server.values())
    return {
        "client": spent.client, "server": spent.server, "wall": spent.wall, "watching": watch.own,
        "client_stages": watch.client, "server_stages": watch.server, "peak_mb": peak_mb(),
        "written": {table: after[table] - before[table] for table in FACTS},
    }  # fmt: skip


def rows_written(engine: sa.Engine) -> dict[str, int]:
    """Rows inserted, updated and deleted so far by fact table, once every session has told."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("select pg_stat_force_next_flush(), pg_sleep(1.1), pg_stat_clear_snapshot()"))
        return {name: int(count) for name, count in connection.execute(sa.text(_WRITTEN), {"facts": list(FACTS)})}


def _sync(settings: Settings, window: Window, slugs: Sequence[str]) -> Callable[[], None]:
    import dagster as dg

    from stax_pipeline.definitions import defs

    with one_of_dagsters_processes(settings):
        defs.resolve_job_def("sync")
        with dg.DagsterInstance.get() as instance:  # makes Dagster's tables, once
            instance.get_run_records(limit=1)

    def run() -> None:
        ran = run_sync(settings, window, slugs)
        assert ran.clean, (ran.failures, ran.broken, ran.reason)

    return run


def _replay(window: Window) -> Callable[[], None]:
    days = ["--from", str(window.start), "--to", str(window.days[-1])]
    return lambda: replay.main(days, standalone_mode=False)


@contextlib.contextmanager
def _words_apart() -> Iterator[None]:
    """What the product says goes to standard error: standard output is for the figures."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.run")
    parser.add_argument("first", type=date.fromisoformat)
    parser.add_argument("last", type=date.fromisoformat)
    parser.add_argument("slugs", nargs="*")
    parser.add_argument("--replay", action="store_true")
    options = parser.parse_args()
    collect_seldom()
    with _words_apart():
        window = Window(options.first, options.last + timedelta(days=1))
        figures = measure(window, options.slugs, replayed=options.replay)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

"""Run one case in this process and print its figures as one line of JSON.

The clock starts when everything is imported, connected and the simulator's caches are warm: what is measured is a run
of job `sync`, from its first event to its last.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import dagster as dg
import httpx
import sqlalchemy as sa

from benchmarks import stages
from benchmarks.cases import CASES, Case
from stax_pipeline.anthropic.queries import cost_query, usage_queries
from stax_pipeline.assets.partitions import range_tags
from stax_pipeline.definitions import defs
from stax_pipeline.domain.admin_key import parse_admin_key
from stax_pipeline.domain.extraction import Window
from stax_pipeline.domain.tenant import Tenant
from stax_pipeline.domain.time import trailing_window
from stax_pipeline.installation.homes import CHECKOUT
from stax_pipeline.installation.settings import read_settings
from stax_pipeline.keys.encryption import seal
from stax_pipeline.keys.tenant_keys import ensure_master_key
from stax_pipeline.lake.store import Lake
from stax_pipeline.pipeline.isolation import no_progress
from stax_pipeline.pipeline.publish_spend import Books
from stax_pipeline.pipeline.replay import replay
from stax_pipeline.resources.dagster import loader_engine
from stax_pipeline.warehouse.roles import logins
from stax_pipeline.warehouse.tables import metadata
from stax_pipeline.warehouse.tenants import StoredKey, add_tenant, all_tenants, store_key


@contextmanager
def simulator(names: list[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """A simulator in its own process: its address and a key per organisation."""
    options = [word for name in names for word in ("--org", name)]
    command = [sys.executable, "-m", "stax_pipeline.simulator", "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as served:
        assert served.stdout
        try:
            url = served.stdout.readline().split()[-1]
            keys = dict(served.stdout.readline().split()[:2] for _ in names)
            yield url, keys
        finally:
            served.terminate()


def connect(name: str, key: str, url: str) -> None:
    me = httpx.get(f"{url}/v1/organizations/me", headers={"x-api-key": key, "anthropic-version": "2023-06-01"})
    settings = read_settings()
    tenant = Tenant(uuid4(), name, name, me.json()["id"], "connected", datetime.now(UTC), "benchmark")
    secret = parse_admin_key(key)
    with loader_engine(settings).begin() as connection:
        masters = ensure_master_key(settings, connection)
        sealed = seal(secret, tenant_id=tenant.tenant_id, generation=1, masters=masters)
        add_tenant(connection, tenant)
        store_key(connection, StoredKey(tenant.tenant_id, 1, sealed, secret.hint, datetime.now(UTC)))


def warm(url: str, keys: dict[str, str], window: Window) -> None:
    """Let the simulator make its days, so that its own work is not measured."""
    headers = {"anthropic-version": "2023-06-01", "anthropic-beta": "fast-mode-2026-02-01"}
    closed = Window(window.start, datetime.now(UTC).date())
    with httpx.Client(base_url=url, headers=headers, timeout=300) as client:
        for key in keys.values():
            for query in (cost_query(closed), *usage_queries(window)):
                token: str | None = None
                while True:
                    params = [*query.params, *([("page", token)] if token else [])]
                    page = client.get(query.path, params=tuple(params), headers={"x-api-key": key}).json()
                    token = page["next_page"]
                    if not token:
                        break


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "linux" else 1 << 20)


def measure(name: str, case: Case) -> dict[str, object]:
    settings = read_settings()
    engine = loader_engine(settings)
    with engine.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())
    names = [f"tenant-{n:03d}" for n in range(case.tenants)] if case.tenants > 1 else ["acme"]
    window = trailing_window(case.days, datetime.now(UTC))
    with simulator(names) as (url, keys):
        os.environ["STAX_ANTHROPIC_BASE_URL"] = url
        for tenant, key in keys.items():
            connect(tenant, key, url)
        warm(url, keys, window)
        stages.watch_product()
        stages.watch_engine(engine)
        before, started = peak_mb(), time.perf_counter()
        with dg.DagsterInstance.get() as instance:
            config = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
            ran = defs.resolve_job_def("sync").execute_in_process(
                instance=instance, tags=range_tags(window), run_config=config
            )
        seconds = time.perf_counter() - started
    assert ran.success
    shares = {stage: spent / seconds for stage, spent in stages.seconds.items()}
    shares["dagster"] = 1 - sum(shares.values())
    peak = peak_mb()
    with engine.connect() as connection:
        rows = connection.execute(sa.text("select sum(rows) from stax.extractions where error is null")).scalar_one()
    return {
        "case": name, "seconds": seconds, "rows": int(rows), "rows_per_second": int(rows) / seconds,
        "peak_mb": peak, "grown_mb": peak - before, "shares": shares,
        **({"replay_seconds": replayed(engine, window)} if case.replayed else {}),
    }  # fmt: skip


def replayed(engine: sa.Engine, window: Window) -> float:
    """Seconds that it takes to rebuild the same days from the raw pages."""
    settings = read_settings()
    with engine.connect() as connection:
        tenants = all_tenants(connection)
    books = Books(engine, Lake(settings.lake), settings.settle)
    started = time.perf_counter()
    outcomes = list(replay(books, settings.source, tenants, window, lambda stage, unit="": no_progress))
    assert not any(outcome.failures for outcome in outcomes)
    return time.perf_counter() - started


def main() -> None:
    warnings.simplefilter("ignore")
    logging.getLogger("dagster").setLevel(logging.CRITICAL)
    settings = read_settings()
    folder = Path(settings.home) / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.update(
        DAGSTER_HOME=str(CHECKOUT), STAX_DAGSTER_DIR=str(folder), STAX_DAGSTER_URL=logins(settings).dagster,
        DAGSTER_EVENT_BATCH_SIZE="500",
    )  # fmt: skip
    name = sys.argv[1]
    print(json.dumps(measure(name, CASES[name])))


if __name__ == "__main__":
    main()

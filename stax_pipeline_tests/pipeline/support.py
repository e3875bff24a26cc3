"""The steps in the order of a run, without Dagster, and the oracle: what the warehouse holds, less ids and times."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import sqlalchemy as sa

from stax_pipeline.anthropic import Limits, admin_api
from stax_pipeline.domain.extraction import Report, Window
from stax_pipeline.domain.tenant import Tenant
from stax_pipeline.keys.tenant_keys import master_keys, open_key
from stax_pipeline.pipeline.build_batch import Books
from stax_pipeline.pipeline.extract import Source, extract
from stax_pipeline.pipeline.identities import Identities
from stax_pipeline.pipeline.isolation import Outcome
from stax_pipeline.pipeline.publish_batch import Stores
from stax_pipeline.pipeline.publish_comparison import publish_comparison
from stax_pipeline.pipeline.publish_organization import publish_organization
from stax_pipeline.pipeline.publish_reports import publish_cost, publish_usage
from stax_pipeline.pipeline.publish_spend import publish_spend
from stax_pipeline.pricing.prices import shipped_prices
from stax_pipeline.simulator import Organization, realistic_organization, truth
from stax_pipeline.simulator.faults import Fault
from stax_pipeline.warehouse.columns import metadata
from stax_pipeline.warehouse.prices import record_prices
from stax_pipeline.warehouse.tenants import tenants_to_sync
from stax_pipeline_tests.conftest import Installation, installed

TODAY = date(2026, 11, 22)
DAYS = Window(date(2026, 11, 19), date(2026, 11, 23))  # three complete days and the open one
FIRST, LAST = DAYS.start, TODAY - timedelta(days=1)
REPORTS = (Report.COST, Report.USAGE, Report.ORGANIZATION)
COST, USAGE = "/v1/organizations/cost_report", "/v1/organizations/usage_report/messages"
Row = dict[str, Any]
LEFT_OUT = {"tenant_id", "extraction_id", "cost_extraction_id", "usage_extraction_id", "run_id", "raw_uri"}
LIMITS = Limits()
ORGANIZATION_TABLES = ("workspaces", "api_keys", "members")


def small_organizations() -> tuple[Organization, Organization]:
    """`acme` and `globex` with every kind of use and few rows."""
    return (
        realistic_organization("acme", daily_tokens=300_000_000, shared_workspaces=1, priority_share=0.25),
        realistic_organization("globex", daily_tokens=100_000_000, shared_workspaces=1, priority_share=0.1),
    )


@contextmanager
def two_tenants(home: Path, *organizations: Organization, now: datetime | None = None) -> Iterator[Installation]:
    """An installation with `acme` and `globex` connected a month ago, nothing fetched yet."""
    made_of = organizations or small_organizations()
    with installed(home, made_of, now or datetime(2026, 11, 22, 12, tzinfo=UTC)) as made:
        for organization in made_of:
            made.add_tenant(organization.name)
        execute(made, "update stax.tenants set created_at = '2026-10-20T08:00Z'")
        yield made


@dataclass
class Ran:
    """What each step said, by its name."""

    steps: dict[str, Outcome] = field(default_factory=dict)

    @property
    def failures(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for step in self.steps.values():
            for slug, why in step.failures.items():
                found.setdefault(slug, []).append(why)
        return found

    @property
    def findings(self) -> list[str]:
        return [words for step in self.steps.values() for said in step.findings.values() for words in said]


def sync(
    made: Installation, window: Window = DAYS, *slugs: str, accept_shrink: bool = False,
    reports: Iterable[Report] = REPORTS,
) -> Ran:  # fmt: skip
    """Every step of a run over `window`, in the order of the graph; `reports` are those that are extracted, the newer
    source beside them for tenants that are read from both.
    """
    ran = Ran()
    with made.engine.begin() as connection:
        record_prices(connection, shipped_prices())
        tenants = tenants_to_sync(connection, slugs)
    run_id = f"run-{uuid4()}"
    identities = Identities()
    for report in (*reports, Report.ANALYTICS):
        ran.steps[report] = fetch(made, report, tenants, window, run_id, identities)
    settle = made.settings.settle
    stores, books = Stores(made.engine, made.lake, settle, accept_shrink), Books(made.engine, made.lake, settle)
    ran.steps["usage"] = publish_usage(stores, tenants, window)
    ran.steps["cost"] = publish_cost(stores, tenants, window)
    ran.steps["names"] = publish_organization(made.engine, made.lake, tenants)
    ran.steps["spend"] = publish_spend(books, tenants, window)[0]
    ran.steps["comparison"] = publish_comparison(made.engine, made.lake, made.settings.source, tenants, window)
    return ran


async def at_once(_: float) -> None:
    """Waits of the client take no time."""


def fetch(
    made: Installation, report: Report, tenants: list[Tenant], window: Window = DAYS, run_id: str = "run-1",
    identities: Identities | None = None,
) -> Outcome:  # fmt: skip
    """One report for these tenants; retries do not wait."""
    masters = master_keys(made.settings)

    def opened(tenant: Tenant) -> Any:
        with made.engine.connect() as connection:
            return open_key(connection, tenant, masters)

    async def work() -> Outcome:
        async with admin_api(made.settings.anthropic_base_url, concurrency=4, limits=LIMITS, sleep=at_once) as api:
            source = Source(
                api, made.engine, made.lake, opened, run_id, reads=made.settings.source,
                identities=identities or Identities(),
            )  # fmt: skip
            return await extract(source, report, tenants, window, 4)

    return asyncio.run(work())


def content(made: Installation, *slugs: str) -> dict[str, list[str]]:
    """Every row of every table as text, without ids made at random, times and run ids; of `slugs`, or of all."""
    apart = {"tenants", "admin_keys", "extractions", "publications", "spend_builds", "parquet_due"}
    found: dict[str, list[str]] = {}
    for table in metadata.sorted_tables:
        if table.name in apart:
            continue
        named = [
            c.name
            for c in table.columns
            if c.name not in LEFT_OUT and not (isinstance(c.type, sa.DateTime) and c.name.endswith(("_at", "through")))
        ]
        slug, of, joined = "", "", ""
        if "tenant_id" in table.c:
            slug, joined = "tenants.slug, ", " join stax.tenants using (tenant_id)"
            of = f" where tenants.slug in ({', '.join(repr(s) for s in slugs)})" if slugs else ""
        columns = slug + ", ".join(f"x.{name}" for name in named)
        rows = query(made, f"select {columns} from stax.{table.name} x{joined}{of}")
        found[table.name] = sorted(repr(tuple(row)) for row in rows)
    return found


def on(day: date, edit: Callable[[list[Row]], list[Row]]) -> Fault:
    """The rows of one day replaced by what `edit` makes of them."""

    def change(page: Row, _: str) -> None:
        for bucket in page["data"]:
            if bucket["starting_at"].startswith(day.isoformat()):
                bucket["results"] = edit(bucket["results"])

    return Fault(change=change)


def times(factor: str) -> Callable[[list[Row]], list[Row]]:
    """Dollars or tokens multiplied."""

    def edit(rows: list[Row]) -> list[Row]:
        for row in rows:
            if "amount" in row:
                row["amount"] = str(Decimal(row["amount"]) * Decimal(factor))
            for name in ("uncached_input_tokens", "cache_read_input_tokens", "output_tokens"):
                if name in row:
                    row[name] = int(row[name] * Decimal(factor))
            if "cache_creation" in row:
                row["cache_creation"] = {k: int(v * Decimal(factor)) for k, v in row["cache_creation"].items()}
        return rows

    return edit


def change(made: Installation, path: str, fault: Fault) -> None:
    made.simulator.faults.add(fault, key=made.simulator.keys["acme"], path=path, times=None)


def query(made: Installation, text: str, **values: object) -> list[Any]:
    with made.engine.connect() as connection:
        return list(connection.execute(sa.text(text), values))


def execute(made: Installation, text: str, **values: object) -> None:
    with made.engine.begin() as connection:
        connection.execute(sa.text(text), values)


def errors(made: Installation, slug: str) -> list[str]:
    """Reasons on the tenant's extractions, oldest first."""
    found = query(
        made,
        "select error from stax.extractions join stax.tenants using (tenant_id) "
        "where slug = :slug and error is not null order by recorded_at",
        slug=slug,
    )
    return [row.error for row in found]


def status(made: Installation, slug: str) -> str:
    return str(query(made, "select status from stax.tenants where slug = :slug", slug=slug)[0].status)


def usd_by_day(made: Installation, slug: str, source: str) -> dict[date, Decimal]:
    found = query(
        made,
        "select usage_date, sum(cost_usd) as usd from stax.spend join stax.tenants using (tenant_id) "
        "where slug = :slug and cost_source = :source group by 1",
        slug=slug,
        source=source,
    )
    return {row.usage_date: row.usd for row in found}


def true_usd(made: Installation, slug: str, days: list[date]) -> dict[date, Decimal]:
    return {day: truth(made.simulator.organizations[slug], day).reported_usd for day in days}

"""What happens to a tenant while its extraction runs: keys replaced, tenants gone, sources that drip."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from stax_pipeline.anthropic import admin_api
from stax_pipeline.definitions import defs
from stax_pipeline.domain.admin_key import parse_admin_key
from stax_pipeline.domain.extraction import Report
from stax_pipeline.domain.tenant import Tenant
from stax_pipeline.installation.homes import CHECKOUT
from stax_pipeline.keys.tenant_keys import OpenedKey, master_keys, open_key
from stax_pipeline.lake.parquet import rebuild
from stax_pipeline.pipeline.extract import Source, extract
from stax_pipeline.pipeline.isolation import Outcome
from stax_pipeline.simulator import faults
from stax_pipeline.simulator.faults import Fault
from stax_pipeline.tenants.rotate import rotate_key
from stax_pipeline.warehouse import tables
from stax_pipeline.warehouse.tenants import tenants_to_sync
from stax_pipeline_tests.conftest import Installation
from stax_pipeline_tests.pipeline.support import DAYS, errors, execute, query, status, sync, two_tenants, usd_by_day

COST = "cost_report"


@pytest.fixture
def made(stax_home: Path) -> Iterator[Installation]:
    with two_tenants(stax_home) as installation:
        yield installation


def fetch_while(made: Installation, meanwhile: str | Callable[[], object], seconds: float = 900.0) -> Outcome:
    """Fetch acme's cost report; `meanwhile` happens after its key was opened and before the first answer."""
    masters = master_keys(made.settings)

    def opened(tenant: Tenant) -> OpenedKey:
        with made.engine.connect() as connection:
            found = open_key(connection, tenant, masters)
        if isinstance(meanwhile, str):
            execute(made, meanwhile)
        else:
            meanwhile()
        return found

    async def work() -> Outcome:
        with made.engine.connect() as connection:
            acme = tenants_to_sync(connection, ["acme"])
        async with admin_api(made.settings.anthropic_base_url, concurrency=2) as api:
            source = Source(api, made.engine, made.lake, opened, "run-1", seconds)
            return await extract(source, Report.COST, acme, DAYS, 2)

    return asyncio.run(work())


class TestStatus:
    def test_a_rejection_of_a_key_that_was_replaced_meanwhile_does_not_stick(self, made: Installation) -> None:
        made.simulator.faults.add(faults.status(401), key=made.simulator.keys["acme"], path=COST, times=None)
        fetch_while(made, "update stax.admin_keys set generation = 2")
        assert status(made, "acme") == "connected"

    def test_a_disconnected_tenant_stays_disconnected_whatever_the_source_says(self, made: Installation) -> None:
        gone = "update stax.tenants set status = 'disconnected' where slug = 'acme'"
        made.simulator.faults.add(faults.status(401), key=made.simulator.keys["acme"], path=COST)
        fetch_while(made, gone)
        assert status(made, "acme") == "disconnected"
        execute(made, "update stax.tenants set status = 'key_rejected' where slug = 'acme'")
        fetch_while(made, gone + "; update stax.admin_keys set revoked_at = now()")
        assert status(made, "acme") == "disconnected"

    def test_a_key_that_is_good_again_connects_its_tenant(self, made: Installation) -> None:
        execute(made, "update stax.tenants set status = 'key_rejected' where slug = 'acme'")
        fetch_while(made, "select 1")
        assert status(made, "acme") == "connected"


def test_a_run_ends_with_the_key_it_holds_and_the_next_uses_the_one_that_replaced_it(made: Installation) -> None:
    old, new = made.simulator.keys["acme"], parse_admin_key(made.simulator.issue_key("acme"))
    ran = fetch_while(made, lambda: rotate_key(made.settings, made.engine, "acme", new))
    assert ran.failures == {}
    assert [r.key_hint for r in made.simulator.requests][-1] == old[-4:]
    of_acme = "from stax.admin_keys join stax.tenants using (tenant_id) where slug = 'acme' order by generation"
    held = query(made, f"select generation, ciphertext = '' as destroyed, revoked_at is null as in_use {of_acme}")
    assert [tuple(row) for row in held] == [(1, True, False), (2, False, True)]
    made.simulator.revoke(old)
    assert fetch_while(made, "select 1").failures == {}
    assert [r.key_hint for r in made.simulator.requests][-1] == new.hint
    assert status(made, "acme") == "connected"


def test_a_tenant_purged_meanwhile_leaves_no_raw_object(made: Installation) -> None:
    outcome = fetch_while(made, "delete from stax.admin_keys; delete from stax.tenants where slug = 'acme'")
    assert "acme" in outcome.failures
    assert made.lake.count("raw") == 0


def test_a_source_that_drips_ends_at_the_tenants_time(made: Installation) -> None:
    made.simulator.faults.add(faults.delay(3), key=made.simulator.keys["acme"], path=COST, times=None)
    outcome = fetch_while(made, "select 1", seconds=0.5)
    assert "took longer than" in outcome.failures["acme"]
    assert "took longer than" in errors(made, "acme")[0]


def test_dagster_ends_a_run_that_does_not_end_by_itself() -> None:
    watched = yaml.safe_load((CHECKOUT / "dagster.yaml").read_text())["run_monitoring"]
    assert watched["enabled"] is True
    assert watched["max_runtime_seconds"] <= 7200


def test_a_sum_that_fits_no_column_is_that_tenants_fault_alone(made: Installation) -> None:
    def two_huge_lines(page: Any, _token: str) -> None:
        row = {**page["data"][0]["results"][0], "cost_type": "code_execution", "token_type": None, "model": None}
        page["data"][0]["results"] += [{**row, "amount": "9" * 22}, {**row, "amount": "9" * 22}]

    made.simulator.faults.add(Fault(change=two_huge_lines), key=made.simulator.keys["acme"], path=COST)
    failures = sync(made).failures
    assert set(failures) == {"acme"}
    assert "refused" in " ".join(failures["acme"])
    assert sum(usd_by_day(made, "globex", "reported").values(), Decimal(0)) > 0
    assert query(made, "select 1 from stax.spend_by_key k join stax.tenants t using (tenant_id) where slug = 'globex'")
    assert rebuild(made.engine, made.lake, tables.spend, DAYS) > 0


def test_no_step_waits_for_a_slot_that_a_killed_run_may_hold() -> None:
    """Dagster frees the slots of a killed in-process run only by hand: four kills once stopped every later sync."""
    assert "pools" not in yaml.safe_load((CHECKOUT / "dagster.yaml").read_text())["concurrency"]
    assert all(asset.node_def.pools == set() for asset in defs.assets or () if hasattr(asset, "node_def"))

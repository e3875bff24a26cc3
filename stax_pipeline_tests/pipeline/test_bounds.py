"""How much of the others' time one tenant can cost, in pages and in seconds of a clock that is not real.

With N slots (`STAX_CONCURRENCY`) a tenant holds one. Who has another slot does not wait for it at all; who is behind it
in the same slot waits for at most `LONGEST_PAGE` seconds a page, `pages_at_most` pages a query, and `LONGEST_REPORT`
seconds a report, whatever the source does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import fields
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from stax_pipeline.anthropic import admin_api
from stax_pipeline.anthropic.transport import Limits
from stax_pipeline.domain.extraction import Report, Window
from stax_pipeline.domain.tenant import Tenant
from stax_pipeline.keys.tenant_keys import OpenedKey, master_keys, open_key
from stax_pipeline.pipeline.extract import Source, extract
from stax_pipeline.pipeline.isolation import Outcome, Progress, no_progress
from stax_pipeline.simulator import faults
from stax_pipeline.warehouse.tenants import tenants_to_sync
from stax_pipeline_tests.conftest import Installation
from stax_pipeline_tests.pipeline.support import (
    COST,
    DAYS,
    LAST,
    Row,
    content,
    errors,
    on,
    query,
    sync,
    two_tenants,
    usd_by_day,
)

LONGEST_PAGE = Limits().total_seconds
LONGEST_REPORT = next(field.default for field in fields(Source) if field.name == "tenant_seconds")
Sleep = Callable[[float], Awaitable[None]]


def pages_at_most(window: Window) -> int:
    """One a day, ten empty ones in a row, and the one that is one too many."""
    return len(window.days) + 11


@pytest.fixture(scope="module")
def oracle(stax_home: Path) -> dict[str, list[str]]:
    with two_tenants(stax_home) as made:
        sync(made)
        return content(made, "globex")


@pytest.fixture
def made(stax_home: Path, oracle: dict[str, list[str]]) -> Iterator[Installation]:
    with two_tenants(stax_home) as installation:
        yield installation


def fetch_all(made: Installation, slots: int, sleep: Sleep, progress: Progress = no_progress) -> dict[str, Outcome]:
    """Every report of acme, then globex, through so many slots; `sleep` is what a wait does."""
    masters = master_keys(made.settings)

    def opened(tenant: Tenant) -> OpenedKey:
        with made.engine.connect() as connection:
            return open_key(connection, tenant, masters)

    async def work() -> dict[str, Outcome]:
        with made.engine.connect() as connection:
            tenants = tenants_to_sync(connection, ["acme", "globex"])
        async with admin_api(made.settings.anthropic_base_url, concurrency=slots, sleep=sleep) as api:
            source = Source(api, made.engine, made.lake, opened, "run-1")
            return {r: await extract(source, r, tenants, DAYS, slots, progress) for r in Report}

    return asyncio.run(work())


def busy(made: Installation) -> None:
    """acme's cost report is answered with "ask again in 59 seconds", for ever."""
    made.simulator.faults.add(faults.status(429, 59), key=made.simulator.keys["acme"], path=COST, times=None)


def test_the_longest_a_report_takes_is_what_is_stated() -> None:
    assert (LONGEST_PAGE, LONGEST_REPORT) == (300, 900)


def test_who_shares_the_slot_waits_for_one_page_at_most(made: Installation, oracle: dict[str, list[str]]) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    busy(made)
    outcomes = fetch_all(made, 1, sleep)
    assert list(outcomes[Report.COST].failures) == ["acme"]
    assert 59 <= sum(slept) <= LONGEST_PAGE
    sync(made, reports=[])
    assert content(made, "globex") == oracle


def test_who_has_another_slot_does_not_wait(made: Installation, oracle: dict[str, list[str]]) -> None:
    """acme's first wait lasts until globex is done: were globex behind it, it would not be."""
    ended: list[str] = []

    async def until_globex_is_done(_: float) -> None:
        for _ in range(400):
            if held := query(made, IS_FETCHED):
                ended.append(held[0].slug)
                return
            await asyncio.sleep(0.01)

    busy(made)
    outcomes = fetch_all(made, 2, until_globex_is_done)
    assert ended[:1] == ["globex"]
    assert list(outcomes[Report.COST].failures) == ["acme"]
    sync(made, reports=[])
    assert content(made, "globex") == oracle


IS_FETCHED = """
select slug from stax.extractions join stax.tenants using (tenant_id)
where slug = 'globex' and report = 'cost_report' and error is null
"""


@pytest.mark.parametrize("asked", [None, 0.0, 3600.0])
def test_no_wait_is_longer_than_what_is_left(
    made: Installation, oracle: dict[str, list[str]], asked: float | None
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    made.simulator.faults.add(faults.status(429, asked), key=made.simulator.keys["acme"], times=None)
    outcomes = fetch_all(made, 1, sleep)
    assert not outcomes.pop(Report.ANALYTICS).failures  # nobody reads the newer source
    assert all(list(outcome.failures) == ["acme"] for outcome in outcomes.values())
    assert sum(slept) <= LONGEST_PAGE * len(Report)
    sync(made, reports=[])
    assert content(made, "globex") == oracle


def test_endless_new_and_valid_pages_end_at_the_cap(made: Installation, oracle: dict[str, list[str]]) -> None:
    """Each with a cursor never seen, and a day of its own as long as there are any."""
    key = made.simulator.keys["acme"]
    for number in range(1, 200):
        days = DAYS.days[number // 10 : number // 10 + 1] if number % 10 == 0 else []
        buckets = [
            {"starting_at": f"{day}T00:00:00Z", "ending_at": f"{day + timedelta(days=1)}T00:00:00Z", "results": []}
            for day in days
        ]
        page = {"data": buckets, "has_more": True, "next_page": f"page_{number}"}
        made.simulator.faults.add(faults.body(page), key=key, path=COST, nth=number)
    failures = sync(made).failures
    assert list(failures) == ["acme"]
    assert "pages" in errors(made, "acme")[0]
    asked = [r for r in made.simulator.requests if r.path == COST and r.key_hint == key[-4:]]
    assert 11 < len(asked) <= pages_at_most(DAYS)
    assert content(made, "globex") == oracle


def test_lines_a_thousandfold_are_read_and_the_others_rows_are_the_same(
    stax_home: Path, oracle: dict[str, list[str]]
) -> None:
    with two_tenants(stax_home) as undisturbed:
        sync(undisturbed)
        true, lines = usd_by_day(undisturbed, "acme", "reported"), count(undisturbed)
    with two_tenants(stax_home) as flooded:
        key = flooded.simulator.keys["acme"]
        flooded.simulator.faults.add(on(LAST, ten_lines_a_thousandfold), key=key, path=COST, times=None)
        assert sync(flooded).failures == {}
        assert count(flooded) == lines - 10 + 10_000
        assert usd_by_day(flooded, "acme", "reported") == true
        assert content(flooded, "globex") == oracle


def count(made: Installation) -> int:
    of_acme = "from stax.cost_lines join stax.tenants using (tenant_id) where slug = 'acme' and usage_date = :day"
    return int(query(made, f"select count(*) as n {of_acme}", day=LAST)[0].n)


def ten_lines_a_thousandfold(rows: list[Row]) -> list[Row]:
    """A thousand rows for each of ten, of a thousandth of its amount."""
    many = [
        {**row, "amount": f"{Decimal(row['amount']) / 1000:f}", "description": f"{row['description']} {number}"}
        for row in rows[:10]
        for number in range(1000)
    ]
    return [*many, *rows[10:]]

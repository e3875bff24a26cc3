"""Batches of tenants: bounded, halved where one is at fault, waiting for nobody."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from stax_pipeline.domain.errors import CannotStart, ContractBroken, StaxError
from stax_pipeline.domain.tenant import CONNECTED, Tenant
from stax_pipeline.lake.store import Lake
from stax_pipeline.pipeline import batches, publish_reports
from stax_pipeline.pipeline.arrivals import Arrival, Kind
from stax_pipeline.pipeline.arrived import Arrived
from stax_pipeline.pipeline.batches import BATCH_ROWS, BATCH_TENANTS, Busy, in_batches, work_through
from stax_pipeline.warehouse.publish import lock_tenant
from stax_pipeline_tests.conftest import Installation
from stax_pipeline_tests.pipeline.support import DAYS, query, sync, two_tenants, usd_by_day

NOW = datetime(2026, 11, 22, tzinfo=UTC)


class Item(NamedTuple):
    tenant: Tenant
    rows: int = 1


def items(*slugs: str) -> list[Item]:
    return [
        Item(Tenant(UUID(int=number), slug, slug, f"o-{slug}", CONNECTED, NOW, None))
        for number, slug in enumerate(slugs, start=1)
    ]


@pytest.fixture(scope="module")
def made(stax_home: Path) -> Iterator[Installation]:
    with two_tenants(stax_home) as installation:
        yield installation


@given(st.lists(st.integers(0, 2 * BATCH_ROWS), max_size=40))
def test_batches_hold_every_item_once_in_order_and_no_more_rows_than_fit(sizes: list[int]) -> None:
    [one] = items("acme")
    given = [one._replace(rows=size) for size in sizes]
    found = list(in_batches(given))
    assert [item for batch in found for item in batch] == given
    assert all(len(batch) == 1 or sum(item.rows for item in batch) <= BATCH_ROWS for batch in found)


def test_no_batch_has_more_tenants_than_one_transaction_may_lock() -> None:
    [one] = items("acme")
    assert [len(batch) for batch in in_batches([one] * (BATCH_TENANTS + 1))] == [BATCH_TENANTS, 1]


def test_a_fault_is_halved_until_it_is_one_tenants_and_the_others_are_done(made: Installation) -> None:
    batch = items(*(f"t{number}" for number in range(9)))
    refused: dict[str, Exception] = {}

    def work(_: sa.Connection, chosen: list[Item]) -> list[str]:
        slugs = [item.tenant.slug for item in chosen]
        if {"t3", "t7"} & set(slugs):
            raise StaxError("poisoned")
        return slugs

    done = work_through(
        made.engine, "testing", [batch], work, lambda item, why: refused.update({item.tenant.slug: why})
    )
    assert sorted(slug for _, slugs in done for slug in slugs) == ["t0", "t1", "t2", "t4", "t5", "t6", "t8"]
    assert {slug: str(why) for slug, why in refused.items()} == {"t3": "poisoned", "t7": "poisoned"}


def test_what_a_failed_half_wrote_is_taken_back(made: Installation) -> None:
    def work(connection: sa.Connection, chosen: list[Item]) -> int:
        connection.execute(sa.text("insert into stax.parquet_layout values ('halved', 16)"))
        if len(chosen) > 1 or chosen[0].tenant.slug == "b":
            raise StaxError("no")
        return 1

    assert len(list(work_through(made.engine, "testing", [items("a", "b")], work, lambda *_: None))) == 1
    assert len(query(made, "select 1 from stax.parquet_layout where table_name = 'halved'")) == 1


def test_a_fault_that_is_no_tenants_stops_the_step(made: Installation) -> None:
    def work(_: sa.Connection, __: list[Item]) -> int:
        raise CannotStart("the database is gone")

    with pytest.raises(CannotStart):
        list(work_through(made.engine, "testing", [items("a", "b")], work, lambda *_: None))


class TestBusy:
    def test_who_is_busy_comes_after_the_others(self, made: Installation) -> None:
        batch, later = items("a", "b"), items("c", "d", "e")[2:]
        order: list[str] = []
        with made.engine.connect() as other:
            lock_tenant(other, batch[0].tenant.tenant_id)

            def work(_: sa.Connection, chosen: list[Item]) -> int:
                order.extend(item.tenant.slug for item in chosen)
                if "e" in order:
                    other.rollback()
                return 1

            list(work_through(made.engine, "testing", [batch, later], work, lambda *_: None))
        assert order == ["b", "e", "a"]

    def test_who_stays_busy_fails_alone_in_words(self, made: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(batches, "PATIENCE_SECONDS", 0.2)
        monkeypatch.setattr(batches, "_PAUSE_SECONDS", 0.01)
        batch = items("a", "b")
        refused: dict[str, Exception] = {}
        with made.engine.connect() as other:
            lock_tenant(other, batch[0].tenant.tenant_id)
            done = work_through(
                made.engine, "testing", [batch], lambda _, chosen: [item.tenant.slug for item in chosen],
                lambda item, why: refused.update({item.tenant.slug: why}),
            )  # fmt: skip
            assert [slugs for _, slugs in done] == [["b"]]
        assert isinstance(refused["a"], Busy)
        assert "`stax sync a`" in str(refused["a"])


def test_a_tenant_that_is_replayed_or_rotated_makes_no_other_wait(
    stax_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "PATIENCE_SECONDS", 0.2)
    with two_tenants(stax_home) as made:
        with made.engine.connect() as other:
            [row] = query(made, "select tenant_id from stax.tenants where slug = 'acme'")
            lock_tenant(other, row.tenant_id)
            failures = sync(made).failures
        assert set(failures) == {"acme"}
        assert all("being changed by another command or run" in why for why in failures["acme"])
        assert usd_by_day(made, "globex", "reported").keys() == set(DAYS.days[:-1])
        assert usd_by_day(made, "acme", "reported") == {}
        assert sync(made).failures == {}
        assert usd_by_day(made, "acme", "reported").keys() == set(DAYS.days[:-1])


def test_noting_why_a_tenant_was_refused_makes_no_other_wait(stax_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "PATIENCE_SECONDS", 0.2)
    read = publish_reports.read_arrival

    def broken_for_acme(lake: Lake, arrived: Arrived, kind: Kind, tenant: Tenant, *rest: Any) -> Arrival:
        if tenant.slug == "acme":
            raise ContractBroken("nothing in it parses")
        return read(lake, arrived, kind, tenant, *rest)

    monkeypatch.setattr(publish_reports, "read_arrival", broken_for_acme)
    noted = "select error from stax.extractions where error = 'nothing in it parses'"
    with two_tenants(stax_home) as made:
        with made.engine.connect() as other:
            [row] = query(made, "select tenant_id from stax.tenants where slug = 'acme'")
            lock_tenant(other, row.tenant_id)
            failures = sync(made).failures
        assert set(failures) == {"acme"}
        assert any(
            why.startswith("nothing in it parses (not recorded: tenant acme was being") for why in failures["acme"]
        )
        assert usd_by_day(made, "globex", "reported").keys() == set(DAYS.days[:-1])
        assert query(made, noted) == []
        assert "nothing in it parses" in sync(made).failures["acme"]
        assert len(query(made, noted)) == 4  # both runs' cost and usage

"""Extractions are recorded together, and the fault of one of them is its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
import sqlalchemy as sa

from stax_pipeline.domain.errors import CannotStart, KeyRejected
from stax_pipeline.domain.extraction import Report
from stax_pipeline.domain.tenant import Tenant
from stax_pipeline.pipeline import recorder
from stax_pipeline.pipeline.extraction_record import ExtractionResult, RunningExtraction, store
from stax_pipeline.pipeline.recorder import Kept, record_together
from stax_pipeline.warehouse.tenants import all_tenants
from stax_pipeline_tests.conftest import Installation
from stax_pipeline_tests.pipeline.support import DAYS, execute, fetch, query, status, two_tenants

FAULT = "it stopped"


@pytest.fixture
def made(stax_home: Path) -> Iterator[Installation]:
    with two_tenants(stax_home) as installation:
        yield installation


@pytest.fixture
def tenants(made: Installation) -> list[Tenant]:
    with made.engine.connect() as connection:
        return all_tenants(connection)


def kept(made: Installation, tenant: Tenant, fault: str | None = FAULT, kind: type[Exception] | None = None) -> Kept:
    """An extraction with a raw object of its own."""
    extraction = RunningExtraction(DAYS, excerpt="no page")
    row = store(made.lake, "run", Report.COST, tenant, extraction, fault)
    return Kept(tenant, extraction, ExtractionResult(fault, kind, 1), row)


def together(made: Installation, *batch: Kept) -> dict[str, str | None]:
    """Why each was not recorded, None where it was."""
    told = record_together(made.engine, made.lake, "run", Report.COST, batch)
    return {one.tenant.slug: fault and str(fault) for one, fault in told}


def recorded(made: Installation) -> list[str]:
    found = query(made, "select slug from stax.extractions join stax.tenants using (tenant_id) order by slug")
    return [row.slug for row in found]


def objects(made: Installation) -> int:
    return made.lake.count("raw")


def test_all_of_a_batch_go_into_one_transaction(made: Installation, tenants: list[Tenant]) -> None:
    commits: list[object] = []
    sa.event.listen(made.engine, "commit", commits.append)
    assert together(made, *(kept(made, tenant) for tenant in tenants)) == {"acme": None, "globex": None}
    assert (recorded(made), objects(made), len(commits)) == (["acme", "globex"], 2, 1)


def test_who_is_gone_loses_its_own_object_alone(made: Installation, tenants: list[Tenant]) -> None:
    batch = [kept(made, tenant) for tenant in tenants]
    execute(made, "delete from stax.admin_keys where tenant_id = :acme", acme=tenants[0].tenant_id)
    execute(made, "delete from stax.tenants where slug = 'acme'")
    told = together(made, *batch)
    assert told["globex"] is None
    assert str(told["acme"]).startswith("tenant acme: recording an extraction: the database refused it")
    assert (recorded(made), objects(made)) == (["globex"], 1)


def test_pages_that_cannot_be_removed_are_one_tenants_fault_alone(
    made: Installation, tenants: list[Tenant], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise OSError("read-only file system")

    batch = [kept(made, tenant) for tenant in tenants]
    execute(made, "delete from stax.admin_keys where tenant_id = :acme", acme=tenants[0].tenant_id)
    execute(made, "delete from stax.tenants where slug = 'acme'")
    monkeypatch.setattr("stax_pipeline.lake.store.Lake.delete", fails)
    told = together(made, *batch)
    assert told["globex"] is None
    assert str(told["acme"]).endswith("could not be removed: read-only file system")
    assert recorded(made) == ["globex"]


def test_a_record_that_no_table_takes_is_one_tenants_own(made: Installation, tenants: list[Tenant]) -> None:
    acme, globex = (kept(made, tenant) for tenant in tenants)
    told = together(made, acme._replace(row=acme.row._replace(error="a\0b")), globex)
    assert told["globex"] is None
    assert told["acme"]
    assert recorded(made) == ["globex"]


def test_nobody_waits_for_a_tenant_that_is_being_removed(made: Installation, tenants: list[Tenant]) -> None:
    batch = [kept(made, tenant) for tenant in tenants]
    told: dict[str, str | None] = {}
    with made.engine.begin() as removing:
        removing.execute(sa.text("delete from stax.admin_keys where tenant_id = :id"), {"id": tenants[0].tenant_id})
        removing.execute(sa.text("delete from stax.tenants where slug = 'acme'"))
        working = Thread(target=lambda: told.update(together(made, *batch)))
        working.start()
        for _ in range(500):
            if recorded(made):
                break
            working.join(0.01)
        assert (recorded(made), working.is_alive()) == (["globex"], True)
    working.join(20)
    assert told["globex"] is None
    assert "recording an extraction" in str(told["acme"])
    assert objects(made) == 1


def test_each_key_is_noted_as_its_own_extraction_says(made: Installation, tenants: list[Tenant]) -> None:
    acme, globex = tenants
    together(made, kept(made, acme, kind=KeyRejected), kept(made, globex, fault=None))
    assert (status(made, "acme"), status(made, "globex")) == ("key_rejected", "connected")
    execute(made, "update stax.tenants set status = 'key_rejected'")
    execute(made, "delete from stax.extractions")
    together(made, kept(made, acme), kept(made, globex, fault=None))
    assert (status(made, "acme"), status(made, "globex")) == ("key_rejected", "connected")


def test_the_newer_generation_of_a_key_is_none_of_an_older_extractions_business(
    made: Installation, tenants: list[Tenant]
) -> None:
    acme, globex = (kept(made, tenant, fault=None) for tenant in tenants)
    execute(made, "update stax.tenants set status = 'key_rejected'")
    together(made, acme._replace(result=ExtractionResult(generation=2)), globex)
    assert (status(made, "acme"), status(made, "globex")) == ("key_rejected", "connected")


@pytest.mark.parametrize("most", [1, 64])
def test_a_full_batch_is_recorded_at_once_and_the_rest_at_the_end(
    made: Installation, tenants: list[Tenant], monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    sizes: list[int] = []
    real = recorder.record_together
    recorded_at_the_end: list[int] = []

    def noted(*given: object) -> object:
        sizes.append(len(given[-1]))  # type: ignore[arg-type]
        return real(*given)  # type: ignore[arg-type]

    class Noting(recorder.Recorder):
        def end(self) -> None:
            recorded_at_the_end.append(sum(sizes))
            super().end()

    monkeypatch.setattr(recorder, "record_together", noted)
    monkeypatch.setattr(recorder, "Recorder", Noting)
    monkeypatch.setattr(recorder, "TOGETHER", most)
    monkeypatch.setattr(recorder, "SECONDS", 60)
    outcome = fetch(made, Report.COST, tenants)
    assert (outcome.failures, sorted(recorded(made)), sum(sizes)) == ({}, ["acme", "globex"], 2)
    assert recorded_at_the_end == [2 if most == 1 else 0]


def test_what_stops_the_run_is_told_as_it_is_and_what_was_kept_before_is_recorded(
    made: Installation, tenants: list[Tenant], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = store

    def full(*given: object) -> object:
        if given[3].slug == "globex":  # type: ignore[attr-defined]
            for _ in range(500):
                if objects(made):
                    break
            raise CannotStart("the lake is full")
        return real(*given)  # type: ignore[arg-type]

    monkeypatch.setattr("stax_pipeline.pipeline.extract.store", full)
    monkeypatch.setattr(recorder, "SECONDS", 60)
    with pytest.raises(CannotStart, match="the lake is full"):
        fetch(made, Report.COST, tenants)
    assert objects(made) == len(recorded(made))

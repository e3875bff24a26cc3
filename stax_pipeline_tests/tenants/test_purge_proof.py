"""What names a tenant is found however it is written, and is still known when a purge is run again."""

from __future__ import annotations

import stat
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa

from stax_pipeline.cli.commands import keys
from stax_pipeline.installation.settings import Settings
from stax_pipeline.simulator import Simulator
from stax_pipeline.tenants import purge_proof
from stax_pipeline.tenants.connect import connect
from stax_pipeline.tenants.purge_proof import Marks
from stax_pipeline.warehouse.engine import connect_engine
from stax_pipeline.warehouse.roles import logins
from stax_pipeline_tests.tenants.support import key_of

FIGURES = Marks(figures={"1234.5", "123450", "12345678"})


@pytest.mark.parametrize(
    "text",
    [
        "1234.5",
        "1,234.50",
        "$1,234.50, so",
        '{"usd": -1234.50}',
        "1234.500.",
        "odd\\n1234.5",
        "123,450",
        "12345678",
    ],
)
def test_a_figure_is_found_in_every_formatting(text: str) -> None:
    assert FIGURES.within(text) == 1


@pytest.mark.parametrize("text", ["11234.5", "1234.56", "x1234.5", "1,1234.x", "pid 123450", "28T07:12:1234.5"])
def test_what_only_resembles_a_figure_is_not_found(text: str) -> None:
    assert FIGURES.within(text) == 0


@pytest.mark.parametrize(("text", "found"), [("in Research.", 1), ("Researchers", 0), ("acme-Research", 0)])
def test_names_are_found_as_whole_words(text: str, found: int) -> None:
    assert Marks(names={"Research"}).within(text) == found


def test_a_name_is_found_as_json_spells_it() -> None:
    assert Marks(names={"Zürich AI"}).within(r'"name": "Z\u00fcrich AI"') == 1


def test_marks_are_kept_for_another_purge_and_forgotten(tmp_path: Path) -> None:
    marks = Marks({"wrkspc_1"}, {"Research"}, {"1234.5"})
    purge_proof.keep(tmp_path, "acme", marks)
    assert purge_proof.kept(tmp_path, "acme") == marks
    assert stat.S_IMODE((tmp_path / "purges" / "acme.json").stat().st_mode) == 0o600
    assert purge_proof.kept(tmp_path, "globex") is None
    purge_proof.forget(tmp_path, "acme")
    assert purge_proof.kept(tmp_path, "acme") is None


@pytest.mark.parametrize("place", ["dagster/x.log", "stax.log.1", "postgres/server.log", "postgres/server.log.1"])
def test_every_log_of_the_home_is_searched(tmp_path: Path, place: str) -> None:
    log = tmp_path / place
    log.parent.mkdir(exist_ok=True)
    log.write_text("odd: wrkspc_1")
    assert purge_proof.in_files(tmp_path, Marks(ids={"wrkspc_1"})) == {str(log): 1}


def test_a_log_that_vanishes_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purge_proof, "_logs", lambda home: iter([home / "gone.log"]))
    assert purge_proof.in_files(tmp_path, Marks(ids={"wrkspc_1"})) == {}


@pytest.mark.parametrize("kind", ["text", "json", "jsonb", "bytea"])
def test_every_kind_of_column_in_dagster_s_storage_is_searched(
    settings: Settings, engine: sa.Engine, kind: str
) -> None:
    admin = connect_engine(logins(settings).admin)
    value = """'{"odd": "wrkspc_1"}'"""
    with admin.begin() as connection:
        connection.exec_driver_sql(f"create table dagster.planted as select {value}::{kind} as held")
        connection.exec_driver_sql("grant select on dagster.planted to public")
    try:
        found = purge_proof.in_history(logins(settings).dagster, Marks(ids={"wrkspc_1"}))
    finally:
        with admin.begin() as connection:
            connection.exec_driver_sql("drop table dagster.planted")
        admin.dispose()
    assert found == {"Dagster's planted": 1}


def test_the_largest_figures_are_looked_for(
    settings: Settings, engine: sa.Engine, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purge_proof, "MOST", 2)
    tenant = connect(settings, engine, "acme", None, key_of(simulator, "acme")).tenant
    with engine.begin() as connection:
        for month, amount in enumerate(["1234.50", "99999.99", "5000.00", "54321.10"], start=1):
            connection.execute(
                sa.text("insert into stax.invoices values (:id, make_date(2026, :month, 1), now(), :amount, '')"),
                {"id": tenant.tenant_id, "month": month, "amount": Decimal(amount)},
            )
    assert purge_proof.marks_of(engine, tenant).figures == {"99999.99", "54321.1"}


def test_without_marks_nothing_is_claimed() -> None:
    assert "were not searched" in keys._proven(Marks())
    assert "Looked for 2 workspaces, keys, models and figures" in keys._proven(Marks(ids={"wrkspc_1", "wrkspc_2"}))

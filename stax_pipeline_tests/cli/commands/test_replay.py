"""`stax replay`: what an operator sees, and that nothing but the raw pages is needed."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from stax_pipeline.installation.settings import Settings
from stax_pipeline.simulator import Simulator
from stax_pipeline_tests.cli.support import Stax
from stax_pipeline_tests.pipeline.test_history import DERIVED
from stax_pipeline_tests.tenants.support import count


@pytest.fixture
def connected(stax: Stax, simulator: Simulator, settings: Settings) -> None:
    """acme, connected with two complete days and the open one."""
    assert settings.embedded
    ended = stax("connect", "acme", "--key-file", "-", "--days", "2", typed=f"{simulator.keys['acme']}\n")
    assert ended.code == 0, ended.err


@pytest.mark.usefixtures("connected")
def test_replay_rebuilds_tables_and_files_without_the_source(
    stax: Stax, engine: sa.Engine, simulator: Simulator, settings: Settings
) -> None:
    lines = count(engine, "spend", "true")
    with engine.begin() as connection:
        for table in DERIVED:
            connection.execute(sa.text(f"delete from stax.{table}"))
    for file in Path(settings.lake).glob("spend/*/*/*.parquet"):
        file.unlink()
    asked = len(simulator.requests)
    ended = stax("replay")
    assert ended.code == 0, ended.err
    assert "Replayed 1 tenant over" in ended.out
    assert "replaying reports: 3 of 3 tenant-days" in ended.err
    assert len(simulator.requests) == asked
    assert count(engine, "spend", "true") == lines
    files = list(Path(settings.lake).glob("spend/*/*/*.parquet"))
    assert sum(pq.read_metadata(file).num_rows for file in files) == lines
    assert stax("verify").code == 0


@pytest.mark.usefixtures("connected")
def test_a_damaged_object_stops_its_tenant_and_keeps_what_stands(
    stax: Stax, engine: sa.Engine, settings: Settings
) -> None:
    lines = count(engine, "spend", "true")
    [raw] = Path(settings.lake).glob("raw/usage_report/*/*/*.jsonl.zst")
    raw.write_bytes(raw.read_bytes()[:-9])
    ended = stax("replay")
    assert ended.code == 1
    assert "failed: tenant acme:" in ended.err
    assert "does not have the hash that was recorded" in ended.err
    assert count(engine, "spend", "true") == lines


@pytest.mark.usefixtures("settings")
def test_nothing_to_replay_is_said(stax: Stax) -> None:
    ended = stax("replay")
    assert (ended.code, ended.err.strip()) == (0, "Nothing was ever fetched: there is nothing to replay.")


@pytest.mark.usefixtures("connected")
def test_days_that_were_never_fetched_are_refused(stax: Stax) -> None:
    ended = stax("replay", "--from", "2026-01-05", "--to", "2026-01-01")
    assert ended.code == 2
    assert "what was fetched is" in ended.err

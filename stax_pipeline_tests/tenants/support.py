"""What these tests stand on: the session's Postgres, emptied, and a simulator of two small organisations."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from stax_pipeline.domain.admin_key import AdminKey, parse_admin_key
from stax_pipeline.installation.settings import Settings, read_settings
from stax_pipeline.simulator import Simulator, realistic_organization
from stax_pipeline.tenants.connect import connect
from stax_pipeline.warehouse import tables
from stax_pipeline.warehouse.engine import connect_engine
from stax_pipeline.warehouse.roles import logins


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """Two small organisations on loopback, by the real clock."""
    organizations = [realistic_organization(name, shared_workspaces=1) for name in ("acme", "globex")]
    with Simulator(organizations) as served:
        yield served


@pytest.fixture
def settings(stax_home: Path, simulator: Simulator) -> Iterator[Settings]:
    """This process's settings, on empty tables; the environment is as before afterwards."""
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith(("STAX_", "ANTHROPIC_"))]:
        del os.environ[name]
    os.environ.update({"STAX_HOME": str(stax_home), "STAX_ANTHROPIC_BASE_URL": simulator.base_url})
    (stax_home / "master.key").unlink(missing_ok=True)
    made = read_settings()
    shutil.rmtree(stax_home / "lake", ignore_errors=True)
    _empty(made)
    yield made
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def engine(settings: Settings) -> Iterator[sa.Engine]:
    made = connect_engine(logins(settings).loader)
    yield made
    made.dispose()


@pytest.fixture
def two_tenants(settings: Settings, engine: sa.Engine, simulator: Simulator) -> None:
    for name in ("acme", "globex"):
        connect(settings, engine, name, None, key_of(simulator, name))


def key_of(simulator: Simulator, name: str) -> AdminKey:
    return parse_admin_key(simulator.keys[name])


def count(engine: sa.Engine, table: str, where: str = "true") -> int:
    with engine.connect() as connection:
        return int(connection.exec_driver_sql(f"select count(*) from stax.{table} where {where}").scalar_one())


def _empty(settings: Settings) -> None:
    engine = connect_engine(logins(settings).admin)
    with engine.begin() as connection:
        names = ", ".join(f"stax.{table.name}" for table in tables.metadata.sorted_tables)
        connection.exec_driver_sql(f"truncate {names} cascade")
    engine.dispose()

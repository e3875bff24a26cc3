"""Private names of Dagster's Postgres storages that ours sets: each is still what the storages work with."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from dagster_postgres.event_log import event_log
from dagster_postgres.run_storage import run_storage
from dagster_postgres.schedule_storage import schedule_storage
from dagster_postgres.storage import DagsterPostgresStorage
from dagster_postgres.utils import pg_alembic_config

from stax_pipeline.dagster_instance.storage import PLUGIN, PooledPostgresStorage, escape_paths
from stax_pipeline.installation.settings import read_settings
from stax_pipeline.warehouse.roles import logins
from stax_pipeline_tests.conftest import Installation
from stax_pipeline_tests.dagster_instance.internals import engine_of

PARTS = ("run_storage", "event_log_storage", "schedule_storage")


@pytest.fixture
def storage(installation: Installation) -> PooledPostgresStorage:
    return PooledPostgresStorage(logins(installation.settings).dagster)


@pytest.mark.parametrize("part", PARTS)
def test_dagster_keeps_each_storage_and_its_connections_under_the_names_that_are_set(
    storage: PooledPostgresStorage, part: str
) -> None:
    url = sa.make_url(logins(read_settings()).dagster).update_query_dict({"plugin": PLUGIN})
    stock = DagsterPostgresStorage(url.render_as_string(hide_password=False))
    assert vars(stock)[f"_{part}"] is getattr(stock, part)
    assert "_engine" in vars(getattr(stock, part))
    assert vars(storage)[f"_{part}"] is getattr(storage, part)


def test_the_three_storages_ask_through_one_pool(storage: PooledPostgresStorage) -> None:
    pools = {id(engine_of(getattr(storage, part))) for part in PARTS}
    assert len(pools) == 1
    engine = engine_of(storage.run_storage)
    opened: list[object] = []
    sa.event.listen(engine, "connect", lambda connection, _: opened.append(connection))
    engine.dispose()
    storage.run_storage.get_runs(limit=1)
    storage.event_log_storage.all_asset_keys()
    storage.schedule_storage.all_instigator_state()
    assert len(opened) == 1
    engine.dispose()


@pytest.mark.parametrize("module", [run_storage, event_log, schedule_storage], ids=lambda module: module.__name__)
def test_dagster_keeps_one_configuration_of_each_storage_s_migrations(module: object) -> None:
    file = str(module.__file__)  # type: ignore[attr-defined]
    escape_paths()
    config = pg_alembic_config(file)
    assert config is pg_alembic_config(file)
    here = Path(str(config.config_file_name)).absolute().parent
    assert config.file_config.get("DEFAULT", "here", raw=True) == here.as_posix().replace("%", "%%")

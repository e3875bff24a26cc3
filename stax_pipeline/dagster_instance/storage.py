"""Dagster's Postgres storage with pooled connections that look names up in Dagster's own schema alone.

The stock storage opens a new connection for each of the two or three statements behind an event: more than half of a
backfill's time went there (`benchmarks`).
"""

import os
import re
from pathlib import Path
from typing import Any

from dagster_postgres.event_log import event_log
from dagster_postgres.run_storage import run_storage
from dagster_postgres.schedule_storage import schedule_storage
from dagster_postgres.storage import DagsterPostgresStorage
from dagster_postgres.utils import pg_alembic_config, retry_pg_connection_fn
from sqlalchemy import URL, Engine, create_engine, make_url
from sqlalchemy.dialects import plugins
from sqlalchemy.engine import CreateEnginePlugin

from stax_pipeline.dagster_instance.event_log import EventLog, RunLog
from stax_pipeline.dagster_instance.internals import ConfigurableClassData
from stax_pipeline.installation.settings import read_settings
from stax_pipeline.warehouse.engine import noticing_its_end, searching_in
from stax_pipeline.warehouse.roles import DAGSTER_SCHEMA, logins

PLUGIN = "stax_dagster_schema"


class InDagsterSchema(CreateEnginePlugin):
    """Named in a URL, so that every engine that Dagster makes of it searches in that schema: nobody else creates there,
    as he may in `public` of an operator's database. Another schema is what the URL's own options say."""

    def __init__(self, url: URL, kwargs: dict[str, Any]) -> None:
        kwargs["hide_parameters"] = True
        said = re.search(r"search_path=(\w+)", " ".join(url.normalized_query.get("options", ())))
        self._schema = said[1] if said else DAGSTER_SCHEMA

    def update_url(self, url: URL) -> URL:
        return url.difference_update_query(["plugin"])

    def engine_created(self, engine: Engine) -> None:
        searching_in(self._schema, engine)


plugins.register(PLUGIN, __name__, InDagsterSchema.__name__)


def escape_paths() -> None:
    """Alembic interpolates the path of its configuration, where a `%` means something else. Dagster keeps the one
    configuration of each storage, so that it can be put right before its first use.
    """
    for module in (run_storage, event_log, schedule_storage):
        config = pg_alembic_config(str(module.__file__))
        here = Path(str(config.config_file_name)).absolute().parent
        config.file_config.set("DEFAULT", "here", here.as_posix().replace("%", "%%"))


def has_tables(engine: Engine) -> bool:
    """Whether the tables are there by which Dagster's own storages, asking one by one, see that theirs were made."""
    return bool(retry_pg_connection_fn(lambda: _all_there(engine)))


def _all_there(engine: Engine) -> bool:
    with engine.connect() as connection:
        found = connection.exec_driver_sql(
            "select count(to_regclass(name)) = 4 from unnest(array['event_logs', 'runs', 'instance_info', 'jobs']) name"
        )
        return bool(found.scalar_one())


class PooledPostgresStorage(DagsterPostgresStorage):
    """Named in `dagster.yaml`. One small pool a process, shared by runs, events and schedules, at STAX_DAGSTER_URL or
    in the installation's database.
    """

    def __init__(self, postgres_url: str, should_autocreate_tables: bool = True, inst_data=None) -> None:  # type: ignore[no-untyped-def]
        escape_paths()
        given = read_settings({**os.environ, "STAX_DAGSTER_URL": postgres_url}).dagster_url  # with TLS where it leaves
        url = make_url(given).update_query_dict({"plugin": PLUGIN}).render_as_string(hide_password=False)
        engine = noticing_its_end(create_engine(url, isolation_level="AUTOCOMMIT", pool_size=2, max_overflow=20))
        super().__init__(url, should_autocreate_tables and not has_tables(engine), inst_data)
        self._run_storage = RunLog(url, should_autocreate_tables=False)
        self._event_log_storage = EventLog(url, should_autocreate_tables=False)
        for storage in (self._run_storage, self._event_log_storage, self._schedule_storage):
            storage._engine = engine

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Nothing: the address holds a password, which the process reads as it reads its other secrets."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value) -> "PooledPostgresStorage":  # type: ignore[no-untyped-def]
        return cls(logins(read_settings()).dagster, inst_data=inst_data)

"""Dagster's Postgres storage with pooled connections.

The stock storage opens a new connection for each of the two or three statements behind an event: more than half of a
backfill's time went there (`benchmarks`). Pinging before use outlives a restarted server.
"""

from dagster._serdes import ConfigurableClassData
from dagster_postgres.storage import DagsterPostgresStorage
from dagster_postgres.utils import pg_url_from_config
from sqlalchemy import create_engine


class PooledPostgresStorage(DagsterPostgresStorage):
    """Named in `dagster.yaml`. One small pool a process, shared by runs, events and schedules."""

    def __init__(self, postgres_url: str, should_autocreate_tables: bool = True, inst_data=None) -> None:  # type: ignore[no-untyped-def]
        super().__init__(postgres_url, should_autocreate_tables, inst_data)
        engine = create_engine(
            postgres_url, isolation_level="AUTOCOMMIT", pool_pre_ping=True, pool_size=2, max_overflow=20,
            hide_parameters=True,
        )  # fmt: skip
        for storage in (self._run_storage, self._event_log_storage, self._schedule_storage):
            storage._engine = engine

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value) -> "PooledPostgresStorage":  # type: ignore[no-untyped-def]
        return cls(
            postgres_url=pg_url_from_config(config_value),
            should_autocreate_tables=config_value.get("should_autocreate_tables", True),
            inst_data=inst_data,
        )

"""A connection pooler in transaction mode is refused: locks, search path and time-outs of a session would be another's.

Stays out: poolers in session mode, through which everything works as on the server itself.
"""

from __future__ import annotations

import sqlalchemy as sa

from stax_pipeline.domain.errors import CannotStart
from stax_pipeline.installation.settings import Settings
from stax_pipeline.warehouse.engine import connect_engine

ROUNDS = 3  # a pooler that takes the server's sessions in turn shows by then that they change


def refuse_transaction_pooler(settings: Settings) -> None:
    """Raises CannotStart, naming the setting, where an address that was given shares sessions between its clients."""
    given = {
        "STAX_DATABASE_URL": settings.database_url,
        "STAX_LOADER_URL": settings.loader_url,
        "STAX_ANALYST_URL": settings.analyst_url,
        "STAX_APP_URL": settings.app_url,
        "STAX_DAGSTER_URL": settings.dagster_url,
    }
    for name, url in given.items():
        if url and _shares_sessions(url):
            raise CannotStart(
                f"{name} leads to a connection pooler in transaction mode (pgbouncer: pool_mode = transaction), where "
                "locks and settings of a session get lost: name the server itself, or a pool in session mode."
            )


def _shares_sessions(url: str) -> bool:
    """Whether two clients that stay connected meet in one session of the server, or one client changes its session."""
    engine = connect_engine(url).execution_options(isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as first, engine.connect() as second:
            seen = [[_session(client) for client in (first, second)] for _ in range(ROUNDS)]
    finally:
        engine.dispose()
    firsts, seconds = map(set, zip(*seen, strict=True))
    return len(firsts) > 1 or len(seconds) > 1 or firsts == seconds


def _session(client: sa.Connection) -> int:
    """The server's process of this session; a pooler makes up the one that the client was told when it connected."""
    return int(client.exec_driver_sql("select pg_catalog.pg_backend_pid()").scalar_one())

"""What a refused statement says: neither an error, nor a log record, nor the server's log quotes a row or a key."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from stax_pipeline.domain.errors import CannotStart, StaxError
from stax_pipeline.installation.settings import read_settings
from stax_pipeline.simulator.organization import admin_key
from stax_pipeline.warehouse.engine import connect_engine, plain_faults
from stax_pipeline.warehouse.roles import logins
from stax_pipeline.warehouse.tables import admin_keys
from stax_pipeline_tests.canary import Canary
from stax_pipeline_tests.dagster_instance.internals import stored_error

CANARY = Canary(admin_key("canary of the database's errors"))
SECRET = CANARY.secret
ROW = {
    "tenant_id": UUID(int=7), "generation": 1, "ciphertext": SECRET.encode(), "wrapped_data_key": SECRET.encode(),
    "master_key_id": SECRET, "key_hint": SECRET, "validated_at": datetime(2026, 11, 22, tzinfo=UTC),
}  # fmt: skip
STATEMENTS: dict[str, Any] = {
    "no such tenant": admin_keys.insert().values(**ROW),
    "a column that must not be null": admin_keys.insert().values(**ROW | {"validated_at": None}),
    "no number": sa.text("select cast(:secret as integer)").bindparams(secret=SECRET),
    "no instant": sa.text("select cast(:secret as timestamptz)").bindparams(secret=SECRET),
    "wrong syntax": sa.text("select :secret from from").bindparams(secret=SECRET),
}


@pytest.fixture(scope="module")
def log(stax_home: Path) -> Iterator[Path]:
    """The server's log: written to, but never about a refused statement."""
    path = stax_home / "postgres" / "server.log"
    assert b"ready to accept connections" in path.read_bytes()
    yield path


@pytest.fixture
def engine(stax_home: Path) -> Iterator[sa.Engine]:
    made = connect_engine(logins(read_settings({"STAX_HOME": str(stax_home)})).loader)
    yield made
    made.dispose()


def everything(fault: BaseException) -> str:
    """What a traceback shows, and what Dagster stores of it."""
    return "".join(traceback.format_exception(fault)) + repr(fault.args) + repr(vars(fault)) + stored_error(fault)


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_refused_statement_is_told_without_its_row(
    engine: sa.Engine, log: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    caplog.set_level(logging.DEBUG, logger="sqlalchemy")
    before = log.read_bytes()
    refusal = pytest.raises(StaxError, match="the database refused it")
    with refusal as refused, plain_faults("storing a key"), engine.begin() as connection:
        connection.execute(STATEMENTS[name])
    assert refused.value.__suppress_context__
    assert refused.value.__cause__ is None
    assert CANARY.in_text("error", everything(refused.value) + caplog.text) == []
    assert b"ERROR" not in log.read_bytes().removeprefix(before)
    assert CANARY.in_file(log) == []


def test_without_the_wall_values_would_show(engine: sa.Engine) -> None:
    """The control: what the driver says by itself quotes values, whatever SQLAlchemy hides."""
    with pytest.raises(sa.exc.DataError) as refused, engine.begin() as connection:
        connection.execute(STATEMENTS["no number"])
    assert "hide_parameters" in str(refused.value)
    assert CANARY.in_text("error", refused.value) != []


def test_postgres_tells_the_loader_no_row_of_a_table_with_policies(engine: sa.Engine) -> None:
    with pytest.raises(sa.exc.IntegrityError) as refused, engine.begin() as connection:
        connection.execute(STATEMENTS["a column that must not be null"])
    assert CANARY.in_text("error", refused.value) == []
    assert "Failing row" not in str(refused.value)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("log_statement", "none"),
        ("log_min_error_statement", "panic"),
        ("log_min_duration_statement", "-1"),
        ("log_min_duration_sample", "-1"),
        ("log_duration", "off"),
        ("log_parameter_max_length", "0"),
        ("log_parameter_max_length_on_error", "0"),
        ("log_error_verbosity", "terse"),
        ("debug_print_plan", "off"),
    ],
)
def test_the_embedded_server_logs_no_statement(engine: sa.Engine, setting: str, value: str) -> None:
    with engine.connect() as connection:
        assert connection.exec_driver_sql(f"show {setting}").scalar_one() == value


@pytest.mark.parametrize("change", [{"password": "wrong"}, {"username": "nobody_here"}, {"database": "nowhere"}])
def test_a_login_that_is_refused_is_not_called_out_of_reach(stax_home: Path, change: dict[str, str]) -> None:
    url = sa.make_url(logins(read_settings({"STAX_HOME": str(stax_home)})).loader).set(**change)
    refused = connect_engine(url.render_as_string(hide_password=False))
    with pytest.raises(CannotStart) as told, plain_faults("reading"), refused.connect():
        pass
    refused.dispose()
    assert "the database does not let this login in (" in str(told.value)
    assert "not reachable" not in str(told.value)


def test_a_server_that_is_not_there_is_named() -> None:
    refused = connect_engine("postgresql+psycopg2://u:secretword@127.0.0.1:1/stax")
    with (
        pytest.raises(CannotStart, match="the database is not reachable") as told,
        plain_faults("x"),
        refused.connect(),
    ):
        pass
    assert "127.0.0.1" in str(told.value)
    assert "secretword" not in str(told.value)


def statements_of(engine: sa.Engine) -> list[str]:
    """What the engine's pool is heard to ask of the server beside what is asked of it."""
    asked: list[str] = []
    ping = engine.dialect.do_ping

    def heard(connection: Any) -> bool:
        asked.append("ping")
        return ping(connection)

    engine.dialect.do_ping = heard  # type: ignore[method-assign]
    return asked


def one(engine: sa.Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(sa.text("select 1")).scalar_one())


def end_sessions_of(engine: sa.Engine, stax_home: Path) -> None:
    """As a restart of the server does; returns when they are gone."""
    with engine.connect() as connection:
        pid = connection.execute(sa.text("select pg_backend_pid()")).scalar_one()
    admin = connect_engine(logins(read_settings({"STAX_HOME": str(stax_home)})).admin)
    with admin.connect() as connection:
        assert connection.execute(sa.text("select pg_terminate_backend(:pid, 5000)"), {"pid": pid}).scalar_one()
    admin.dispose()


def test_a_connection_in_use_is_not_pinged(engine: sa.Engine) -> None:
    asked = statements_of(engine)
    assert [one(engine) for _ in range(5)] == [1] * 5
    assert asked == []


def test_a_session_that_the_server_ended_is_replaced_before_it_is_used(engine: sa.Engine, stax_home: Path) -> None:
    asked = statements_of(engine)
    for _ in range(3):
        end_sessions_of(engine, stax_home)
        assert one(engine) == 1
    assert asked == ["ping"] * 3


def test_a_connection_that_lay_idle_is_pinged(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = statements_of(engine)
    assert one(engine) == 1
    monkeypatch.setattr("stax_pipeline.warehouse.engine.IDLE_SECONDS", 0.0)
    assert one(engine) == 1
    assert asked == ["ping"]

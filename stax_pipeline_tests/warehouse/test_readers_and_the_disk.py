"""A login that only reads cannot fill the disk of the embedded server: its log, its WAL, its queues, its folders."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from stax_pipeline.tenants.grant import grant
from stax_pipeline.warehouse.migrate import upgrade
from stax_pipeline.warehouse.roles import logins
from stax_pipeline_tests.conftest import Installation, installed
from stax_pipeline_tests.warehouse.granted import READER, Session, reader_of

ANALYST = "stax_analyst"
LOGGED = 1_000_000  # bytes of log that a session may cause, whatever it asks for; it asks for ten times as much


@pytest.fixture(scope="module")
def made(stax_home: Path) -> Iterator[Installation]:
    with installed(stax_home) as installation:
        installation.add_tenant("acme")
        grant(installation.settings, READER, ["acme"])
        yield installation
        with Session(logins(installation.settings).admin) as admin:
            admin.told(f"drop owned by {READER}", f"drop role {READER}")
        (stax_home / "passwords" / READER).unlink()


@pytest.fixture(params=[READER, ANALYST])
def reader(made: Installation, request: pytest.FixtureRequest) -> Iterator[Session]:
    url = logins(made.settings).analyst if request.param == ANALYST else reader_of(made.settings)
    with Session(url) as session:
        yield session


@pytest.mark.parametrize(
    "statements",
    [
        ("do $$ begin for i in 1..10 loop raise log '%', repeat('x', 1000000); end loop; end $$",),
        ("do $$ begin for i in 1..10 loop raise warning '%', repeat('x', 1000000); end loop; end $$",),
        ("set debug_print_plan = on", "set debug_print_rewritten = on", f"select '{'x' * 4_000_000}'"),
        ("set log_min_messages = debug5", "alter role current_user reset log_min_messages",
         "alter role current_user set log_min_messages = debug5", "alter role current_user reset all",
         "do $$ begin for i in 1..10 loop raise log '%', repeat('x', 1000000); end loop; end $$"),
    ],
    ids=["log", "warning", "plans", "louder"],
)  # fmt: skip
def test_the_log_is_not_the_readers_to_fill(made: Installation, reader: Session, statements: tuple[str, ...]) -> None:
    log = made.home / "postgres" / "server.log"
    before = log.stat().st_size
    reader.told(*statements)
    assert log.stat().st_size - before < LOGGED
    again = Session(reader_of(made.settings))
    assert again.rows("show log_min_messages") == [("fatal",)]
    again.__exit__()


@pytest.mark.parametrize(
    "statement",
    [
        "select pg_logical_emit_message(false, 'x', repeat('x', 1000))",
        "select pg_logical_emit_message(true, 'x', 'x'::bytea)",
        "select pg_export_snapshot()",
        "select pg_current_xact_id()",
        "select txid_current()",
        "select pg_notify('x', 'y')",
        "select lo_create(0)",
        "select lo_from_bytea(0, 'x')",
        "select pg_create_restore_point('x')",
        "select pg_switch_wal()",
        "select pg_log_backend_memory_contexts(pg_backend_pid())",
        "select pg_create_physical_replication_slot('x', true)",
        "select * from pg_logical_slot_get_changes('x', null, null)",
        "copy (select 1) to '/tmp/x'",
        "copy (select 1) to program 'true'",
        "checkpoint",
        "create temporary table x (x int)",
        "create table x (x int)",
        "create table stax.x (x int)",
        "create materialized view stax.x as select 1",
        "create schema x",
        "create function pg_temp.x() returns int language sql as 'select 1'",
        "create publication x",
        "create extension pg_trgm",
        "select * into temporary x from stax.tenants",
        "select * from stax.tenants for share",
        "prepare transaction 'x'",
        "comment on table stax.spend is 'x'",
        "create statistics on slug, name from stax.tenants",
        "select pg_promote()",
        "select pg_stat_reset()",
    ],
)
def test_every_other_way_to_write_is_refused(reader: Session, statement: str) -> None:
    told = reader.told("begin", statement, "rollback")
    assert "permission denied" in told or "must be" in told or "are disabled" in told, told


def test_what_analyze_and_vacuum_may_not_touch_they_leave(made: Installation, reader: Session) -> None:
    assert reader.told("vacuum stax.spend").count("permission denied") == 1
    assert reader.told("analyze stax.spend").count("permission denied") == 1


def test_what_a_sleeping_listener_has_not_heard_is_bounded(reader: Session) -> None:
    if int(reader.rows("show server_version_num")[0][0]) >= 170_000:
        assert reader.rows("show max_notify_queue_pages") == [("16384",)]  # 128 MB of 8 kB


def test_sorts_on_disk_are_bounded(reader: Session) -> None:
    reader.told("set work_mem = '64kB'", "set temp_file_limit = -1")
    assert reader.rows("show temp_file_limit") in ([("1GB",)], [("10GB",)])


def test_logins_of_older_versions_and_of_an_operator_are_quieted(made: Installation) -> None:
    setting = sa.text("select rolconfig from pg_roles where rolname = :role")
    engine = sa.create_engine(logins(made.settings).admin, isolation_level="AUTOCOMMIT")
    with engine.connect() as admin:
        admin.exec_driver_sql(f"alter role {READER} reset log_min_messages")
        upgrade(made.settings)
        assert "log_min_messages=fatal" in admin.execute(setting, {"role": READER}).scalar_one()
        admin.exec_driver_sql("create role made_by_hand login password 'x'")
        try:
            grant(made.settings, "made_by_hand", ["acme"])
            assert admin.execute(setting, {"role": "made_by_hand"}).scalar_one() == ["log_min_messages=fatal"]
        finally:
            admin.exec_driver_sql("drop owned by made_by_hand")
            admin.exec_driver_sql("drop role made_by_hand")
    engine.dispose()

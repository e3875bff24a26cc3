"""Whoever may create in `public` of an operator's database runs nothing as the owner, the loader or a superuser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from stax_pipeline.dagster_instance.storage import PooledPostgresStorage
from stax_pipeline.installation.homes import CHECKOUT
from stax_pipeline.installation.settings import Settings
from stax_pipeline.tenants.grant import drop, grant
from stax_pipeline.warehouse.engine import connect_engine
from stax_pipeline.warehouse.migrate import upgrade
from stax_pipeline.warehouse.roles import DAGSTER_SCHEMA, logins
from stax_pipeline_tests.dagster_instance.internals import engine_of
from stax_pipeline_tests.warehouse.granted import Session, operators_postgres, reader_of

PLANTED = (
    ("pg_advisory_xact_lock(integer)", "void", "null"),
    ("pg_advisory_lock(integer)", "void", "null"),
    ("starts_with(name, text)", "boolean", "false"),
    ("format(text, name)", "text", "'select 1'"),
    ("format(text, name, name)", "text", "'select 1'"),
    ("has_table_privilege(name, oid, text)", "boolean", "true"),
    ("lower(name)", "text", "'x'"),
)
"""Functions that a call of ours with these very types would meet in `public` before the server's own."""


@pytest.fixture(scope="module")
def own(stax_home: Path) -> Iterator[Settings]:
    with operators_postgres(stax_home) as settings:
        yield settings


@pytest.fixture
def open_public(own: Settings) -> Iterator[Session]:
    """`public` as databases from before Postgres 15 have it, with what the granted login planted there."""
    with Session(logins(own).admin) as admin, Session(reader_of(own)) as reader:
        admin.done("grant create on schema public to public")
        reader.done(
            "create table public.caught (who name)", "grant insert on public.caught to public",
            *(f"create function public.{function} returns {kind} language plpgsql as $$ begin "
              f"insert into public.caught values (current_user); return{'' if kind == 'void' else f' {value}'}; end $$"
              for function, kind, value in PLANTED),
        )  # fmt: skip
        yield admin
        admin.done(
            "drop table public.caught",
            *(f"drop function public.{function}" for function, *_ in PLANTED),
            "revoke create on schema public from public",
        )


def test_nothing_planted_in_public_runs(own: Settings, open_public: Session) -> None:
    upgrade(own)
    grant(own, "another_reader", ["acme"])
    drop(own, "another_reader")
    assert open_public.rows("select * from public.caught") == []


def test_an_open_public_is_named_with_its_mend(own: Settings, open_public: Session) -> None:
    [warning] = upgrade(own)
    assert "everybody" in warning and "revoke create on schema public from public" in warning
    open_public.done("revoke create on schema public from public")
    assert upgrade(own) == []
    open_public.done("grant create on schema public to acme_reader")
    [warning] = upgrade(own)
    assert "acme_reader" in warning and 'revoke create on schema public from "acme_reader"' in warning
    open_public.done("revoke create on schema public from acme_reader")


@pytest.mark.parametrize("login", ["admin", "owner", "loader", "analyst"])
def test_every_connection_begins_with_the_path(own: Settings, login: str) -> None:
    url = getattr(logins(own), login)
    with Session(logins(own).admin) as admin:
        role = sa.make_url(url).username
        admin.done(f"alter role {role} in database {sa.make_url(url).database} set search_path = public")
    engine = connect_engine(url)
    try:
        for _ in range(2):
            with engine.connect() as connection:
                assert connection.exec_driver_sql("show search_path").scalar() == "pg_catalog, stax, pg_temp"
                connection.rollback()
    finally:
        engine.dispose()
        with Session(logins(own).admin) as admin:
            admin.done(f"alter role {role} in database {sa.make_url(url).database} reset search_path")


def test_dagster_finds_its_tables_in_its_own_schema_alone(own: Settings, open_public: Session) -> None:
    """Its own and the webserver's engines, from the first query on: a table of that name in `public` is not met."""
    open_public.done("create table public.runs (x int)")
    storage = PooledPostgresStorage(logins(own).dagster)
    parts = (storage.run_storage, storage.event_log_storage, storage.schedule_storage)
    for optimized in (False, True):
        for part in parts:
            if optimized:
                part.optimize_for_webserver(1000, 10, 1)
            with engine_of(part).connect() as connection:
                assert connection.exec_driver_sql("show search_path").scalar() == DAGSTER_SCHEMA
                assert connection.exec_driver_sql("select cast('runs' as regclass)::text").scalar() == "runs"
            engine_of(part).dispose()
    open_public.done("drop table public.runs")
    made = open_public.rows("select schemaname from pg_tables where tablename = 'event_logs'")
    assert made == [(DAGSTER_SCHEMA,)]


def test_a_schema_that_the_url_names_is_dagsters(own: Settings) -> None:
    url = sa.make_url(logins(own).dagster).update_query_dict({"options": "-csearch_path=elsewhere"})
    with Session(logins(own).admin) as admin:
        admin.done("create schema elsewhere authorization stax_dagster")
        PooledPostgresStorage(url.render_as_string(hide_password=False))
        assert admin.rows("select schemaname from pg_tables where tablename = 'runs' and schemaname = 'elsewhere'")
        admin.done("drop schema elsewhere cascade")


def test_no_connection_is_made_elsewhere() -> None:
    """Whoever needs another engine gives it a path too, and is named here."""
    making = re.compile(r"\b(create_engine|psycopg2\.connect)\(")
    found = {
        str(file.relative_to(CHECKOUT / "stax_pipeline"))
        for file in (CHECKOUT / "stax_pipeline").rglob("*.py")
        if making.search(file.read_text())
    }
    assert found == {
        "warehouse/engine.py", "dagster_instance/storage.py", "cli/commands/sql.py",
        "embedded_postgres/client.py",  # asks nothing
    }  # fmt: skip

"""On a Postgres that is shared with others: Debian's, the product's user a superuser or one who may create roles."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from stax_pipeline.dagster_instance.storage import PooledPostgresStorage
from stax_pipeline.domain.errors import CannotStart
from stax_pipeline.installation.settings import Settings, read_settings
from stax_pipeline.tenants.grant import drop, grant
from stax_pipeline.warehouse.migrate import upgrade
from stax_pipeline.warehouse.roles import logins
from stax_pipeline_tests.warehouse.granted import Session, reader_of
from stax_pipeline_tests.warehouse.own_postgres import OwnPostgres, own_postgres

READER = "acme_reader"


@pytest.fixture(scope="module")
def server() -> Iterator[OwnPostgres]:
    with own_postgres(tls=True) as running:
        with Session(_settings(running, Path("/nowhere"), "boss").database_url) as boss:
            boss.done("create role plain login createrole password 'the-operators-own'", "create role mallory login")
        yield running


def _settings(server: OwnPostgres, home: Path, user: str, database: str = "postgres") -> Settings:
    url = server.url(user=user).replace("/postgres?", f"/{database}?")
    return read_settings(
        {"STAX_HOME": str(home), "STAX_DATABASE_URL": url, "STAX_DATABASE_CA_FILE": str(server.authority)}
    )


@contextmanager
def _emptied(server: OwnPostgres) -> Iterator[Session]:
    """The superuser in database `shared`, which is new, and gone afterwards with every login of the product."""
    with Session(_settings(server, Path("/nowhere"), "boss").database_url) as boss:
        boss.done("create database shared owner plain")
        try:
            with Session(_settings(server, Path("/nowhere"), "boss", "shared").database_url) as inside:
                yield inside
        finally:
            boss.done("drop database shared with (force)")
            for role in ("stax_owner", "stax_loader", "stax_analyst", "stax_app", "stax_dagster", READER):
                boss.told(f"drop role if exists {role}")


@pytest.fixture(params=["boss", "plain"])
def own(server: OwnPostgres, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Settings, Session]]:
    """Settings of an empty database, for a superuser and for one who may create roles; and the superuser in it."""
    with _emptied(server) as boss:
        yield _settings(server, tmp_path, request.param, "shared"), boss


def add_acme(boss: Session) -> None:
    boss.done(
        "insert into stax.tenants (tenant_id, slug, name, organization_id, status, created_at) "
        "values (gen_random_uuid(), 'acme', 'Acme', 'o', 'connected', now())"
    )


def test_a_login_is_made_reads_and_is_dropped(own: tuple[Settings, Session]) -> None:
    settings, boss = own
    assert upgrade(settings) == upgrade(settings) == []
    PooledPostgresStorage(logins(settings).dagster)
    assert boss.rows("select schemaname from pg_tables where tablename = 'runs'") == [("dagster",)]
    add_acme(boss)
    grant(settings, READER, ["acme"])
    with Session(reader_of(settings)) as reader:
        assert reader.rows("select slug from stax.tenants") == [("acme",)]
        reader.done("alter default privileges grant select on tables to public")
    drop(settings, READER)
    assert boss.rows(f"select from pg_roles where rolname = '{READER}'") == []


def test_no_password_stands_in_a_statement(server: OwnPostgres, own: tuple[Settings, Session]) -> None:
    """Servers log statements that set passwords, and show them to whoever watches."""
    settings, boss = own
    boss.done("alter system set log_statement = 'all'", "select pg_reload_conf()")
    try:
        upgrade(settings)
        add_acme(boss)
        grant(settings, READER, ["acme"])
    finally:
        boss.done("alter system reset log_statement", "select pg_reload_conf()")
    log = (server.folder / "log").read_text()
    passwords = [file.read_text() for file in (settings.home / "passwords").iterdir()]
    assert len(passwords) == 6 and "SCRAM-SHA-256$" in log
    assert not [password for password in passwords if password in log]


@pytest.mark.parametrize("schema", ["stax", "dagster"])
def test_a_schema_that_somebody_made_before_is_refused(own: tuple[Settings, Session], schema: str) -> None:
    settings, boss = own
    boss.done(f"create schema {schema} authorization mallory")
    with pytest.raises(CannotStart, match=f"Schema {schema} of this database belongs to mallory"):
        upgrade(settings)
    assert boss.rows("select from pg_tables where schemaname in ('stax', 'dagster')") == []


def test_who_may_create_in_our_schemas_or_become_us_is_named(own: tuple[Settings, Session]) -> None:
    settings, boss = own
    upgrade(settings)
    boss.done("grant create on schema stax to mallory", "grant stax_loader to mallory")
    created, member = upgrade(settings)
    assert created.startswith("role mallory may create tables and functions in schema stax")
    assert member.startswith("role mallory is a member of stax_loader")
    boss.done(*(warning.partition("To end it: ")[2] for warning in (created, member)))
    assert upgrade(settings) == []


def test_an_ordinary_user_with_named_logins(server: OwnPostgres, tmp_path: Path) -> None:
    """Where the product's user may create no roles, an administrator makes the logins."""
    with _emptied(server) as boss:
        boss.done("alter role plain nocreaterole", *(
            f"create role {role} login password 'the-operators-own'" for role in ("stax_loader", "stax_analyst")
        ))  # fmt: skip
        try:
            plain = _settings(server, tmp_path, "plain", "shared")
            urls = {
                f"STAX_{name}_URL": sa.make_url(plain.database_url).set(username=role).render_as_string(False)
                for name, role in (("LOADER", "stax_loader"), ("ANALYST", "stax_analyst"))
            }
            ca = {"STAX_DATABASE_CA_FILE": str(server.authority)}
            settings = read_settings(
                {"STAX_HOME": str(tmp_path), "STAX_DATABASE_URL": plain.database_url, **urls, **ca}
            )
            assert upgrade(settings) == []
            with Session(logins(settings).analyst) as analyst:
                assert analyst.rows("select count(*) from stax.tenants") == [(0,)]
        finally:
            boss.done("alter role plain createrole")

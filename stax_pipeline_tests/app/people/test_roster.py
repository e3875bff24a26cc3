"""Logins of the app against the real database: whom each reads as, and what is left of one that is gone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from stax_pipeline.app.people import roster, sessions
from stax_pipeline.app.people.database import AppDatabase
from stax_pipeline.app.people.person import AT_THIS_MACHINE, Person, Role
from stax_pipeline.checks.rules import GRANTED_LOGINS_ONLY_READ
from stax_pipeline.checks.runner import run_rule
from stax_pipeline.domain.errors import CannotStart, WrongUse
from stax_pipeline.domain.extraction import Window
from stax_pipeline.tenants.disconnect import purge
from stax_pipeline.tenants.grant import grant, granted
from stax_pipeline.warehouse import app_readers
from stax_pipeline.warehouse.engine import connect_engine
from stax_pipeline.warehouse.migrate import upgrade
from stax_pipeline.warehouse.privilege_audit import excess_of_the_app
from stax_pipeline.warehouse.roles import logins
from stax_pipeline.warehouse.tables import metadata
from stax_pipeline_tests.conftest import NOON, Installation, installed

PASSWORD = "correct horse battery"
SLUGS = sa.text("select slug from stax.tenants order by 1")


@pytest.fixture
def made(stax_home: Path) -> Iterator[Installation]:
    """acme and globex."""
    with installed(stax_home) as installation:
        tenants = [installation.add_tenant(slug) for slug in ("acme", "globex")]
        yield installation
        for tenant in tenants:
            roster.forget_reader(installation.settings, tenant.tenant_id)


@pytest.fixture
def database(made: Installation) -> Iterator[AppDatabase]:
    opened = AppDatabase(made.settings)
    yield opened
    opened.close()


def person(database: AppDatabase, name: str) -> Person:
    with database.own() as connection:
        found = sessions.person_of(connection, name)
    assert found is not None
    return found


@contextmanager
def as_admin(made: Installation) -> Iterator[sa.Connection]:
    engine = connect_engine(logins(made.settings).admin)
    with engine.begin() as admin:
        yield admin
    engine.dispose()


def sees(database: AppDatabase, who: Person) -> list[str]:
    with database.reading(who) as connection:
        return list(connection.execute(SLUGS).scalars())


def test_each_role_reads_what_it_should(made: Installation, database: AppDatabase) -> None:
    for name, role, slug in (("ola", Role.OPERATOR, None), ("ana", Role.ANALYST, None), ("tim", Role.TENANT, "acme")):
        assert roster.add(made.settings, name, role, slug, PASSWORD)
    assert sees(database, person(database, "ola")) == ["acme", "globex"]
    assert sees(database, person(database, "ana")) == ["acme", "globex"]
    assert sees(database, person(database, "tim")) == ["acme"]
    assert sees(database, AT_THIS_MACHINE) == ["acme", "globex"]


def test_a_page_is_read_in_one_transaction_that_cannot_write(made: Installation, database: AppDatabase) -> None:
    with database.reading(AT_THIS_MACHINE) as connection:
        assert connection.exec_driver_sql("show transaction_read_only").scalar_one() == "on"
        assert connection.exec_driver_sql("show transaction_isolation").scalar_one() == "repeatable read"
        assert connection.exec_driver_sql("select current_user").scalar_one() == "stax_analyst"
    with database.own() as connection:
        assert connection.exec_driver_sql("select current_user").scalar_one() == "stax_app"


@pytest.mark.parametrize("table", sorted(t.name for t in metadata.sorted_tables if t.name not in app_readers.OWN))
def test_by_itself_the_app_reads_no_table_but_its_own(database: AppDatabase, table: str) -> None:
    with pytest.raises(Exception, match="permission denied"), database.own() as connection:
        connection.exec_driver_sql(f"select from stax.{table}")


@pytest.mark.parametrize("table", sorted(app_readers.OWN))
def test_whom_it_reads_as_sees_neither_passwords_nor_sessions(database: AppDatabase, table: str) -> None:
    with pytest.raises(Exception, match="permission denied"), database.reading(AT_THIS_MACHINE) as connection:
        connection.exec_driver_sql(f"select from stax.{table}")


@pytest.mark.parametrize("role", ["stax_owner", "stax_loader", "stax_dagster"])
def test_the_app_becomes_nobody_who_writes(database: AppDatabase, role: str) -> None:
    with pytest.raises(Exception, match="permission denied to set role"), database.own() as connection:
        connection.exec_driver_sql(f"set local role {role}")


@pytest.mark.parametrize(
    "statement",
    [
        "insert into stax.logins values ('eve', 'operator', null, 'x', now())",
        "update stax.logins set role = 'operator'",
        "update stax.sessions set expires_at = 'infinity'",
        "update stax.invites set expires_at = 'infinity'",
        "insert into stax.invites values ('', gen_random_uuid(), 'a', '', now(), now())",
        "insert into stax.admin_keys values (gen_random_uuid(), 1, '', '', '', '', now())",
        "select ciphertext from stax.admin_keys",
        "select wrapped_data_key from stax.admin_keys",
        "update stax.tenants set status = 'connected'",
        "delete from stax.logins",
        "create table stax.mine (x int)",
    ],
)
def test_the_app_makes_nobody_an_operator_and_touches_no_key(database: AppDatabase, statement: str) -> None:
    with pytest.raises(Exception, match="permission denied|row-level security"), database.own() as connection:
        connection.exec_driver_sql(statement)


def begun(connection: sa.Connection, name: str) -> str:
    """A session of this login, whose password was right."""
    token = sessions.begin(connection, name, sessions.password_hash_of(connection, name) or "")
    assert token
    return token


def test_a_password_that_was_replaced_while_it_was_checked_begins_no_session(
    made: Installation, database: AppDatabase
) -> None:
    roster.add(made.settings, "ana", Role.ANALYST, None, PASSWORD)
    with database.own() as connection:
        kept = sessions.password_hash_of(connection, "ana")
    assert kept
    roster.add(made.settings, "ana", Role.ANALYST, None, f"{PASSWORD} anew")
    with database.own() as connection:
        assert sessions.begin(connection, "ana", kept) is None
    assert [one.sessions for one in roster.listed(made.settings)] == [0]


def test_another_role_or_password_ends_the_sessions(made: Installation, database: AppDatabase) -> None:
    roster.add(made.settings, "ana", Role.ANALYST, None, PASSWORD)
    with database.own() as connection:
        token = begun(connection, "ana")
    assert [one.sessions for one in roster.listed(made.settings)] == [1]
    assert not roster.add(made.settings, "Ana", Role.TENANT, "globex", PASSWORD)
    with database.own() as connection:
        assert sessions.find(connection, token) is None
    assert sees(database, person(database, "ana")) == ["globex"]


def test_a_removed_login_is_out_at_once(made: Installation, database: AppDatabase) -> None:
    roster.add(made.settings, "ana", Role.ANALYST, None, PASSWORD)
    with database.own() as connection:
        token = begun(connection, "ana")
        assert sessions.find(connection, token) == Person("ana", Role.ANALYST)
    assert roster.remove(made.settings, "ana") == 1
    with database.own() as connection:
        assert sessions.find(connection, token) is None
    with pytest.raises(WrongUse, match="There is no login ana"):
        roster.remove(made.settings, "ana")


def test_a_session_ends_by_itself_and_is_forgotten_at_the_next_login(made: Installation, database: AppDatabase) -> None:
    roster.add(made.settings, "ana", Role.ANALYST, None, PASSWORD)
    with database.own() as connection:
        token = begun(connection, "ana")
    with made.engine.begin() as connection:
        connection.exec_driver_sql("update stax.sessions set expires_at = now()")
    with database.own() as connection:
        assert sessions.find(connection, token) is None
        begun(connection, "ana")
        assert connection.exec_driver_sql("select count(*) from stax.sessions").scalar_one() == 1


def test_neither_a_password_nor_a_sessions_cookie_is_kept(made: Installation, database: AppDatabase) -> None:
    roster.add(made.settings, "ana", Role.ANALYST, None, PASSWORD)
    with database.own() as connection:
        token = begun(connection, "ana")
        kept = repr([connection.exec_driver_sql(f"table stax.{name}").all() for name in ("logins", "sessions")])
    assert PASSWORD not in kept
    assert token not in kept
    assert "$argon2id$" in kept


def test_a_purge_takes_the_tenants_logins_and_sessions(made: Installation, database: AppDatabase) -> None:
    roster.add(made.settings, "tim", Role.TENANT, "acme", PASSWORD)
    roster.add(made.settings, "ana", Role.ANALYST, None, PASSWORD)
    with database.own() as connection:
        token = begun(connection, "tim")
    assert not purge(made.engine, made.lake, "acme").left
    assert [one.name for one in roster.listed(made.settings)] == ["ana"]
    with database.own() as connection:
        assert sessions.find(connection, token) is None


def test_a_tenants_role_goes_with_the_tenant(made: Installation, database: AppDatabase) -> None:
    roster.add(made.settings, "tim", Role.TENANT, "acme", PASSWORD)
    tim = person(database, "tim")
    assert tim.tenant_id
    purge(made.engine, made.lake, "acme")
    roster.forget_reader(made.settings, tim.tenant_id)
    roster.forget_reader(made.settings, tim.tenant_id)
    with pytest.raises(CannotStart, match="may not read for this login"):
        sees(database, tim)


def test_a_role_that_a_restore_lost_is_made_again(made: Installation, database: AppDatabase) -> None:
    roster.add(made.settings, "tim", Role.TENANT, "acme", PASSWORD)
    tim = person(database, "tim")
    assert tim.tenant_id
    roster.forget_reader(made.settings, tim.tenant_id)
    with pytest.raises(CannotStart, match="may not read for this login"):
        sees(database, tim)
    with database.own() as connection:
        token = begun(connection, "tim")
    roster.begin_anew(made.settings)
    assert sees(database, tim) == ["acme"]
    with database.own() as connection:
        assert sessions.find(connection, token) is None


def test_the_roles_of_tenants_are_nobodys_login_and_fail_no_check(made: Installation, database: AppDatabase) -> None:
    roster.add(made.settings, "tim", Role.TENANT, "acme", PASSWORD)
    with made.engine.connect() as connection:
        day = Window(NOON.date(), NOON.date() + timedelta(days=1))
        assert not list(run_rule(connection, GRANTED_LOGINS_ONLY_READ, day, NOON, made.settings).rows)
    assert granted(made.settings) == {}
    with pytest.raises(WrongUse, match="reserved"):
        grant(made.settings, app_readers.tenants_role(person(database, "tim").tenant_id), ["globex"])  # type: ignore[arg-type]


def test_an_upgrade_mends_what_the_app_may(made: Installation, database: AppDatabase) -> None:
    engine = connect_engine(logins(made.settings).admin)
    with engine.begin() as admin:
        admin.exec_driver_sql("revoke stax_analyst from stax_app")
    with pytest.raises(CannotStart, match="may not read for this login"):
        sees(database, AT_THIS_MACHINE)
    assert upgrade(made.settings) == []
    assert sees(database, AT_THIS_MACHINE) == ["acme", "globex"]
    with engine.connect() as admin:
        inherits = (
            "select rolinherit or rolsuper or rolbypassrls or rolcreaterole from pg_roles where rolname = 'stax_app'"
        )
        assert not admin.exec_driver_sql(inherits).scalar_one()
    engine.dispose()


@pytest.mark.parametrize(
    ("name", "role", "slug", "password", "words"),
    [
        ("a b", Role.ANALYST, None, PASSWORD, "not a valid name"),
        ("", Role.ANALYST, None, PASSWORD, "not a valid name"),
        ("ana", Role.ANALYST, "acme", PASSWORD, "--tenant SLUG"),
        ("ana", Role.TENANT, None, PASSWORD, "--tenant SLUG"),
        ("ana", Role.TENANT, "nobody", PASSWORD, "There is no tenant nobody"),
        ("ana", Role.ANALYST, None, "short", "12 to 256 printable"),
    ],
)
def test_what_cannot_be_a_login_is_refused_and_not_kept(
    made: Installation, name: str, role: Role, slug: str | None, password: str, words: str
) -> None:
    with pytest.raises(WrongUse, match=words) as refused:
        roster.add(made.settings, name, role, slug, password)
    assert password not in str(refused.value)
    assert roster.listed(made.settings) == []


@pytest.mark.parametrize(
    ("grown", "ended", "words"),
    [
        (
            "grant stax_loader to stax_app", "revoke stax_loader from stax_app",
            "role stax_app is a member of stax_loader",
        ),
        (
            "grant pg_read_all_data to stax_app", "revoke pg_read_all_data from stax_app",
            "role stax_app is a member of pg_read_all_data",
        ),
    ],
)  # fmt: skip
def test_an_app_that_may_do_more_is_told_at_every_start_and_by_verify(
    made: Installation, grown: str, ended: str, words: str
) -> None:
    with as_admin(made) as admin:
        admin.exec_driver_sql(grown)
    try:
        [told] = upgrade(made.settings)
        assert told.startswith(words)
        assert told.replace('"', "").endswith(f"To end it: {ended};")
        with made.engine.connect() as connection:
            assert excess_of_the_app(connection, logins(made.settings)) == [told]
    finally:
        with as_admin(made) as admin:
            admin.exec_driver_sql(ended)
    assert upgrade(made.settings) == []


def test_an_app_that_inherits_is_told_and_mended(made: Installation) -> None:
    with as_admin(made) as admin:
        admin.exec_driver_sql("alter role stax_app inherit")
    with made.engine.connect() as connection:
        [told] = excess_of_the_app(connection, logins(made.settings))
    assert told.endswith('To end it: alter role "stax_app" noinherit;')
    assert upgrade(made.settings) == []

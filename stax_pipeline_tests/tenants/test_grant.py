"""Granting and revoking: who may be granted, what a kill leaves, what a name that comes back may see."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
import sqlalchemy as sa

from stax_pipeline.checks.rules import GRANTED_LOGINS_ONLY_READ
from stax_pipeline.checks.runner import run_rule
from stax_pipeline.domain.errors import CannotStart, WrongUse
from stax_pipeline.domain.extraction import Window
from stax_pipeline.installation.settings import Settings, read_settings
from stax_pipeline.tenants.disconnect import purge
from stax_pipeline.tenants.grant import drop as drop_login
from stax_pipeline.tenants.grant import grant, granted, revoke
from stax_pipeline.warehouse import grants
from stax_pipeline.warehouse.engine import connect_engine
from stax_pipeline.warehouse.migrate import upgrade
from stax_pipeline.warehouse.roles import logins
from stax_pipeline_tests.conftest import NOON, Installation, installed
from stax_pipeline_tests.warehouse.granted import READER, Session, reader_of

SLUGS = "select slug from stax.tenants order by 1"


@pytest.fixture
def made(stax_home: Path) -> Iterator[Installation]:
    """acme and globex; afterwards `READER` is gone."""
    with installed(stax_home) as installation:
        installation.add_tenant("acme")
        installation.add_tenant("globex")
        (stax_home / "passwords" / READER).unlink(missing_ok=True)
        yield installation
        drop(installation.settings, READER)


def drop(settings: Settings, *roles: str) -> None:
    with Session(logins(settings).admin) as admin:
        for role in roles:
            admin.told(f"drop owned by {role}", f"drop role {role}")


def reads(settings: Settings) -> list[str]:
    with Session(reader_of(settings)) as reader:
        return [row[0] for row in reader.rows(SLUGS)]


def test_the_login_is_made_once_with_a_private_password(made: Installation) -> None:
    first = grant(made.settings, READER, ["acme"])
    assert (first.slugs, first.is_new) == (("acme",), True)
    file = made.home / "passwords" / READER
    assert file.stat().st_mode & 0o777 == 0o600
    assert (file.parent.stat().st_mode & 0o777) == 0o700
    password = file.read_text()
    again = grant(made.settings, READER, ["acme", "globex"])
    assert (again.slugs, again.is_new) == (("acme", "globex"), False)
    assert file.read_text() == password
    assert reads(made.settings) == ["acme", "globex"]


def test_the_login_may_nothing_else(made: Installation) -> None:
    grant(made.settings, READER, ["acme"])
    with Session(logins(made.settings).admin) as admin:
        [flags] = admin.rows(
            "select rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication "
            f"from pg_roles where rolname = '{READER}'"
        )
        assert not any(flags)
        assert admin.rows(f"select 1 from pg_auth_members where member = '{READER}'::regrole") == []


@pytest.mark.parametrize("act", [grant, revoke])
def test_an_unknown_tenant_changes_nothing(made: Installation, act: object) -> None:
    with pytest.raises(WrongUse, match="no tenant nobody"):
        act(made.settings, READER, ["acme", "nobody"])  # type: ignore[operator]
    with Session(logins(made.settings).admin) as admin:
        assert admin.rows(f"select 1 from pg_roles where rolname = '{READER}'") == []
    assert not (made.home / "passwords" / READER).exists()


def test_what_was_not_granted_cannot_be_revoked(made: Installation) -> None:
    grant(made.settings, READER, ["acme"])
    with pytest.raises(WrongUse, match="does not read globex; nothing was changed"):
        revoke(made.settings, READER, ["acme", "globex"])
    assert reads(made.settings) == ["acme"]


def test_grants_of_one_login_are_not_shown_to_another(made: Installation) -> None:
    try:
        grant(made.settings, READER, ["acme"])
        grant(made.settings, "other_reader", ["acme", "globex"])
        with Session(reader_of(made.settings)) as reader:
            assert reader.rows("select role_name from stax.tenant_grants") == [(READER,)]
    finally:
        drop(made.settings, "other_reader")


def test_a_purged_tenant_leaves_no_grant_and_its_name_comes_back_unread(made: Installation) -> None:
    grant(made.settings, READER, ["acme"])
    assert purge(made.engine, made.lake, "acme").rows["tenant_grants"] == 1
    assert reads(made.settings) == []
    made.add_tenant("acme")
    assert reads(made.settings) == []


def test_a_login_made_anew_under_an_old_name_begins_with_nothing(made: Installation) -> None:
    grant(made.settings, READER, ["acme", "globex"])
    drop(made.settings, READER)
    with Session(logins(made.settings).admin) as admin:  # by hand, not by `stax grant`
        admin.told(f"create role {READER} login password '{(made.home / 'passwords' / READER).read_text()}'")
        upgrade(made.settings)
        with Session(reader_of(made.settings)) as reader:
            assert "permission denied for schema stax" in reader.told(SLUGS)
        admin.told(f"drop role {READER}")
    old = (made.home / "passwords" / READER).read_text()
    again = grant(made.settings, READER, ["acme"])
    assert (again.slugs, again.is_new, again.forgotten) == (("acme",), True, ("globex",))
    assert (made.home / "passwords" / READER).read_text() != old
    assert reads(made.settings) == ["acme"]


def test_a_login_made_by_hand_under_an_old_name_inherits_no_tenant(made: Installation) -> None:
    grant(made.settings, READER, ["acme", "globex"])
    drop(made.settings, READER)
    with Session(logins(made.settings).admin) as admin:
        admin.told(f"create role {READER} login")
        again = grant(made.settings, READER, ["acme"])
        assert (again.slugs, again.is_new, again.forgotten) == (("acme",), False, ("globex",))
        assert grant(made.settings, READER, ["globex"]).forgotten == ()


def test_who_reads_what_is_listed_with_logins_that_are_gone(made: Installation) -> None:
    grant(made.settings, READER, ["acme", "globex"])
    assert granted(made.settings) == {READER: (("acme", "globex"), False, ())}
    drop(made.settings, READER)
    assert granted(made.settings) == {READER: (("acme", "globex"), True, ())}


def test_a_login_is_dropped_with_its_tenants_and_its_password(made: Installation) -> None:
    grant(made.settings, READER, ["acme"])
    with Session(reader_of(made.settings)) as reader:
        drop_login(made.settings, READER)
        assert "acme" not in reader.told(SLUGS)
    assert granted(made.settings) == {}
    assert not (made.home / "passwords" / READER).exists()
    with pytest.raises(WrongUse, match="did not make a login acme_reader"):
        drop_login(made.settings, READER)


def test_default_privileges_that_a_login_set_keep_nobody_from_being_dropped(made: Installation) -> None:
    other = "globex_reader"
    for role in (READER, other):
        grant(made.settings, role, ["acme"])
    try:
        with Session(reader_of(made.settings)) as reader:
            reader.done(
                "alter default privileges grant select on tables to public",
                f"alter default privileges grant select on tables to {other}",
                "alter default privileges revoke execute on functions from public",
            )
        drop_login(made.settings, other)
        with Session(logins(made.settings).admin) as admin:
            admin.done(f"alter default privileges for role stax_owner grant usage on types to {READER}")
        drop_login(made.settings, READER)
        with Session(logins(made.settings).admin) as admin:
            assert admin.rows("select * from pg_default_acl") == []
    finally:
        drop(made.settings, other)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("comment on role {0} is null",), "did not make a login"),
        (("drop owned by {0}", "drop role {0}", "create role {0} login"), "did not make a login"),
        (("create schema odd authorization {0}",), "owns something"),
        (("create schema odd", "grant usage on schema odd to {0}"), "has rights elsewhere"),
    ],
)
def test_a_login_that_has_more_than_tenants_is_not_dropped(
    made: Installation, more: tuple[str, ...], words: str
) -> None:
    grant(made.settings, READER, ["acme"])
    with Session(logins(made.settings).admin) as admin:
        assert admin.told(*(statement.format(READER) for statement in more)) == ""
        try:
            with pytest.raises(WrongUse, match=words):
                drop_login(made.settings, READER)
            assert granted(made.settings)[READER].slugs == ("acme",)
        finally:
            admin.told("drop schema odd")


@pytest.mark.parametrize("stage", ["open_to", "add_grants"])
def test_a_grant_killed_half_way_shows_nothing_and_is_finished_by_the_next(
    made: Installation, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(grants, stage, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            grant(made.settings, READER, ["acme"])
    with Session(reader_of(made.settings)) as reader:
        assert "acme" not in reader.told(SLUGS)
    assert grant(made.settings, READER, ["acme"]).slugs == ("acme",)
    assert reads(made.settings) == ["acme"]


def test_a_revoke_killed_half_way_has_revoked_and_can_be_made_again(
    made: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    grant(made.settings, READER, ["acme"])
    with monkeypatch.context() as patched:
        patched.setattr(grants, "close_to", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            revoke(made.settings, READER, ["acme"])
    assert reads(made.settings) == []


@pytest.fixture
def odd_roles(made: Installation) -> Iterator[Session]:
    """Roles that no granted login may be a member of, and another granted login."""
    names = ("odd_over", "odd_super", "odd_bypass", "rds_superuser", "other_reader")
    grant(made.settings, "other_reader", ["globex"])
    with Session(logins(made.settings).admin) as admin:
        admin.told(
            "create role odd_super superuser nologin", "create role odd_bypass bypassrls nologin",
            "create role odd_over in role odd_super nologin", "create role rds_superuser nologin",
        )  # fmt: skip
        yield admin
        drop(made.settings, READER, *names)


def test_a_granted_login_that_becomes_powerful_is_a_violation(made: Installation, odd_roles: Session) -> None:
    grant(made.settings, READER, ["acme"])
    day = Window(date(2026, 11, 1), date(2026, 11, 2))
    for url in (logins(made.settings).loader, logins(made.settings).analyst):
        with connect_engine(url).connect() as connection:

            def found() -> list[tuple[object, ...]]:
                return list(run_rule(connection, GRANTED_LOGINS_ONLY_READ, day, NOON, made.settings).rows)

            assert found() == []
            odd_roles.told(f"grant odd_over to {READER}")
            assert found() == [("acme", READER, "odd_super", "superuser")]
            odd_roles.told(f"revoke odd_over from {READER}")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        ("create role {0} login superuser", "superuser"),
        ("create role {0} login bypassrls", "BYPASSRLS"),
        ("create role {0} login createrole", "CREATEROLE"),
        ("create role {0} login in role stax_analyst", "member of stax_analyst"),
        ("create role {0} login in role stax_loader", "member of stax_loader"),
        ("create role {0} login in role pg_read_all_data", "member of pg_read_all_data"),
        ("create role {0} login in role odd_super", r"\(member of odd_super: superuser\)"),
        ("create role {0} login noinherit in role odd_over", r"\(member of odd_super: superuser\)"),
        ("create role {0} login in role odd_bypass", "member of odd_bypass: BYPASSRLS"),
        ("create role {0} login in role rds_superuser", "member of rds_superuser"),
        ("create role {0} login in role other_reader", "member of other_reader: reads tenants of its own"),
        ("create role {0} login role other_reader", "Login other_reader reads tenants .* is a member of acme_reader"),
        ("create role {0} nologin", "cannot log in"),
    ],
)
@pytest.mark.usefixtures("odd_roles")
def test_a_login_that_policies_would_not_hold_is_refused(made: Installation, make: str, words: str) -> None:
    with Session(logins(made.settings).admin) as admin:
        assert admin.told(make.format(READER)) == ""
        with pytest.raises(WrongUse, match=words):
            grant(made.settings, READER, ["acme"])
        assert admin.rows(f"select 1 from stax.tenant_grants where role_name = '{READER}'") == []


class TestOperatorsOwn:
    """A database whose user may not create roles: the operator makes the login, the rest is the same."""

    @pytest.fixture
    def plain(self, stax_home: Path, tmp_path: Path) -> Iterator[Settings]:
        embedded = sa.make_url(logins(read_settings({"STAX_HOME": str(stax_home)})).admin)
        admin = sa.create_engine(embedded, isolation_level="AUTOCOMMIT")
        names = ("own_plain", "own_loader", "own_analyst", READER)
        with admin.connect() as connection:
            for role in names:
                connection.exec_driver_sql(f"create role {role} login password 'pw'")
            connection.exec_driver_sql("create database own_db owner own_plain")
            url = embedded.set(username="own_plain", password="pw", database="own_db")
            named = {
                f"STAX_{kind}_URL": url.set(username=f"own_{kind.lower()}").render_as_string(hide_password=False)
                for kind in ("LOADER", "ANALYST")
            }
            settings = read_settings(
                {"STAX_HOME": str(tmp_path), "STAX_DATABASE_URL": url.render_as_string(hide_password=False), **named}
            )
            upgrade(settings)
            yield settings
            connection.exec_driver_sql("drop database own_db with (force)")
            for role in names:
                connection.exec_driver_sql(f"drop role {role}")
        admin.dispose()

    def test_an_existing_login_is_granted_and_a_missing_one_named(self, plain: Settings) -> None:
        with Session(logins(plain).loader) as loader:
            loader.told(*(
                f"insert into stax.tenants values (gen_random_uuid(), '{slug}', '', '{slug}', 'connected', now(), null)"
                for slug in ("acme", "globex")
            ))  # fmt: skip
        assert grant(plain, READER, ["acme"]) == (("acme",), False, ())
        url = sa.make_url(logins(plain).admin).set(username=READER).render_as_string(hide_password=False)
        with Session(url) as reader:
            assert reader.rows(SLUGS) == [("acme",)]
            assert "permission denied" in reader.told("table stax.admin_keys")
        with Session(logins(plain).loader) as loader:  # as after a restore
            loader.told("insert into stax.tenant_grants select 'absent', tenant_id from stax.tenants")
        with pytest.raises(CannotStart, match="no login absent, and .* may not create roles. Create it"):
            grant(plain, "absent", ["acme"])
        assert granted(plain)["absent"].slugs == ("acme", "globex")
        with pytest.raises(WrongUse, match="own_analyst is one of the product's own logins"):
            grant(plain, "own_analyst", ["acme"])
        with pytest.raises(WrongUse, match="password of acme_reader is not known here"):
            reader_of(plain)
        assert revoke(plain, READER, ["acme"]).slugs == ()


def test_a_user_who_may_create_roles_and_is_no_superuser_can_all_of_it_at_every_start(stax_home: Path) -> None:
    """As on a managed Postgres. The product's roles are there already; since Postgres 16 it has to administer them."""
    embedded = sa.make_url(logins(read_settings({"STAX_HOME": str(stax_home)})).admin)
    url = embedded.set(username="own_creator", password="pw", database="own_creators")
    settings = read_settings(
        {"STAX_HOME": str(stax_home), "STAX_DATABASE_URL": url.render_as_string(hide_password=False)}
    )
    with Session(embedded.render_as_string(hide_password=False)) as admin:
        made = admin.told(
            "create role own_creator login createrole password 'pw'",
            "grant stax_owner, stax_loader, stax_analyst, stax_app, stax_dagster to own_creator with admin option",
            "create database own_creators owner own_creator",
        )
        assert made == ""
        try:
            upgrade(settings)
            upgrade(settings)
            with Session(logins(settings).loader) as loader:
                loader.told(
                    "insert into stax.tenants values (gen_random_uuid(), 'acme', '', 'acme', 'connected', now(), null)"
                )
            assert grant(settings, READER, ["acme"]) == (("acme",), True, ())
            assert reads(settings) == ["acme"]
            drop_login(settings, READER)
            assert admin.rows(f"select from pg_roles where rolname = '{READER}'") == []
        finally:
            admin.told(
                "drop database own_creators with (force)", f"drop role {READER}", "drop owned by own_creator cascade",
                "drop role own_creator",
            )  # fmt: skip
            assert admin.rows("select from pg_roles where rolname = 'own_creator'") == []

"""Granting and revoking: who may be granted, what a kill leaves, what a name that comes back may see."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from stax_pipeline.domain.errors import CannotStart, WrongUse
from stax_pipeline.resources.warehouse import grants
from stax_pipeline.resources.warehouse.migrate import upgrade
from stax_pipeline.resources.warehouse.roles import logins
from stax_pipeline.settings import Settings, read_settings
from stax_pipeline.tenants.disconnect import purge
from stax_pipeline.tenants.grant import grant, revoke
from stax_pipeline_tests.conftest import Installation, installed
from stax_pipeline_tests.resources.granted import READER, Session, reader_of

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
    assert grant(made.settings, READER, ["acme"]).slugs == ("acme",)
    assert reads(made.settings) == ["acme"]


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


@pytest.mark.parametrize(
    ("make", "words"),
    [
        ("create role {0} login superuser", "superuser"),
        ("create role {0} login bypassrls", "BYPASSRLS"),
        ("create role {0} login createrole", "CREATEROLE"),
        ("create role {0} login in role stax_analyst", "member of stax_analyst"),
        ("create role {0} login in role stax_loader", "member of stax_loader"),
        ("create role {0} login in role pg_read_all_data", "member of .*pg_read_all_data"),
        ("create role {0} nologin", "cannot log in"),
    ],
)
def test_a_login_that_policies_would_not_hold_is_refused(made: Installation, make: str, words: str) -> None:
    with Session(logins(made.settings).admin) as admin:
        admin.told(make.format(READER))
    with pytest.raises(WrongUse, match=words):
        grant(made.settings, READER, ["acme"])
    with Session(logins(made.settings).admin) as admin:
        assert admin.rows("select 1 from stax.tenant_grants") == []


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
        granted = grant(plain, READER, ["acme"])
        assert (granted.slugs, granted.is_new) == (("acme",), False)
        url = sa.make_url(logins(plain).admin).set(username=READER).render_as_string(hide_password=False)
        with Session(url) as reader:
            assert reader.rows(SLUGS) == [("acme",)]
            assert "permission denied" in reader.told("table stax.admin_keys")
        with pytest.raises(CannotStart, match="no login absent, and .* may not create roles. Create it"):
            grant(plain, "absent", ["acme"])
        with pytest.raises(WrongUse, match="own_analyst is one of the product's own logins"):
            grant(plain, "own_analyst", ["acme"])
        with pytest.raises(WrongUse, match="password of acme_reader is not known here"):
            reader_of(plain)
        assert revoke(plain, READER, ["acme"]).slugs == ()

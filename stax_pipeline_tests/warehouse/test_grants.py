"""What a granted login sees: its tenants' rows in every table and view there is, and nothing of what is secret."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
import sqlalchemy as sa

from stax_pipeline.domain.errors import CannotStart
from stax_pipeline.installation.homes import CHECKOUT
from stax_pipeline.installation.settings import Settings
from stax_pipeline.tenants.grant import grant, revoke
from stax_pipeline.warehouse.engine import connect_engine, plain_faults
from stax_pipeline.warehouse.granted_logins import GRANTED_CONNECTIONS
from stax_pipeline.warehouse.grants import SECRET, SHARED
from stax_pipeline.warehouse.migrate import upgrade
from stax_pipeline.warehouse.roles import DAGSTER_SCHEMA, logins
from stax_pipeline.warehouse.tables import metadata
from stax_pipeline_tests.warehouse.granted import IDS, OF_GLOBEX, READER, Session, operators_postgres, reader_of

RELATIONS = "select relname::text, relkind::text from pg_class where relnamespace = 'stax'::regnamespace " \
            "and relkind in ('r', 'p', 'v', 'm', 'f')"  # fmt: skip


@pytest.fixture(scope="module")
def own(stax_home: Path) -> Iterator[Settings]:
    with operators_postgres(stax_home) as settings:
        yield settings


@pytest.fixture
def admin(own: Settings) -> Iterator[Session]:
    with Session(logins(own).admin) as session:
        yield session


@pytest.fixture
def reader(own: Settings) -> Iterator[Session]:
    with Session(reader_of(own)) as session:
        yield session


def relations(session: Session) -> dict[str, str]:
    return dict(session.rows(RELATIONS))


def mentions(told: str, *words: str) -> bool:
    return any(word in told for word in words)


def test_every_table_and_view_shows_acme_and_nothing_of_globex(admin: Session, reader: Session) -> None:
    found = relations(admin)
    assert set(found) > {table.name for table in metadata.sorted_tables}
    for name in set(found) - set(SECRET):
        whole = admin.told(f"select * from stax.{name}")
        assert found[name] == "v" or name == "tenant_grants" or mentions(whole, *OF_GLOBEX), name
        told = reader.told(f"select * from stax.{name}")
        if name in SHARED:
            assert told == whole
            continue
        assert not mentions(told, *OF_GLOBEX), (name, told)
        assert mentions(told, "acme", str(IDS["acme"])) or not mentions(whole, "acme", str(IDS["acme"])), (name, told)


@pytest.mark.parametrize("name", SECRET)
def test_what_is_secret_is_not_even_counted(reader: Session, name: str) -> None:
    assert "permission denied" in reader.told(f"select count(*) from stax.{name}")


def test_a_table_without_a_tenant_is_named_shared_or_secret(admin: Session) -> None:
    """Whoever adds a table decides: a tenant_id, or a name in `grants.SHARED` or `grants.SECRET`."""
    tables = {name for name, kind in relations(admin).items() if kind != "v"}
    with_tenant = {row[0] for row in admin.rows(
        "select relname::text from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id' "
        "where relnamespace = 'stax'::regnamespace and relkind in ('r', 'p')"
    )}  # fmt: skip
    assert tables - with_tenant == {*SHARED, *SECRET} - {"admin_keys", "invites", "logins"}


def test_no_policy_or_grant_but_the_products_own_names(admin: Session) -> None:
    policies = admin.rows(
        "select tablename, policyname, roles::text[], cmd, qual from pg_policies where schemaname = 'stax'"
    )
    for table, policy, roles, command, condition in policies:
        known = {
            "loader": (["stax_loader"], "ALL"),
            "analyst": (["stax_analyst"], "SELECT"),
            "granted": (["public"], "SELECT"),
            "owner": (["stax_owner"], "ALL"),
            "app": (["stax_app"], "ALL"),
            "app_changes": (["stax_owner"], "ALL"),
        }
        assert (roles, command) == known[policy], table
        assert policy != "owner" or table == "alembic_version"
        assert policy != "app" or table in ("admin_keys", "invites", "logins", "sessions")
        assert policy != "app_changes" or condition == "(SESSION_USER = 'stax_app'::name)"
        assert policy != "granted" or ("CURRENT_USER" in condition and "current_setting" not in condition), table
    assert {t for t, p, *_ in policies if p == "granted"} == {
        n for n, kind in relations(admin).items() if kind != "v" and n not in SECRET
    }


def test_the_keys_are_the_loaders_alone(admin: Session) -> None:
    found = admin.rows(
        "select rolname from pg_roles where not rolsuper and has_table_privilege(oid, 'stax.admin_keys', 'select') "
        "and not starts_with(rolname, 'pg_')"
    )
    assert {row[0] for row in found} == {"stax_loader", "stax_owner"}  # the owner's rows are none: see below
    readable = admin.rows(
        "select attname::text from pg_attribute where attrelid = 'stax.admin_keys'::regclass and attnum > 0 "
        "and has_column_privilege('stax_app', attrelid, attnum, 'select')"
    )
    assert {row[0] for row in readable} == {"tenant_id", "generation", "key_hint", "validated_at", "revoked_at"}
    policies = admin.rows("select policyname::text from pg_policies where tablename = 'admin_keys' order by 1")
    assert policies == [("app",), ("app_changes",), ("loader",)]


def test_the_owner_passes_no_policy_by(own: Settings) -> None:
    with Session(logins(own).owner) as owner:
        assert owner.rows("select * from stax.admin_keys") == []
        assert owner.rows("select * from stax.spend") == []


def test_two_functions_run_with_the_owners_rights_for_the_app_alone(admin: Session) -> None:
    found = admin.rows(
        "select proname::text, prosecdef, proconfig, array(select grantee::regrole::text from aclexplode(proacl) "
        "where grantee <> proowner) from pg_proc "
        "where pronamespace = any(array['stax', 'dagster']::regnamespace[]) order by 1"
    )
    path = ["search_path=pg_catalog, stax, pg_temp"]
    assert found == [(name, True, path, ["stax_app"]) for name in ("end_connection", "store_admin_key")]


def test_a_table_added_later_is_opened_to_the_tenants_rows_or_not_at_all(
    own: Settings, admin: Session, reader: Session
) -> None:
    with Session(logins(own).owner) as owner:
        owner.told(
            "create table stax.later (tenant_id uuid, words text)",
            "create table stax.later_without (words text)",
            "create view stax.later_as_owner as select * from stax.tenants",
            *(f"alter table stax.{t} enable row level security" for t in ("later", "later_without")),
            *(f"grant select on stax.{t} to stax_analyst" for t in ("later", "later_without", "later_as_owner")),
        )
    try:
        admin.told(*(f"insert into stax.later values ('{IDS[slug]}', '{slug}')" for slug in IDS))
        admin.told("insert into stax.later values (null, 'of nobody')", "insert into stax.later_without values ('x')")
        upgrade(own)
        assert reader.rows("select words from stax.later") == [("acme",)]
        assert "permission denied" in reader.told("select * from stax.later_without")
        assert "permission denied" in reader.told("select * from stax.later_as_owner")
    finally:
        admin.told("drop view stax.later_as_owner", "drop table stax.later, stax.later_without")


def test_granting_and_revoking_hold_for_sessions_that_are_open(own: Settings, reader: Session) -> None:
    slugs = "select slug from stax.tenants order by 1"
    assert reader.rows(slugs) == [("acme",)]
    assert grant(own, READER, ["globex"]).slugs == ("acme", "globex")
    assert reader.rows(slugs) == [("acme",), ("globex",)]
    assert revoke(own, READER, ["globex"]).slugs == ("acme",)
    assert reader.rows(slugs) == [("acme",)]


def test_the_last_revoke_takes_everything_and_keeps_the_login(own: Settings, admin: Session, reader: Session) -> None:
    try:
        assert revoke(own, READER, ["acme"]).slugs == ()
        assert "permission denied for schema stax" in reader.told("select * from stax.tenants")
        left = admin.rows(
            "select c.relname from pg_class c, aclexplode(c.relacl) acl "
            f"where relnamespace = 'stax'::regnamespace and acl.grantee = '{READER}'::regrole"
        )
        assert left == []
        assert admin.rows(f"select rolcanlogin from pg_roles where rolname = '{READER}'") == [(True,)]
        upgrade(own)
        assert "permission denied for schema stax" in reader.told("select * from stax.tenants")
    finally:
        grant(own, READER, ["acme"])


def test_a_login_without_tenants_sees_no_row(own: Settings, admin: Session, reader: Session) -> None:
    """Its privileges are there, as after a purge of its only tenant; the policies let nothing through."""
    admin.told("delete from stax.tenant_grants")
    try:
        for name in set(relations(admin)) - set(SECRET):
            assert reader.rows(f"select * from stax.{name}") == [], name
    finally:
        grant(own, READER, ["acme"])


def test_one_login_cannot_take_every_connection(own: Settings) -> None:
    opened = [Session(reader_of(own)) for _ in range(GRANTED_CONNECTIONS)]
    try:
        with pytest.raises(psycopg2.OperationalError, match="too many connections for role"):
            Session(reader_of(own))
        told = pytest.raises(CannotStart, match="reading: every connection that this login may have is in use")
        with told, plain_faults("reading"):
            connect_engine(reader_of(own)).connect()
    finally:
        for session in opened:
            session.__exit__()


def test_dagster_is_closed(reader: Session) -> None:
    assert f"permission denied for schema {DAGSTER_SCHEMA}" in reader.told(f"select * from {DAGSTER_SCHEMA}.runs")


def test_the_sql_of_the_documentation_is_what_stax_grant_does(own: Settings, admin: Session) -> None:
    blocks = re.findall(r"```sql\n(.*?)```", (CHECKOUT / "docs" / "operate" / "security.md").read_text(), re.DOTALL)
    try:
        told = admin.told(*";\n".join(blocks).replace("policy granted", "policy documented").split(";\n"))
        assert "does not exist" not in told and "syntax error" not in told, told
        url = sa.make_url(logins(own).admin).set(username="acme_finance", password="choose-a-better-one")
        with Session(url.render_as_string(hide_password=False)) as by_hand:
            assert by_hand.rows("select description from stax.spend") == [("acme",)]
        conditions = admin.rows("select qual from pg_policies where tablename = 'spend' and policyname in "
                                "('granted', 'documented') order by policyname")  # fmt: skip
        assert len(conditions) == 2 and len(set(conditions)) == 1, conditions
    finally:
        admin.told(
            "drop policy documented on stax.spend", "delete from stax.tenant_grants where role_name = 'acme_finance'",
            "drop owned by acme_finance", "drop role acme_finance",
        )  # fmt: skip


def test_a_reader_of_one_tenant_among_many_reads_by_index(own: Settings, admin: Session, reader: Session) -> None:
    many = (
        "insert into stax.workspaces (tenant_id, workspace_id, anthropic_id, name, is_default, last_seen_at) "
        "select gen_random_uuid(), 'w' || n, '', 'many', false, now() from generate_series(1, 20000) n"
    )
    try:
        admin.told(many, "analyze stax.workspaces")
        assert "Index" in reader.told("explain select * from stax.workspaces")
        with Session(logins(own).loader) as loader:
            assert "Filter" not in loader.told("explain select * from stax.workspaces")
    finally:
        admin.told("delete from stax.workspaces where name = 'many'", "analyze stax.workspaces")

"""Ways out of a login that reads one tenant, and out of the analyst's: each ends in a refusal or in the same rows.

The granted login may make temporary objects here, as on an operator's Postgres; on the embedded server it may not.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
import sqlalchemy as sa

from stax_pipeline.installation.settings import Settings, read_settings
from stax_pipeline.tenants.grant import grant
from stax_pipeline.warehouse.granted_logins import granted_login
from stax_pipeline.warehouse.roles import logins
from stax_pipeline_tests.conftest import installed
from stax_pipeline_tests.warehouse.granted import IDS, OF_GLOBEX, READER, Session, operators_postgres, reader_of

ROWS = "select t.slug, s.cost_usd from stax.spend s join stax.tenants t using (tenant_id)"
LEAK = (
    "create function pg_temp.leak(text) returns boolean language plpgsql cost 0.0000001 as "
    "$$ begin raise notice 'leaked %', $1; return true; end $$"
)
PASSES = {
    "a setting of the application": (
        "set app.tenant = 'globex'", "set stax.tenant = 'globex'", f"set stax.tenant_id = '{IDS['globex']}'",
        "do $$ begin perform set_config('app.tenant', 'globex', false); end $$", "set local stax.role = 'stax_analyst'",
        ROWS,
    ),
    "row security switched off": ("set row_security = off", ROWS, "set row_security = on", ROWS),
    "other plans": (
        "set enable_seqscan = off", "set enable_hashjoin = off", "set plan_cache_mode = force_generic_plan",
        "prepare own as " + ROWS, "execute own", ROWS,
    ),
    "a function in WHERE that tells what it is given": (
        LEAK, "select * from stax.tenants where pg_temp.leak(slug)",
        "select * from stax.spend where pg_temp.leak(cost_usd::text)",
        "select * from stax.spend_daily where pg_temp.leak(slug)",
        "select count(*) from stax.tenants where pg_temp.leak(tenant_id::text) or true",
        "select sum(1) from stax.spend order by max(pg_temp.leak(description)::text)",
    ),
    "an operator made of it": (
        LEAK, "create function pg_temp.same(text, text) returns boolean language sql cost 0.0000001 as "
        "'select pg_temp.leak($1)'",
        "create operator pg_temp.=== (leftarg = text, rightarg = text, function = pg_temp.same)",
        "select * from stax.tenants where slug operator(pg_temp.===) 'x'",
    ),
    "an error that quotes the value": (
        "select * from stax.tenants where slug::int = 1",
        "select * from stax.spend where 1 / (cost_usd - 6666.6666) > 0",
        "select * from stax.tenants where (slug || 'x')::uuid is null",
    ),
    "a view, and one with a barrier": (
        f"create temp view mine as {ROWS}", "table mine",
        f"create temp view barred with (security_barrier, security_invoker = false) as {ROWS}", "table barred",
    ),
    "a temporary table and a materialised view": (
        f"create temp table kept as {ROWS}", "table kept",
        "select * into temp kept_too from stax.tenants", "table kept_too",
        f"create materialized view pg_temp.held as {ROWS}", f"create materialized view stax.held as {ROWS}",
    ),
    "a function with the definer's rights": (
        f"create function pg_temp.mine() returns setof record language sql security definer as '{ROWS}'",
        "select * from pg_temp.mine() as (slug text, usd numeric)",
        f"create function stax.mine() returns void language sql security definer as '{ROWS}'",
    ),
    "a block of code": (
        "do $$ declare r record; begin for r in select * from stax.tenants loop raise notice '%', r; end loop; end $$",
    ),
    "reading twice, by sample, by place, by cursor": (
        "select * from stax.tenants tablesample system (100)", "select * from stax.tenants where ctid = '(0,2)'",
        "begin", "declare c scroll cursor for table stax.tenants", "fetch all c", "fetch absolute 2 c", "rollback",
        "select * from only stax.tenants", "select lag(slug) over (), lead(slug) over () from stax.tenants",
    ),
    "whole rows and JSON": (
        "select t from stax.tenants t", "select row_to_json(s) from stax.spend s",
        "select to_jsonb(s) from stax.spend s",
    ),
    "statistics": (
        "select * from pg_stats where schemaname = 'stax'", "select * from pg_stats_ext",
        "select * from pg_stats_ext_exprs",
        "select stavalues1 from pg_statistic", "select stxdmcv from pg_statistic_ext_data",
    ),
    "the plan": (
        f"explain (analyze, verbose, buffers, settings) {ROWS}",
        "explain (verbose, format json) table stax.spend_daily",
        "explain (analyze, verbose) select * from stax.tenants where name <> ''",
    ),
    "what others ask": (
        "select query from pg_stat_activity", "select * from pg_stat_get_activity(null)",
        "table pg_prepared_statements",
        "table pg_cursors", "select * from pg_stat_statements",
    ),
    "the catalogue": (
        "select * from information_schema.tables", "select * from information_schema.columns",
        "select obj_description(oid) from pg_class", "select description from pg_description",
        "select description from pg_shdescription", "select * from pg_policies",
        "select setconfig from pg_db_role_setting",
        "select * from pg_largeobject", "select rolpassword from pg_roles", "select * from pg_user_mappings",
    ),
}  # fmt: skip
REFUSED = {
    "other roles": (
        "set role {other}", "set role stax_loader", "set role stax_owner", "set role {admin}",
        "set session authorization {other}", "select set_config('role', 'stax_loader', false)",
        "select set_config('session_authorization', '{other}', false)", "grant {other} to {me}",
        "alter role {me} bypassrls", "alter role {me} superuser", "alter role {other} password 'x'",
        "alter role stax_loader password 'x'", "create role mine", "alter role {me} connection limit -1",
    ),
    "the rules themselves": (
        "alter table stax.spend disable row level security", "alter table stax.spend no force row level security",
        "drop policy granted on stax.spend", "create policy mine on stax.spend using (true)",
        "alter policy granted on stax.spend using (true)", "alter view stax.spend_daily set (security_invoker = false)",
        "create or replace view stax.spend_daily as select 1", "alter table stax.spend owner to {me}",
        "create rule mine as on select to stax.tenants do instead select 1",
        "create rule mine as on insert to stax.tenants do also select 1",
        "create trigger mine before insert on stax.spend execute function suppress_redundant_updates_trigger()",
        "create function pg_temp.quiet(text) returns boolean language sql leakproof as 'select true'",
        "grant select on stax.spend to public", "create index mine on stax.spend (cost_usd)",
        "create statistics mine on model, cost_type from stax.spend", "comment on table stax.spend is 'x'",
    ),
    "writing": (
        "update stax.tenants set name = 'x'", "delete from stax.spend", "truncate stax.spend",
        "truncate stax.tenant_grants",
        "insert into stax.tenant_grants values ('{me}', '00000000-0000-0000-0000-00000000061e')",
        "merge into stax.tenants t using stax.tenants u on t.slug = u.slug when matched then delete",
        "copy stax.tenants from stdin",
    ),
    "row locks": (
        "select * from stax.tenants for update", "select * from stax.tenants for no key update",
        "select * from stax.tenants for share", "select * from stax.tenants for key share",
        "select 1; lock table stax.tenants in row exclusive mode",
        "select 1; lock table stax.tenants in access exclusive mode",
    ),
    "what is secret": (
        "table stax.admin_keys", "select count(*) from stax.admin_keys", "copy stax.admin_keys to stdout",
        "table stax.alembic_version", "explain table stax.admin_keys",
        "table dagster.runs", "create table dagster.mine (x int)",
        "select pg_get_userbyid(1), rolpassword from pg_authid", "table pg_statistic", "table pg_hba_file_rules",
    ),
    "the machine": (
        "copy stax.tenants to program 'cat'", "copy stax.tenants to '/tmp/x'", "copy (select 1) to program 'id'",
        "select pg_read_file('/etc/passwd')", "select pg_ls_dir('.')",
        "select lo_import('/etc/passwd')", "select lo_export(1, '/tmp/x')", "select pg_read_binary_file('PG_VERSION')",
        "create extension dblink", "create extension postgres_fdw", "create extension file_fdw",
        "create extension plpython3u",
        "load 'plpython3'", "create language c", "create schema mine", "create database mine",
        "create publication mine for all tables", "alter system set row_security = off", "select pg_reload_conf()",
        "create event trigger mine on ddl_command_start execute function pg_catalog.pg_sleep()",
        "create function public.mine() returns int language sql as '1'",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def own(stax_home: Path) -> Iterator[Settings]:
    with operators_postgres(stax_home) as settings:
        yield settings


@pytest.mark.parametrize("way", PASSES)
def test_a_granted_login_learns_nothing_of_another_tenant(own: Settings, way: str) -> None:
    with Session(reader_of(own)) as reader:
        told = reader.told(*PASSES[way])
        assert not [words for words in OF_GLOBEX if words in told], told
        assert reader.rows(ROWS.replace("s.cost_usd", "1")) == [("acme", 1)]


def test_the_ways_that_show_rows_show_those_of_acme(own: Settings) -> None:
    """The statements above do run: otherwise they would prove nothing."""
    silent = {"statistics", "the catalogue", "what others ask", "the plan"}
    with Session(reader_of(own)) as reader:
        assert {way for way in PASSES if "acme" in reader.told(*PASSES[way])} >= set(PASSES) - silent


def test_no_extension_reaches_out_of_the_database(own: Settings) -> None:
    with Session(logins(own).admin) as admin:
        assert admin.rows("select extname::text from pg_extension") == [("plpgsql",)]


def test_what_the_loader_asks_is_not_shown_and_not_ended(own: Settings) -> None:
    asked = "select query from pg_stat_activity where usename = 'stax_loader'"
    with Session(logins(own).loader) as loader, Session(logins(own).admin) as admin:
        loader.told("select 'globex'")
        assert "globex" in admin.told(asked)
        for url in (reader_of(own), logins(own).analyst):
            with Session(url) as session:
                assert "insufficient privilege" in session.told(asked)
                for end in ("pg_terminate_backend", "pg_cancel_backend"):
                    assert "permission denied" in session.told(asked.replace("query", f"{end}(pid)"))


@pytest.mark.parametrize("way", REFUSED)
@pytest.mark.parametrize("role", [READER, "stax_analyst"])
def test_a_login_that_reads_is_refused_everything_else(own: Settings, role: str, way: str) -> None:
    url, other = (reader_of(own), "stax_analyst") if role == READER else (logins(own).analyst, READER)
    admin = logins(own).role_in(logins(own).admin)
    for statement in REFUSED[way]:
        with Session(url) as session:
            told = session.told(statement.replace("{me}", role).replace("{other}", other).replace("{admin}", admin))
            assert any(words in told for words in REFUSALS), (statement, told)
            assert [words for words in OF_GLOBEX if words in told and words not in statement] == []
            assert session.rows("select current_user::text, session_user::text") == [(role, role)]


PRODUCT = ("stax_owner", "stax_loader", "stax_dagster")
REFUSALS = (
    "permission denied", "must be owner", "must be superuser", "must be able to", "is not allowed",
    "is not available", "must have", "no privileges were granted", "only superuser",
)  # fmt: skip


@pytest.mark.parametrize(
    "statement",
    [
        "create temporary table mine (x int)",
        LEAK,
        "select pg_advisory_lock(7829001)",
        "select lo_create(0)",
        "select lo_creat(-1)",
        "select lo_from_bytea(0, 'x')",
        "select pg_notify('run_events', 'x')",
    ],
)
@pytest.mark.parametrize("role", ["globex_reader", "stax_analyst"])
def test_on_the_embedded_server_a_login_that_reads_leaves_nothing_behind(
    embedded_logins: dict[str, str], role: str, statement: str
) -> None:
    with Session(embedded_logins[role]) as session:
        assert "permission denied" in session.told(statement)


@pytest.mark.parametrize("database", ["postgres", "template1"])
@pytest.mark.parametrize("role", ["globex_reader", "stax_analyst"])
def test_on_the_embedded_server_a_login_that_reads_finds_no_other_database(
    embedded_logins: dict[str, str], role: str, database: str
) -> None:
    url = sa.make_url(embedded_logins[role]).set(database=database).render_as_string(hide_password=False)
    with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
        Session(url)


@pytest.mark.parametrize("role", ["globex_reader", "stax_analyst"])
def test_a_login_that_reads_ends_when_idle_and_cannot_lift_its_share_of_the_disk(
    embedded_logins: dict[str, str], role: str
) -> None:
    disk = {"globex_reader": "1GB", "stax_analyst": "10GB"}[role]
    lifts = ("set temp_file_limit = -1", f"alter role {role} set temp_file_limit = -1",
             f"alter role {role} in database stax set temp_file_limit = -1",
             f"alter role {role} reset temp_file_limit")  # fmt: skip
    with Session(embedded_logins[role]) as session:
        for lift in lifts:
            assert "permission denied" in session.told(lift), lift
        session.told(f"alter role {role} reset all")
    with Session(embedded_logins[role]) as session:
        assert session.rows("show temp_file_limit") == [(disk,)]


def test_readers_leave_the_product_its_connections(embedded_logins: dict[str, str], stax_home: Path) -> None:
    urls = logins(read_settings({"STAX_HOME": str(stax_home)}))
    may = "select pg_has_role('{}', 'pg_use_reserved_connections', 'member')"
    with Session(urls.admin) as admin:
        if int(admin.rows("show server_version_num")[0][0]) < 160_000:
            pytest.skip("Postgres 15 keeps connections for superusers alone")
        assert admin.rows("show reserved_connections") == [("40",)]
        found = {name: admin.rows(may.format(name)) for name in (*PRODUCT, *embedded_logins)}
        assert {name for name, [(has,)] in found.items() if has} == set(PRODUCT)
        limits = "select rolname::text, rolconnlimit from pg_roles where rolname in ('stax_analyst', 'globex_reader')"
        assert dict(admin.rows(limits)) == {"stax_analyst": 40, "globex_reader": 10}


@pytest.fixture(scope="module")
def embedded_logins(stax_home: Path) -> Iterator[dict[str, str]]:
    with installed(stax_home) as made:
        made.add_tenant("globex")
        grant(made.settings, "globex_reader", ["globex"])
        urls = logins(made.settings)
        yield {"globex_reader": granted_login(made.settings, "globex_reader"), "stax_analyst": urls.analyst}
        with Session(urls.admin) as admin:
            admin.told("drop owned by globex_reader", "drop role globex_reader")

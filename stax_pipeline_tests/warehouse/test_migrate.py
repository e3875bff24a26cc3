"""The migrated database: what the code says it is, commented, and open to each role as far as it should be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from stax_pipeline.domain.errors import CannotStart
from stax_pipeline.installation.settings import read_settings
from stax_pipeline.warehouse import migrate
from stax_pipeline.warehouse.engine import connect_engine
from stax_pipeline.warehouse.migrate import upgrade
from stax_pipeline.warehouse.roles import DAGSTER_SCHEMA, Logins, logins
from stax_pipeline.warehouse.tables import metadata
from stax_pipeline_tests.conftest import Installation, installed

VIEWS = {
    "usage_tokens", "spend_daily", "spend_monthly", "freshness", "completeness", "invoice_check", "invoice_differences",
    "commitment_utilisation", "cache_savings", "tier_mix", "effective_prices", "spend_by_key_daily", "price_accuracy",
    "restated_days", "focus_cost_and_usage", "source_differences", "spend_summary",
}  # fmt: skip
NO_ANALYSTS = {"admin_keys", "invites", "logins", "sessions"}


@pytest.fixture(scope="module")
def made(stax_home: Path) -> Iterator[Installation]:
    with installed(stax_home) as installation:
        yield installation


@pytest.fixture(scope="module")
def urls(made: Installation) -> Logins:
    return logins(made.settings)


def run(url: str, text: str) -> list[tuple[object, ...]]:
    engine = connect_engine(url)
    try:
        with engine.begin() as connection:
            result = connection.execute(sa.text(text))
            return [tuple(row) for row in result] if result.returns_rows else []
    finally:
        engine.dispose()


def test_upgrade_again_changes_nothing(made: Installation, urls: Logins) -> None:
    objects = "select oid, relname from pg_class where relnamespace = 'stax'::regnamespace order by 1"
    before = run(urls.admin, objects)
    upgrade(made.settings)
    assert run(urls.admin, objects) == before


def test_the_migrations_make_what_the_tables_say(urls: Logins) -> None:
    engine = connect_engine(urls.owner)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={
            "include_schemas": True, "version_table_schema": "stax", "compare_type": True,
            "compare_server_default": True,
            "include_name": lambda name, kind, _: kind != "schema" or name == "stax",
        })  # fmt: skip
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_check_constraints_are_those_of_the_tables(urls: Logins) -> None:
    engine = connect_engine(urls.admin)
    inspector = sa.inspect(engine)
    for table in metadata.sorted_tables:
        stated = {str(c.name) for c in table.constraints if isinstance(c, sa.CheckConstraint)}
        assert {c["name"] for c in inspector.get_check_constraints(table.name, schema="stax")} == stated
    engine.dispose()


def test_every_table_view_and_column_has_a_comment(urls: Logins) -> None:
    bare = run(
        urls.admin,
        "select c.relname, a.attname from pg_class c left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 "
        "where c.relnamespace = 'stax'::regnamespace and c.relkind in ('r', 'v') "
        "and (obj_description(c.oid) is null or coalesce(col_description(c.oid, a.attnum), '') = '')",
    )
    assert bare == []


def test_tables_that_grow_for_years_are_vacuumed_and_analysed_before_a_fiftieth_of_them_changed(urls: Logins) -> None:
    found = run(urls.admin, "select relname, reloptions from pg_class where relnamespace = 'stax'::regnamespace "
                            "and relkind = 'r' and reloptions is not null")  # fmt: skip
    expected = {table.name for table in metadata.sorted_tables if "usage_date" in table.c}
    assert {name for name, _ in found} == expected
    assert all(float(option.partition("=")[2]) <= 0.02 for _, options in found for option in options)  # type: ignore[attr-defined]


def test_views_run_with_the_readers_rights(urls: Logins) -> None:
    found = run(urls.admin, "select relname, reloptions from pg_class where relnamespace = 'stax'::regnamespace "
                            "and relkind in ('v', 'm')")  # fmt: skip
    assert {name for name, _ in found} == VIEWS
    assert all("security_invoker=true" in options for _, options in found)  # type: ignore[operator]


def test_row_level_security_is_on_and_forced_everywhere(urls: Logins) -> None:
    found = run(
        urls.admin,
        "select relname from pg_class where relnamespace = 'stax'::regnamespace and relkind = 'r' "
        "and not (relrowsecurity and relforcerowsecurity)",
    )
    assert found == []


class TestRoles:
    def test_the_loader_is_neither_owner_nor_privileged(self, urls: Logins) -> None:
        for role in ("stax_loader", "stax_analyst", "stax_app"):
            [flags] = run(urls.admin, "select rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication "
                                      f"from pg_roles where rolname = '{role}'")  # fmt: skip
            assert not any(flags)
            owned = run(
                urls.admin,
                f"select 1 from pg_class where relnamespace = 'stax'::regnamespace and relowner = '{role}'::regrole",
            )
            assert owned == []  # fmt: skip
            member = f"select roleid::regrole::text from pg_auth_members where member = '{role}'::regrole"
            joined = {found for (found,) in run(urls.admin, member) if not str(found).startswith("stax_tenant_")}
            assert joined <= {"stax_analyst" if role == "stax_app" else "pg_use_reserved_connections"}

    def test_the_analyst_reads_every_table_but_the_keys(self, urls: Logins) -> None:
        for name in sorted({table.name for table in metadata.sorted_tables} - NO_ANALYSTS | VIEWS):
            run(urls.analyst, f"select * from stax.{name} limit 1")
        for name in sorted(NO_ANALYSTS):
            with pytest.raises(sa.exc.ProgrammingError, match="permission denied"):
                run(urls.analyst, f"select * from stax.{name}")

    @pytest.mark.parametrize(
        "statement",
        [
            *(f"insert into stax.{t.name} default values" for t in metadata.sorted_tables),
            *(f"delete from stax.{t.name}" for t in metadata.sorted_tables),
            "update stax.tenants set name = 'x'",
            "truncate stax.spend",
            "create table stax.mine (x int)",
            "create table public.mine (x int)",
            "create schema mine",
            "set role stax_loader",
            "set role stax_owner",
            f"create table {DAGSTER_SCHEMA}.mine (x int)",
        ],
    )
    def test_the_analyst_writes_nothing(self, urls: Logins, statement: str) -> None:
        with pytest.raises(sa.exc.ProgrammingError, match="permission denied"):
            run(urls.analyst, statement)

    def test_the_analyst_and_the_loader_see_nothing_of_dagster(self, urls: Logins) -> None:
        run(urls.dagster, f"create table if not exists {DAGSTER_SCHEMA}.probe (x int)")
        for url in (urls.analyst, urls.loader):
            with pytest.raises(sa.exc.ProgrammingError, match="permission denied"):
                run(url, f"select * from {DAGSTER_SCHEMA}.probe")
        with pytest.raises(sa.exc.ProgrammingError, match="permission denied"):
            run(urls.dagster, "select * from stax.tenants")
        run(urls.dagster, f"drop table {DAGSTER_SCHEMA}.probe")

    def test_a_role_that_changed_its_password_locks_nobody_out_for_good(self, made: Installation, urls: Logins) -> None:
        run(urls.analyst, "alter role stax_analyst password 'mine'")
        upgrade(made.settings)
        assert run(urls.analyst, "select 1") == [(1,)]

    @pytest.mark.parametrize("where", ["", "in database stax"])
    @pytest.mark.parametrize(
        "setting", ["row_security = off", "statement_timeout = '1ms'", "default_transaction_read_only = on"]
    )
    def test_a_role_that_changed_its_settings_locks_nobody_out_for_good(
        self, made: Installation, urls: Logins, setting: str, where: str
    ) -> None:
        name = setting.split()[0]
        before = run(urls.analyst, f"show {name}")
        run(urls.analyst, f"alter role stax_analyst {where} set {setting}")
        upgrade(made.settings)
        assert run(urls.analyst, f"show {name}") == before
        assert run(urls.analyst, "show idle_in_transaction_session_timeout") == [("10min",)]

    @pytest.mark.parametrize(
        "attempt",
        [
            "select pg_advisory_lock(7829001)",
            "select pg_try_advisory_xact_lock_shared(1, 2)",
            "create temporary table mine (x int)",
        ],
    )
    def test_the_analyst_cannot_stand_in_the_products_way(self, urls: Logins, attempt: str) -> None:
        with pytest.raises(sa.exc.ProgrammingError, match="permission denied"):
            run(urls.analyst, attempt)

    def test_passwords_are_private_files(self, made: Installation) -> None:
        files = list((made.home / "passwords").iterdir())
        assert {f.name for f in files} >= {"stax_owner", "stax_loader", "stax_analyst", "stax_app", "stax_dagster"}
        assert all(f.stat().st_mode & 0o077 == 0 for f in files)


class TestReaderInTheWay:
    """A session that reads in an open transaction, and an upgrade that has to change the table it reads."""

    @pytest.fixture
    def reading(self, made: Installation, urls: Logins, monkeypatch: pytest.MonkeyPatch) -> Iterator[sa.Connection]:
        monkeypatch.setattr(migrate, "LOCK_TIMEOUT", "50ms")
        run(urls.owner, "drop policy granted on stax.spend")
        engine = connect_engine(urls.analyst)
        with engine.connect() as connection:
            connection.exec_driver_sql("select from stax.spend")
            yield connection
        engine.dispose()
        upgrade(made.settings)

    def test_the_upgrade_gives_up_in_one_line_and_nobody_waits_behind_it(
        self, made: Installation, urls: Logins, reading: sa.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        between: list[object] = []
        monkeypatch.setattr(migrate.time, "sleep", lambda _: between.append(run(urls.loader, "table stax.spend")))
        pid = reading.exec_driver_sql("select pg_backend_pid()").scalar_one()
        with pytest.raises(CannotStart, match=rf"an open transaction reads it: stax_analyst \(pid {pid}\)\. End it"):
            upgrade(made.settings)
        assert between == [[]] * (migrate.TRIES - 1)

    def test_the_upgrade_tries_again(
        self, made: Installation, urls: Logins, reading: sa.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(migrate.time, "sleep", lambda _: reading.rollback())
        upgrade(made.settings)
        policy = "select policyname from pg_policies where tablename = 'spend' and policyname = 'granted'"
        assert run(urls.admin, policy) == [("granted",)]


@pytest.mark.parametrize("value", ["'NaN'", "'Infinity'", "'-Infinity'", "0.1234567890123456789", "1e-19"])
def test_what_numeric_would_silently_hold_is_refused(urls: Logins, value: str) -> None:
    insert = (
        "insert into stax.reconciliation (usage_date, tenant_id, model, service_tier, reported_usd, ratio, cause) "
        "values ('2026-11-20', gen_random_uuid(), '', '', {}, {}, '')"
    )
    for values in ((value, "1"), ("1", value)):
        with pytest.raises(sa.exc.IntegrityError, match="check constraint"):
            run(urls.loader, insert.format(*values))


class TestWithoutCreaterole:
    @pytest.fixture(scope="class")
    def plain(self, urls: Logins) -> Iterator[sa.URL]:
        """A login that may do everything in its own database but create roles."""
        admin = sa.create_engine(urls.admin, isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            for role in ("op_plain", "op_loader", "op_analyst"):
                connection.exec_driver_sql(f"create role {role} login password 'pw'")
            connection.exec_driver_sql("create database op_db owner op_plain")
            yield sa.make_url(urls.admin).set(username="op_plain", password="pw", database="op_db")
            connection.exec_driver_sql("drop database op_db with (force)")
            for role in ("op_plain", "op_loader", "op_analyst"):
                connection.exec_driver_sql(f"drop role {role}")
        admin.dispose()

    def environment(self, plain: sa.URL, home: Path, **more: str) -> dict[str, str]:
        return {"STAX_HOME": str(home), "STAX_DATABASE_URL": plain.render_as_string(hide_password=False), **more}

    def test_the_missing_variables_are_named(self, plain: sa.URL, tmp_path: Path) -> None:
        with pytest.raises(CannotStart, match="roles, and STAX_LOADER_URL and STAX_ANALYST_URL are not set"):
            upgrade(read_settings(self.environment(plain, tmp_path)))

    def test_with_named_logins_it_migrates(self, plain: sa.URL, tmp_path: Path) -> None:
        named = {
            f"STAX_{kind.upper()}_URL": plain.set(username=f"op_{kind}").render_as_string(hide_password=False)
            for kind in ("loader", "analyst")
        }
        settings = read_settings(self.environment(plain, tmp_path, **named))
        upgrade(settings)
        upgrade(settings)
        run(logins(settings).loader, "insert into stax.tenants values "
            "(gen_random_uuid(), 'a', 'A', 'o', 'connected', now(), null)")  # fmt: skip
        assert run(logins(settings).analyst, "select slug from stax.tenants") == [("a",)]
        with pytest.raises(sa.exc.ProgrammingError, match="permission denied"):
            run(logins(settings).analyst, "select * from stax.admin_keys")

"""SIGKILL at every named stage: nothing half-done is visible, and the next run makes everything whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from stax_pipeline.domain.extraction import Window
from stax_pipeline.installation.settings import read_settings
from stax_pipeline.keys.master_key_rotation import rotate_master_key
from stax_pipeline.keys.tenant_keys import master_keys, open_key
from stax_pipeline.warehouse.engine import connect_engine
from stax_pipeline.warehouse.migrate import MIGRATIONS, upgrade
from stax_pipeline.warehouse.roles import logins
from stax_pipeline.warehouse.tables import metadata
from stax_pipeline.warehouse.tenants import all_tenants
from stax_pipeline_tests.conftest import Installation
from stax_pipeline_tests.pipeline.support import COST, FIRST, USAGE, change, content, on, times, two_tenants
from stax_pipeline_tests.rig.oracle import (
    Content,
    adopt,
    everything,
    parquet_content,
    recovers,
    run,
    sweep,
    tiny_organizations,
    unfinished,
    unnamed_raw,
)
from stax_pipeline_tests.rig.stages import LAKE, SYNC_STAGES, Stage, finished, killed_at

PUBLISH = "stax_pipeline.pipeline.publish_batch"
COMMITTED = "stax_pipeline.pipeline.publish_reports:_Publisher._note_missing_cost"
ORPHANED = {"raw renamed, not recorded", "extraction recorded, not committed"}
HALF = {"raw temp written", "raw renamed, not recorded", "Parquet temp written"}
EARLY = list(SYNC_STAGES)[:10]  # before all extractions are there
THREE_KILLS = [tuple(SYNC_STAGES)[at::7] for at in range(7)]
TOGETHER = {"usage_report": ("usage_lines", "usage_by_key", "coverage"), "cost_report": ("cost_lines", "coverage")}
RESTATING = [
    Stage(f"{PUBLISH}:add_restatements", after=True),
    Stage(f"{PUBLISH}:replace_tenant_days", after=True),
    Stage(COMMITTED, nth=2),
    Stage(COMMITTED, nth=4),
]
TABLES = (
    "cost_lines",
    "usage_lines",
    "usage_by_key",
    "spend",
    "spend_totals",
    "spend_day_totals",
    "spend_by_key",
    "reconciliation",
)


def half_published(seen: Content, whole: Content, tables: Iterable[str] = TABLES) -> list[str]:
    """Tenants with some of a table's rows, or with a report's rows in one table of its transaction and not in another:
    published is all of a tenant's window or nothing.
    """
    slugs = ("'acme'", "'globex'")
    partly = [
        f"{table} of {slug}"
        for table in tables
        for slug in slugs
        if [r for r in seen[table] if slug in r] not in ([], [r for r in whole[table] if slug in r])
    ]
    return partly + [
        f"{report} of {slug}"
        for report, of_report in TOGETHER.items()
        for slug in slugs
        if len({any(slug in r and (table != "coverage" or report in r) for r in seen[table]) for table in of_report})
        > 1
    ]


@pytest.mark.parametrize("names", THREE_KILLS, ids=", ".join)
def test_a_sync_killed_at_each_of_them_leaves_nothing_half_and_the_next_is_whole(
    made: Installation, expected: Content, names: tuple[str, ...]
) -> None:
    for name in names:
        assert killed_at(SYNC_STAGES[name]), "the stage was never reached"
        assert half_published(content(made), expected) == []
        assert set(parquet_content(made)) <= set(expected), "every file under its name is whole"
        assert name not in HALF or unfinished(made)
        sweep(made)
        orphans = unnamed_raw(made)
        assert (name in ORPHANED) <= len(orphans) <= (2 if name in EARLY else 0)  # both tenants are fetched at a time
        if orphans:
            adopt(made)
    run(made)
    assert everything(made) == expected


class TestRestated:
    """A day that had rows changes: the old ones stay until the new ones are there, and the change is told once."""

    @pytest.fixture
    def restated(self, made: Installation) -> Content:
        """acme's first day at a tenth more, after a good run; what is then held when nothing disturbs."""
        run(made)
        for path in (COST, USAGE):
            change(made, path, on(FIRST, times("1.1")))
        return content(made)

    def test_a_restatement_is_written_with_its_rows_and_once(self, made: Installation, restated: Content) -> None:
        assert restated["restatements"] == []
        for stage in RESTATING:
            assert killed_at(stage)
            seen = content(made)
            told = {kind for kind in ("usage", "cost") for row in seen["restatements"] if f"'{kind}'" in row}
            assert told == {kind for kind in ("usage", "cost") if seen[f"{kind}_lines"] != restated[f"{kind}_lines"]}
        assert told
        run(made)
        sweep(made)
        once = everything(made)
        assert len(once["restatements"]) == len(set(once["restatements"])) > 0
        run(made)
        assert everything(made) == once


def test_a_killed_replay_leaves_what_stood_and_the_next_is_whole(made: Installation, expected: Content) -> None:
    run(made)
    for stage in (
        Stage("stax_pipeline.pipeline.replay:replace_tenant_days", after=True),
        Stage("stax_pipeline.pipeline.replay:replace_tenant_days", after=True, nth=2),
        Stage("stax_pipeline.pipeline.replay:replay_organization"),
        Stage("stax_pipeline.pipeline.build_batch:replace_tenant_days", after=True),
    ):
        assert killed_at(stage, "replay")
        assert content(made) == {name: rows for name, rows in expected.items() if "/" not in name}
    sweep(made)
    run(made)
    assert everything(made) == expected


class TestMigration:
    @pytest.fixture
    def fresh(self, made: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """An empty database of a login that may not create roles, so that the session's own stay as they are."""
        admin = sa.create_engine(logins(made.settings).admin, isolation_level="AUTOCOMMIT")
        names = [f"kill_{kind}" for kind in ("owner", "loader", "analyst")]
        with admin.connect() as connection:
            for name in names:
                connection.exec_driver_sql(f"create role {name} login password 'pw'")
            connection.exec_driver_sql("create database kill_db owner kill_owner")
            url = sa.make_url(logins(made.settings).admin).set(password="pw", database="kill_db")
            for variable, name in zip(("DATABASE", "LOADER", "ANALYST"), names, strict=True):
                login = url.set(username=name).render_as_string(hide_password=False)
                monkeypatch.setenv(f"STAX_{variable}_URL", login)
            monkeypatch.delenv("STAX_DAGSTER_URL")
            monkeypatch.setenv("STAX_HOME", str(tmp_path))
            yield
            connection.exec_driver_sql("drop database kill_db with (force)")
            for name in names:
                connection.exec_driver_sql(f"drop role {name}")
        admin.dispose()

    @pytest.mark.usefixtures("fresh")
    def test_a_killed_migration_is_finished_by_the_next(self) -> None:
        for stage in (
            *(Stage("alembic.ddl.impl:DefaultImpl._exec", nth=nth) for nth in (1, 40)),
            *(Stage("sqlalchemy.engine.default:DefaultDialect.do_execute", nth=nth) for nth in (200, 600)),
        ):
            assert killed_at(stage, "migrate")
        settings = read_settings()
        upgrade(settings)
        engine = connect_engine(logins(settings).owner)
        with engine.connect() as connection:
            assert set(sa.inspect(connection).get_table_names("stax")) >= {t.name for t in metadata.sorted_tables}
            told = connection.exec_driver_sql("select version_num from stax.alembic_version").scalars().all()
        engine.dispose()
        assert told == [max(file.name[:4] for file in MIGRATIONS.glob("versions/0*.py"))]


def test_a_job_killed_after_its_commit_and_before_dagster_hears_of_it(
    stax_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Partitions end at the real open day, and so does what is asked for: all that there is, so it is a first sync."""
    now = datetime.now(UTC)
    window = Window(now.date() - timedelta(days=1), now.date() + timedelta(days=1))
    monkeypatch.setenv("STAX_START_DATE", window.start.isoformat())
    with two_tenants(stax_home, *tiny_organizations(), now=now) as made:
        run(made, window)
        whole = everything(made)
    with two_tenants(stax_home, *tiny_organizations(), now=now) as made:
        (made.home / "dagster").mkdir(exist_ok=True)
        assert killed_at(Stage("stax_pipeline.assets.spend:note_first_sync", after=True), "job", window)
        assert content(made)["spend"] == whole["spend"]
        assert finished("job", window)
        assert everything(made) == whole


def test_keys_open_after_every_killed_rotation_and_the_next_finishes_it(made: Installation, expected: Content) -> None:
    rotation = "stax_pipeline.keys.master_key_rotation"
    for stage in (
        Stage(f"{rotation}:add_primary"),
        Stage("pathlib:Path.replace"),
        Stage(f"{rotation}:add_primary", after=True),
        Stage(f"{rotation}:replace_wrapping", after=True),
        Stage(f"{rotation}:replace_wrapping", nth=2),
    ):
        assert killed_at(stage, "rotate"), stage
        assert opens(made) == made.simulator.keys
    done = rotate_master_key(made.settings, made.engine)
    assert done.damaged == ()
    assert done.in_use == {done.primary_id: 2}
    assert opens(made) == made.simulator.keys
    run(made)
    assert everything(made) == expected


def opens(made: Installation) -> dict[str, str]:
    """Every tenant's admin key, decrypted with the master keys that are there now."""
    masters = master_keys(made.settings)
    with made.engine.connect() as connection:
        return {t.slug: open_key(connection, t, masters).key.reveal() for t in all_tenants(connection)}


def test_a_fault_that_strikes_nothing_is_told(made: Installation) -> None:
    """The harness itself: a stage that is never reached is no passed test."""
    assert not killed_at(Stage(f"{LAKE}.store:Lake.replace", nth=10_000))


@contextmanager
def _nothing(_: Installation) -> Iterator[None]:
    yield


def test_without_a_fault_the_oracle_agrees_with_itself(made: Installation, expected: Content) -> None:
    recovers(made, _nothing, expected)

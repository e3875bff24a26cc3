"""Postgres goes away, refuses or stalls in mid-load: whole transactions, a plain reason, and the next run is whole."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread

import pytest
import sqlalchemy as sa

from stax_pipeline.domain.errors import StaxError
from stax_pipeline.warehouse.engine import connect_engine
from stax_pipeline.warehouse.roles import LOADER, logins
from stax_pipeline_tests.conftest import Installation
from stax_pipeline_tests.pipeline.support import content, sync
from stax_pipeline_tests.recovery.test_kill_points import half_published
from stax_pipeline_tests.rig.oracle import Content, everything, recovers, run
from stax_pipeline_tests.rig.stages import SYNC_STAGES, at

LINES = ("cost_lines", "usage_lines", "usage_by_key")  # what is made from them may be made from one report alone
LOADERS = f"select pid from pg_stat_activity where usename = '{LOADER}'"


@pytest.fixture
def admin(made: Installation) -> Iterator[sa.Engine]:
    """The server's owner, each statement its own transaction."""
    engine = connect_engine(logins(made.settings).admin).execution_options(isolation_level="AUTOCOMMIT")
    yield engine
    engine.dispose()


def execute(admin: sa.Engine, text: str) -> list[sa.Row[tuple[object, ...]]]:
    with admin.connect() as connection:
        result = connection.exec_driver_sql(text)
        return list(result) if result.returns_rows else []


def connections_cut(admin: sa.Engine) -> None:
    execute(admin, LOADERS.replace("pid", "pg_terminate_backend(pid)"))


def server_crashed(admin: sa.Engine) -> None:
    """One killed backend makes Postgres end all others, replay its log and begin anew."""
    with admin.connect() as witness:
        pid = witness.exec_driver_sql(LOADERS).scalars().first()
        os.kill(int(str(pid)), signal.SIGKILL)
        wait_until(lambda: not answers(witness))
    admin.dispose()
    wait_until(lambda: answers(admin))


def answers(server: sa.Engine | sa.Connection) -> bool:
    try:
        if isinstance(server, sa.Engine):
            with server.connect() as fresh:
                return answers(fresh)
        server.exec_driver_sql("select 1")
    except sa.exc.DBAPIError:
        return False
    return True


def wait_until(holds: Callable[[], bool]) -> None:
    for _ in range(1200):
        if holds():
            return
        time.sleep(0.05)
    raise AssertionError("Postgres did not come back")


@pytest.mark.parametrize(
    ("name", "happens"),
    [
        ("extraction recorded, not committed", connections_cut),
        ("in COPY", server_crashed),
        ("before the commit", connections_cut),
        ("before the commit", server_crashed),
        ("in the rules of spend", connections_cut),
    ],
)
def test_a_server_that_goes_away_in_mid_load(
    made: Installation, expected: Content, admin: sa.Engine, name: str, happens: Callable[[sa.Engine], None]
) -> None:
    @contextmanager
    def struck(_: Installation) -> Iterator[None]:
        with at(SYNC_STAGES[name], lambda: happens(admin)) as seen:
            yield
        assert seen[0] >= SYNC_STAGES[name].nth

    between = recovers(made, struck, expected, orphans=2)
    assert half_published(between, expected, LINES) == []


def test_the_run_that_loses_its_server_says_so(made: Installation, admin: sa.Engine) -> None:
    with (
        at(SYNC_STAGES["before the commit"], lambda: connections_cut(admin)),
        pytest.raises(StaxError, match="database is not reachable"),
    ):
        run(made)


@pytest.mark.parametrize(
    ("table", "state", "words"),
    [
        ("coverage", "53100", "could not extend file: No space left on device"),
        ("spend", "40001", "could not serialize access due to concurrent update"),
        ("reconciliation", "40P01", "deadlock detected"),
    ],
)
def test_a_transaction_that_the_server_refuses_leaves_what_stood_and_the_reason(
    made: Installation, expected: Content, admin: sa.Engine, table: str, state: str, words: str
) -> None:
    """As Postgres reports it: the SQLSTATE of a disk without room, a lost race, a deadlock, from the statement."""
    execute(
        admin,
        "create or replace function refuse() returns trigger language plpgsql as "
        f"$$ begin raise exception '{words}' using errcode = '{state}'; end $$",
    )
    told: list[str] = []

    @contextmanager
    def refusing(_: Installation) -> Iterator[None]:
        execute(
            admin,
            f"create trigger refusing before insert on stax.{table} for each statement execute function refuse()",
        )
        try:
            told.extend(why for reasons in run(made).failures.values() for why in reasons)
            yield
        finally:
            execute(admin, f"drop trigger refusing on stax.{table}")

    try:
        between = recovers(made, refusing, expected)
    finally:
        execute(admin, "drop function refuse()")
    assert any(words in why for why in told)
    assert between[table] == []
    assert half_published(between, expected, LINES) == []


def test_a_statement_that_takes_too_long_is_a_fault_and_nobodys_interruption(
    made: Installation, expected: Content, admin: sa.Engine
) -> None:
    """Somebody locks a table and the loader has a statement time-out: tenants fail in words, the run goes on."""
    execute(admin, f"alter role {LOADER} set statement_timeout = '1s'")
    made.engine.dispose()
    try:
        with connect_engine(logins(made.settings).admin).begin() as holder:
            holder.exec_driver_sql("lock table stax.spend_by_key in exclusive mode")
            ran = sync(made)
    finally:
        execute(admin, f"alter role {LOADER} reset statement_timeout")
        made.engine.dispose()
    assert set(ran.failures) == {"acme", "globex"}
    assert all("statement timeout" in words for told in ran.failures.values() for words in told)
    held = content(made)
    assert {table: held[table] for table in ("spend", "spend_by_key", "reconciliation")} == {
        "spend": [], "spend_by_key": [], "reconciliation": [],
    }, "what people read of a day is there together or not at all"  # fmt: skip
    assert held["cost_lines"] == expected["cost_lines"]
    run(made)
    assert everything(made) == expected


def test_two_runs_of_the_same_tenants_at_once(made: Installation, expected: Content) -> None:
    faults: list[BaseException] = []

    def work() -> None:
        try:
            assert run(made).failures == {}
        except BaseException as fault:
            faults.append(fault)

    runs = [Thread(target=work) for _ in range(3)]
    for one in runs:
        one.start()
    for one in runs:
        one.join()
    assert faults == []
    assert everything(made) == expected
    assert content(made)["restatements"] == []

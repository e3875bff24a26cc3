"""Which tenant-days may hold something else than before, and that a rule finds of them what it finds of all days."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
import sqlalchemy as sa

from stax_pipeline.checks.changed import as_of, changed_since
from stax_pipeline.checks.rule import Rule
from stax_pipeline.checks.runner import run_rule
from stax_pipeline.warehouse.tenants import get_tenant
from stax_pipeline_tests.checks.test_runner import ACME, NOON, SEEDS
from stax_pipeline_tests.conftest import Installation
from stax_pipeline_tests.pipeline.support import COST, DAYS, FIRST, LAST, TODAY, change, on, sync, times, two_tenants

FOLLOWING = [(rule, seed) for rule, seed in SEEDS if rule.follows_days]
OF = f"tenant_id = {ACME} and usage_date ="


@pytest.fixture(scope="module")
def made(stax_home: Path) -> Iterator[Installation]:
    with two_tenants(stax_home) as installation:
        assert sync(installation).failures == {}
        yield installation


@pytest.fixture
def connection(made: Installation) -> Iterator[sa.Connection]:
    """What a test writes is taken back."""
    with made.engine.connect() as opened:
        yield opened
        opened.rollback()


@pytest.fixture
def acme(connection: sa.Connection) -> UUID:
    return get_tenant(connection, "acme").tenant_id


@pytest.fixture
def since(made: Installation) -> datetime:
    """After all that was published and built."""
    with made.engine.connect() as other:
        return as_of(other)


def changed(connection: sa.Connection, since: datetime) -> set[tuple[UUID, date]]:
    return changed_since(connection, DAYS, since)


@pytest.mark.parametrize(("rule", "seed"), FOLLOWING, ids=[f"{r.name}-{n}" for n, (r, _) in enumerate(FOLLOWING)])
def test_a_rule_finds_of_a_day_that_changed_what_it_finds_of_all_days(
    made: Installation, connection: sa.Connection, acme: UUID, rule: Rule, seed: str
) -> None:
    connection.execute(sa.text(seed))
    globex = get_tenant(connection, "globex").tenant_id

    def found(*slots: tuple[UUID, date]) -> list[str]:
        return sorted(map(repr, run_rule(connection, rule, DAYS, NOON, made.settings, changed=set(slots)).rows))

    everything = sorted(map(repr, run_rule(connection, rule, DAYS, NOON, made.settings).rows))
    assert everything and found((acme, FIRST), (globex, LAST)) == everything
    assert found((globex, FIRST), (acme, LAST)) == found() == []


class TestChanged:
    def test_nothing_is_when_nothing_was_published(self, connection: sa.Connection, since: datetime) -> None:
        assert changed(connection, since) == set()

    def test_every_day_is_before_it_was_built(self, connection: sa.Connection) -> None:
        long_ago = datetime.fromisoformat("2020-01-01T00:00:00Z")
        assert {day for _, day in changed(connection, long_ago)} == set(DAYS.days)

    @pytest.mark.parametrize(
        ("day", "seed"),
        [
            (FIRST, f"update stax.coverage set digest = 'other' where report = 'cost_report' and {OF}"),
            (FIRST, f"update stax.coverage set key_digest = 'other' where report = 'usage_report' and {OF}"),
            (FIRST, f"delete from stax.coverage where {OF}"),
            (FIRST, f"delete from stax.spend_builds where {OF}"),
            (FIRST, f"update stax.coverage set state = 'provisional' where report = 'usage_report' and {OF}"),
            (FIRST, f"update stax.coverage set state = 'not reported yet' where report = 'cost_report' and {OF}"),
            (
                FIRST,
                f"update stax.coverage set key_digest = '' where report = 'usage_report' and {OF}; "
                f"update stax.spend_builds set key_digest = '' where {OF}",
            ),
            (TODAY, f"update stax.coverage set state = 'complete' where report = 'usage_report' and {OF}"),
            (
                TODAY,
                "insert into stax.commitments select 'c', now(), tenant_id, 'm', 1, 1, 7, '2026-11-01', '2026-11-30', "
                "null from stax.tenants where slug = 'acme'",
            ),
        ],
        ids=[
            "cost",
            "keys",
            "uncovered",
            "never-built",
            "provisional",
            "late",
            "no-keys",
            "complete-now",
            "commitment",
        ],
    )
    def test_a_day_is(self, connection: sa.Connection, since: datetime, acme: UUID, day: date, seed: str) -> None:
        of_day = seed.replace("usage_date =", f"usage_date = '{day}'")
        assert connection.execute(sa.text(of_day)).rowcount > 0
        assert changed(connection, since) == {(acme, day)}

    def test_what_is_not_committed_yet_is_after_the_instant(
        self, made: Installation, connection: sa.Connection
    ) -> None:
        began = connection.execute(sa.text("select now()")).scalar_one()
        with made.engine.connect() as other:
            assert as_of(other) <= began
        connection.rollback()
        with made.engine.connect() as other:
            assert as_of(other) > began


def test_a_publish_of_other_rows_is_and_one_of_the_same_is_not(stax_home: Path) -> None:
    """The open day goes on meanwhile."""
    with two_tenants(stax_home) as made:
        sync(made)
        with made.engine.connect() as connection:
            before, acme = as_of(connection), get_tenant(connection, "acme").tenant_id
        made.clock.now += timedelta(minutes=10)
        sync(made)
        with made.engine.connect() as connection:
            assert {day for _, day in changed(connection, before)} == {TODAY}
        change(made, COST, on(FIRST, times("1.001")))
        made.clock.now += timedelta(minutes=10)
        assert sync(made).failures == {}
        with made.engine.connect() as connection:
            assert {slot for slot in changed(connection, before) if slot[1] != TODAY} == {(acme, FIRST)}

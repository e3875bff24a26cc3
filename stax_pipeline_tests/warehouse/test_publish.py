"""Replacing days: whole days of one tenant and no other, all tables or none, publishers of one tenant in turn."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pyarrow as pa
import pytest
import sqlalchemy as sa

from stax_pipeline.warehouse.arrow_copy import arrow_type
from stax_pipeline.warehouse.engine import WarehouseFault, plain_faults
from stax_pipeline.warehouse.publish import TableRows, lock_tenant, replace_days, replace_tenant_days
from stax_pipeline.warehouse.tables import reconciliation
from stax_pipeline_tests.conftest import Installation, installed
from stax_pipeline_tests.pipeline.support import execute, query

A, B = UUID(int=1), UUID(int=2)
COLUMNS = ["usage_date", "model", "service_tier", "reported_usd", "cause"]
DAY, NEXT = date(2026, 11, 20), date(2026, 11, 21)


@pytest.fixture(scope="module")
def standing(stax_home: Path) -> Iterator[Installation]:
    with installed(stax_home) as installation:
        yield installation


@pytest.fixture
def made(standing: Installation) -> Installation:
    execute(standing, "delete from stax.reconciliation")
    return standing


def rows(*lines: tuple[date, str]) -> TableRows:
    return TableRows(reconciliation, COLUMNS, [(day, model, "standard", Decimal(1), "") for day, model in lines])


def replace(made: Installation, tenant: UUID, days: list[date], *lines: tuple[date, str]) -> int:
    with plain_faults("publishing"), made.engine.begin() as connection:
        lock_tenant(connection, tenant)
        return replace_days(connection, tenant, days, [rows(*lines)])


def held(made: Installation) -> list[tuple[int, int, str]]:
    found = query(made, "select tenant_id, usage_date, model from stax.reconciliation order by 1, 2, 3")
    return [(r.tenant_id.int, r.usage_date.day, r.model) for r in found]


def test_days_are_replaced_whole_and_others_stay(made: Installation) -> None:
    replace(made, A, [DAY, NEXT], (DAY, "a"), (DAY, "b"), (NEXT, "c"))
    replace(made, B, [DAY], (DAY, "a"))
    assert replace(made, A, [DAY], (DAY, "d")) == 1
    assert held(made) == [(1, 20, "d"), (1, 21, "c"), (2, 20, "a")]
    assert replace(made, A, [DAY]) == 0
    assert held(made) == [(1, 21, "c"), (2, 20, "a")]


def test_rows_of_days_that_were_not_chosen_are_left_out(made: Installation) -> None:
    assert replace(made, A, [DAY], (DAY, "a"), (NEXT, "b")) == 1
    assert held(made) == [(1, 20, "a")]


def test_a_refused_row_leaves_everything_as_it_was(made: Installation) -> None:
    replace(made, A, [DAY], (DAY, "a"))
    with pytest.raises(WarehouseFault, match="duplicate key"):
        replace(made, A, [DAY], (DAY, "x"), (DAY, "x"))
    assert held(made) == [(1, 20, "a")]


def test_publishers_of_one_tenant_wait_and_of_two_do_not(made: Installation) -> None:
    done = threading.Event()

    def second(tenant: UUID) -> threading.Thread:
        def work() -> None:
            replace(made, tenant, [DAY], (DAY, "second"))
            done.set()

        thread = threading.Thread(target=work)
        thread.start()
        return thread

    with made.engine.begin() as connection:
        lock_tenant(connection, A)
        other = second(B)
        assert done.wait(10)
        other.join()
        done.clear()
        same = second(A)
        assert not done.wait(0.4)
        replace_days(connection, A, [DAY], [rows((DAY, "first"))])
    assert done.wait(10)
    same.join()
    assert held(made) == [(1, 20, "second"), (2, 20, "second")]


def test_a_dead_publisher_frees_its_lock_at_once(made: Installation) -> None:
    connection = made.engine.connect()
    transaction = connection.begin()
    lock_tenant(connection, A)
    replace_days(connection, A, [DAY], [rows((DAY, "dead"))])
    connection.connection.dbapi_connection.close()  # type: ignore[union-attr]
    assert replace(made, A, [DAY], (DAY, "alive")) == 1
    assert held(made) == [(1, 20, "alive")]
    with pytest.raises(sa.exc.DBAPIError):
        connection.exec_driver_sql("select 1")
    connection.invalidate()
    transaction.close()
    connection.close()


SLOTS = {(A, DAY), (B, NEXT)}
EVERY = {(tenant, day) for tenant in (A, B) for day in (DAY, NEXT)}
SCHEMA = pa.schema([(name, arrow_type(reconciliation.c[name])) for name in ("tenant_id", *COLUMNS)])


def lines(*slots: tuple[UUID, date], model: str = "m") -> pa.Table:
    rows = [(str(tenant), day, model, "standard", Decimal(1), "") for tenant, day in slots]
    return pa.Table.from_pylist([dict(zip(SCHEMA.names, row, strict=True)) for row in rows], SCHEMA)


def replace_batch(made: Installation, rows: pa.Table, slots: set[tuple[UUID, date]]) -> dict[sa.Table, int]:
    with plain_faults("publishing"), made.engine.begin() as connection:
        return replace_tenant_days(connection, {reconciliation: rows}, slots)


class TestABatch:
    def test_exactly_its_tenant_days_are_replaced(self, made: Installation) -> None:
        assert replace_batch(made, lines(*EVERY, model="old"), EVERY) == {reconciliation: 4}
        assert replace_batch(made, lines((A, DAY), model="new"), SLOTS) == {reconciliation: 1}
        assert held(made) == [(1, 20, "new"), (1, 21, "old"), (2, 20, "old")]

    @pytest.mark.parametrize("outside", [(A, NEXT), (B, DAY), (UUID(int=3), DAY)])
    def test_a_row_outside_of_it_is_a_fault_and_nothing_is_written(
        self, made: Installation, outside: tuple[UUID, date]
    ) -> None:
        replace_batch(made, lines(*EVERY, model="old"), EVERY)
        with pytest.raises(WarehouseFault, match="rows of other tenants or days"):
            replace_batch(made, lines(*SLOTS, outside), SLOTS)
        assert {model for *_, model in held(made)} == {"old"}

    def test_no_tenant_days_are_none(self, made: Installation) -> None:
        replace_batch(made, lines(*EVERY), EVERY)
        assert replace_batch(made, SCHEMA.empty_table(), set()) == {reconciliation: 0}
        assert len(held(made)) == 4

    def test_its_parquet_files_become_due_in_the_same_transaction(self, made: Installation) -> None:
        execute(made, "delete from stax.parquet_due")
        high = UUID("f" + "0" * 31)
        replace_batch(made, lines(*SLOTS), {*SLOTS, (high, DAY)})
        due = query(made, "select table_name, usage_date, bucket from stax.parquet_due order by 2, 3")
        assert [tuple(row) for row in due] == [(reconciliation.name, DAY, 0), (reconciliation.name, DAY, 15),
                                               (reconciliation.name, NEXT, 0)]  # fmt: skip
        with pytest.raises(WarehouseFault):
            replace_batch(made, lines((A, DAY), (A, DAY)), SLOTS)
        assert len(query(made, "select 1 from stax.parquet_due")) == 3

    def test_two_that_change_one_file_do_not_wait_for_each_other(self, made: Installation) -> None:
        with made.engine.begin() as first:
            replace_tenant_days(first, {reconciliation: lines((A, DAY))}, {(A, DAY)})
            with made.engine.begin() as second:
                second.exec_driver_sql("set local lock_timeout = '1s'")
                replace_tenant_days(second, {reconciliation: lines((B, DAY))}, {(B, DAY)})
        assert held(made) == [(1, 20, "m"), (2, 20, "m")]

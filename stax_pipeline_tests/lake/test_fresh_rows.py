"""Parquet files of rows that this process has just written: equal to the table, whoever else writes, and not read."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pyarrow as pa
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stax_pipeline.checks.parquet_copies import parquet_gaps
from stax_pipeline.lake import parquet, parquet_rows
from stax_pipeline.lake.parquet import rebuild
from stax_pipeline.lake.parquet_rows import Span
from stax_pipeline.pipeline.build_batch import Books
from stax_pipeline.pipeline.publish_batch import Stores
from stax_pipeline.pipeline.publish_reports import publish_cost, publish_usage
from stax_pipeline.pipeline.publish_spend import publish_spend
from stax_pipeline.warehouse import tables
from stax_pipeline.warehouse.fresh_rows import Fresh, FreshRows
from stax_pipeline.warehouse.parquet_due import Due, Written
from stax_pipeline.warehouse.publish import replace_tenant_days
from stax_pipeline.warehouse.tables import reconciliation
from stax_pipeline.warehouse.tenants import tenants_to_sync
from stax_pipeline_tests.conftest import Installation, installed
from stax_pipeline_tests.lake.test_parquet_due import (
    DAY,
    DAYS,
    FEW,
    MANY,
    NAMES,
    SCHEMA,
    Killed,
    add,
    die,
    files,
    gaps,
    populated,
)
from stax_pipeline_tests.pipeline import support

Tenants = list[UUID]


@pytest.fixture
def few(stax_home: Path) -> Iterator[Installation]:
    with installed(stax_home) as made:
        yield populated(made, FEW)


@pytest.fixture
def fresh() -> FreshRows:
    return FreshRows()


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Span]:
    """What is read from Postgres from now on."""
    spans: list[Span] = []
    real = parquet.read_rows

    def read_rows(connection: Any, table: Any, some: list[Span], out: Any) -> None:
        spans.extend(some)
        real(connection, table, some, out)

    monkeypatch.setattr(parquet, "read_rows", read_rows)
    return spans


def publish(
    made: Installation, tenants: Tenants, days: list[date], usd: int, fresh: FreshRows | None = None, lines: int = 2,
    undone: bool = False,
) -> None:  # fmt: skip
    """Rows of these tenants' days, not in the order of the key."""
    rows = [
        dict(zip(NAMES, (str(tenant), day, model, "standard", Decimal(usd), ""), strict=True))
        for model in ("b", "a", "ä")[:lines] for tenant in tenants for day in days
    ]  # fmt: skip
    slots = {(tenant, day) for tenant in tenants for day in days}
    with made.engine.begin() as connection:
        replace_tenant_days(connection, {reconciliation: pa.Table.from_pylist(rows, SCHEMA)}, slots, fresh)
        if undone:
            connection.get_transaction().rollback()  # type: ignore[union-attr]


def write(made: Installation, fresh: FreshRows | None = None) -> int:
    return rebuild(made.engine, made.lake, reconciliation, DAYS, fresh)


def test_a_file_of_which_all_is_at_hand_reads_no_row(few: Installation, fresh: FreshRows, read: list[Span]) -> None:
    publish(few, FEW, DAYS.days, 2, fresh)
    assert write(few, fresh) == 18
    assert (gaps(few), read) == ([], [])


def test_the_first_load_into_sixteen_buckets_reads_no_row(stax_home: Path, fresh: FreshRows, read: list[Span]) -> None:
    with installed(stax_home) as made:
        add(made, MANY)
        publish(made, MANY[:30], DAYS.days, 2, fresh, lines=3)
        publish(made, MANY[30:], DAYS.days, 2, fresh)
        write(made, fresh)
        assert (gaps(made), read) == ([], [])
        assert len(files(made)) == 3 * 16


def test_of_the_others_only_their_rows_are_read(few: Installation, fresh: FreshRows, read: list[Span]) -> None:
    publish(few, FEW[1:2], [DAY], 2, fresh)
    assert write(few, fresh) == 6
    assert [(span.file.usage_date, span.low, span.high) for span in read] == [
        (DAY, str(tenant), str(tenant)) for tenant in (FEW[0], FEW[2])
    ]
    assert gaps(few) == []


def test_a_tenant_that_is_left_without_rows(few: Installation, fresh: FreshRows) -> None:
    publish(few, FEW[:1], [DAY], 2, fresh, lines=0)
    assert write(few, fresh) == 4
    assert gaps(few) == []


def test_the_later_of_two_publications_holds(few: Installation, fresh: FreshRows, read: list[Span]) -> None:
    publish(few, FEW, [DAY], 2, fresh)
    publish(few, FEW[:2], [DAY], 3, fresh, lines=1)
    assert write(few, fresh) == 4
    assert (gaps(few), read) == ([], [])


def test_what_somebody_else_wrote_since_is_read(few: Installation, fresh: FreshRows) -> None:
    publish(few, FEW, [DAY], 2, fresh)
    publish(few, FEW[:1], [DAY], 3)
    write(few, fresh)
    assert gaps(few) == []


def test_what_somebody_else_wrote_and_copied_since_stays(few: Installation, fresh: FreshRows) -> None:
    publish(few, FEW, [DAY], 2, fresh)
    publish(few, FEW[:1], [DAY], 3)
    write(few)
    publish(few, FEW[1:2], [DAY], 4, fresh)
    write(few, fresh)
    assert gaps(few) == []


def test_what_was_undone_is_not_written(few: Installation, fresh: FreshRows) -> None:
    publish(few, FEW, [DAY], 2, fresh, undone=True)
    publish(few, FEW[:1], [DAY], 3, fresh)
    write(few, fresh)
    assert gaps(few) == []


def test_killed_before_the_files_the_next_process_reads_the_rows(
    few: Installation, fresh: FreshRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(few, FEW, DAYS.days, 2, fresh)
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(parquet, "_write", die)
        write(few, fresh)
    write(few, FreshRows())
    assert gaps(few) == []


def test_what_does_not_fit_is_read(few: Installation, read: list[Span]) -> None:
    full = FreshRows(limit=1_000)
    publish(few, FEW, [DAY], 2, full)
    publish(few, FEW, DAYS.days[1:], 2, full)
    write(few, full)
    assert (gaps(few), {span.file.usage_date for span in read}) == ([], set(DAYS.days[1:]))


def test_of_a_file_that_does_not_fit_whole_the_rest_is_read(few: Installation, read: list[Span]) -> None:
    full = FreshRows(limit=1_000)
    publish(few, FEW, [DAY], 2, full)
    publish(few, FEW[:1], [DAY], 3, full, lines=3)
    publish(few, FEW[:1], DAYS.days, 4, full, lines=3)
    write(few, full)
    assert gaps(few) == []
    assert {span.low for span in read if span.file.usage_date == DAY} == {str(FEW[0])}


def test_room_is_made_by_what_is_taken(few: Installation, read: list[Span]) -> None:
    full = FreshRows(limit=1_000)
    for usd in (2, 3):
        publish(few, FEW, [DAY], usd, full)
        write(few, full)
    assert (gaps(few), read) == ([], [])


def test_rows_that_are_read_between_rows_at_hand_are_there_once(stax_home: Path, fresh: FreshRows) -> None:
    """Tenants were not connected in the order of their ids, in which files are sorted."""
    some = sorted(MANY)[:5]
    with installed(stax_home) as made:
        for place in (4, 1, 3, 0, 2):
            add(made, [some[place]])
        publish(made, some, [DAY], 1)
        write(made)
        publish(made, [some[0], some[2]], [DAY], 2, fresh)
        write(made, fresh)
        assert gaps(made) == []


@pytest.mark.parametrize("table", [tables.spend, reconciliation])
def test_rows_that_come_by_tenant_go_to_their_own_day(fresh: FreshRows, table: sa.Table) -> None:
    neighbours = [UUID(int=1), UUID(int=2)]
    slots = [(tenant, day) for tenant in neighbours for day in DAYS.days]
    key = {"line": [1] * len(slots)} if "line" in table.c else {"model": ["m"] * len(slots), "service_tier": [""] * 6}
    rows = pa.table({
        "tenant_id": [str(tenant) for tenant, _ in slots], "usage_date": [day for _, day in slots], **key,
    })  # fmt: skip
    notes = [(table.name, Due(uuid4(), day, 0)) for day in DAYS.days]
    fresh.put(table, Written(datetime.now(UTC), notes), slots, rows)
    held = fresh.take(table)
    for _, note in notes:
        kept = held[note.mark_id].rows
        assert kept
        assert kept["usage_date"].to_pylist() == [note.usage_date] * 2
        assert kept["tenant_id"].to_pylist() == list(map(str, neighbours))


def test_more_days_and_rows_than_arrow_looks_at_together_go_to_their_own_day(fresh: FreshRows) -> None:
    days = [DAY + timedelta(days=number) for number in range(180)]
    slots = [(UUID(int=tenant), day) for day in days for tenant in (1, 2)]
    rows = pa.table({
        "tenant_id": [str(tenant) for tenant, _ in slots for _ in range(6)],
        "usage_date": [day for _, day in slots for _ in range(6)],
        "model": list("abcdef") * len(slots), "service_tier": [""] * 6 * len(slots),
    })  # fmt: skip
    notes = [(reconciliation.name, Due(uuid4(), day, 0)) for day in days]
    fresh.put(reconciliation, Written(datetime.now(UTC), notes), slots, rows)
    held = fresh.take(reconciliation)
    for _, note in notes:
        kept = held[note.mark_id].rows
        assert kept
        assert kept["usage_date"].to_pylist() == [note.usage_date] * 12


ACTS = st.lists(
    st.tuples(
        st.sampled_from(["mine", "theirs", "undone", "copied"]),
        st.lists(st.sampled_from(FEW), min_size=1, unique=True),
        st.lists(st.sampled_from(DAYS.days), min_size=1, unique=True),
        st.integers(0, 3),
    ),
    max_size=6,
)  # fmt: skip


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=ACTS, limit=st.sampled_from([0, 600, 1_500, 1 << 20]))
def test_whoever_writes_in_whatever_order_files_equal_the_table(few: Installation, acts: list[Any], limit: int) -> None:
    fresh = FreshRows(limit)
    for usd, (act, tenants, days, lines) in enumerate(acts):
        if act == "copied":
            write(few)
        else:
            publish(few, tenants, days, usd, None if act == "theirs" else fresh, lines, undone=act == "undone")
    write(few, fresh)
    assert gaps(few) == []


class TestARun:
    """All tables as a run writes them."""

    @pytest.fixture(scope="class")
    def made(self, stax_home: Path) -> Iterator[Installation]:
        with support.two_tenants(stax_home) as installation:
            yield installation

    def test_no_row_is_read_and_every_value_is_that_of_the_table(
        self, made: Installation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(support, "publish_usage", lambda *_: None)
        monkeypatch.setattr(support, "publish_cost", lambda *_: None)
        monkeypatch.setattr(support, "publish_spend", lambda *_: (None, None))
        support.sync(made)
        with made.engine.begin() as connection:
            tenants = tenants_to_sync(connection, ())
        stores = Stores(made.engine, made.lake, made.settings.settle)
        books = Books(made.engine, made.lake, made.settings.settle)
        publish_usage(stores, tenants, support.DAYS)
        publish_cost(stores, tenants, support.DAYS)
        publish_spend(books, tenants, support.DAYS)
        monkeypatch.setattr(parquet_rows, "copy_csv", die)
        written = {
            table.name: rebuild(made.engine, made.lake, table, support.DAYS, fresh)
            for fresh, of_step in (
                (stores.fresh, (tables.usage_lines, tables.usage_by_key, tables.cost_lines)),
                (books.fresh, (tables.spend, tables.spend_by_key, tables.reconciliation)),
            )
            for table in of_step
        }
        monkeypatch.undo()
        assert all(written.values())
        with made.engine.connect() as connection:
            assert list(parquet_gaps(connection, made.lake, support.DAYS)) == []

    def test_rows_with_fields_that_postgres_writes_its_own_way_are_read(self) -> None:
        rows = pa.table({"extras": ["{}", '{"b":1,"a":2}'], "usage_date": [DAY, DAY], "tenant_id": [str(FEW[0])] * 2})
        fresh = FreshRows()
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("stax_pipeline.warehouse.fresh_rows._compact", die)
            fresh.put(tables.cost_lines, noted(), {(FEW[0], DAY)}, rows)
        assert list(fresh.take(tables.cost_lines).values()) == [Fresh(frozenset(FEW[:1]), None)]


def noted() -> Written:
    return Written(datetime.now(UTC), [("cost_lines", Due(uuid4(), DAY, 0))])

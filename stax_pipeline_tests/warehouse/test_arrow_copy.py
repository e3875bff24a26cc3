"""Arrow through COPY and back: any text, decimal and count survives; NULL and '' stay two things."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg2 import sql

from stax_pipeline.derive import schemas
from stax_pipeline.warehouse import arrow_copy, tables
from stax_pipeline.warehouse.arrow_copy import USD, arrow_type, copy_arrow, copy_csv, read_arrow
from stax_pipeline.warehouse.engine import WarehouseFault, plain_faults
from stax_pipeline.warehouse.tables import reconciliation
from stax_pipeline_tests.conftest import Installation, installed
from stax_pipeline_tests.warehouse.test_copy import TEXT
from stax_pipeline_tests.warehouse.test_copy import USD as DOLLARS

A, B = UUID(int=1), UUID(int=2)
DAY, NEXT = date(2026, 11, 20), date(2026, 11, 21)
SLOT = (A, DAY)
COLUMNS = ["tenant_id", "usage_date", "model", "service_tier", "priced_usd", "reported_usd", "cause"]
SCHEMA = pa.schema([
    pa.field(name, arrow_type(reconciliation.c[name]), nullable=name == "priced_usd") for name in COLUMNS
])  # fmt: skip


@pytest.fixture(scope="module")
def made(stax_home: Path) -> Iterator[Installation]:
    with installed(stax_home) as installation:
        yield installation


@pytest.fixture
def connection(made: Installation) -> Iterator[sa.Connection]:
    with made.engine.connect() as opened, opened.begin() as transaction:
        yield opened
        transaction.rollback()


def lines(*models: str, cause: str = "", priced: Decimal | None = None, slot: tuple[UUID, date] = SLOT) -> pa.Table:
    tenant, day = slot
    rows = [(str(tenant), day, model, "standard", priced, Decimal(1), cause) for model in models]
    return table(rows)


def table(rows: list[tuple[Any, ...]]) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(COLUMNS, row, strict=True)) for row in rows], SCHEMA)


@settings(max_examples=80, deadline=None)
@given(rows=st.dictionaries(TEXT, st.tuples(TEXT, DOLLARS), max_size=6))
def test_any_text_and_decimal_survives_both_ways(
    made: Installation, rows: dict[str, tuple[str, Decimal | None]]
) -> None:
    sent = table([(str(A), DAY, m, "standard", usd, Decimal(1), cause) for m, (cause, usd) in sorted(rows.items())])
    with made.engine.connect() as connection, connection.begin() as transaction:
        assert copy_arrow(connection, reconciliation, sent) == len(rows)
        held = connection.execute(sa.text("select model, cause, priced_usd from stax.reconciliation"))
        assert {r.model: (r.cause, r.priced_usd) for r in held} == rows
        read = read_arrow(connection, reconciliation, COLUMNS, [SLOT])
        assert read.schema == SCHEMA
        assert read.sort_by("model") == sent.sort_by("model")
        transaction.rollback()


def test_null_is_bare_and_empty_text_is_quoted(connection: sa.Connection) -> None:
    copy_arrow(connection, reconciliation, lines(""))
    out = io.BytesIO()
    copy_csv(connection, sql.SQL("select model, priced_usd, cause from stax.reconciliation"), out)
    assert out.getvalue() == b'"",,""\n'


@pytest.mark.parametrize("text", ["a\n\\.\nb", "\\.", "\u2028", "a\rb", '"\n"', "'", "\x85", "\ufeff"])
def test_what_ends_lines_or_files_elsewhere_is_text(connection: sa.Connection, text: str) -> None:
    sent = lines(text, "later", cause=text)
    copy_arrow(connection, reconciliation, sent)
    assert read_arrow(connection, reconciliation, COLUMNS, [SLOT]).sort_by("model") == sent.sort_by("model")


@pytest.mark.parametrize("kind", [sa.Numeric, sa.BigInteger])
def test_a_column_alone_whose_values_are_null_has_its_rows(connection: sa.Connection, kind: type) -> None:
    name = "priced_usd" if kind is sa.Numeric else "quantity"
    table = reconciliation if kind is sa.Numeric else tables.spend_by_key
    keys = [c.name for c in table.columns if not c.nullable and c.name != "loaded_at"]
    values: dict[str, Any] = {"tenant_id": str(A), "usage_date": DAY, "reported_usd": Decimal(1), "line": 1}
    schema = pa.schema([(key, arrow_type(table.c[key])) for key in keys])
    copy_arrow(connection, table, pa.Table.from_pylist([{key: values.get(key, "x") for key in keys}], schema))
    assert read_arrow(connection, table, [name], [SLOT]).to_pylist() == [{name: None}]


@pytest.mark.parametrize("usd", ["99999999999999999999.999999999999999999", "-99999999999999999999.999999999999999999"])
def test_the_limits_of_the_columns_check_are_the_limits_of_arrow(connection: sa.Connection, usd: str) -> None:
    """Arrow's CSV reader wraps silently beyond: nothing beyond can be in a column that it reads."""
    copy_arrow(connection, reconciliation, lines("m", priced=Decimal(usd)))
    assert read_arrow(connection, reconciliation, ["priced_usd"], [SLOT])["priced_usd"].to_pylist() == [Decimal(usd)]
    for beyond in (f"{usd}1", usd.replace(".", "0."), "NaN", "Infinity", "-Infinity"):
        savepoint = connection.begin_nested()
        with pytest.raises(sa.exc.IntegrityError, match="priced_usd_check"):
            connection.execute(sa.text("update stax.reconciliation set priced_usd = cast(:usd as numeric)"),
                               {"usd": beyond})  # fmt: skip
        savepoint.rollback()


def test_every_column_that_is_read_as_decimal_has_that_check(made: Installation) -> None:
    for each in tables.metadata.tables.values():
        stated = {str(c.name) for c in each.constraints if isinstance(c, sa.CheckConstraint)}
        assert {f"{each.name}_{c.name}_check" for c in each.columns if arrow_type(c) == USD} <= stated


@settings(max_examples=50, deadline=None)
@given(figures=st.lists(DOLLARS | st.sampled_from([Decimal(0), Decimal("-1e-10"), Decimal("1e-10"), Decimal(100)])))
def test_people_read_the_decimals_that_count(made: Installation, figures: list[Decimal | None]) -> None:
    """Figures below a millionth too, whose zeros Arrow tells by an exponent."""
    known = {str(n): usd for n, usd in enumerate(figures) if usd is not None}
    sent = table([(str(A), DAY, model, "standard", usd, Decimal(1), "") for model, usd in known.items()])
    with made.engine.connect() as connection, connection.begin() as transaction:
        copy_arrow(connection, reconciliation, sent)
        held = connection.execute(sa.text("select model, priced_usd::text from stax.reconciliation"))
        assert {row.model: row.priced_usd for row in held} == {model: shortest(usd) for model, usd in known.items()}
        transaction.rollback()


def shortest(usd: Decimal) -> str:
    text = format(usd, "f")
    return (text.rstrip("0").rstrip(".") if "." in text else text) if usd else "0"


def test_only_the_tenant_days_asked_for_are_read_each_once(connection: sa.Connection) -> None:
    for slot in ((A, DAY), (A, NEXT), (B, DAY), (B, NEXT)):
        copy_arrow(connection, reconciliation, lines(f"{slot[0].int}/{slot[1].day}", slot=slot))
    read = read_arrow(connection, reconciliation, ["model"], [(B, DAY), (A, NEXT), (A, NEXT)], order=["model"])
    assert read["model"].to_pylist() == ["1/21", "2/20"]
    assert read_arrow(connection, reconciliation, COLUMNS, []) == SCHEMA.empty_table()


def test_instants_flags_and_ids(connection: sa.Connection) -> None:
    at = datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC)
    connection.execute(sa.text(
        "insert into stax.tenants values (:t, 'x', 'X', 'o', 'connected', now(), null); "
        "insert into stax.extractions values (:t, :t, 'cost_report', '2026-11-20', '2026-11-21', now(), 1, 1, '', "
        "null, 'r', null)"
    ), {"t": A})  # fmt: skip
    values = {
        "tenant_id": str(A), "report": "cost_report", "usage_date": DAY, "extraction_id": str(A), "extracted_at": at,
        "data_through": at, "old_enough_to_settle": True, "state": "complete", "rows": 2**62, "by_key": False,
    }  # fmt: skip
    schema = pa.schema([(name, arrow_type(tables.coverage.c[name])) for name in values])
    sent = pa.Table.from_pylist([values], schema)
    assert copy_arrow(connection, tables.coverage, sent) == 1
    assert read_arrow(connection, tables.coverage, list(values), [SLOT]).to_pylist() == [values]


def test_loads_of_one_table_in_one_transaction_do_not_double(connection: sa.Connection) -> None:
    copy_arrow(connection, reconciliation, lines("a"))
    copy_arrow(connection, reconciliation, lines("b").drop_columns(["priced_usd"]))
    assert read_arrow(connection, reconciliation, ["model"], [SLOT], ["model"])["model"].to_pylist() == ["a", "b"]


def test_no_rows_ask_nothing_of_the_database(made: Installation) -> None:
    with made.engine.connect() as connection:
        assert copy_arrow(connection, reconciliation, SCHEMA.empty_table()) == 0
        assert not connection.in_transaction()


@pytest.mark.parametrize("rows", [lines("secret-row", "secret-row"), lines("secret-row", "nul \x00 byte")])
def test_what_is_refused_is_told_without_the_row_and_leaves_nothing(made: Installation, rows: pa.Table) -> None:
    with (
        pytest.raises(WarehouseFault, match="duplicate key|invalid byte sequence") as caught,
        plain_faults("loading"),
        made.engine.begin() as connection,
    ):
        connection.exec_driver_sql("select 1")
        copy_arrow(connection, reconciliation, rows)
    assert "secret-row" not in str(caught.value)
    with made.engine.connect() as connection:
        assert read_arrow(connection, reconciliation, COLUMNS, [SLOT]).num_rows == 0


@pytest.mark.parametrize("length", [500_000, 5_000_000])
@pytest.mark.parametrize("model", ["first", "model-19990-long", "zlast"])
def test_more_rows_than_are_written_at_a_time_and_one_longer_than_a_block(
    connection: sa.Connection, model: str, length: int
) -> None:
    causes = {f"model-{n:05}": "é\n" * 40 for n in range(20_000)} | {model: "x" * length}
    long = [str(A), DAY, model, "standard", None, Decimal(1), causes[model]]
    others = lines(*(causes.keys() - {model}), cause="é\n" * 40)
    copy_arrow(connection, reconciliation, pa.concat_tables([others, table([tuple(long)])]))
    read = read_arrow(connection, reconciliation, ["model", "cause"], [SLOT], ["model"])
    assert list(zip(read["model"].to_pylist(), read["cause"].to_pylist(), strict=True)) == sorted(causes.items())


def test_a_signal_in_mid_copy_arrives_as_what_it_was(made: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: pa.RecordBatch) -> pa.BufferReader:
        raise KeyboardInterrupt

    monkeypatch.setattr(arrow_copy, "_as_csv", interrupted)
    with pytest.raises(KeyboardInterrupt), plain_faults("loading"), made.engine.begin() as connection:
        copy_arrow(connection, reconciliation, lines("first"))


@pytest.mark.parametrize(
    ("table", "schema"),
    [
        (tables.cost_lines, schemas.COST_LINES),
        (tables.usage_lines, schemas.USAGE_LINES),
        (tables.usage_by_key, schemas.USAGE_BY_KEY),
        (tables.spend, schemas.SPEND),
        (tables.spend_by_key, schemas.SPEND_BY_KEY),
        (reconciliation, schemas.RECONCILIATION),
    ],
    ids=lambda given: getattr(given, "name", ""),
)
def test_what_is_read_has_the_schema_of_the_rules(
    connection: sa.Connection, table: sa.Table, schema: pa.Schema
) -> None:
    assert read_arrow(connection, table, schema.names, [SLOT]).schema == schema

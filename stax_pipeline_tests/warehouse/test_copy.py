"""A few rows of Python values through COPY: whatever they hold survives, or is refused without being shown."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from stax_pipeline.warehouse.copy import copy_in
from stax_pipeline.warehouse.engine import WarehouseFault, plain_faults
from stax_pipeline.warehouse.tables import coverage, reconciliation
from stax_pipeline_tests.conftest import Installation, installed
from stax_pipeline_tests.derive.builders import scaled

TENANT = UUID("00000000-0000-4000-8000-000000000001")
COLUMNS = ["usage_date", "tenant_id", "model", "service_tier", "priced_usd", "reported_usd", "cause"]
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=40) | st.sampled_from(
    ["", "\\N", "\\.", "\t", "\n", "\r\n", "\\", "\\\\n", '"', "''", ",", "NULL", "a\tb\nc\\d", "\u202e", "é😀"]
)
USD = st.none() | st.decimals(allow_nan=False, allow_infinity=False, places=18, min_value=-(10**15), max_value=10**15)
USD |= st.sampled_from([scaled(10**38 - 1), scaled(1 - 10**38), scaled(1)])  # the limits of the column


@pytest.fixture(scope="module")
def made(stax_home: Path) -> Iterator[Installation]:
    with installed(stax_home) as installation:
        yield installation


@pytest.fixture
def connection(made: Installation) -> Iterator[sa.Connection]:
    with made.engine.connect() as opened:
        yield opened
        opened.rollback()


def row(model: str, cause: str = "", priced: Decimal | None = None) -> tuple[object, ...]:
    return (date(2026, 11, 20), TENANT, model, "standard", priced, Decimal(1), cause)


@settings(max_examples=60, deadline=None)
@given(rows=st.dictionaries(TEXT, st.tuples(TEXT, USD), max_size=6))
def test_any_text_and_decimal_survives(made: Installation, rows: dict[str, tuple[str, Decimal | None]]) -> None:
    with made.engine.connect() as connection:
        sent = [row(model, cause, priced) for model, (cause, priced) in rows.items()]
        assert copy_in(connection, reconciliation, COLUMNS, iter(sent)) == len(rows)
        query = "select model, cause, priced_usd from stax.reconciliation"
        held = {r.model: (r.cause, r.priced_usd) for r in connection.execute(sa.text(query))}
        assert held == rows
        connection.rollback()


def test_many_rows_and_long_ones(connection: sa.Connection) -> None:
    sent = [row(f"model-{n}", "x" * (200_000 if n == 7 else 40)) for n in range(5_000)]
    assert copy_in(connection, reconciliation, COLUMNS, iter(sent)) == 5_000
    found = connection.execute(sa.text("select count(*), sum(length(cause)) from stax.reconciliation")).one()
    assert tuple(found) == (5_000, 200_000 + 4_999 * 40)


def test_no_rows_are_none(connection: sa.Connection) -> None:
    assert copy_in(connection, reconciliation, COLUMNS, []) == 0


def test_two_loads_in_one_transaction_do_not_double(connection: sa.Connection) -> None:
    copy_in(connection, reconciliation, COLUMNS, [row("a")])
    copy_in(connection, reconciliation, COLUMNS, [row("b")])
    found = connection.execute(sa.text("select model from stax.reconciliation order by 1")).scalars().all()
    assert found == ["a", "b"]


def test_other_columns_of_the_same_table_on_the_same_connection(connection: sa.Connection) -> None:
    copy_in(connection, reconciliation, COLUMNS, [row("a")])
    columns = [*COLUMNS, "ratio"]
    assert copy_in(connection, reconciliation, columns, [(*row("b"), Decimal("0.5"))]) == 1
    assert connection.execute(sa.text("select ratio from stax.reconciliation where model = 'b'")).scalar() == Decimal(
        "0.5"
    )


def test_instants_and_flags(connection: sa.Connection) -> None:
    now = datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC)
    connection.execute(
        sa.text(
            "insert into stax.tenants values (:t, 'x', 'X', 'o', 'connected', now(), null); "
            "insert into stax.extractions values (:t, :t, 'cost_report', '2026-11-20', '2026-11-21', now(), 1, 1, '', "
            "null, 'r', null)"
        ),
        {"t": TENANT},
    )
    columns = ["tenant_id", "report", "usage_date", "extraction_id", "extracted_at", "data_through",
               "old_enough_to_settle", "state", "rows", "by_key"]  # fmt: skip
    copy_in(connection, coverage, columns, [
        (TENANT, "cost_report", date(2026, 11, 20), TENANT, now, now, True, "complete", 2**62, False),
    ])  # fmt: skip
    held = connection.execute(sa.select(coverage)).one()
    assert (held.data_through, held.old_enough_to_settle, held.rows, held.by_key) == (now, True, 2**62, False)


def test_a_signal_while_rows_are_read_arrives_as_what_it_was(made: Installation) -> None:
    def rows() -> Iterator[tuple[object, ...]]:
        yield row("first")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), plain_faults("loading"), made.engine.begin() as connection:
        copy_in(connection, reconciliation, COLUMNS, rows())


@pytest.mark.parametrize("beyond", ["1E-19", "1E20", "-100000000000000000000.5", "NaN", "Infinity"])
def test_a_decimal_that_the_column_cannot_hold_is_refused_without_showing_it(made: Installation, beyond: str) -> None:
    with (
        made.engine.connect() as connection,
        pytest.raises(WarehouseFault, match="does not fit its column was refused") as caught,
    ):
        copy_in(connection, reconciliation, COLUMNS, [row("m", priced=Decimal(beyond))])
    assert beyond.lower() not in str(caught.value).lower()
    assert caught.value.__cause__ is None and caught.value.__suppress_context__


@pytest.mark.parametrize("bad", ["nul \x00 byte", "lone \ud800 surrogate"])
def test_what_postgres_cannot_hold_is_refused_without_showing_it(made: Installation, bad: str) -> None:
    with (
        pytest.raises(WarehouseFault) as caught,
        plain_faults("loading"),
        made.engine.begin() as connection,
    ):
        copy_in(connection, reconciliation, COLUMNS, [row("secret-row"), row(bad)])
    assert "secret-row" not in str(caught.value)
    with made.engine.connect() as connection:
        assert connection.execute(sa.text("select count(*) from stax.reconciliation")).scalar() == 0


def test_a_violated_key_is_told_without_the_row(made: Installation) -> None:
    with pytest.raises(WarehouseFault) as caught, plain_faults("loading"), made.engine.begin() as connection:
        copy_in(connection, reconciliation, COLUMNS, [row("secret-row"), row("secret-row")])
    assert "duplicate key" in str(caught.value)
    assert "secret-row" not in str(caught.value)

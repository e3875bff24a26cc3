"""The reader of operators' files: whatever bytes come, rows or one line; and what is right is read exactly."""

from __future__ import annotations

import csv
import io
from decimal import Decimal

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from stax_pipeline.domain.errors import WrongUse
from stax_pipeline.domain.money import EXACT
from stax_pipeline.pricing.imports.invoices import parse_amount, read_invoice
from stax_pipeline.pricing.imports.table import BadInput, Row, _Columns, parse_decimal, read_table
from stax_pipeline_tests.derive.builders import scaled

COLUMNS = ("a", "b")
cells_ = st.text(st.characters(categories=["L", "N", "P", "S"]), max_size=20)
usd_ = st.integers(-(10**37), 10**37).map(scaled)


@given(st.sampled_from(["f.csv", "f.yaml"]), st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
@example("f.csv", b"a,b\r1,2\r")
@example("f.csv", b'a,b\n"1\n,2')
@example("f.yaml", b"%YAML 9.9\n---\n- a: 1\n")
@example("f.yaml", b"- a: !!python/object:os.system x\n  b: 1")
@example("f.yaml", b"\xfe\xff\x00-")
@example("f.yaml", b"- a: 1\n  b: 2\n...\nx")
def test_any_bytes_make_rows_or_one_line(file: str, content: bytes) -> None:
    try:
        table = read_table(file, content, COLUMNS)
    except BadInput as refused:
        assert len(str(refused).splitlines()) == 1
        assert len(str(refused)) < 400
    else:
        assert all(set(row.cells) == set(COLUMNS) for row in table.rows)


@given(st.lists(st.tuples(cells_, cells_).filter(any), min_size=1, max_size=5))
def test_csv_and_yaml_hold_the_same_cells(rows: list[tuple[str, str]]) -> None:
    out = io.StringIO()
    csv.writer(out).writerows([COLUMNS, *rows])
    listed = yaml.safe_dump([dict(zip(COLUMNS, row, strict=True)) for row in rows], default_style='"')
    for file, text in (("f.csv", out.getvalue()), ("f.yaml", listed)):
        assert [tuple(row.cells.values()) for row in read_table(file, text.encode(), COLUMNS).rows] == rows


def test_the_columns_of_a_header_are_each_compared_once() -> None:
    """Not with each other: 60,000 of them took a quarter of a minute."""
    compared = 0

    class Name(str):
        def __eq__(self, other: object) -> bool:
            nonlocal compared
            compared += 1
            return str.__eq__(self, other)

        __hash__ = str.__hash__

        def strip(self, *_: object) -> Name:  # type: ignore[override]
            return self

    names = [Name(f"c{number}") for number in range(5000)]
    columns = _Columns("f.csv", ["c4999"], [], {}, ignore_others=True)
    assert columns.checked(1, names) == names
    assert compared < 10 * len(names)
    with pytest.raises(BadInput, match="each column once"):
        columns.checked(1, [*names, Name("c0")])


@given(usd_)
def test_a_plain_decimal_is_read_to_its_last_digit(usd: Decimal) -> None:
    assert parse_decimal(f"{usd:f}") == usd


@given(st.integers(-(10**21), 10**21))
def test_an_amount_in_cents_is_read_to_its_last_digit(cents: int) -> None:
    usd = EXACT.scaleb(Decimal(cents), -2)
    assert parse_amount(f"{usd:f}") == usd
    with pytest.raises(WrongUse, match="parts of a cent"):
        parse_amount(f"{usd:f}5")


@given(st.lists(usd_ | st.integers(-(10**20), 10**20).map(lambda n: scaled(n * 10**16)), min_size=1, max_size=20))
def test_the_lines_of_an_invoice_sum_exactly(amounts: list[Decimal]) -> None:
    text = "amount_usd\n" + "".join(f"{usd:f}\n" for usd in amounts)
    total = Decimal(0)
    for usd in amounts:
        total = EXACT.add(total, usd)
    if abs(total) >= Decimal(10) ** 20:
        with pytest.raises(BadInput, match="a sum below"):
            read_invoice("f.csv", text.encode())
    elif EXACT.quantize(total, Decimal("0.01")) == total:
        assert read_invoice("f.csv", text.encode()).amount_usd == total
    else:
        with pytest.raises(BadInput, match="whole cents"):
            read_invoice("f.csv", text.encode())


@pytest.mark.parametrize("text", ["october.csv", "invoices/2026-10.yaml", "Rechnung", "NaN", "1e3x"])
def test_what_is_no_amount_may_be_a_file(text: str) -> None:
    assert parse_amount(text) is None


@pytest.mark.parametrize("text", ["$1", "1,000", "1'000.00", "1 000", "1e3", "USD 5", "5 USD", "", "--5", "€ 5", "5 %"])
def test_what_looks_like_money_is_told_how_to_be_written(text: str) -> None:
    with pytest.raises(WrongUse, match="plain decimal such as 1234.56"):
        parse_amount(text)


def test_counts_are_whole_and_fit_the_warehouse() -> None:
    row = Row("f.csv", 2, {"n": str(10**12), "m": str(10**12 + 1), "x": "²"})
    assert row.count("n", 10**12) == 10**12
    for column in ("m", "x", "absent"):
        with pytest.raises(BadInput, match="a whole number"):
            row.count(column, 10**12)

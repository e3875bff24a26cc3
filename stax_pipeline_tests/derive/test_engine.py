"""The engine is exact, or it says that it is not; and it reaches nothing outside."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stax_pipeline.derive import engine as engine_module
from stax_pipeline.derive.engine import Engine, Inexact, Session, open_engine
from stax_pipeline.derive.schemas import USD, schema_of
from stax_pipeline.domain.money import EXACT, round_usd

MANY = settings(deadline=None, max_examples=200)
LARGEST = 10**38 - 1


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    with engine.session() as made:
        yield made


@MANY
@given(
    units=st.integers(0, 10**37), whole=st.integers(0, 10**19),
    rest=st.one_of(st.sampled_from([0, 1, 5 * 10**17 - 1, 5 * 10**17, 5 * 10**17 + 1]), st.integers(0, 10**18 - 1)),
)  # fmt: skip
def test_half_even_rounds_as_decimals_do(engine: Engine, units: int, whole: int, rest: int) -> None:
    fine = whole * 10**18 + rest
    with engine.session() as session:
        [(found,)] = session.rows("select half_even(?::hugeint, ?::hugeint)", units, fine)
    exact = EXACT.add(EXACT.scaleb(Decimal(units), -18), EXACT.scaleb(Decimal(fine), -36))
    assert found == int(EXACT.scaleb(round_usd(exact), 18))


@MANY
@given(total=st.integers(0, LARGEST), weights=st.lists(st.integers(1, 2**60), min_size=1, max_size=6))
def test_a_share_and_what_is_left_never_leave_128_bits(engine: Engine, total: int, weights: list[int]) -> None:
    whole = sum(weights)
    with engine.session() as session:
        for weight in weights:
            [found] = session.rows(
                "select share($1::hugeint, $2::hugeint, $3::hugeint), remainder($1::hugeint, $2::hugeint, $3::hugeint)",
                total, weight, whole,
            )  # fmt: skip
            assert found == divmod(total * weight, whole)


@MANY
@given(st.lists(st.none() | st.integers(-LARGEST, LARGEST), max_size=5))
def test_38_digits_come_back_as_they_went(engine: Engine, figures: list[int | None]) -> None:
    usd = [None if figure is None else EXACT.scaleb(Decimal(figure), -18) for figure in figures]
    given_table = pa.table({"place": range(len(usd)), "usd": pa.array(usd, USD)})
    with engine.session() as session:
        session.give("held", given_table)
        assert session.rows("select usd from held order by place") == [(figure,) for figure in figures]
        found = session.table("select usd::decimal(38, 0) as usd from held order by place", schema_of(usd=USD))
    assert found.column("usd").to_pylist() == usd


def test_a_slice_of_a_table_is_the_slice(session: Session) -> None:
    table = pa.table({"usd": pa.array([Decimal(1), Decimal(2), Decimal(3)], USD)})
    session.give("held", table.slice(1, 1))
    assert session.rows("from held") == [(2 * 10**18,)]


@pytest.mark.parametrize(
    "inexact",
    ["usd / 3", "avg(usd)", "usd::double", "1e18", "usd::decimal(38, 0) // 3", "usd * 0.5e0", "sqrt(usd)"],
)
def test_a_column_of_an_inexact_type_stops_the_rule(
    session: Session, monkeypatch: pytest.MonkeyPatch, inexact: str
) -> None:
    session.give("held", pa.table({"usd": pa.array([Decimal(1)], USD)}))
    rule = f"create temp table made as select {inexact} as figure from held"
    monkeypatch.setattr(engine_module, "_text_of", lambda _: rule)
    with pytest.raises(Inexact, match=r"made\.figure is (DOUBLE|DECIMAL)"):
        session.run("any")


def test_a_result_of_other_columns_or_types_is_refused(session: Session) -> None:
    with pytest.raises(Inexact):
        session.table("select 1.5::double as usd", schema_of(usd=USD))
    with pytest.raises(Inexact):
        session.table("select 1 as other", schema_of(usd=USD))


@pytest.mark.parametrize(
    "over",
    ["sum(usd * 100)", "sum(usd) + sum(usd)", "(sum(usd) * 2)::decimal(38, 0)", "sum(usd)::bigint"],
)
def test_what_does_not_fit_raises(session: Session, over: str) -> None:
    session.give("held", pa.table({"usd": pa.array([EXACT.scaleb(Decimal(LARGEST), -18)], USD)}))
    with pytest.raises(duckdb.Error):
        session.rows(f"select {over} from held")


@pytest.mark.parametrize(
    "outside",
    ["from read_csv('/etc/hostname')", "copy (select 1) to '{}/out.csv'", "install httpfs", "load httpfs",
     "attach '{}/other.db'", "set enable_external_access = true", "set memory_limit = '9GB'"],
)  # fmt: skip
def test_it_reaches_no_file_no_extension_and_no_setting(session: Session, tmp_path: Path, outside: str) -> None:
    with pytest.raises(duckdb.Error):
        session.rows(outside.replace("{}", str(tmp_path)))
    assert list(tmp_path.iterdir()) == []


def test_nothing_of_a_batch_outlives_it(engine: Engine) -> None:
    with engine.session() as session:
        session.give("held", pa.table({"number": [1]}))
        session.rows("create temp table made as from held")
    with engine.session() as session:
        for name in ("held", "given_held", "made"):
            with pytest.raises(duckdb.Error):
                session.rows(f"from {name}")


def test_what_does_not_fit_memory_goes_to_a_folder_of_its_own_and_is_gone_after(tmp_path: Path) -> None:
    folder = tmp_path / "spill"
    folder.mkdir(mode=0o755)
    engine = open_engine(folder, "60MB")
    try:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        with engine.session() as session:
            session.rows("create temp table wide as select md5(range::varchar) as a, range as b from range(1500000)")
            [(count,)] = session.rows("select count(*) from (select * from wide order by a, b offset 0)")
            assert count == 1_500_000
            assert list(folder.iterdir()) != []
    finally:
        engine.close()
    assert list(folder.iterdir()) == []

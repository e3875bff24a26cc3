"""Which Parquet files are written: those whose rows changed, whoever is killed when, and no others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from uuid import UUID, uuid4

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from stax_pipeline.checks.parquet_copies import Apart, parquet_gaps
from stax_pipeline.domain.extraction import Window
from stax_pipeline.lake import parquet
from stax_pipeline.lake.parquet import rebuild
from stax_pipeline.lake.parquet_rows import File
from stax_pipeline.lake.store import Lake
from stax_pipeline.warehouse.arrow_copy import arrow_type
from stax_pipeline.warehouse.parquet_due import bucket_of, buckets_now, mark_due
from stax_pipeline.warehouse.publish import replace_tenant_days
from stax_pipeline.warehouse.tables import DAILY, reconciliation
from stax_pipeline_tests.conftest import Installation, installed
from stax_pipeline_tests.pipeline.support import execute, query

DAY = date(2026, 11, 20)
DAYS = Window(DAY, DAY + timedelta(days=3))
NAMES = ["tenant_id", "usage_date", "model", "service_tier", "reported_usd", "cause"]
SCHEMA = pa.schema([(name, arrow_type(reconciliation.c[name])) for name in NAMES])
FEW = [UUID(int=(digit << 124) + 1) for digit in (0, 7, 15)]
MANY = [UUID(int=((n % 16) << 124) + n) for n in range(60)]
AFTERWARDS = Window(date(2026, 12, 1), date(2026, 12, 2))


class Killed(BaseException):
    """The process dies here."""


@pytest.fixture
def made(stax_home: Path) -> Iterator[Installation]:
    with installed(stax_home) as installation:
        yield installation


@pytest.fixture
def few(made: Installation) -> Installation:
    return populated(made, FEW)


@pytest.fixture
def many(made: Installation) -> Installation:
    return populated(made, MANY)


def populated(made: Installation, tenants: list[UUID]) -> Installation:
    """Each tenant with two rows on each of the days, covered, and the files written."""
    add(made, tenants)
    publish(made, tenants, DAYS.days)
    write(made)
    return made


def add(made: Installation, tenants: list[UUID]) -> None:
    for tenant in tenants:
        execute(
            made,
            "insert into stax.tenants (tenant_id, slug, name, organization_id, status, created_at) "
            "values (:id, cast(:id as text), '', cast(:id as text), 'connected', now())", id=tenant,
        )  # fmt: skip
    execute(
        made,
        "insert into stax.extractions (extraction_id, tenant_id, report, window_start, window_end, extracted_at, "
        "pages, rows, sha256, run_id) "
        "values (:id, :id, 'cost_report', '2026-11-20', '2026-11-23', now(), 1, 1, '', ''); "
        "insert into stax.coverage (tenant_id, report, usage_date, extraction_id, extracted_at, data_through, "
        "old_enough_to_settle, state, rows) select :id, 'cost_report', day, :id, now(), now(), true, 'complete', 1 "
        "from generate_series(date '2026-11-20', date '2026-11-22', '1 day') day", id=tenants[0],
    )  # fmt: skip


def publish(made: Installation, tenants: list[UUID], days: list[date], usd: int = 1) -> None:
    rows = [
        dict(zip(NAMES, (str(tenant), day, model, "standard", Decimal(usd), ""), strict=True))
        for day in days for tenant in tenants for model in ("a", "b")
    ]  # fmt: skip
    with made.engine.begin() as connection:
        slots = {(tenant, day) for tenant in tenants for day in days}
        replace_tenant_days(connection, {reconciliation: pa.Table.from_pylist(rows, SCHEMA)}, slots)


def write(made: Installation, window: Window = DAYS, *, whole: bool = False) -> int:
    return rebuild(made.engine, made.lake, reconciliation, window, whole=whole)


def notes(made: Installation) -> int:
    return len(query(made, "select from stax.parquet_due"))


def gaps(made: Installation) -> list[Apart]:
    with made.engine.connect() as connection:
        return list(parquet_gaps(connection, made.lake, DAYS))


def files(made: Installation) -> Counter[File]:
    """Rows in each file there is."""
    paths = (made.home / "lake" / "reconciliation").rglob("*.parquet")
    return Counter({
        File(date.fromisoformat(p.parts[-3].removeprefix("usage_date=")), int(p.parts[-2].removeprefix("bucket="))):
            pq.read_metadata(p).num_rows
        for p in paths
    })  # fmt: skip


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that are written from now on."""
    paths: list[str] = []
    real = Lake.replace

    def replace(lake: Lake, path: str, file: Path) -> None:
        paths.append(path)
        real(lake, path, file)

    monkeypatch.setattr(Lake, "replace", replace)
    return paths


def path(day: date, bucket: int = 0) -> str:
    return f"reconciliation/usage_date={day}/bucket={bucket:02}/part-0.parquet"


def die(*_: object, **__: object) -> None:
    raise Killed


@given(st.uuids(), st.sampled_from([1, 16]))
def test_a_bucket_is_a_range_of_ids(tenant: UUID, buckets: int) -> None:
    first, last = map(UUID, File(DAY, bucket_of(tenant) * buckets // 16).ids(buckets))
    assert first <= tenant <= last


def test_ranges_of_ids_meet_and_leave_none_out() -> None:
    ends = [end for bucket in range(16) for end in map(UUID, File(DAY, bucket).ids(16))]
    assert (ends[0].int, ends[-1].int) == (0, 2**128 - 1)
    assert all(after.int - before.int == 1 for before, after in zip(ends[1::2], ends[2::2], strict=False))


class TestBelowFiftyTenants:
    def test_a_day_is_one_file_of_all_tenants(self, few: Installation) -> None:
        assert files(few) == {File(day, 0): 6 for day in DAYS.days}
        assert (gaps(few), notes(few)) == ([], 0)

    def test_only_changed_days_are_written(self, few: Installation, written: list[str]) -> None:
        publish(few, FEW[:1], [DAYS.days[1]], usd=2)
        assert write(few) == 6
        assert written == [path(DAYS.days[1])]
        assert gaps(few) == []

    def test_nothing_is_written_where_nothing_changed(self, few: Installation, written: list[str]) -> None:
        assert write(few) == 0
        assert written == []

    def test_a_day_without_its_file_gets_it_if_it_has_rows(self, few: Installation) -> None:
        (few.home / "lake" / path(DAY)).unlink()
        assert write(few, Window(DAY - timedelta(days=1), DAYS.end)) == 6
        assert files(few)[File(DAY, 0)] == 6
        assert not (few.home / "lake" / path(DAY - timedelta(days=1))).exists()

    def test_a_file_of_another_layout_is_named_and_removed(self, few: Installation) -> None:
        stray = few.home / "lake" / path(DAY, 3)
        stray.parent.mkdir()
        stray.write_bytes((few.home / "lake" / path(DAY)).read_bytes())
        assert [(gap.usage_date, gap.why) for gap in gaps(few)] == [
            (DAY, f"{path(DAY, 3)} is not a file of this installation")
        ]
        write(few)
        assert not stray.exists()
        assert gaps(few) == []


class TestFromFiftyTenants:
    def test_each_row_is_in_its_bucket_once(self, many: Installation) -> None:
        expected = Counter(File(day, bucket_of(tenant)) for day in DAYS.days for tenant in MANY for _ in "ab")
        assert files(many) == expected
        assert len(expected) == 3 * 16
        for file in expected:
            found = pq.ParquetFile(many.home / "lake" / path(*file)).read(["tenant_id"])["tenant_id"].to_pylist()
            assert found == sorted(found)
            assert {bucket_of(UUID(tenant)) for tenant in found} == {file.bucket}
        assert (gaps(many), notes(many)) == ([], 0)

    def test_one_tenant_writes_its_bucket_of_the_days_that_changed(
        self, many: Installation, written: list[str]
    ) -> None:
        publish(many, [MANY[5]], DAYS.days[:2], usd=2)
        write(many)
        assert sorted(written) == [path(day, 5) for day in DAYS.days[:2]]
        assert gaps(many) == []

    def test_a_bucket_that_empties_has_no_file_but_the_first(self, many: Installation) -> None:
        for bucket in (0, 5):
            with many.engine.begin() as connection:
                of_bucket = {(tenant, DAY) for tenant in MANY if bucket_of(tenant) == bucket}
                replace_tenant_days(connection, {reconciliation: SCHEMA.empty_table()}, of_bucket)
        write(many)
        found = files(many)
        assert found[File(DAY, 0)] == 0 and (many.home / "lake" / path(DAY)).exists()
        assert File(DAY, 5) not in found
        assert gaps(many) == []

    def test_a_bucket_is_named_where_its_file_differs(self, many: Installation) -> None:
        (many.home / "lake" / path(DAY, 11)).unlink()
        assert [tuple(gap) for gap in gaps(many)] == [
            ("reconciliation", DAY, "bucket 11: there is no file, Postgres holds 8 rows")
        ]
        write(many, whole=True)
        assert gaps(many) == []


class TestTheFiftiethTenant:
    @pytest.fixture
    def grown(self, few: Installation) -> Installation:
        add(few, [tenant for tenant in MANY if tenant not in FEW])
        return few

    def test_every_day_is_divided(self, grown: Installation) -> None:
        assert write(grown, AFTERWARDS) == 18  # other days than those of the run
        assert {file: rows for file, rows in files(grown).items() if file.usage_date in DAYS.days} == {
            File(day, bucket): 2 for day in DAYS.days for bucket in (0, 7, 15)
        }
        assert (gaps(grown), notes(grown)) == ([], 0)

    @pytest.mark.parametrize("nth", [0, 1, 4])
    def test_killed_meanwhile_the_next_run_ends_it(
        self, grown: Installation, monkeypatch: pytest.MonkeyPatch, nth: int
    ) -> None:
        with monkeypatch.context() as patched, pytest.raises(Killed):
            patched.setattr(Lake, "replace", after(nth, Lake.replace))
            write(grown)
        write(grown, AFTERWARDS)
        assert gaps(grown) == []

    def test_it_stays_so_with_fewer_tenants(self, grown: Installation) -> None:
        write(grown)
        execute(grown, "delete from stax.tenants where tenant_id not in (select tenant_id from stax.extractions)")
        publish(grown, FEW[1:2], [DAY], usd=2)
        write(grown)
        assert set(files(grown)) == {File(day, bucket) for day in DAYS.days for bucket in (0, 7, 15)}
        with grown.engine.connect() as connection:
            assert buckets_now(connection, reconciliation) == 16


def after(nth: int, real: Callable[[Lake, str, Path], None]) -> Callable[[Lake, str, Path], None]:
    """Dies at the nth write that follows."""
    calls = iter(range(nth + 1))

    def write(lake: Lake, path: str, file: Path) -> None:
        if next(calls) == nth:
            raise Killed
        real(lake, path, file)

    return write


class TestKilled:
    def test_between_the_publish_and_the_files(self, few: Installation, written: list[str]) -> None:
        publish(few, FEW, [DAY], usd=2)
        assert [gap.usage_date for gap in gaps(few)] == [DAY]
        write(few, AFTERWARDS)  # a run of other days mends it too
        assert path(DAY) in written
        assert gaps(few) == []

    @pytest.mark.parametrize("name", ["read_rows", "_write", "forget_due"])
    def test_while_files_are_written(self, few: Installation, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        publish(few, FEW, [DAY], usd=2)
        with monkeypatch.context() as patched, pytest.raises(Killed):
            patched.setattr(parquet, name, die)
            write(few)
        assert notes(few) == 3
        assert write(few) == 6
        assert (gaps(few), notes(few)) == ([], 0)

    def test_a_publish_that_is_undone_leaves_no_note(self, few: Installation) -> None:
        with pytest.raises(Killed), few.engine.begin() as connection:
            mark_due(connection, [reconciliation], {(FEW[0], DAY)})
            die()
        assert notes(few) == 0


def test_what_is_published_while_files_are_written_stays_due(
    few: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(few, FEW, [DAY], usd=2)
    real = parquet._write

    def meanwhile(*given: object) -> int:
        publish(few, FEW, [DAY], usd=3)
        return real(*given)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(parquet, "_write", meanwhile)
        write(few)
    assert [gap.why for gap in gaps(few)] == ["the file does not hold Postgres' values"]
    assert notes(few) == 3
    write(few)
    assert (gaps(few), notes(few)) == ([], 0)


class TestReaders:
    """What docs/operate/operations.md says of reading the files."""

    EXPECTED = {(day, Decimal(120)) for day in DAYS.days}
    HOLD = "select usage_date, sum(reported_usd) from read_parquet('{}') group by 1"

    @pytest.fixture
    def folder(self, many: Installation) -> Path:
        return many.home / "lake" / "reconciliation"

    def test_duckdb(self, folder: Path) -> None:
        found = duckdb.sql(self.HOLD.format(folder / "*/*/*.parquet")).fetchall()
        assert set(found) == self.EXPECTED

    def test_duckdb_opens_the_files_of_one_day_alone(self, folder: Path) -> None:
        for other in folder.glob(f"usage_date={DAYS.days[1]}/*/*.parquet"):
            other.write_bytes(b"damaged")
        one = f"select count(*) from read_parquet('{folder}/*/*/*.parquet') where usage_date = '{DAY}'"
        schema = f"select * from read_parquet('{folder}/usage_date={DAY}/*/*.parquet') limit 0"
        assert duckdb.sql(schema).columns[-2:] == ["bucket", "usage_date"]
        assert duckdb.sql(one).fetchall() == [(120,)]

    def test_pandas_and_pyarrow(self, folder: Path) -> None:
        frame = pd.read_parquet(folder, dtype_backend="pyarrow")
        sums = frame.groupby(frame["usage_date"].astype(str))["reported_usd"].sum()
        assert {(date.fromisoformat(day), usd) for day, usd in sums.items()} == self.EXPECTED
        assert pq.read_table(folder).schema.field("reported_usd").type == pa.decimal128(38, 18)


def test_every_id_that_is_made_is_random_enough() -> None:
    assert len({bucket_of(uuid4()) for _ in range(1_000)}) == 16


def test_tables_without_a_copy_are_never_due(made: Installation) -> None:
    other = sa.table("source_comparison")
    with made.engine.begin() as connection:
        mark_due(connection, [other], {(FEW[0], DAY)})  # type: ignore[list-item]
        mark_due(connection, DAILY, [])
    assert notes(made) == 0

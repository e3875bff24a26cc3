"""The lake that analysts' recipes are timed on: what it holds, and that all readers must agree."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from benchmarks import lake as benchmark
from benchmarks.lake import LINES, YEAR, Months, make, measure, recipe
from stax_pipeline.lake.store import Lake

A_DAY = sum(n * Decimal("0.000123456789012345") for n in range(1, LINES + 1))


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lake")
    make(Lake(str(folder)), 18, 33)
    return folder


def test_each_day_has_a_file_for_each_bucket(lake: Path) -> None:
    assert len(list(lake.glob("spend/usage_date=*/bucket=*/part-0.parquet"))) == 33 * 16


def test_sums_are_exact_and_one_tenants(lake: Path) -> None:
    months = recipe("duckdb")
    assert months
    for slug in ("tenant-0000", "tenant-0016", "tenant-0017"):
        assert months(str(lake), slug, YEAR) == [(1, 31 * A_DAY), (2, 2 * A_DAY)]
    assert months(str(lake), "tenant-0000", YEAR - 1) == []


def test_readers_are_timed_and_one_that_is_not_installed_is_told(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = recipe
    monkeypatch.setattr(benchmark, "recipe", lambda reader: None if reader == "polars" else real(reader))
    took = dict(measure(lake, 2))
    assert took["polars"] is None
    assert all(len(took[reader] or ()) == 2 for reader in ("duckdb", "pandas"))


def test_readers_that_disagree_stop_it(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def other(*_: object) -> Months:
        return [(1, Decimal(1))]

    real = recipe
    monkeypatch.setattr(benchmark, "recipe", lambda reader: other if reader == "pandas" else real(reader))
    with pytest.raises(AssertionError, match="pandas gives other sums"):
        list(measure(lake, 1))

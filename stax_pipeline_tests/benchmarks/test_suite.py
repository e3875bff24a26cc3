"""A small case from end to end: what is compared is about the same pages and the same rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from benchmarks.cases import Case
from benchmarks.suite import measure
from stax_pipeline.installation.settings import read_settings


def test_product_and_floor_are_measured_on_the_same_pages_and_rows(
    stax_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAX_HOME", str(stax_home))
    monkeypatch.setenv("STAX_START_DATE", str(datetime.now(UTC).date() - timedelta(days=40)))
    (found,) = measure(read_settings(), Case(2, 2, small=True, replay=True, one_more=True), times=1)
    first, floor = found["first"], found["floor"]
    assert set(floor) == {"request", "decode into Arrow", "Parquet", "COPY"}
    assert found["requests"] == floor["request"]["number"] == 2 * 9
    listed = found["rows"] - floor["decode into Arrow"]["number"]  # rows of lists stay out of Arrow
    assert 0 < listed < found["rows"]
    assert floor["COPY"]["number"] == floor["Parquet"]["number"] == sum(first["written"].values()) > 0
    for run in (first, found["repeat"], found["replay"], found["one_more"]):
        assert sum(run["client_stages"].values()) == pytest.approx(run["client"])
        assert sum(run["server_stages"].values()) == pytest.approx(run["server"])
        assert run["client"] > 0
        assert run["peak_mb"] > 50
    assert sum(found["one_more"]["written"].values()) > 0

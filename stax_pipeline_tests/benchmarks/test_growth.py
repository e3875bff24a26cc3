"""The fit finds what made its figures, and the picture shows every point."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.cases import GROWTH
from benchmarks.fit import fitted
from benchmarks.growth import point, report
from benchmarks.growth_picture import AXES, PANELS, Point, picture

FACTORS = st.floats(0.001, 100)


def _points(run: float, tenant: float, row: float) -> list[Point]:
    made = []
    for case in GROWTH.values():
        rows = case.tenants * (700 + 300 * case.days)
        wall = run + tenant * case.tenants + row * rows
        made.append(Point(case.tenants, case.days, rows, wall, 2 * wall, 400, rows / 1e3, rows / 1e4, wall / 4, wall))
    return made


@given(FACTORS, FACTORS, FACTORS)
def test_the_fit_finds_the_factors_that_made_the_figures(run: float, tenant: float, row: float) -> None:
    terms = [(1, n, n * (700 + 300 * days)) for n in (1, 10, 200, 5000) for days in (1, 7, 365)]
    fit = fitted([(t, run * t[0] + tenant * t[1] + row * t[2]) for t in terms])
    for t in terms:
        assert fit.at(t) == pytest.approx(run * t[0] + tenant * t[1] + row * t[2], rel=1e-4)


def test_a_factor_is_never_below_zero() -> None:
    fit = fitted([((1, 1), 10.0), ((1, 2), 9.0), ((1, 3), 8.0)])
    assert fit.factors[1] == 0
    assert 8 < fit.factors[0] < 10


def test_the_fit_is_told_with_its_goal_and_how_far_it_is_from_the_largest_case() -> None:
    told = "\n".join(report(_points(2.0, 0.01, 0.0001)))
    assert "first load: 2.00 s a run + 10.0 ms a tenant + 100.0 µs a row" in told
    rows = round(5000 * 1000 / 5000 * 10_000 * 7)
    assert f"10,000 tenants × 7 days, {rows:,} rows: {(2 + 100 + rows / 10_000) / 60:.1f} minutes" in told
    assert "5,000 tenants × 1 days, not fitted to: 552.0 s by the fit, 552.0 s measured" in told


def test_a_point_is_read_from_the_figures_of_a_case() -> None:
    run = {"wall": 2.0, "client": 1.5, "server": 0.5, "peak_mb": 300.0}
    found = point(
        GROWTH["10x7"],
        {"first": run, "repeat": {**run, "wall": 1.0}, "rows": 99, "database_mb": 5.0, "lake_mb": 1.0},
    )
    assert found == Point(10, 7, 99, 2.0, 2.0, 300.0, 5.0, 1.0, 1.0, 2.0)


def test_the_picture_holds_a_dot_for_each_point_of_each_panel() -> None:
    points = _points(2.0, 0.01, 0.0001)
    root = ElementTree.fromstring(picture(points))  # noqa: S314 it is our own
    space = "{http://www.w3.org/2000/svg}"
    dots = root.findall(f"{space}circle")
    assert len(dots) == len(PANELS) * sum(axis.holds(p) for axis in AXES for p in points)
    _, _, wide, high = (float(edge) for edge in root.attrib["viewBox"].split())
    assert all(0 < float(dot.attrib["cx"]) < wide and 0 < float(dot.attrib["cy"]) < high for dot in dots)
    assert len(root.findall(f"{space}polyline")) == 2 * len(PANELS), "a line where one thing alone differs"
    assert {panel.title for panel in PANELS} == {
        (text.text or "").partition(",")[0] + ", " + (text.text or "").split(", ")[1]
        for text in root.findall(f"{space}text[@class='t']")
    }

"""How a load grows with tenants, days and rows, measured, drawn and fitted: python -m benchmarks.growth

Usage: python -m benchmarks.growth [--cases CASE …] [--json FILE] [--svg FILE]. Figures that FILE already holds are not
measured again, so that the large cases can be added to the small ones. Prints the fit, what it says of 10,000 tenants
over 7 days, and how far it is from the largest case, which it was not fitted to.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.cases import GROWTH, Case
from benchmarks.fit import Fit, fitted
from benchmarks.growth_picture import PANELS, Point, picture
from benchmarks.installed import installed
from benchmarks.suite import measure

GOAL_TENANTS, GOAL_DAYS = 10_000, 7
FITTED: tuple[tuple[str, Callable[[Point], float]], ...] = (
    ("first load", lambda p: p.wall),
    ("repeat that changes nothing", lambda p: p.repeat_wall),
)
SVG = Path(__file__).resolve().parents[1] / "docs" / "develop" / "growth.svg"


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.growth")
    parser.add_argument("--cases", nargs="*", metavar="CASE", default=list(GROWTH), help=f"of {', '.join(GROWTH)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep every figure here, and go on from it")
    parser.add_argument("--svg", type=Path, metavar="FILE", default=SVG)
    options = parser.parse_args()
    if unknown := set(options.cases) - GROWTH.keys():
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    found = json.loads(options.json.read_text()) if options.json and options.json.exists() else {}
    with installed() as settings:
        for name in [name for name in options.cases if name not in found]:
            print(f"measuring {name}", file=sys.stderr, flush=True)
            [found[name]] = measure(settings, GROWTH[name], 1)
            if options.json:
                options.json.write_text(json.dumps(found))
    points = [point(GROWTH[name], found[name]) for name in GROWTH if name in found]
    options.svg.write_text(picture(points))
    print("\n".join(report(points)))


def point(case: Case, figures: Mapping[str, Any]) -> Point:
    """What was measured of a case."""
    first, repeat = figures["first"], figures["repeat"]
    return Point(
        tenants=case.tenants, days=case.days, rows=figures["rows"], wall=first["wall"],
        cpu=first["client"] + first["server"], memory_mb=first["peak_mb"],
        database_mb=figures["database_mb"], lake_mb=figures["lake_mb"],
        repeat_wall=repeat["wall"], repeat_cpu=repeat["client"] + repeat["server"],
    )  # fmt: skip


def report(points: Sequence[Point]) -> list[str]:
    """A line per case, then what the fit says."""
    lines = [f"{'tenants':>8}{'days':>6}{'rows':>12}" + "".join(f"{panel.title:>18}" for panel in PANELS)]
    lines += [
        f"{p.tenants:8,}{p.days:6,}{p.rows:12,}" + "".join(f"{panel.of(p):18,.1f}" for panel in PANELS) for p in points
    ]
    largest = max(points, key=lambda p: p.rows)
    others = [p for p in points if p is not largest]
    for name, of in FITTED:
        fit = fitted([(_terms(p), of(p)) for p in others])
        rows = round(largest.rows / (largest.tenants * largest.days) * GOAL_TENANTS * GOAL_DAYS)
        goal = fit.at((1, GOAL_TENANTS, rows))
        lines += [
            f"{name}: {_words(fit)}",
            f"  {GOAL_TENANTS:,} tenants × {GOAL_DAYS} days, {rows:,} rows: {goal / 60:.1f} minutes",
            f"  {largest.tenants:,} tenants × {largest.days:,} days, not fitted to: {fit.at(_terms(largest)):.1f} s by "
            f"the fit, {of(largest):.1f} s measured",
        ]
    return lines


def _terms(point: Point) -> tuple[float, ...]:
    return 1, point.tenants, point.rows


def _words(fit: Fit) -> str:
    run, tenant, row = fit.factors
    return f"{run:.2f} s a run + {1000 * tenant:.1f} ms a tenant + {1e6 * row:.1f} µs a row"


if __name__ == "__main__":
    main()

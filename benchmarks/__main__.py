"""Measure cases and print what they cost as ratios: `make bench`.

Usage: python -m benchmarks [--times N] [--json FILE] [CASE …]. Without a case, the usual ones. The source and Postgres
run as processes of their own; the source is not counted, Postgres is.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from benchmarks.cases import CASES, USUAL
from benchmarks.installed import installed
from benchmarks.report import lines
from benchmarks.suite import measure


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks")
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"any of {', '.join(CASES)}")
    parser.add_argument("--times", type=int, default=3, help="how often each case is measured; medians are told")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every figure of every repetition")
    options = parser.parse_args()
    chosen = options.cases or list(USUAL)
    if unknown := set(chosen) - CASES.keys():
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    print(f"load average {_load()} on {os.cpu_count()} cores")
    found = {}
    with installed() as settings:
        for name in chosen:
            print(f"measuring {name}", file=sys.stderr, flush=True)
            found[name] = measure(settings, CASES[name], options.times)
            if options.json:
                options.json.write_text(json.dumps(found))
    print(f"load average {_load()} at the end")
    print("\n".join(lines(found)))


def _load() -> str:
    return ", ".join(f"{average:.1f}" for average in os.getloadavg())


if __name__ == "__main__":
    main()

"""How long a person waits: `stax sync` of one tenant, from typed to exit: python -m benchmarks.typed [--times N]

The database runs, and everything was started once before. Wall time is told, which a busy machine makes longer, and CPU
seconds of the command beside it.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from statistics import median
from typing import NamedTuple

from benchmarks.installed import connect, empty, installed
from benchmarks.source import Source, serving
from stax_pipeline.installation.settings import Settings


class Waited(NamedTuple):
    """Seconds of one command: on the clock, and on a processor."""

    wall: float
    cpu: float


CASES = (("small", 1, 2.0), ("small", 30, 3.0), ("large", 30, 3.0))
"""A tenant, over how many complete days, and the most seconds that it may take."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.typed")
    parser.add_argument("--times", type=int, default=3, help="how often each is measured; medians are told")
    options = parser.parse_args()
    with installed() as settings:
        for size, days, limit in CASES:
            with serving(1, small=size == "small") as source:
                first, again = zip(*(_waited(settings, source, days) for _ in range(options.times + 1)), strict=True)
                for name, found in (("first load", first[1:]), ("repeat", again[1:])):
                    wall, cpu = (median(one[n] for one in found) for n in (0, 1))
                    told = "" if wall <= limit else "  MISSED"
                    print(f"{size} tenant × {days} days, {name}: {wall:.2f} s  [{limit:g}]{told}, CPU {cpu:.2f} s")


def _waited(settings: Settings, source: Source, days: int) -> tuple[Waited, Waited]:
    """The first load, and the same again."""
    empty(settings)
    connect(settings, source, source.keys)
    command = [sys.executable, "-m", "stax_pipeline", "sync", "--days", str(days)]
    environment = {**os.environ, "STAX_ANTHROPIC_BASE_URL": source.url}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return _run(command, environment), _run(command, environment)


def _run(command: list[str], environment: dict[str, str]) -> Waited:
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Waited(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


if __name__ == "__main__":
    main()

"""Progress of a run in this process: a bar on a terminal, counting lines elsewhere, both on standard error.

It arrives as records of the logger `stax.progress` with `stage`, `done`, `total` and `unit`. Dagster redirects the
standard streams while a step runs, so this writes to a copy of standard error made before.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

LOGGER = logging.getLogger("stax.progress")
SECONDS_BETWEEN_LINES = 2.0


class _Handler(logging.Handler):
    """Hands a record's stage and counts on; a record without them is not progress."""

    def emit(self, record: logging.LogRecord) -> None:
        stage, done, total = (getattr(record, name, None) for name in ("stage", "done", "total"))
        if isinstance(stage, str) and isinstance(done, int) and isinstance(total, int):
            self.show(stage, done, total, str(getattr(record, "unit", "")))

    @abstractmethod
    def show(self, stage: str, done: int, total: int, unit: str) -> None: ...


class _Lines(_Handler):
    def __init__(self, out: IO[str]) -> None:
        super().__init__()
        self._out = out
        self._said: dict[str, float] = {}

    def show(self, stage: str, done: int, total: int, unit: str) -> None:
        now = time.monotonic()
        if done < total and now - self._said.setdefault(stage, now) < SECONDS_BETWEEN_LINES:
            return
        self._said[stage] = now
        print(f"  {stage}: {done} of {total} {unit}", file=self._out, flush=True)


class _Bar(_Handler):
    def __init__(self, bar: Progress) -> None:
        super().__init__()
        self._bar = bar
        self._tasks: dict[str, TaskID] = {}

    def show(self, stage: str, done: int, total: int, unit: str) -> None:
        if stage not in self._tasks:
            self._tasks[stage] = self._bar.add_task(f"{stage} ({unit})", total=total)
        self._bar.update(self._tasks[stage], completed=done, total=total)


@contextmanager
def shown_progress() -> Iterator[None]:
    """Show progress while the block runs."""
    with os.fdopen(os.dup(_standard_error()), "w", buffering=1) as out:
        before = LOGGER.level, LOGGER.propagate
        LOGGER.setLevel(logging.INFO)
        LOGGER.propagate = False
        with _handler(out) as handler:
            LOGGER.addHandler(handler)
            try:
                yield
            finally:
                LOGGER.removeHandler(handler)
                LOGGER.setLevel(before[0])
                LOGGER.propagate = before[1]


def _standard_error() -> int:
    try:
        return sys.stderr.fileno()
    except (OSError, ValueError):
        return 2


@contextmanager
def _handler(out: IO[str]) -> Iterator[_Handler]:
    if not out.isatty():
        yield _Lines(out)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(file=out), redirect_stdout=False, redirect_stderr=False) as bar:
        yield _Bar(bar)

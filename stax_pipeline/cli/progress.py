"""Progress of a run in this process: a bar on a terminal, counting lines elsewhere, both on standard error.

It arrives as records of the logger `stax.progress` with `stage`, `done`, `total`, `unit` and `failed`. Dagster
redirects the standard streams while a step runs, so this writes to a copy of standard error made before.
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

from stax_pipeline.domain.plurals import count_of, progress_of

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from stax_pipeline.pipeline.isolation import Progress as StepProgress

LOGGER = logging.getLogger("stax.progress")
SECONDS_BETWEEN_LINES = 2.0


class _Handler(logging.Handler):
    """Hands a record's stage and counts on; a record without them is not progress."""

    def emit(self, record: logging.LogRecord) -> None:
        stage, done, total = (getattr(record, name, None) for name in ("stage", "done", "total"))
        if isinstance(stage, str) and isinstance(done, int) and isinstance(total, int):
            self.show(stage, done, total, str(getattr(record, "unit", "")), getattr(record, "failed", 0))

    @abstractmethod
    def show(self, stage: str, done: int, total: int, unit: str, failed: int) -> None: ...


class _Lines(_Handler):
    def __init__(self, out: IO[str]) -> None:
        super().__init__()
        self._out = out
        self._printed_at: dict[str, float] = {}
        self._unprinted: dict[str, str] = {}

    def show(self, stage: str, done: int, total: int, unit: str, failed: int) -> None:
        now = time.monotonic()
        line = f"  {progress_of(stage, done, total, unit, failed)}"
        self.print_rest(but=stage)
        if done < total and now - self._printed_at.setdefault(stage, now) < SECONDS_BETWEEN_LINES:
            self._unprinted[stage] = line
            return
        self._printed_at[stage] = now
        self._unprinted.pop(stage, None)
        print(line, file=self._out, flush=True)

    def print_rest(self, but: str = "") -> None:
        """How far the stages came that ended before the whole: all of them, or those before the stage `but`."""
        for stage in [stage for stage in self._unprinted if stage != but]:
            print(self._unprinted.pop(stage), file=self._out, flush=True)


class _Bar(_Handler):
    def __init__(self, bar: Progress) -> None:
        super().__init__()
        self._bar = bar
        self._tasks: dict[str, TaskID] = {}

    def show(self, stage: str, done: int, total: int, unit: str, failed: int) -> None:
        words = f"{stage} ({unit}" + (f", {count_of(failed, 'tenant')} failed)" if failed else ")")
        if stage not in self._tasks:
            self._tasks[stage] = self._bar.add_task(words, total=total)
        self._bar.update(self._tasks[stage], description=words, completed=done, total=total)


def step_progress(stage: str, unit: str = "tenant-days") -> StepProgress:
    """A callback of a step that runs outside of Dagster."""

    def report(done: int, total: int, failed: int = 0, /) -> None:
        LOGGER.info("%s", stage, extra={"stage": stage, "done": done, "total": total, "unit": unit, "failed": failed})

    return report


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
        lines = _Lines(out)
        yield lines
        lines.print_rest()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(file=out), redirect_stdout=False, redirect_stderr=False) as bar:
        yield _Bar(bar)

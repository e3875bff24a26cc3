"""One run of job `sync` in this process, recorded in the same instance the UI reads.

Belongs here: the window of days, the run, and what it says about failed tenants. Stays out: asking and printing
(`commands.sync`), what the run does (`assets`).
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from stax_pipeline.cli.environment import dagster_home, one_of_dagsters_processes
from stax_pipeline.cli.main import TERMINATED
from stax_pipeline.cli.progress import shown_progress
from stax_pipeline.domain.errors import CannotStart, WrongUse
from stax_pipeline.domain.extraction import Window
from stax_pipeline.domain.failures import Failure, add_failure
from stax_pipeline.domain.time import trailing_window
from stax_pipeline.installation.first_day import move_first_day
from stax_pipeline.installation.settings import Settings, read_settings

if TYPE_CHECKING:
    from dagster import AssetMaterialization, DagsterEvent


@dataclass(slots=True)
class Ran:
    """How a run ended: failed tenants with their reasons, failed steps, failed checks, and what else ended it.

    `lacking` are all tenants that its last check names: of many failures an asset tells the first reasons only.
    """

    run_id: str
    window: Window
    success: bool
    failures: dict[str, list[Failure]] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    reason: str = ""
    warnings: list[str] = field(default_factory=list)
    lacking: set[str] = field(default_factory=set)

    @property
    def clean(self) -> bool:
        return self.success and not self.failures and not self.lacking

    def add_failure(self, slug: str, reason: str, asset: str) -> None:
        """One failure per tenant and reason, however many assets tell it."""
        add_failure(self.failures.setdefault(slug, []), reason, asset.removeprefix("raw_"))


def chosen_window(
    settings: Settings, days: int | None, first: date | None, last: date | None, now: datetime | None = None
) -> Window:
    """N complete days and the open one, or the days from `first` to `last`, both included. Raises WrongUse."""
    today = (now or datetime.now(UTC)).date()
    if days is not None and (first or last):
        raise WrongUse("--days and --from/--to exclude each other: give one of them.")
    if first is None and last is not None:
        raise WrongUse("--to needs --from: name the first day too.")
    if first is None:
        if days is None:
            return first_window(settings, settings.lookback_days, now)
        first, last = today - timedelta(days=days), today
    if max(first, last or first) > today:
        raise WrongUse(
            f"{max(first, last or first)} has not begun yet: the last day that can be fetched is {today} (UTC)."
        )
    window = Window(first, (last or today) + timedelta(days=1))
    if not window:
        raise WrongUse(f"--to {last} is before --from {first}.")
    if first < settings.start_date:
        raise WrongUse(
            f"{first} is before the first day of this installation, {settings.start_date}. Ask for later days, or move "
            "it: `stax connect SLUG --days N` does, and so does STAX_START_DATE."
        )
    return window


def first_window(settings: Settings, days: int, now: datetime | None = None) -> Window:
    """N complete days and the open one, as far as there are partitions."""
    return trailing_window(days, now or datetime.now(UTC), settings.start_date)


def backfill_window(settings: Settings, days: int) -> Window:
    """N complete days and the open one. The installation begins there from now on, if it began later, unless
    STAX_START_DATE says where.
    """
    now = datetime.now(UTC)
    move_first_day(settings, trailing_window(days, now).start)
    moved = read_settings()
    if moved.start_date < settings.start_date:
        click.echo(
            f"The installation begins on {moved.start_date} now, not on {settings.start_date}. A Dagster UI that runs "
            "shows the earlier days after Deployment, stax-pipeline, Reload."
        )
    return first_window(moved, days, now)


def run_sync(
    settings: Settings, window: Window, slugs: Sequence[str] = (), *, accept_shrink: bool = False, verbose: bool = False
) -> Ran:
    """Run `sync` over the window for the named tenants, all connected ones without names; the database must run."""
    config: dict[str, Any] = {
        "resources": {"scope": {"config": {"tenants": list(slugs), "accept_shrink": accept_shrink}}}
    }
    if not verbose:
        config["loggers"] = {"console": {"config": {"log_level": "CRITICAL"}}}
    report_start()
    one_line = _needing_the_database()
    with one_of_dagsters_processes(settings), one_line, ending_at_signals(), _quiet(verbose), shown_progress():
        import dagster as dg

        from stax_pipeline.assets.partitions import range_tags
        from stax_pipeline.dagster_instance.internals import create_run, execute
        from stax_pipeline.definitions import defs

        job = defs.resolve_job_def("sync")
        with dg.DagsterInstance.get() as instance:
            run = create_run(instance, job, dagster_home() / "workspace.yaml", range_tags(window), config)
            events = list(execute(instance, job, run))
    return _read(run.run_id, events, window)


def report_start() -> None:
    """Dagster takes seconds to start; a person at a terminal should know what is waited for."""
    if sys.stderr.isatty():
        click.echo("  starting Dagster …", err=True)


@contextmanager
def _needing_the_database() -> Iterator[None]:
    """Say in one line that the database ended under the run. Raises CannotStart."""
    try:
        yield
    except Exception as fault:
        from dagster_postgres.utils import DagsterPostgresException
        from sqlalchemy.exc import InterfaceError, OperationalError

        if not isinstance(fault, DagsterPostgresException | InterfaceError | OperationalError):
            raise
        raise CannotStart(
            "The database ended while the run was at work (`stax down`, or a restart). What was published stays; the "
            "next sync takes up the rest."
        ) from None


@contextmanager
def ending_at_signals() -> Iterator[None]:
    """End after a run that Ctrl-C or SIGTERM reached: Dagster makes a failed step of it and goes on.

    It also leaves its own handlers behind, and SIGTERM deaf: the handlers are as before afterwards.
    """
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    ended: BaseException | None = None
    try:
        yield
    except BaseException as error:
        ended = error
    for number, handler in handlers.items():
        signal.signal(number, handler)
    signal.set_wakeup_fd(before)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        received = set(pipe.read()) & set(handlers)
    if received:
        if ended:
            traceback.clear_frames(ended.__traceback__)
            ended = None
        gc.collect()  # Dagster's half-open transactions end while the database still answers
        with suppress(OSError):  # the terminal may be gone
            click.echo("Interrupted. What was published stays; the next sync takes up the rest.", err=True)
        raise KeyboardInterrupt if received == {signal.SIGINT} else SystemExit(TERMINATED)
    if ended:
        raise ended


@contextmanager
def _quiet(verbose: bool) -> Iterator[None]:
    """Without Dagster's log, unless it is asked for. Warnings are shown: known ones are filtered where they arise."""
    if verbose:
        yield
        return
    logging.getLogger("dagster").setLevel(logging.CRITICAL)
    root = logging.getLogger()
    root.addFilter(_is_named)
    try:
        yield
    finally:
        root.removeFilter(_is_named)


def _is_named(record: logging.LogRecord) -> bool:
    """Dagster tells of each try to reach its database by no logger's name."""
    return record.name != "root"


def _read(run_id: str, events: Sequence[DagsterEvent], window: Window) -> Ran:
    from stax_pipeline.checks.rules import ALL_TENANTS_EXTRACTED

    ran = Ran(run_id, window, any(event.is_job_success for event in events))
    for event in events:
        if event.is_step_failure:
            ran.broken[event.step_key or "?"] = _why_the_step_failed(event.step_failure_data)
        elif event.is_step_materialization:
            _read_failures(ran, event.materialization)
        elif event.event_type_value == "ASSET_CHECK_EVALUATION":
            found = event.asset_check_evaluation_data
            if not found.passed:
                ran.warnings.append(
                    f"{found.check_name} ({found.severity.value}): {found.description or 'did not pass'}"
                )
                if found.check_name == ALL_TENANTS_EXTRACTED.name:
                    ran.lacking.update(str(found.metadata["tenants"].value).split(", "))
    if not ran.success and not ran.broken:
        ran.reason = _why_the_run_failed(events)
    return ran


def _why_the_run_failed(events: Sequence[DagsterEvent]) -> str:
    """Dagster's own words for a run that failed outside of its steps, such as while starting a resource."""
    for event in events:
        if event.is_run_failure:
            error = event.job_failure_data.error
            return (_innermost(error) if error else event.message or "").strip() or "Dagster gave no reason"
    return "Dagster gave no reason"


def _why_the_step_failed(found: Any) -> str:
    """The first line of ours; what follows it in Dagster's UI is told here by tenant."""
    if found.user_failure_data and found.user_failure_data.description:
        return str(found.user_failure_data.description).partition("\n")[0]
    return _innermost(found.error) if found.error else "no reason given"


def _innermost(error: Any) -> str:
    """Our own errors explain themselves; another's class is named, without where it is defined."""
    reported = str((error.cause or error).message).strip()
    kind, colon, words = reported.partition(": ")
    if not colon or not kind.replace(".", "").isidentifier():
        return reported
    return words if kind.startswith("stax_pipeline.") else f"{kind.rpartition('.')[2]}: {words}"


def _read_failures(ran: Ran, reported: AssetMaterialization) -> None:
    listed: Any = reported.metadata.get("failures")
    for record in listed.records if listed else ():
        ran.add_failure(str(record.data["tenant"]), str(record.data["reason"]), reported.asset_key.to_user_string())

"""`stax demo` and `stax simulate`: everything with no key of one's own.

The demo lives in a home of its own under STAX_HOME and talks to a simulator: it never meets real tenants or keys. What
happens to its tenants is told by `simulator.story`, what there is to see by `cli.demo_tour`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from stax_pipeline.cli import days as given
from stax_pipeline.cli.commands.services import PORT
from stax_pipeline.installation.homes import DEMO, PAPERS, SIMULATOR
from stax_pipeline.installation.settings import Settings, read_settings

if TYPE_CHECKING:
    import sqlalchemy as sa

    from stax_pipeline.cli import processes
    from stax_pipeline.cli.summary import Sum

TENANTS = ("acme", "globex")
DAYS = 62
"""Whatever day it is, they hold the last month that is over and whose cost is all there."""
KEPT = frozenset({"STAX_POSTGRES_BIN", "STAX_POSTGRES_PORT", "STAX_DEBUG", "STAX_CONCURRENCY", "STAX_SOURCE"})


class Simulated(NamedTuple):
    """A running simulator: its address, one made-up key by organisation, and the day on which its story is told."""

    base_url: str
    keys: dict[str, str]
    today: date
    process: processes.Child

    def correct(self) -> None:
        """Have the source correct what it told too low."""
        assert self.process.stdout is not None
        self.process.send_signal(signal.SIGUSR1)
        self.process.stdout.readline()


@click.command()
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed, other organisations.")
@click.option("--port", type=click.IntRange(0, 65_535), default=8900, show_default=True, help="0 takes a free one.")
@click.option("--org", "organizations", multiple=True, help="Repeatable; acme and globex without it.")
def simulate(seed: int, port: int, organizations: tuple[str, ...]) -> None:
    """Serve a made-up Admin API on loopback until Ctrl-C; prints its address, then each organisation and its key."""
    from stax_pipeline.domain.errors import CannotStart
    from stax_pipeline.simulator import demo_organizations, serve_forever

    click.echo("Set STAX_ANTHROPIC_BASE_URL to the address below.", err=True)
    try:
        serve_forever(port, demo_organizations(seed, organizations or TENANTS))
    except OSError as fault:
        raise CannotStart(f"The simulator cannot listen on port {port}: {fault.strerror}. Try --port 0.") from None


@click.command()
@click.option("--exit", "leave", is_flag=True, help="Stop after the summary.")
@click.option("--days", type=given.days, default=DAYS, show_default=True, help="Complete days to fetch.")
@PORT
def demo(leave: bool, days: int, port: int | None) -> None:
    """Everything on one machine with no key: simulator, database, two tenants, what happened to them, the app."""
    from stax_pipeline.cli.database import database
    from stax_pipeline.cli.pid_file import single_instance
    from stax_pipeline.cli.runs import backfill_window
    from stax_pipeline.cli.serving import serve

    given = read_settings()
    home = given.home / DEMO
    with single_instance(home, given.home), _simulator(home, days) as simulated:
        click.echo(f"The demo lives in {home}.")
        _enter(home, simulated.base_url)
        settings = read_settings()
        click.echo(f"Simulator of Anthropic's Admin API: {simulated.base_url}")
        with database(settings, make=True):
            click.echo("Embedded Postgres is up, schema up to date.")
            backfill_window(settings, days)  # a run knows the days from the first one that this process asks for
            _connect(settings, simulated)
            _commit(settings)
            _let_a_day_be_corrected(settings, simulated, days)
            clean = _sync(settings, days)
            _invoice(settings)
            _show_around(settings, given)
            if not clean:
                raise click.exceptions.Exit(1)
            if not leave:
                serve(settings, port or given.port)


@contextmanager
def _simulator(home: Path, days: int) -> Iterator[Simulated]:
    """The simulator as a child process; its made-up keys come through a pipe, its papers through files."""
    from stax_pipeline.cli import children, processes
    from stax_pipeline.domain.errors import CannotStart

    today = datetime.now(UTC).date()
    command = [
        sys.executable, "-m", "stax_pipeline.simulator", "--with-parent", "--story", str(home / PAPERS),
        "--today", f"{today}", "--days", f"{days}",
    ]  # fmt: skip
    with processes.session(command, children.of_a_program(os.environ), subprocess.PIPE, home) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline().decode().strip() for _ in range(1 + len(TENANTS))]
        if not all(lines):
            raise CannotStart("The simulator did not start; `python -m stax_pipeline.simulator` shows why.")
        pairs = (line.partition(" ")[::2] for line in lines[1:])
        yield Simulated(lines[0], dict(pairs), today, child)


def _enter(home: Path, base_url: str) -> None:
    """From here on this process and its children know the demo alone: no setting of real tenants stays.

    The home keeps the simulator's address: a command in another terminal asks it, and never Anthropic.
    """
    beside = home / f".{SIMULATOR}.new"
    beside.write_text(f"{base_url}\n")
    beside.replace(home / SIMULATOR)
    for name in [name for name in os.environ if name.startswith("STAX_") and name not in KEPT]:
        del os.environ[name]
    os.environ.update({"STAX_HOME": str(home), "STAX_ANTHROPIC_BASE_URL": base_url})


def _connect(settings: Settings, simulated: Simulated) -> None:
    """Both tenants, by the path of a real key."""
    from stax_pipeline.cli.commands.keys import report_stored
    from stax_pipeline.cli.database import loader
    from stax_pipeline.domain.admin_key import parse_admin_key
    from stax_pipeline.tenants.connect import connect

    with loader(settings) as engine:
        for slug in TENANTS:
            click.echo(f"Connecting {slug} ...")
            stored = connect(settings, engine, slug, None, parse_admin_key(simulated.keys[slug]), click.echo)
            report_stored(stored)


def _commit(settings: Settings) -> None:
    """Record the commitments that the tenants signed, before any day is built."""
    from stax_pipeline.cli.database import loader
    from stax_pipeline.tenants.agreements import import_commitments

    file = settings.home / PAPERS / "commitments.csv"
    with loader(settings) as engine:
        imported = import_commitments(engine, file.name, file.read_bytes())
    for slug, recorded in imported.recorded.items():
        for row in recorded.added:
            click.echo(
                f"Recorded commitment {row.commitment_id} of {slug}: {row.input_tokens_per_minute:,} input and "
                f"{row.output_tokens_per_minute:,} output tokens per minute of {row.model}."
            )


def _let_a_day_be_corrected(settings: Settings, simulated: Simulated, days: int) -> None:
    """In a new home, read one day of the first tenant while the source shows it too low; then the source corrects it.

    A home that knows the day has seen that before.
    """
    from stax_pipeline.cli.commands.sync import report
    from stax_pipeline.cli.database import loader
    from stax_pipeline.cli.runs import run_sync
    from stax_pipeline.domain.extraction import Window
    from stax_pipeline.simulator import corrected_day

    day, slug = corrected_day(simulated.today), TENANTS[0]
    with loader(settings) as engine, engine.connect() as connection:
        known = _was_read(connection, slug, day)
    if not known and (simulated.today - day).days <= days:
        click.echo(f"Reading {slug}'s {day} once before the source corrects it ...")
        ran = run_sync(settings, Window(day, day + timedelta(days=1)), [slug])
        if not ran.clean:
            report(settings, ran, [slug])
            raise click.exceptions.Exit(1)
    simulated.correct()


def _was_read(connection: sa.Connection, slug: str, day: date) -> bool:
    import sqlalchemy as sa

    query = "select cost_state from stax.completeness where tenant = :slug and usage_date = :day"
    return connection.execute(sa.text(query), {"slug": slug, "day": day}).scalar() is not None


def _invoice(settings: Settings) -> None:
    """Record the invoices that the tenants got."""
    from stax_pipeline.cli.database import loader
    from stax_pipeline.cli.render import in_usd
    from stax_pipeline.pricing.imports.invoices import read_invoice
    from stax_pipeline.pricing.invoices import Invoice
    from stax_pipeline.tenants.agreements import import_invoice
    from stax_pipeline.warehouse.tenants import get_tenant

    with loader(settings) as engine:
        for file in sorted((settings.home / PAPERS).glob("invoice-*.csv")):
            _, slug, month = file.stem.split("-", 2)
            amount = read_invoice(file.name, file.read_bytes()).amount_usd
            with engine.connect() as connection:
                tenant = get_tenant(connection, slug)
            import_invoice(engine, tenant, Invoice(date.fromisoformat(f"{month}-01"), amount, file.name))
            click.echo(f"Recorded {slug}'s invoice of {month}: {in_usd(amount)}.")


def _show_around(settings: Settings, given: Settings) -> None:
    from stax_pipeline.cli.database import analyst
    from stax_pipeline.cli.demo_tour import tour

    with analyst(settings) as connection:
        click.echo(f"\n{tour(connection, settings.home, given)}\n")


def _sync(settings: Settings, days: int) -> bool:
    """One run for both; True when nothing failed and every figure that must be there is."""
    from stax_pipeline.cli.commands.keys import backfill
    from stax_pipeline.cli.database import analyst
    from stax_pipeline.cli.runs import first_window
    from stax_pipeline.cli.summary import summarize

    clean = backfill(settings, TENANTS, days)
    with analyst(settings) as connection:
        sums = summarize(connection, first_window(read_settings(), days), TENANTS)
    empty = [f"tenant {one.slug} has no {what}" for one in sums for what in _missing(one)]
    for words in empty:
        click.echo(f"failed: {words}", err=True)
    return clean and not empty and len(sums) == len(TENANTS)


def _missing(one: Sum) -> Iterator[str]:
    figures = {
        "billed or estimated dollars": one.dollars.billed_usd + one.dollars.estimated_usd,
        "priority-reconstructed dollars": one.dollars.priority_reconstructed_usd,
        "tokens": one.tokens,
    }
    return (name for name, figure in figures.items() if figure <= 0)

"""`stax alerts`: what is open, when it was looked for, how its channels fare; to look now, and a test message."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from stax_pipeline.installation.settings import Settings, read_settings

if TYPE_CHECKING:
    from dagster import DagsterInstance

    from stax_pipeline.alerts.life_cycle import Alert
    from stax_pipeline.alerts.store import Failing

TWO_TICKS = timedelta(minutes=10)
HOW_TO_SET = (
    "Set STAX_ALERT_WEBHOOK, or STAX_ALERT_EMAIL_TO, STAX_ALERT_EMAIL_FROM and STAX_SMTP_URL (docs/operate/alerts.md)."
)


@click.group(invoke_without_command=True)
@click.pass_context
def alerts(context: click.Context) -> None:
    """Show what is open and when it was last looked for; `check` looks now, `test` sends a test message."""
    from stax_pipeline.cli.database import reading

    if context.invoked_subcommand is not None:
        return
    settings = read_settings()
    with reading(settings):
        _print_open(settings)
        _print_last_look(settings)


@alerts.command("check")
def check() -> None:
    """Look now, at every kind, tell the channels that are set, and show what they were told and what is open."""
    from stax_pipeline.cli.database import database
    from stax_pipeline.cli.render import fitted
    from stax_pipeline.domain.plain_text import plain

    settings = read_settings()
    with database(settings), _dagster(settings) as instance:
        from stax_pipeline.assets.alerts import look

        done = look(instance, datetime.now(UTC))
        _print_open(settings)
    click.echo("Looked now, at every kind.")
    for sentence, message in zip(done.delivered, done.posted, strict=True):
        click.echo(sentence)
        for line in (message.title, *message.text.splitlines()):
            click.echo(fitted(f"  | {plain(line)}") if line else "  |")
    if not done.delivered:
        click.echo("Nothing was posted.")
    for fault in done.faults:
        click.echo(f"failed: {fault}", err=True)
    if done.faults:
        raise click.exceptions.Exit(1)


@alerts.command("test")
def test() -> None:
    """Send a test message by every channel that is set, and say what happened."""
    from stax_pipeline.alerts.channels import DeliveryFailed, channels
    from stax_pipeline.alerts.message import trial
    from stax_pipeline.domain.errors import WrongUse

    chosen = channels(read_settings())
    if not chosen:
        raise WrongUse(f"No channel is set, nothing was sent. {HOW_TO_SET}")
    failed = False
    for channel in chosen:
        try:
            click.echo(f"{channel.name}: {channel.send(trial())}")
        except DeliveryFailed as fault:
            failed = True
            click.echo(f"failed: {channel.name}: {fault}", err=True)
    if failed:
        raise click.exceptions.Exit(1)


def _print_open(settings: Settings) -> None:
    from stax_pipeline.alerts.life_cycle import Due
    from stax_pipeline.alerts.message import counted, in_turn, worst_first
    from stax_pipeline.alerts.store import read_alerts, read_failing
    from stax_pipeline.cli.database import analyst
    from stax_pipeline.cli.render import fitted
    from stax_pipeline.domain.reasons import shared_reasons

    with analyst(settings) as connection:
        found = [alert for alert in read_alerts(connection) if alert.resolved_at is None]
        failing = read_failing(connection)
    if not found:
        click.echo("No alert is open.")
    shown = sorted(in_turn(found), key=worst_first)
    for shared in shared_reasons((alert.slug, _open(alert), alert.todo) for alert in shown):
        click.echo(fitted(f"{shared.tenants_named}: {shared.reason}\n  What to do: {shared.step}"))
    for more in counted(Due(found, []), Due(shown, [])):
        click.echo(f"{more}: `stax sql` has them, in table alerts.")
    _print_channels(settings, failing)


def _open(alert: Alert) -> str:
    from stax_pipeline.cli import render

    notified = f"told {render.instant(alert.notified_at)}" if alert.notified_at else "not told yet"
    return f"{alert.kind}, open since {render.instant(alert.opened_at)}, {notified}\n  {alert.what}"


def _print_last_look(settings: Settings) -> None:
    """What is not open says nothing while nobody looks."""
    from stax_pipeline.assets.alerts import Looked, last_looked
    from stax_pipeline.cli import render

    looked = Looked(None, None)
    if _has_run(settings):
        with _dagster(settings) as instance:
            looked = last_looked(instance)
    if looked.quick is None:
        click.echo("The sensor never looked: is `stax up` running? `stax alerts check` looks now.", err=True)
        return
    click.echo(render.fitted(
        f"The sensor last looked at keys, late and quarantined data and checks: {render.instant(looked.quick)}; "
        f"at everything else: {render.instant(looked.every)}."
    ))  # fmt: skip
    if datetime.now(UTC) - looked.quick > TWO_TICKS:
        click.echo("It does not look at the moment: is `stax up` running? `stax alerts check` looks now.", err=True)


def _has_run(settings: Settings) -> bool:
    """Whether Dagster made its tables: opening its storage would make them."""
    from stax_pipeline.warehouse.engine import connect_engine
    from stax_pipeline.warehouse.roles import logins

    engine = connect_engine(logins(settings).dagster)
    try:
        with engine.connect() as connection:
            query = "select exists (select 1 from pg_class where relname = 'instigators' and relkind = 'r')"
            return bool(connection.exec_driver_sql(query).scalar_one())
    finally:
        engine.dispose()


@contextmanager
def _dagster(settings: Settings) -> Iterator[DagsterInstance]:
    """Dagster's storage; the database must run."""
    from dagster import DagsterInstance

    from stax_pipeline.cli.environment import one_of_dagsters_processes

    with one_of_dagsters_processes(settings), DagsterInstance.get() as instance:
        yield instance


def _print_channels(settings: Settings, failing: dict[str, Failing]) -> None:
    from stax_pipeline.alerts.channels import channels
    from stax_pipeline.cli import render

    chosen = channels(settings)
    if not chosen:
        click.echo(f"No channel is set: alerts are kept, nobody is told. {HOW_TO_SET}", err=True)
    for channel in chosen:
        if state := failing.get(channel.name):
            click.echo(
                f"{channel.name}: failing since {render.instant(state.failing_since)}; {state.reason} "
                f"Tried again after {state.retry_at:%Y-%m-%d %H:%M} UTC.",
                err=True,
            )

"""`stax alerts`: what is open, how its channels fare, and a test message."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from stax_pipeline.settings import Settings, read_settings

if TYPE_CHECKING:
    from stax_pipeline.domain.alerts import Alert
    from stax_pipeline.resources.warehouse.alerts import Failing

HOW_TO_SET = "Set STAX_ALERT_WEBHOOK, or STAX_ALERT_EMAIL_TO, STAX_ALERT_EMAIL_FROM and STAX_SMTP_URL (docs/alerts.md)."


@click.group(invoke_without_command=True)
@click.pass_context
def alerts(context: click.Context) -> None:
    """Show what is open; `stax alerts test` sends a test message by every channel that is set."""
    from stax_pipeline.cli.database import analyst, database
    from stax_pipeline.resources.warehouse.alerts import read_alerts, read_failing

    if context.invoked_subcommand is not None:
        return
    settings = read_settings()
    with database(settings), analyst(settings) as connection:
        found = [alert for alert in read_alerts(connection) if alert.resolved_at is None]
        failing = read_failing(connection)
    _print_open(found)
    _print_channels(settings, failing)


@alerts.command("test")
def test() -> None:
    """Send a test message by every channel that is set, and say what happened."""
    from stax_pipeline.domain.alert_message import trial
    from stax_pipeline.domain.errors import WrongUse
    from stax_pipeline.resources.notify import DeliveryFailed, channels

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


def _print_open(found: Sequence[Alert]) -> None:
    from stax_pipeline.cli import render

    if not found:
        click.echo("No alert is open.")
    for alert in found:
        told = f"told {render.instant(alert.notified_at)}" if alert.notified_at else "not told yet"
        click.echo(f"{alert.slug}: {alert.kind}, open since {render.instant(alert.opened_at)}, {told}")
        click.echo(f"  {alert.what}\n  What to do: {alert.todo}")


def _print_channels(settings: Settings, failing: dict[str, Failing]) -> None:
    from stax_pipeline.cli import render
    from stax_pipeline.resources.notify import channels

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

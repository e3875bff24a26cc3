"""`stax sync`: one run of the job over a window of days, in this process."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date

import click

from stax_pipeline.cli import days as given
from stax_pipeline.installation.settings import Settings, read_settings

_REJECTED = "select slug from stax.tenants where status = 'key_rejected'"


@click.command()
@click.argument("slugs", nargs=-1, metavar="[SLUG]...")
@click.option("--days", type=given.days, help="So many complete UTC days and the open one.")
@click.option("--from", "first", type=given.day, help="First UTC day.")
@click.option("--to", "last", type=given.day, help="Last UTC day, included; today without it.")
@click.option("--accept-shrink", is_flag=True, help="Publish a settled day that lost more than half.")
@click.option("--verbose", is_flag=True, help="Show Dagster's own log.")
def sync(
    slugs: tuple[str, ...], days: int | None, first: date | None, last: date | None, accept_shrink: bool,
    verbose: bool,
) -> None:  # fmt: skip
    """Fetch a window of days for the named tenants, or all connected ones, and rebuild what follows from it."""
    from stax_pipeline.cli.database import database
    from stax_pipeline.cli.homes import require_simulator
    from stax_pipeline.cli.runs import chosen_window, run_sync
    from stax_pipeline.keys.tenant_keys import master_keys

    settings = read_settings()
    window = chosen_window(settings, days, first, last)
    require_simulator(settings)
    with database(settings):
        chosen, left_out = _chosen(settings, slugs)
        master_keys(settings)  # a run without one could only fail
        click.echo(f"Syncing {', '.join(chosen)} over {window.start} to {window.days[-1]} (UTC days).", err=True)
        ran = run_sync(settings, window, slugs, accept_shrink=accept_shrink, verbose=verbose)
        clean = report(settings, ran, chosen, left_out)
    if not clean:
        raise click.exceptions.Exit(1)


def report(settings: Settings, ran: object, slugs: Sequence[str], left_out: Sequence[str] = ()) -> bool:
    """Print the table, failed tenants with reason and what to do, and broken steps; True when nothing failed.

    `left_out` are tenants that the run did without since their keys were rejected before: it failed for them too.
    """
    import sqlalchemy as sa

    from stax_pipeline.cli.database import loader
    from stax_pipeline.cli.runs import Ran
    from stax_pipeline.cli.summary import summarize, summary_table
    from stax_pipeline.domain.failures import counted
    from stax_pipeline.domain.next_step import next_step
    from stax_pipeline.domain.plain_text import plain
    from stax_pipeline.warehouse.engine import plain_faults

    assert isinstance(ran, Ran)
    incomplete = ran.lacking | set(ran.failures) if ran.success else {*slugs, *left_out}
    reading = plain_faults("summing up")
    with reading, loader(settings) as engine, engine.connect() as connection:  # readers may hold the analyst's
        click.echo(summary_table(summarize(connection, ran.window, slugs), incomplete))
        rejected = set(connection.execute(sa.text(_REJECTED)).scalars())
    for warning in ran.warnings:
        click.echo(f"check: {plain(warning)}", err=True)
    failed = (
        (
            slug,
            f"{', '.join(sorted(failure.where))}: {failure.reason}",
            next_step(slug, failure.reason, key_rejected=slug in rejected),
        )
        for slug, failures in sorted(ran.failures.items())
        for failure in failures
    )
    _echo_shared("failed", failed)
    for step, reason in ran.broken.items():
        click.echo(f"failed: step {step}: {reason}", err=True)
    if ran.reason:
        click.echo(f"failed: the run: {ran.reason}", err=True)
    if not ran.clean:
        click.echo(f"Run {ran.run_id} {counted(len(incomplete), len({*slugs, *left_out}))}.", err=True)
    return ran.clean


def _echo_shared(what: str, found: Iterable[tuple[str, str, str]]) -> None:
    """One line for tenants that share a reason and a next step, given as (slug, reason, next step)."""
    from stax_pipeline.domain.plain_text import plain
    from stax_pipeline.domain.reasons import shared_reasons

    for shared in shared_reasons(found):
        words = f"{shared.reason.rstrip('.')}. {shared.step}".rstrip()
        tenant = "tenant " if len(shared.slugs) == 1 else ""
        click.echo(f"{what}: {tenant}{shared.tenants_named}: {plain(words)}", err=True)


def _chosen(settings: Settings, slugs: Sequence[str]) -> tuple[list[str], list[str]]:
    """The tenants of the run, known and connected, and those that a run of all leaves out because of a rejected key,
    who are named.
    """
    from stax_pipeline.cli.database import loader
    from stax_pipeline.domain.errors import StaxError, WrongUse
    from stax_pipeline.domain.failures import REJECTED_BEFORE
    from stax_pipeline.domain.next_step import next_step
    from stax_pipeline.domain.tenant import KEY_REJECTED
    from stax_pipeline.warehouse.engine import plain_faults
    from stax_pipeline.warehouse.tenants import all_tenants, tenants_to_sync

    with loader(settings) as engine, plain_faults("looking for tenants"), engine.connect() as connection:
        chosen = [tenant.slug for tenant in tenants_to_sync(connection, slugs)]
        known = () if slugs else all_tenants(connection)
    left_out = [tenant.slug for tenant in known if tenant.status == KEY_REJECTED]
    _echo_shared("Left out", ((slug, REJECTED_BEFORE, next_step(slug, "", key_rejected=True)) for slug in left_out))
    if not chosen and left_out:
        raise StaxError("No sync was started: no tenant has a key that Anthropic accepts.")
    if not chosen:
        raise WrongUse("No tenant is connected. `stax connect acme` connects one.")
    return chosen, left_out

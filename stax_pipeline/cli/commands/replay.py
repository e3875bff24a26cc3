"""`stax replay`: everything after the raw pages built anew, in this process, without the network."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import TYPE_CHECKING

import click

from stax_pipeline.cli import days as given
from stax_pipeline.domain.plurals import count_of
from stax_pipeline.installation.settings import Settings, read_settings

if TYPE_CHECKING:
    import sqlalchemy as sa

    from stax_pipeline.domain.extraction import Window
    from stax_pipeline.domain.tenant import Tenant
    from stax_pipeline.lake.store import Lake
    from stax_pipeline.pipeline.isolation import Outcome


@click.command()
@click.option("--from", "first", type=given.day, help="First UTC day; the first that was ever fetched without it.")
@click.option("--to", "last", type=given.day, help="Last UTC day, included; the last that was ever fetched without it.")
@click.option("--from-lake", is_flag=True, help="First record the extractions that only the lake knows.")
def replay(first: date | None, last: date | None, from_lake: bool) -> None:
    """Rebuild lines, spend, reconciliation, restatements and Parquet from the raw pages, for every tenant.

    After new prices, rates or commitments it prices past days anew.
    """
    from stax_pipeline.cli.database import database, loader
    from stax_pipeline.cli.progress import shown_progress
    from stax_pipeline.lake.store import Lake

    settings = read_settings()
    with database(settings), loader(settings) as engine, shown_progress():
        failures = _replay(settings, engine, Lake(settings.lake, settings.home), first, last, from_lake)
    for slug, reason in sorted(failures):
        click.echo(f"failed: tenant {slug}: {reason}", err=True)
    if failures:
        raise click.exceptions.Exit(1)


def _replay(
    settings: Settings, engine: sa.Engine, lake: Lake, first: date | None, last: date | None, from_lake: bool
) -> set[tuple[str, str]]:
    from stax_pipeline.cli.progress import step_progress
    from stax_pipeline.lake.parquet import rebuild
    from stax_pipeline.lake.parquet_names import copy_names
    from stax_pipeline.pipeline.build_batch import Books
    from stax_pipeline.pipeline.replay import replay as rebuild_tables
    from stax_pipeline.warehouse import tables
    from stax_pipeline.warehouse.engine import plain_faults
    from stax_pipeline.warehouse.tenants import all_tenants

    with plain_faults("looking for tenants"), engine.connect() as connection:
        tenants = all_tenants(connection)
    outcomes = [_restore(engine, lake, tenants)] if from_lake else []
    window = _window(engine, first, last)
    if window is None:
        click.echo("Nothing was ever fetched: there is nothing to replay.", err=True)
        return _failures(outcomes)
    _add_shipped_prices(engine)
    books = Books(engine, lake, settings.settle)
    outcomes += rebuild_tables(books, settings.source, tenants, window, step_progress)
    shown = step_progress("writing Parquet", "tables")
    for done, table in enumerate(tables.DAILY, start=1):
        rebuild(engine, lake, table, window, books.fresh, whole=True)
        shown(done, len(tables.DAILY))
    copy_names(engine, lake)
    click.echo(f"Replayed {count_of(len(tenants), 'tenant')} over {window.start} to {window.days[-1]} (UTC days).")
    return _failures(outcomes)


def _restore(engine: sa.Engine, lake: Lake, tenants: list[Tenant]) -> Outcome:
    from stax_pipeline.cli.progress import step_progress
    from stax_pipeline.pipeline.replay_from_lake import restore_extractions, unknown_tenants

    outcome = restore_extractions(engine, lake, tenants, step_progress("reading the lake", "tenants"))
    click.echo(f"Recorded {count_of(outcome.rows, 'extraction')} that only the lake knew.")
    for tenant_id in sorted(unknown_tenants(lake, tenants)):
        click.echo(f"Left out: raw pages of {tenant_id}, who is no tenant here.", err=True)
    return outcome


def _window(engine: sa.Engine, first: date | None, last: date | None) -> Window | None:
    """The days to rebuild. Raises WrongUse when the last is before the first."""
    from datetime import timedelta

    from stax_pipeline.domain.errors import WrongUse
    from stax_pipeline.domain.extraction import Window
    from stax_pipeline.warehouse.engine import plain_faults
    from stax_pipeline.warehouse.extractions import reach

    with plain_faults("looking for extractions"), engine.connect() as connection:
        whole = reach(connection)
    if whole is None:
        return None
    end = last + timedelta(days=1) if last else whole.end
    window = Window(max(first or whole.start, whole.start), min(end, whole.end))
    if not window:
        raise WrongUse(f"There is nothing to replay there: what was fetched is {whole.start} to {whole.days[-1]}.")
    return window


def _add_shipped_prices(engine: sa.Engine) -> None:
    from stax_pipeline.pricing.prices import shipped_prices
    from stax_pipeline.warehouse.engine import plain_faults
    from stax_pipeline.warehouse.prices import record_prices

    with plain_faults("adding the shipped prices"), engine.begin() as connection:
        record_prices(connection, shipped_prices())


def _failures(outcomes: Iterable[Outcome]) -> set[tuple[str, str]]:
    return {(slug, reason) for outcome in outcomes for slug, reason in outcome.failures.items()}

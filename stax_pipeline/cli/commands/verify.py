"""`stax verify`: every raw object's hash, every page's, and every rule that must hold between the tables. Read only."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from stax_pipeline.settings import Settings, read_settings

if TYPE_CHECKING:
    import sqlalchemy as sa

    from stax_pipeline.domain.extraction import Window

SHOWN = 5


@click.command()
def verify() -> None:
    """Check every raw hash and every rule; names what does not hold and exits 1 then."""
    from stax_pipeline.cli.database import analyst, database

    settings = read_settings()
    failed = 0
    with database(settings), analyst(settings) as connection:
        for words in _findings(connection, settings):
            failed += 1
            click.echo(f"failed: {words}", err=True)
    if failed:
        click.echo(f"{failed} findings.", err=True)
        raise click.exceptions.Exit(1)
    click.echo("Everything holds.")


def _findings(connection: sa.Connection, settings: Settings) -> Iterator[str]:
    yield from _raw_objects(connection, settings)
    window = _covered_days(connection)
    if window:
        yield from _ties(connection, settings, window)
        yield from _rules(connection, settings, window)


def _raw_objects(connection: sa.Connection, settings: Settings) -> Iterator[str]:
    """Each object is read whole: its own hash, then every page's."""
    import sqlalchemy as sa

    from stax_pipeline.domain.errors import StaxError
    from stax_pipeline.resources.lake.raw import read_raw
    from stax_pipeline.resources.lake.store import Lake

    lake = Lake(settings.lake)
    query = """
        select t.slug, e.raw_uri, e.sha256, e.extraction_id, e.pages
        from stax.extractions e join stax.tenants t using (tenant_id)
        where e.raw_uri is not null order by t.slug, e.recorded_at
    """
    checked = 0
    for row in connection.execute(sa.text(query)):
        checked += 1
        try:
            header, pages = read_raw(lake, row.raw_uri, row.sha256)
            count = sum(1 for _ in pages)
        except StaxError as fault:
            yield f"tenant {row.slug}: {fault}"
            continue
        if header.extraction_id != row.extraction_id or count != row.pages:
            yield f"tenant {row.slug}: {row.raw_uri} is not the object of extraction {row.extraction_id}"
    click.echo(f"{checked} raw objects read.")


def _covered_days(connection: sa.Connection) -> Window | None:
    import sqlalchemy as sa

    from stax_pipeline.domain.extraction import Window

    first, last = connection.execute(sa.text("select min(usage_date), max(usage_date) from stax.coverage")).one()
    return None if first is None else Window(first, last + timedelta(days=1))


def _ties(connection: sa.Connection, settings: Settings, window: Window) -> Iterator[str]:
    """The raw pages added up once more, against the normalised tables."""
    from stax_pipeline.domain.errors import StaxError
    from stax_pipeline.resources.lake.store import Lake
    from stax_pipeline.resources.warehouse.tenants import all_tenants
    from stax_pipeline.steps.tie import cost_gaps, set_aside_gaps, usage_gaps

    lake = Lake(settings.lake)
    ties = {
        "cost_lines_tie_to_report": cost_gaps,
        "usage_lines_tie_to_report": usage_gaps,
        "set_aside_ties_to_report": set_aside_gaps,
    }
    for name, gaps in ties.items():
        found = 0
        for tenant in all_tenants(connection):
            try:
                apart = gaps(connection, lake, [tenant], window)
            except StaxError as fault:
                yield f"{name}: tenant {tenant.slug}: {fault}"
                continue
            for gap in apart:
                found += 1
                yield f"{name}: tenant {gap.tenant}, {gap.usage_date}: pages {gap.pages:f}, table {gap.table:f}"
        click.echo(f"{name}: {'holds' if not found else f'{found} days apart'}")


def _rules(connection: sa.Connection, settings: Settings, window: Window) -> Iterator[str]:
    from stax_pipeline.steps.checks import examine_all

    for finding in examine_all(connection, window, datetime.now(UTC), settings):
        click.echo(f"{finding.rule.name}: {'holds' if finding.holds else f'{len(finding.rows)} violations'}")
        shown = [", ".join(map(str, row)) for row in finding.rows[:SHOWN]]
        words = [f"{finding.rule.name}: {row}" for row in shown]
        if len(finding.rows) > SHOWN:
            words.append(f"{finding.rule.name}: and {len(finding.rows) - SHOWN} more")
        if finding.is_severe:
            yield from words
        else:
            for line in words:
                click.echo(f"warning: {line}", err=True)

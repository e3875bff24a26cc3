"""`stax verify`: every Parquet file, raw object and page, and every rule that holds between the tables. Read only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

import click

from stax_pipeline.domain.plurals import count_of
from stax_pipeline.installation.settings import Settings, read_settings

if TYPE_CHECKING:
    import sqlalchemy as sa

    from stax_pipeline.checks.raw_pages import Gap
    from stax_pipeline.domain.extraction import Window
    from stax_pipeline.domain.tenant import Tenant
    from stax_pipeline.lake.store import Lake

    FindGaps = Callable[[sa.Connection, Lake, Sequence[Tenant], Window], Sequence[Gap]]

SHOWN = 5
RAW, PARQUET, APP = "raw_objects_hold_their_hash", "parquet_holds_the_rows", "app_reads_as_whom_it_serves"


class Broken(NamedTuple):
    """A rule, what breaks it and what mends it, in words; `warns` where the rule does not call for an exit code."""

    rule: str
    violations: list[str]
    warns: bool = False
    mended_by: str = ""


@click.command()
def verify() -> None:
    """Check every raw hash, every Parquet file and every rule; names what does not hold and exits 1 then."""
    from stax_pipeline.cli.database import analyst, reading

    settings = read_settings()
    found: list[Broken] = []
    with reading(settings), analyst(settings) as connection:
        for broken in _findings(connection, settings):
            found.append(broken)
            _show(broken)
    failed = [broken for broken in found if not broken.warns]
    if failed:
        click.echo(f"{_count(failed)}.", err=True)
        raise click.exceptions.Exit(1)
    click.echo(f"No more than warnings: {_count(found)}." if found else "Everything holds.")


def _show(broken: Broken) -> None:
    word = "warning" if broken.warns else "failed"
    for violation in broken.violations[:SHOWN]:
        click.echo(f"{word}: {broken.rule}: {violation}", err=True)
    if len(broken.violations) > SHOWN:
        click.echo(f"{word}: {broken.rule}: and {len(broken.violations) - SHOWN} more", err=True)
    if broken.mended_by:
        click.echo(f"{word}: {broken.rule}: {broken.mended_by}", err=True)


def _count(found: Sequence[Broken]) -> str:
    """Such as `2 rules broken, 146 violations`."""
    rows = sum(len(broken.violations) for broken in found)
    return f"{count_of(len(found), 'rule')} broken, {count_of(rows, 'violation')}"


def _findings(connection: sa.Connection, settings: Settings) -> Iterator[Broken]:
    """What is broken, each rule as soon as it is known; Parquet, which runs replace, while the snapshot is fresh."""
    window = _covered_days(connection)
    if window and (broken := _reported(_parquet(connection, settings, window))):
        yield broken
    checked = [(RAW, _raw_objects(connection, settings)), (APP, _of_the_app(connection, settings))]
    if window:
        checked += _ties(connection, settings, window)
    for rule, violations in checked:
        if broken := _reported(Broken(rule, list(violations))):
            yield broken
    if window:
        yield from _rules(connection, settings, window)


def _of_the_app(connection: sa.Connection, settings: Settings) -> Iterator[str]:
    """What the app's login may do beside reading as whom it serves."""
    from stax_pipeline.warehouse.privilege_audit import excess_of_the_app
    from stax_pipeline.warehouse.roles import logins

    yield from excess_of_the_app(connection, logins(settings))


def _reported(checked: Broken) -> Broken | None:
    """Says how the rule stands; None where it holds."""
    count = len(checked.violations)
    stands = count_of(count, "violation") if count else "holds"
    click.echo(f"{checked.rule}: {stands}")
    return checked if count else None


def _parquet(connection: sa.Connection, settings: Settings, window: Window) -> Broken:
    """Each file beside its day in Postgres."""
    from stax_pipeline.checks.parquet_copies import parquet_gaps
    from stax_pipeline.lake.store import Lake

    apart = list(parquet_gaps(connection, Lake(settings.lake, settings.home), window))
    if not apart:
        return Broken(PARQUET, [])
    days = [gap.usage_date for gap in apart]
    mended_by = (
        f"`stax replay --from {min(days)} --to {max(days)}` writes these files anew; if a sync ran meanwhile, let it "
        "end and verify once more first"
    )
    words = [f"table {gap.table}, usage_date {gap.usage_date}: {gap.why}" for gap in apart]
    return Broken(PARQUET, words, mended_by=mended_by)


def _raw_objects(connection: sa.Connection, settings: Settings) -> Iterator[str]:
    """Each object is read whole: its own hash, then every page's."""
    import sqlalchemy as sa

    from stax_pipeline.lake.raw import read_raw
    from stax_pipeline.lake.store import Lake
    from stax_pipeline.pipeline.isolation import reason

    lake = Lake(settings.lake, settings.home)
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
        except Exception as fault:
            yield f"tenant {row.slug}: {reason(fault, f'reading {row.raw_uri}')}"
            continue
        if header.extraction_id != row.extraction_id or count != row.pages:
            yield f"tenant {row.slug}: {row.raw_uri} is not the object of extraction {row.extraction_id}"
    click.echo(f"{count_of(checked, 'raw object')} read.")


def _covered_days(connection: sa.Connection) -> Window | None:
    import sqlalchemy as sa

    from stax_pipeline.domain.extraction import Window

    first, last = connection.execute(sa.text("select min(usage_date), max(usage_date) from stax.coverage")).one()
    return None if first is None else Window(first, last + timedelta(days=1))


def _ties(connection: sa.Connection, settings: Settings, window: Window) -> list[tuple[str, Iterator[str]]]:
    """The raw pages added up once more, against the normalised tables."""
    from stax_pipeline.checks.raw_pages import cost_gaps, set_aside_gaps, usage_gaps

    ties = {
        "cost_lines_tie_to_report": cost_gaps,
        "usage_lines_tie_to_report": usage_gaps,
        "set_aside_ties_to_report": set_aside_gaps,
    }
    return [(name, _days_apart(gaps, connection, settings, window)) for name, gaps in ties.items()]


def _days_apart(gaps: FindGaps, connection: sa.Connection, settings: Settings, window: Window) -> Iterator[str]:
    """Each tenant by itself, so that one whose pages cannot be read hides no other."""
    from stax_pipeline.lake.store import Lake
    from stax_pipeline.pipeline.isolation import reason
    from stax_pipeline.warehouse.engine import plain_faults
    from stax_pipeline.warehouse.tenants import all_tenants

    lake = Lake(settings.lake, settings.home)
    for tenant in all_tenants(connection):
        try:
            with plain_faults("adding up raw pages"):
                found = gaps(connection, lake, [tenant], window)
        except Exception as fault:
            yield f"tenant {tenant.slug}: {reason(fault, 'adding up raw pages')}"
            continue
        for gap in found:
            yield f"tenant {gap.tenant}, usage_date {gap.usage_date}, pages {gap.pages:f}, table {gap.table:f}"


def _rules(connection: sa.Connection, settings: Settings, window: Window) -> Iterator[Broken]:
    from stax_pipeline.checks.runner import run_rules

    for finding in run_rules(connection, window, datetime.now(UTC), settings):
        rows = [_row(finding.rule.columns, row) for row in finding.rows]
        if broken := _reported(Broken(finding.rule.name, rows, warns=not finding.is_severe)):
            yield broken


def _row(columns: Sequence[str], row: Sequence[object]) -> str:
    """A violation by the names of its columns: `tenant acme, usage_date 2026-10-23, fee_usd 100`."""
    return ", ".join(f"{name} {_plain(value)}" for name, value in zip(columns, row, strict=True))


def _plain(value: object) -> str:
    if value is None or value == "":
        return "none"
    return f"{value:f}" if isinstance(value, Decimal) else str(value)

"""`stax export`: FOCUS, spend or usage as one Parquet or CSV file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stax_pipeline.domain.plurals import count_of
from stax_pipeline.installation.settings import Settings, read_settings

if TYPE_CHECKING:
    import sqlalchemy as sa

    from stax_pipeline.domain.extraction import Window
    from stax_pipeline.exports.contents import Wanted
    from stax_pipeline.exports.files import Column, Row

FORMATS = ("parquet", "csv")


@click.command()
@click.argument("dataset", type=click.Choice(["focus", "spend", "usage"]))
@click.option("--tenant", help="Only this tenant; all of them without it.")
@click.option("--month", help="Only this calendar month (UTC), like 2026-10; all days held without it.")
@click.option("--as-of", help="Spend as it stood at the end of this UTC day, or at this instant.")
@click.option("--format", "form", type=click.Choice(FORMATS), help="By the name of --out without it, else CSV.")
@click.option("--out", help="File, replaced as a whole if it exists; CSV goes to standard output without it or for -.")
def export(
    dataset: str, tenant: str | None, month: str | None, as_of: str | None, form: str | None, out: str | None
) -> None:
    """Write DATASET to a file: `focus` (FOCUS 1.4 Cost and Usage), `spend` or `usage`, one row per line."""
    from stax_pipeline.cli.database import analyst, reading
    from stax_pipeline.cli.outdated import warn_of_outdated_days
    from stax_pipeline.exports.contents import Dataset, Wanted
    from stax_pipeline.exports.files import Format, write_file, write_standard_output
    from stax_pipeline.warehouse.tenants import get_tenant

    target = None if out in (None, "-") else Path(str(out))
    chosen = Format(_format(form, target))
    window = None if month is None else month_window(month)
    instant = None if as_of is None else as_of_instant(as_of)
    if instant and dataset != Dataset.SPEND:
        raise click.BadOptionUsage("as_of", f"--as-of is for spend; {dataset} is told as it stands now.")
    settings = read_settings()
    with reading(settings), analyst(settings) as connection:
        wanted = Wanted(Dataset(dataset), get_tenant(connection, tenant) if tenant else None, window)
        if instant is None:
            warn_of_outdated_days(connection, settings, tenant)
        columns, rows = _read(connection, settings, wanted, instant)
        count = write_file(target, chosen, columns, rows) if target else write_standard_output(columns, rows)
    click.echo(f"{count_of(count, 'row')} of {dataset} written{f' to {target}' if target else ''}.", err=True)


def _read(
    connection: sa.Connection, settings: Settings, wanted: Wanted, instant: datetime | None
) -> tuple[list[Column], Iterator[Row]]:
    from stax_pipeline.exports.contents import columns_of, rows_as_of, rows_of
    from stax_pipeline.lake.store import Lake

    columns = columns_of(connection, wanted)
    if instant:
        return columns, rows_as_of(connection, Lake(settings.lake, settings.home), wanted, instant, settings)
    return columns, rows_of(connection, wanted)


def _format(form: str | None, target: Path | None) -> str:
    """As told, else by the file's name. Parquet needs a file: half of one on a pipe could not be told from a whole."""
    if target is None and form == "parquet":
        raise click.BadOptionUsage("out", "Parquet needs --out FILE; standard output takes CSV.")
    suffix = "" if target is None else target.suffix.lower().removeprefix(".")
    if form is None and target is not None and suffix not in FORMATS:
        raise click.BadOptionUsage("format", f"--out {target}: end the name in .parquet or .csv, or give --format.")
    return form or suffix or "csv"


def month_window(text: str) -> Window:
    """The days of a month written YYYY-MM. Raises UsageError for anything else."""
    from stax_pipeline.domain.extraction import Window

    found = re.fullmatch(r"([0-9]{4})-(0[1-9]|1[0-2])", text)
    if not found or not 2000 <= int(found[1]) < 9999:
        raise click.BadParameter(f"{text!r} is not a month like 2026-10.", param_hint="--month")
    first = date(int(found[1]), int(found[2]), 1)
    return Window(first, (first + timedelta(days=31)).replace(day=1))


def as_of_instant(text: str) -> datetime:
    """The end of a UTC day written YYYY-MM-DD, or an instant with its zone. Raises UsageError for anything else."""
    from stax_pipeline.domain.time import day_end

    instant: datetime | None = None
    try:
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            instant = day_end(date.fromisoformat(text))
        elif (parsed := datetime.fromisoformat(text)).tzinfo:
            instant = parsed.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    if instant is None:
        raise click.BadParameter(
            f"{text!r} is neither a day like 2026-11-20 nor an instant like 2026-11-20T12:00Z.", param_hint="--as-of"
        )
    if instant > datetime.now(UTC):
        raise click.BadParameter(
            f"{text} is not over yet: a day ends at 24:00 UTC. Without --as-of you get what is shown now.",
            param_hint="--as-of",
        )
    return instant

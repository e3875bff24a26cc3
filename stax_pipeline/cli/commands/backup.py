"""`stax backup` and `stax restore`: the installation in one file, and back out of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from stax_pipeline.domain.plurals import count_of
from stax_pipeline.installation.settings import Settings, read_settings

if TYPE_CHECKING:
    from stax_pipeline.backup.archive import Entry

SHOWN = 5
FILE = click.argument("file", type=click.Path(dir_okay=False, path_type=Path))


@click.command()
@FILE
@click.option("--no-raw", is_flag=True, help="Only list the raw objects: for a lake that is backed up otherwise.")
def backup(file: Path, no_raw: bool) -> None:
    """Write everything but the master key into FILE, while syncs may run.

    It holds the tenants, their sealed admin keys, every table, and the raw pages. Keep the master key elsewhere.
    """
    from stax_pipeline.backup.create import Sources, back_up
    from stax_pipeline.cli.database import existing_database
    from stax_pipeline.cli.progress import shown_progress, step_progress
    from stax_pipeline.lake.store import Lake

    settings = read_settings()
    with existing_database(settings) as (loader, owner), shown_progress():
        sources = Sources(loader, owner, Lake(settings.lake, settings.home))
        done = back_up(sources, file.absolute(), with_raw=not no_raw, progress=step_progress("backing up", "tenants"))
    click.echo(
        f"Wrote {file}: {count_of(done.tenants, 'tenant')}, {count_of(done.rows, 'row')}, "
        f"{'no raw objects (--no-raw)' if no_raw else count_of(done.raw_objects, 'raw object')}, {done.bytes:,} bytes."
    )
    _report_master_key(settings, done.master_key_ids)
    _fail_for(done.damaged)


@click.command()
@FILE
def restore(file: Path) -> None:
    """Put the backup FILE into this installation, which must be empty.

    The whole file is checked before anything is changed. The master key is not in it and must be put back by you.
    """
    from stax_pipeline.app.people.roster import begin_anew
    from stax_pipeline.backup import restore
    from stax_pipeline.backup.archive import ArchiveReader
    from stax_pipeline.backup.create import NOT_ASKED_FOR
    from stax_pipeline.backup.dump import refuse_tenants
    from stax_pipeline.cli.database import database, existing_database
    from stax_pipeline.cli.progress import shown_progress, step_progress
    from stax_pipeline.domain.errors import WrongUse
    from stax_pipeline.installation.first_day import move_first_day
    from stax_pipeline.lake.store import Lake
    from stax_pipeline.warehouse.engine import plain_faults
    from stax_pipeline.warehouse.extractions import reach
    from stax_pipeline.warehouse.grants import slugs_by_role
    from stax_pipeline.warehouse.roles import logins

    settings = read_settings()
    lake = Lake(settings.lake, settings.home)
    try:
        opened = file.open("rb")
    except OSError as fault:
        raise WrongUse(f"{file} cannot be read: {fault.strerror}.") from None
    with opened, shown_progress():
        reader = ArchiveReader(opened, str(file))
        restore.prove_usable(reader)
        with database(settings, make=True), existing_database(settings) as (loader, owner):
            with plain_faults("looking for tenants"), loader.connect() as connection:
                refuse_tenants(connection)
            done = restore.restore_rows_and_raw(reader, owner, logins(settings), lake)
            restore.rebuild_parquet(loader, lake, step_progress("writing Parquet", "tables"))
            with plain_faults("looking for logins"), loader.connect() as connection:
                granted, held = slugs_by_role(connection), reach(connection)
            begin_anew(settings)
            if held:
                move_first_day(settings, held.start)
    restored = f"{count_of(done.rows, 'row')} and {count_of(done.raw_objects, 'raw object')}"
    click.echo(f"Restored {restored}, as of {reader.words['taken_at']}.")
    _ask_for_the_master_key(settings, reader.words["master_key_ids"])
    for role, slugs in granted.items():
        click.echo(f"A login is not in a backup; to have it again: stax grant {role} {' '.join(slugs)}")
    click.echo("Run `stax verify`: it reads every raw object and checks every sum.")
    missing = restore.still_missing(lake, done.absent)
    if any(entry.absent == NOT_ASKED_FOR for entry in missing):
        click.echo(
            "The backup was made with --no-raw: set STAX_LAKE_URL to the lake that holds its raw objects, then verify.",
            err=True,
        )
    _fail_for(missing)


def _report_master_key(settings: Settings, ids: list[str]) -> None:
    from stax_pipeline.keys.tenant_keys import master_key_file

    if not ids:
        return
    where = "STAX_MASTER_KEY" if settings.master_key else str(master_key_file(settings))
    click.echo(
        f"The master key ({', '.join(ids)}) is NOT in it. Keep a copy of {where} apart from the backup, in a password "
        "manager or a vault: without it the admin keys in the backup open for nobody, with it for whoever has both."
    )


def _ask_for_the_master_key(settings: Settings, needed: list[str]) -> None:
    """Whether the master keys that are set open what was restored."""
    from stax_pipeline.domain.errors import CannotStart
    from stax_pipeline.keys.tenant_keys import master_key_file, master_keys

    try:
        found: frozenset[str] = master_keys(settings).ids
    except CannotStart:
        found = frozenset()
    missing = [one for one in needed if one not in found]
    if missing:
        click.echo(
            f"Put the master key back ({', '.join(missing)}): its file as {master_key_file(settings)} with mode 0600, "
            "or its value as STAX_MASTER_KEY. Until then nothing can be fetched; if it is lost, `stax connect` every "
            "tenant again with its admin key."
        )


def _fail_for(entries: list[Entry]) -> None:
    """Name raw objects that are not what they should be, and exit 1."""
    for entry in entries[:SHOWN]:
        click.echo(f"failed: {entry.name}: {entry.absent}", err=True)
    if len(entries) > SHOWN:
        click.echo(f"failed: and {len(entries) - SHOWN} more", err=True)
    if entries:
        raise click.exceptions.Exit(1)

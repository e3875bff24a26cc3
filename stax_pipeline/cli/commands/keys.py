"""Commands about keys: `connect`, `rotate-key`, `disconnect`, `rotate-master-key`.

A key comes by a prompt without echo, a file or standard input; there is no option that takes one, since arguments are
open to every user of the machine. Stays out: what is done with it (`tenants`).
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from stax_pipeline.cli import days as given
from stax_pipeline.domain.plurals import count_of
from stax_pipeline.installation.settings import Settings, read_settings

if TYPE_CHECKING:
    import sqlalchemy as sa

    from stax_pipeline.domain.admin_key import AdminKey
    from stax_pipeline.keys.master_key_rotation import Rotated
    from stax_pipeline.tenants.connect import Connected
    from stax_pipeline.tenants.disconnect import Purged
    from stax_pipeline.tenants.purge_proof import Marks

KEY_FILE = click.option("--key-file", metavar="FILE", help="Read the admin key from FILE, - for standard input.")


@click.command()
@click.argument("slug")
@click.option("--name", help="Display name; the organisation's own without it.")
@KEY_FILE
@click.option("--days", type=given.days, default=30, show_default=True, help="Complete days to fetch.")
@click.option("--no-sync", is_flag=True, help="Store the key only.")
def connect(slug: str, name: str | None, key_file: str | None, days: int, no_sync: bool) -> None:
    """Connect tenant SLUG: check its admin key with Anthropic, store it encrypted, fetch its first days."""
    from stax_pipeline.cli.database import database, loader
    from stax_pipeline.cli.homes import require_simulator
    from stax_pipeline.domain.slug import parse_slug
    from stax_pipeline.tenants.connect import connect as connect_tenant

    parse_slug(slug)
    settings = read_settings()
    require_simulator(settings)
    key = read_key(slug, key_file)
    with database(settings, make=True):
        with loader(settings) as engine:
            stored = connect_tenant(settings, engine, slug, name, key, click.echo)
        del key
        report_stored(stored)
        if not no_sync and not backfill(settings, [slug], days):
            raise click.exceptions.Exit(1)


def backfill(settings: Settings, slugs: Sequence[str], days: int) -> bool:
    """The first run of tenants; True when nothing failed, and then the sensor need not do it. The database must run."""
    from stax_pipeline.cli.commands.sync import report
    from stax_pipeline.cli.database import loader
    from stax_pipeline.cli.runs import backfill_window, run_sync
    from stax_pipeline.warehouse.tenants import get_tenant, set_first_sync

    window = backfill_window(settings, days)
    click.echo(f"Backfilling {len(window.days) - 1} complete days and the open one ({window.start} to now) ...")
    ran = run_sync(settings, window, slugs)
    if ran.clean:
        with loader(settings) as engine, engine.begin() as connection:
            set_first_sync(connection, [get_tenant(connection, slug).tenant_id for slug in slugs], ran.run_id)
    return report(settings, ran, slugs)


def report_stored(stored: Connected) -> None:
    key = f"…{stored.key_hint}, generation {stored.generation}"
    if stored.was_stored:
        click.echo(f"This is the key in use ({key}), and Anthropic accepts it: no key was stored or destroyed.")
    else:
        click.echo(f"Stored for tenant {stored.tenant.slug}, encrypted with AES-256-GCM: key {key}.")
    for change in _changes(stored):
        click.echo(change)


def _changes(stored: Connected) -> Iterator[str]:
    """What became of a known tenant besides its key."""
    before, now = stored.before, stored.tenant
    if before and before.status != now.status:
        yield f"Tenant {now.slug} was {before.status} and is {now.status} now: the next sync fetches it."
    if before and before.name != now.name:
        yield f"Tenant {now.slug} is now called {now.name!r}; it was {before.name!r}."


@click.command("rotate-key")
@click.argument("slug")
@KEY_FILE
def rotate_key(slug: str, key_file: str | None) -> None:
    """Replace tenant SLUG's admin key by another of the same organisation; the old one stays until that is checked."""
    from stax_pipeline.cli.database import database, loader
    from stax_pipeline.cli.homes import require_simulator
    from stax_pipeline.tenants.rotate import rotate_key as rotate
    from stax_pipeline.warehouse.tenants import get_tenant

    settings = read_settings()
    require_simulator(settings)
    with database(settings), loader(settings) as engine:
        with engine.connect() as connection:
            get_tenant(connection, slug)
        stored = rotate(settings, engine, slug, read_key(slug, key_file), click.echo)
    report_stored(stored)
    if not stored.was_stored:
        click.echo("The key before it is destroyed here; revoke it at console.anthropic.com/settings/keys too.")


@click.command()
@click.argument("slug")
@click.option("--purge", "everything", is_flag=True, help="Remove the tenant's data too: raw pages, rows, Parquet.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def disconnect(slug: str, everything: bool, yes: bool) -> None:
    """Destroy tenant SLUG's stored key and stop its syncs; with --purge remove everything that was fetched for it."""
    from stax_pipeline.cli.database import database, loader, owner
    from stax_pipeline.cli.prompts import confirm
    from stax_pipeline.domain.slug import parse_slug
    from stax_pipeline.tenants import disconnect as tenancy
    from stax_pipeline.tenants import purge_proof
    from stax_pipeline.warehouse.roles import logins
    from stax_pipeline.warehouse.tenants import get_tenant

    settings = read_settings()
    with database(settings), loader(settings) as engine, owner(settings) as of_tables:
        with engine.connect() as connection:
            if not (everything and purge_proof.kept(settings.home, parse_slug(slug))):
                get_tenant(connection, slug)
        what = "its key and ALL its data, for good" if everything else "its stored key (its data stays)"
        confirm(f"Disconnect tenant {slug} and destroy {what}?", yes)
        if not everything:
            destroyed = tenancy.disconnect(engine, slug)
            _sweep(of_tables, everything=False)
            click.echo(f"Tenant {slug} is disconnected: {count_of(destroyed, 'stored key')} destroyed, its data stays.")
            return
        marks, purged = _purge(settings, engine, slug)
        _sweep(of_tables, everything=True)
        history = purge_proof.in_history(logins(settings).dagster, marks) | purge_proof.in_files(settings.home, marks)
    for place, count in purged.left.items():
        click.echo(f"failed: tenant {slug}: {count} left in {place}; run the purge again.", err=True)
    for place, count in history.items():
        click.echo(f"failed: tenant {slug}: {count} in {place} name its data.", err=True)
    if purged.left or history:
        raise click.exceptions.Exit(1)
    purge_proof.forget(settings.home, slug)
    click.echo(f"Looked again: no row, no raw object and no Parquet row of tenant {slug} is left.")
    click.echo(_proven(marks))


def _purge(settings: Settings, engine: sa.Engine, slug: str) -> tuple[Marks, Purged]:
    """What names the tenant is kept before anything is removed: a purge that is run again still looks for it."""
    from stax_pipeline.app.people.roster import forget_reader
    from stax_pipeline.lake.store import Lake
    from stax_pipeline.tenants import disconnect as tenancy
    from stax_pipeline.tenants import purge_proof
    from stax_pipeline.warehouse.tenants import find_tenant

    with engine.connect() as connection:
        tenant = find_tenant(connection, slug)
    marks = purge_proof.kept(settings.home, slug) or purge_proof.Marks()
    if tenant is None:
        click.echo(f"Tenant {slug} was removed by an earlier purge that did not end; looking for what names it.")
        return marks, tenancy.Purged(slug)
    marks |= purge_proof.marks_of(engine, tenant)
    purge_proof.keep(settings.home, slug, marks)
    purged = tenancy.purge(engine, Lake(settings.lake, settings.home), slug, click.echo)
    if not purged.left:
        forget_reader(settings, tenant.tenant_id)
    return marks, purged


def _proven(marks: Marks) -> str:
    if not marks:
        return (
            "Dagster's history and the logs were not searched: the warehouse held no workspace, key, model or amount "
            "of it to look for."
        )
    counted = count_of(len(marks), "workspace, key, model or figure", "workspaces, keys, models and figures")
    return (
        f"Looked for {counted} of it (the largest of each kind) in Dagster's history and the logs, and found none; its "
        "name stays on its runs."
    )


def _sweep(owner: sa.Engine, *, everything: bool) -> None:
    """What is deleted is deleted, whether or not the files could be swept too."""
    from stax_pipeline.tenants.disconnect import sweep
    from stax_pipeline.warehouse.engine import WarehouseFault

    try:
        sweep(owner, everything=everything)
    except WarehouseFault as fault:
        click.echo(f"warning: {fault} Deleted rows stay in the tables' files until they are vacuumed.", err=True)


@click.command("rotate-master-key")
@click.option("--retire", metavar="ID", help="Only take master key ID out of the file, once no stored key needs it.")
@click.option("--yes", is_flag=True, help="Do not ask before --retire.")
def rotate_master_key(retire: str | None, yes: bool) -> None:
    """Wrap every stored key by a new master key. Killed half-way, run it again: it finishes what was begun."""
    from stax_pipeline.cli.database import database, loader
    from stax_pipeline.cli.prompts import confirm
    from stax_pipeline.keys import master_key_rotation

    settings = read_settings()
    with database(settings), loader(settings) as engine:
        if retire:
            master_key_rotation.refuse_retirement(settings, engine, retire)
            confirm(
                f"The admin keys in backups made before the rotation open with master key {retire} alone: have a copy "
                "of it. Remove it for good?",
                yes,
            )
            master_key_rotation.retire_master_key(settings, engine, retire)
            click.echo(f"Master key {retire} is retired.")
            return
        done = master_key_rotation.rotate_master_key(settings, engine, click.echo)
    report_rotated(done)
    if done.damaged:
        raise click.exceptions.Exit(1)


def report_rotated(done: Rotated) -> None:
    click.echo(
        f"Primary master key: {done.primary_id}{' (new)' if done.is_new else ''}. Re-wrapped now: {done.rewrapped}."
    )
    for master, count in sorted(done.in_use.items()):
        click.echo(f"  master key {master}: wraps {count_of(count, 'stored key')}")
    for master in done.retirable:
        removal = f"remove it from {done.by_hand}" if done.by_hand else f"`stax rotate-master-key --retire {master}`"
        click.echo(
            f"  master key {master}: wraps none. The backups made before now need it: keep a copy as long as you keep "
            f"them, then {removal}"
        )
    if done.by_hand and not done.rewrapped and not done.retirable:
        click.echo(f"Nothing to wrap: put a new master key first in {done.by_hand} yourself, then run this again.")
    for damaged in done.damaged:
        click.echo(f"failed: {damaged}", err=True)


def read_key(slug: str, key_file: str | None) -> AdminKey:
    """The key by prompt, file or standard input, checked for its shape. Raises KeyRefused or WrongUse."""
    from stax_pipeline.domain.admin_key import parse_admin_key, prefix_warning
    from stax_pipeline.keys.private_memory import keep_memory_private

    keep_memory_private()
    key = parse_admin_key(_read_text(slug, key_file))
    warning = prefix_warning(key)
    if warning:
        click.echo(f"warning: {warning}", err=True)
    else:
        click.echo(f"The key has the right shape (…{key.hint}).")
    return key


def _read_text(slug: str, key_file: str | None) -> str:
    from stax_pipeline.cli.prompts import ask_hidden
    from stax_pipeline.domain.admin_key import LONGEST_KEY
    from stax_pipeline.domain.errors import WrongUse

    if key_file is None and sys.stdin.isatty():
        return ask_hidden(f"Admin key of {slug} (not shown)")
    failure: str
    try:
        with click.open_file(key_file or "-", "r", encoding="utf-8", errors="replace") as file:
            if key_file not in (None, "-"):
                _warn_of_readers(f"{key_file}", os.fstat(file.fileno()))
            return str(file.read(LONGEST_KEY + 1000))
    except OSError as error:
        failure = error.strerror or type(error).__name__
    raise WrongUse(f"The key file {key_file} cannot be read: {failure}.")


def _warn_of_readers(name: str, found: os.stat_result) -> None:
    from stax_pipeline.installation.ownership import OTHERS_USE, described, is_ours

    if stat.S_ISREG(found.st_mode) and (found.st_mode & OTHERS_USE or not is_ours(found)):
        click.echo(
            f"warning: other accounts can read the key file {name} ({described(found)}): chmod 600 it, and remove it "
            "once the key is stored. If somebody may have read it, revoke the key and make another.",
            err=True,
        )

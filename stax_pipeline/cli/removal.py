"""Remove an installation from this machine: what lies in its home, its server's files elsewhere, and its demo.

Only what the product itself puts into a home is taken: a home may be a folder that holds other things. Stays out: an
operator's own Postgres and object storage, of which is said what stays there.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from stax_pipeline.installation.homes import DEMO, PAPERS, SIMULATOR
from stax_pipeline.installation.settings import Settings

OURS = frozenset(
    ("postgres", "lake", "dagster", "passwords", "master.key", "first_day", "stax.log", "purges")
    + ("up.json", "up.json.new", "login_suffix", ".tmp", "metrics-token", ".metrics-token.new")
)
HALF_WRITTEN = (".master.key.", ".first_day.", ".simulator.")  # how files begin that a kill left behind


def present(home: Path) -> list[Path]:
    """What of an installation lies in `home`, its demo included; empty where there is none."""
    names = OURS | ({PAPERS, SIMULATOR} if home.name == DEMO else {DEMO})
    found = home.iterdir() if home.is_dir() else ()
    return sorted(path for path in found if path.name in names or path.name.startswith(HALF_WRITTEN))


def remove_home(home: Path) -> Iterator[str]:
    """Remove it, telling what was removed; killed half-way, a second call finishes it. The server must be stopped.

    The home's folder itself goes when nothing else lies in it.
    """
    from stax_pipeline import embedded_postgres

    if (home / DEMO).is_dir() and not (home / DEMO).is_symlink():
        yield from remove_home(home / DEMO)
    for path in embedded_postgres.remove(home / "postgres"):
        yield f"Removed {path}."
    for path in present(home):
        if path.name == DEMO:  # it holds what is not ours
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    if not home.is_dir():
        return
    left = sorted(path.name for path in home.iterdir())
    if left:
        yield f"{home} stays: it holds what is not stax's ({', '.join(left[:5])}{', …' if left[5:] else ''})."
    else:
        home.rmdir()
        yield f"Removed {home}."


def staying(settings: Settings) -> Iterator[str]:
    """What of the installation lies elsewhere and is not touched."""
    if not settings.embedded:
        yield (
            "The database of STAX_DATABASE_URL stays; to remove the installation from it: drop schema stax cascade; "
            "drop schema dagster cascade; and the roles stax_owner, stax_loader, stax_analyst, stax_dagster."
        )
    if settings.lake_url:
        yield "The lake of STAX_LAKE_URL stays, raw pages included."
    if settings.master_key or settings.master_key_file:
        yield "The master key that you set stays."

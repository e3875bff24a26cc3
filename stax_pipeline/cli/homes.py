"""Homes as a person meets them: that there is no installation yet, and which others this machine has.

Stays out: where homes are (`stax_pipeline.installation.homes`), removing one (`removal`).
"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import sys
from pathlib import Path
from urllib.parse import urlsplit

from stax_pipeline.domain.errors import CannotStart
from stax_pipeline.installation.homes import DEMO, simulator_of, usual_homes
from stax_pipeline.installation.settings import Settings


class NoInstallation(CannotStart):
    """Nothing was set up where the settings point to, and nothing was made there."""


def no_installation(settings: Settings) -> NoInstallation:
    """What to say, with the homes that exist."""
    place = settings.home if settings.embedded else "the database of STAX_DATABASE_URL"
    is_here = settings.home if settings.embedded else None
    others = [f"{home} ({call(settings, home, 'status')})" for home in known_homes(settings.home) if home != is_here]
    elsewhere = f" This machine has: {'; '.join(others)}." if others else ""
    return NoInstallation(
        f"There is no installation in {place}, and nothing was made. `stax connect acme` makes one with a first "
        f"tenant, `stax demo` a demo.{elsewhere}"
    )


def require_simulator(settings: Settings) -> None:
    """In a demo's home, that its simulator runs. Raises CannotStart before any made-up key is sent."""
    address = simulator_of(settings.home)
    if not address:
        return
    place = urlsplit(address)
    try:
        socket.create_connection((place.hostname or "", place.port or 0), timeout=2).close()
    except OSError:
        raise CannotStart(
            f"The demo of {settings.home} has ended, and with it the simulator that its keys are for. "
            f"`stax demo` starts both again; then try this in a second terminal."
        ) from None


def known_homes(home: Path) -> list[Path]:
    """Homes with a database of their own: the one that is set, the usual ones, and the demos in them."""
    from stax_pipeline import embedded_postgres

    places = [place for one in dict.fromkeys((home, *usual_homes())) for place in (one, one / DEMO)]
    return [place for place in dict.fromkeys(places) if embedded_postgres.exists(place / "postgres")]


def call(settings: Settings, home: Path, command: str) -> str:
    """How `stax COMMAND` is called for that home from a shell with the settings given."""
    without = "" if settings.embedded else "env -u STAX_DATABASE_URL "
    return f"{without}STAX_HOME={shlex.quote(str(home))} {called()} {command}"


def called(program: str = "") -> str:
    """How `stax` is called from this folder; `program` is what runs, as in sys.argv."""
    found, on_path = shutil.which(program or sys.argv[0]), shutil.which("stax")
    if found is None or Path(found).name != "stax" or (on_path and Path(found).samefile(on_path)):
        return "stax"
    return shlex.quote(near(Path(found)))


def near(path: Path) -> str:
    """The path as it is shortest to type in this folder."""
    return min((os.path.relpath(path), str(path.absolute())), key=len)

"""Where an installation lives when STAX_HOME does not say, and which of those places hold one.

The place never depends on the folder that a command is called from. Stays out: what lies in a home, and other settings.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from stax_pipeline.domain.errors import WrongUse

CHECKOUT = Path(__file__).resolve().parents[2]
DEMO = "demo"  # the folder of a home in which `stax demo` lives, a home of its own
PAPERS = "papers"  # what the demo has in its home besides: files as an operator would have them
SIMULATOR = "simulator"  # and the address of the only source that its made-up keys may be sent to


def default_home() -> Path:
    """`.stax` in the checkout that the command was installed from, else a folder of the user's data."""
    return _of_checkout() or _of_user()


def usual_homes() -> list[Path]:
    """Where installations of this user and of this program are looked for, whatever STAX_HOME says."""
    try:
        places = [_of_checkout(), _of_user()]
    except WrongUse:
        places = [_of_checkout()]
    return [place for place in places if place]


def simulator_of(home: Path) -> str:
    """The address of the demo's simulator, which may have ended; '' in a home that is no demo's."""
    file = home / SIMULATOR
    return file.read_text().strip() if file.exists() else ""


def _of_checkout() -> Path | None:
    return CHECKOUT / ".stax" if (CHECKOUT / "pyproject.toml").exists() else None


def _of_user() -> Path:
    """As each system has it. Raises WrongUse where the user has no home directory."""
    named = os.environ.get("XDG_DATA_HOME", "")
    if sys.platform != "darwin" and Path(named).is_absolute():  # the standard says to ignore a relative one
        return Path(named) / "stax-pipeline"
    try:
        below = "Library/Application Support" if sys.platform == "darwin" else ".local/share"
        return Path.home() / below / "stax-pipeline"
    except RuntimeError:
        raise WrongUse("This user has no home directory: set STAX_HOME to the folder of the installation.") from None

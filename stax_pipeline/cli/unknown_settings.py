"""A line of warning about a variable that looks like a setting and is none: what it should say is not in force.

A warning and no refusal: a container platform sets variables of its own, such as STAX_SERVICE_HOST of a service `stax`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields
from difflib import get_close_matches

from stax_pipeline.domain.pasted_key import is_a_key
from stax_pipeline.installation import process_secrets
from stax_pipeline.installation.settings import Settings

ELSEWHERE = frozenset({"STAX_DEBUG", "STAX_POSTGRES_BIN", "STAX_DAGSTER_DIR", process_secrets.VARIABLE})
SETTINGS = frozenset(f"STAX_{one.name.upper()}" for one in fields(Settings)) - {"STAX_SMTP"} | {"STAX_SMTP_URL"}


def warnings(names: Iterable[str]) -> Iterator[str]:
    """What to say of each of these names of variables that is no setting."""
    for name in sorted(names):
        if name.startswith("STAX_") and name not in SETTINGS | ELSEWHERE and not is_a_key(name):
            close = get_close_matches(name, SETTINGS | ELSEWHERE, n=1, cutoff=0.75)
            meant = f"did you mean {close[0]}?" if close else "docs/operate/operations.md lists them."
            yield f"warning: {ascii(name)[1:-1]} is no setting and was not read; {meant}"

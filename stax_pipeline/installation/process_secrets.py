"""Secrets that Dagster's processes get in a file of this account's alone, and not in their environment.

An environment is what a launched run's configuration could be made to read, and every child of a process has it.
Belongs here: which variables are secrets, the file, and reading it. STAX_DAGSTER_URL is the one exception: Dagster's
own configuration file names a variable for its storage.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from stax_pipeline.domain.errors import WrongUse
from stax_pipeline.installation.ownership import OTHERS_USE, why_not_ours

VARIABLE = "STAX_SECRETS_FILE"
OWN = frozenset(
    {
        "STAX_MASTER_KEY", "STAX_DATABASE_URL", "STAX_LOADER_URL", "STAX_ANALYST_URL", "STAX_ALERT_WEBHOOK",
        "STAX_SMTP_URL",
    }
)  # fmt: skip
OF_STORAGE = {
    "s3": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SSE_CUSTOMER_KEY_BASE64"),
    "gs": ("GOOGLE_SERVICE_ACCOUNT_KEY",),
}
"""Variables that object storage reads by itself, by the scheme of its address."""
_SECRETIVE = re.compile(r"KEY|SECRET|TOKEN|PASSW|CREDENTIAL", re.IGNORECASE)
_NAMES_A_FILE = re.compile(r"_FILE$|_URI$|^GOOGLE_APPLICATION_CREDENTIALS$")
_CARRIED = OWN.union(*OF_STORAGE.values())


def is_secret(name: str) -> bool:
    """Whether a variable of that name holds a secret, ours or another program's; names of files are none."""
    is_foreign = not name.startswith("STAX_") and not _NAMES_A_FILE.search(name)
    return name in _CARRIED or (is_foreign and bool(_SECRETIVE.search(name)))


def split(environment: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """What may stand in a child's environment, and what goes into the file. Other programs' secrets are in neither."""
    seen = {name: value for name, value in environment.items() if not is_secret(name)}
    return seen, {name: value for name, value in environment.items() if name in _CARRIED}


def write(file: Path, secrets: Mapping[str, str]) -> None:
    """Replace the file by one that this account alone can open."""
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        json.dump(dict(secrets), out)


def secrets_of(environment: Mapping[str, str]) -> Mapping[str, str]:
    """What the process of this environment was handed; nothing where no file is named."""
    return _read(environment[VARIABLE]) if VARIABLE in environment else {}


def of_storage(url: str) -> Any:
    """The options of object storage at that address that this process was handed, under the storage's own names."""
    found = secrets_of(os.environ)
    return {name.lower(): found[name] for name in OF_STORAGE.get(url.partition(":")[0], ()) if name in found}


@lru_cache(maxsize=1)
def _read(path: str) -> Mapping[str, str]:
    file = Path(path)
    try:
        others = why_not_ours(file, file.stat(), OTHERS_USE)
        found = json.loads(file.read_text())
    except (OSError, ValueError):
        raise WrongUse(f"{VARIABLE} cannot be read: `stax up` makes that file for its own processes.") from None
    if others:
        raise WrongUse(others)
    return {str(name): str(value) for name, value in found.items()}

"""Secrets that Dagster's processes get in a file of this account's alone, and not in their environment.

An environment is what a launched run's configuration could be made to read, and every child of a process has it.
Belongs here: which variables are secrets of ours, the file, and reading it. Stays out: what stands in a child's
environment instead (`cli.children`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from stax_pipeline.domain.errors import WrongUse
from stax_pipeline.installation.ownership import OTHERS_USE, why_not_ours

VARIABLE = "STAX_SECRETS_FILE"
OWN = frozenset(
    {
        "STAX_MASTER_KEY", "STAX_DATABASE_URL", "STAX_LOADER_URL", "STAX_ANALYST_URL", "STAX_APP_URL",
        "STAX_DAGSTER_URL", "STAX_ALERT_WEBHOOK", "STAX_SMTP_URL",
    }
)  # fmt: skip
OF_STORAGE = {
    "s3": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SSE_CUSTOMER_KEY_BASE64"),
    "gs": ("GOOGLE_SERVICE_ACCOUNT_KEY",),
}
"""Variables that object storage reads by itself, by the scheme of its address."""
PROXIES = tuple(spelled for name in ("https_proxy", "http_proxy", "all_proxy") for spelled in (name.upper(), name))
_in_memory: dict[str, str] = {}


def carried(environment: Mapping[str, str]) -> dict[str, str]:
    """The secrets that the product's own processes need: those of this environment, and those handed over to it."""
    storage = OF_STORAGE.get(environment.get("STAX_LAKE_URL", "").strip().partition(":")[0], ())
    proxies = [name for name in PROXIES if storage and "@" in environment.get(name, "")]
    found = {name: environment[name] for name in (*OWN, *storage, *proxies) if environment.get(name)}
    return {**secrets_of(environment), **found}


@contextmanager
def kept_in_memory(secrets: Mapping[str, str]) -> Iterator[None]:
    """This process is handed these secrets while the block runs, without a file."""
    _in_memory.update(secrets)
    try:
        yield
    finally:
        _in_memory.clear()


def write(file: Path, secrets: Mapping[str, str]) -> None:
    """Replace the file, at once, by one that this account alone can open."""
    beside = _half_written(file)
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        json.dump(dict(secrets), out)
    beside.replace(file)


def remove(file: Path) -> None:
    """Remove the file, and what a kill left of writing it."""
    for left in (file, _half_written(file)):
        left.unlink(missing_ok=True)


def is_left(file: Path) -> bool:
    """Whether there is anything to remove."""
    return file.exists() or _half_written(file).exists()


def _half_written(file: Path) -> Path:
    return file.with_name(f".{file.name}.new")


def secrets_of(environment: Mapping[str, str]) -> Mapping[str, str]:
    """What the process of this environment was handed; nothing where no file is named."""
    return _in_memory or (_read(environment[VARIABLE]) if VARIABLE in environment else {})


def of_storage(url: str) -> Any:
    """The options of object storage at that address that this process was handed, under the storage's own names."""
    found = secrets_of(os.environ)
    return {name.lower(): found[name] for name in OF_STORAGE.get(url.partition(":")[0], ()) if name in found}


def way_to_storage() -> Any:
    """The proxy of object storage's client that this process was handed, or None. Told a proxy, the client no longer
    reads for itself what else is said here.
    """
    endpoint = _first_of(os.environ, "AWS_ENDPOINT_URL", "AWS_ENDPOINT").lower()
    scheme = "http" if endpoint.startswith("http:") else "https"
    names = (name for name in PROXIES if name.lower() in (f"{scheme}_proxy", "all_proxy"))
    proxy = _first_of(secrets_of(os.environ), *names)
    if not proxy:
        return None
    excluded = _first_of(os.environ, "NO_PROXY", "no_proxy")
    in_clear = _first_of(os.environ, "AWS_ALLOW_HTTP").lower() in ("1", "true", "on", "yes", "y")
    return {"proxy_url": proxy, "allow_http": in_clear} | ({"proxy_excludes": excluded} if excluded else {})


def _first_of(found: Mapping[str, str], *names: str) -> str:
    return next((found[name] for name in names if found.get(name)), "")


@lru_cache(maxsize=1)
def _read(path: str) -> Mapping[str, str]:
    file = Path(path)
    try:
        others = why_not_ours(file, file.stat(), OTHERS_USE)
        found = json.loads(file.read_text())
    except (OSError, ValueError):
        raise WrongUse(
            f"The file that {VARIABLE} names cannot be read. `stax env` makes it and `stax down` removes it: "
            f'unset {VARIABLE}, set the secrets that you use again, then `eval "$(stax env)"`.'
        ) from None
    if others:
        raise WrongUse(others)
    return {str(name): str(value) for name, value in found.items()}

"""What Dagster's processes need in their environment, said once for `stax env`, `up`, `sync` and `demo`.

Secrets are in none of it: they go to the processes that `up` starts in a file that lives as long as they do
(`process_secrets`), to a shell in one that `down` removes, and are never printed. Admin keys are in neither.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from stax_pipeline.cli import children
from stax_pipeline.installation import process_secrets
from stax_pipeline.installation.homes import CHECKOUT
from stax_pipeline.installation.settings import Settings

EVENTS_PER_BATCH = "500"  # one connection per batch of events instead of several per event


def dagster_home() -> Path:
    """The folder of `dagster.yaml` and `workspace.yaml`: the checkout, or the installed package's own copy."""
    if (CHECKOUT / "dagster.yaml").exists():
        return CHECKOUT
    return Path(__file__).resolve().parents[1] / "dagster_home"


def dagster_environment(settings: Settings) -> dict[str, str]:
    """The variables; makes the folder they name."""
    folder = settings.home / "dagster"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return {
        "STAX_HOME": str(settings.home),
        "STAX_DAGSTER_DIR": str(folder),
        "DAGSTER_HOME": str(dagster_home()),
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "DAGSTER_EMIT_PARTITION_SUBSET_IN_PLANNED_EVENTS": "1",  # one event per asset in place of one per asset and day
        "DAGSTER_EVENT_BATCH_SIZE": os.environ.get("DAGSTER_EVENT_BATCH_SIZE", EVENTS_PER_BATCH),
    }


@contextmanager
def childrens_environment(settings: Settings) -> Iterator[dict[str, str]]:
    """The environment of Dagster's processes while they run, this process's secrets in a file beside."""
    file = secrets_file(settings.home)
    made = dagster_environment(settings)
    process_secrets.write(file, process_secrets.carried(os.environ))
    try:
        yield {**children.of_dagsters_processes(os.environ), **made, process_secrets.VARIABLE: str(file)}
    finally:
        process_secrets.remove(file)


@contextmanager
def one_of_dagsters_processes(settings: Settings) -> Iterator[None]:
    """Make this process one of them while the block runs: what a run starts gets this environment without secrets."""
    before = dict(os.environ)
    made = {**children.of_dagsters_processes(os.environ), **dagster_environment(settings)}
    with process_secrets.kept_in_memory(process_secrets.carried(os.environ)):
        _become(made)
        try:
            yield
        finally:
            _become(before)


def _become(environment: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)


def shells_environment(settings: Settings) -> tuple[dict[str, str], list[str]]:
    """What a shell is to export for plain `dagster dev`, and the variables that it is to forget: their values are in a
    file from now on, until `stax down`.
    """
    exports = {**children.open_settings(os.environ), **dagster_environment(settings)}
    secrets = process_secrets.carried(os.environ)
    if not secrets:
        return exports, []
    file = shells_secrets_file(settings.home)
    process_secrets.write(file, secrets)
    return {**exports, process_secrets.VARIABLE: str(file)}, sorted(secrets.keys() & os.environ.keys())


def secrets_file(home: Path) -> Path:
    """The file of secrets of the processes that run in a home; none lies there when none run."""
    return home / "dagster" / "secrets.json"


def shells_secrets_file(home: Path) -> Path:
    """The same for a shell that evaluated `stax env`; there until `stax down`."""
    return home / "dagster" / "shell-secrets.json"

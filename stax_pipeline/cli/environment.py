"""What Dagster's processes need in their environment, said once for `stax env`, `up`, `sync` and `demo`.

Secrets: the address of Dagster's own storage is the only one made here. All others go to the processes that `up` starts
in a file that lives as long as they do (`process_secrets`), and are never printed. Admin keys are in neither.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stax_pipeline.cli.unknown_settings import SETTINGS
from stax_pipeline.installation import process_secrets
from stax_pipeline.installation.homes import CHECKOUT
from stax_pipeline.installation.settings import Settings

NEVER_SHOWN = frozenset({"STAX_MASTER_KEY", "STAX_ALERT_WEBHOOK", "STAX_SMTP_URL"})
EVENTS_PER_BATCH = "500"  # one connection per batch of events instead of several per event


def dagster_home() -> Path:
    """The folder of `dagster.yaml` and `workspace.yaml`: the checkout, or the installed package's own copy."""
    if (CHECKOUT / "dagster.yaml").exists():
        return CHECKOUT
    return Path(__file__).resolve().parents[1] / "deploy"


def dagster_environment(settings: Settings) -> dict[str, str]:
    """The variables; makes the folder they name. The database must have been set up."""
    from stax_pipeline.warehouse.roles import logins

    folder = settings.home / "dagster"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return {
        "STAX_HOME": str(settings.home),
        "STAX_DAGSTER_URL": logins(settings).dagster,
        "STAX_DAGSTER_DIR": str(folder),
        "DAGSTER_HOME": str(dagster_home()),
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "DAGSTER_EVENT_BATCH_SIZE": os.environ.get("DAGSTER_EVENT_BATCH_SIZE", EVENTS_PER_BATCH),
    }


@contextmanager
def childrens_environment(settings: Settings) -> Iterator[dict[str, str]]:
    """The environment of Dagster's processes while they run, this process's secrets in a file beside."""
    file = secrets_file(settings.home)
    made = dagster_environment(settings)
    seen, secrets = process_secrets.split(os.environ)
    process_secrets.write(file, secrets)
    try:
        yield {**seen, **made, process_secrets.VARIABLE: str(file)}
    finally:
        file.unlink(missing_ok=True)


def secrets_file(home: Path) -> Path:
    """The file of secrets of the processes that run in a home; none lies there when none run."""
    return home / "dagster" / "secrets.json"


def settings_that_are_set() -> dict[str, str]:
    """The settings of this process, without what is never shown: a variable that is none may hold anything."""
    return {name: value for name, value in sorted(os.environ.items()) if name in SETTINGS - NEVER_SHOWN and value}

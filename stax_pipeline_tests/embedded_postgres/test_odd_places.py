"""A checkout and a home in folders whose names mean something to Alembic's configuration."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

PACKAGES = ("stax_pipeline", "dagster_postgres")  # each keeps the configuration of its Alembic beside its code
OPEN_BOTH = """
import os
from pathlib import Path
import dagster_postgres, stax_pipeline
from stax_pipeline.cli.database import database
from stax_pipeline.cli.environment import dagster_environment
from stax_pipeline.installation.settings import read_settings

settings = read_settings()
with database(settings, make=True):
    os.environ.update(dagster_environment(settings))
    os.environ["DAGSTER_HOME"] = os.environ["DAGSTER_YAML"]
    from dagster import DagsterInstance
    with DagsterInstance.get() as instance:
        assert instance.get_run_records() == []
        assert all(revisions and revisions[0] == revisions[1] for revisions in (
            instance.run_storage.alembic_version(), instance.event_log_storage.alembic_version()))
print(Path(stax_pipeline.__file__).parents[1], Path(dagster_postgres.__file__).parents[1], sep="\\n")
"""


@pytest.fixture
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="stax-100% %(here)s-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


def test_a_percent_sign_in_the_path_of_checkout_and_home_is_only_a_sign(place: Path) -> None:
    for name in PACKAGES:
        spec = find_spec(name)
        assert spec is not None and spec.origin
        shutil.copytree(Path(spec.origin).parent, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    checkout = Path(__file__).resolve().parents[2]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("STAX_", "DAGSTER_"))}
    given = {"PYTHONPATH": str(place), "STAX_HOME": str(place / "home"), "DAGSTER_YAML": str(checkout)}
    done = subprocess.run(
        [sys.executable, "-c", OPEN_BOTH], env={**environment, **given}, cwd="/", capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:2] == [str(place), str(place)]

"""Every secret variable is a canary; then runs are launched through the real GraphQL that try to read it.

An own database with logins of its own, so that every address with a password is a canary too.
"""

from __future__ import annotations

import base64
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import sqlalchemy as sa

from stax_pipeline.cli.environment import secrets_file
from stax_pipeline.installation.settings import read_settings
from stax_pipeline.simulator import Simulator, realistic_organization
from stax_pipeline.warehouse.roles import logins
from stax_pipeline_tests.canary import Canary
from stax_pipeline_tests.cli.test_services import start
from stax_pipeline_tests.cli.test_ui import Ui

LOGINS = ("owner", "loader", "analyst", "dagster")
SECRETS = {name: base64.b64encode(os.urandom(32)).decode() for name in (
    "STAX_MASTER_KEY", "STAX_ALERT_WEBHOOK", "STAX_SMTP_URL", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
    "GOOGLE_SERVICE_ACCOUNT_KEY", "GITHUB_TOKEN",
)} | {f"STAX_{name}_URL": os.urandom(24).hex() for name in ("DATABASE", "LOADER", "ANALYST", "DAGSTER")}  # fmt: skip
STATED = "STAX_DAGSTER_URL"


def shapes(name: str) -> list[object]:
    """Every place of a run's configuration in which a value may stand, but a step's, which takes anything and is read
    by nobody.
    """
    read = {"env": name}
    return [
        {"resources": {"scope": {"config": {"tenants": [read]}}}},
        {"resources": {"scope": {"config": {"tenants": read}}}},
        {"resources": {"scope": {"config": {"accept_shrink": read}}}},
        {"resources": {"scope": read}},
        {"resources": {"io_manager": {"config": {"base_dir": read}}}},
        {"resources": {"warehouse": {"config": read}}},
        {"loggers": {"console": {"config": {"log_level": read, "name": read}}}},
        {"execution": {"config": read}},
    ]


@dataclass
class Attacked:
    """A running installation, what GraphQL answered, and the processes that `stax up` started."""

    ui: Ui
    answers: dict[str, list[Any]]
    children: list[psutil.Process]
    url: str


@pytest.fixture(scope="module")
def addresses(stax_home: Path) -> Iterator[dict[str, str]]:
    """A database and four logins, whose passwords are canaries."""
    admin_url = sa.make_url(logins(read_settings({"STAX_HOME": str(stax_home)})).admin)
    admin = sa.create_engine(admin_url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        for name in LOGINS:
            password = SECRETS["STAX_DATABASE_URL" if name == "owner" else f"STAX_{name.upper()}_URL"]
            connection.exec_driver_sql(f"create role canary_{name} login password '{password}'")
        connection.exec_driver_sql("create database canary_db owner canary_owner")
        with sa.create_engine(admin_url.set(database="canary_db"), isolation_level="AUTOCOMMIT").connect() as inside:
            inside.exec_driver_sql("create schema dagster authorization canary_owner")
            inside.exec_driver_sql("grant usage, create on schema dagster to canary_dagster")
        made = {}
        for name in LOGINS:
            variable = "STAX_DATABASE_URL" if name == "owner" else f"STAX_{name.upper()}_URL"
            url = admin_url.set(username=f"canary_{name}", password=SECRETS[variable], database="canary_db")
            made[variable] = url.render_as_string(hide_password=False).replace("+psycopg2", "")
        yield made
        connection.exec_driver_sql("drop database canary_db with (force)")
        for name in LOGINS:
            connection.exec_driver_sql(f"drop role canary_{name}")
    admin.dispose()


@pytest.fixture(scope="module")
def attacked(addresses: dict[str, str]) -> Iterator[Attacked]:
    home = Path(tempfile.mkdtemp(prefix="stax-secrets-"))
    environment = addresses | {
        "STAX_MASTER_KEY": SECRETS["STAX_MASTER_KEY"],
        "STAX_ALERT_WEBHOOK": f"http://127.0.0.1:9/{SECRETS['STAX_ALERT_WEBHOOK'].replace('/', '_')}",
        "STAX_SMTP_URL": f"smtp://u:{SECRETS['STAX_SMTP_URL'].replace('/', '_')}@127.0.0.1:9",
        "STAX_ALERT_EMAIL_TO": "ops@example.org",
        "STAX_ALERT_EMAIL_FROM": "stax@example.org",
        "STAX_REFRESH_MINUTES": "0",
        **{name: value for name, value in SECRETS.items() if not name.startswith("STAX_")},
    }
    organization = realistic_organization("acme", shared_workspaces=0, daily_tokens=2_000_000)
    with Simulator([organization]) as simulator, ExitStack() as stack, pytest.MonkeyPatch.context() as patched:
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        for name, value in environment.items():
            patched.setenv(name, value)
        ui = Ui(home, simulator, more=environment)
        stack.callback(ui.stax, "down")
        done = ui.stax("connect", "acme", "--key-file", "-", "--days", "1", typed=simulator.keys["acme"])
        assert done.returncode == 0, done.stderr
        child, printed = start(home, "up", "--port", "3960", settings=ui.settings)
        stack.callback(child.wait, 60)
        stack.callback(child.terminate)
        ui.address = re.findall(r"Dagster UI: (http://\S+)", printed)[0]
        answers = {name: [ui.launch(config) for config in shapes(name)] for name in SECRETS}
        echoed = ui.launch({"resources": {"scope": {"config": {"tenants": [SECRETS["GITHUB_TOKEN"]]}}}})
        answers["echoed"] = [ui.ended(echoed["run"]["runId"])]
        healthy = ui.launch({"ops": {"spend": {"config": {name: {"env": name} for name in SECRETS}}}})
        answers["healthy"] = [ui.ended(healthy["run"]["runId"])]
        yield Attacked(ui, answers, psutil.Process(child.pid).children(recursive=True), addresses["STAX_DATABASE_URL"])


@pytest.mark.parametrize("name", SECRETS)
def test_a_launch_that_names_a_variable_is_refused_and_does_not_get_its_value(attacked: Attacked, name: str) -> None:
    assert {answer["__typename"] for answer in attacked.answers[name]} == {"RunConfigValidationInvalid"}
    assert Canary(SECRETS[name]).in_text("answers", attacked.answers[name]) == []


def test_runs_have_the_secrets_that_they_need(attacked: Attacked) -> None:
    """The master key opens the tenant's admin key, the loader's login writes."""
    assert [run["status"] for run in attacked.answers["healthy"]] == ["SUCCESS"]


def test_what_a_run_was_configured_with_is_not_repeated_by_us(attacked: Attacked) -> None:
    [run] = attacked.answers["echoed"]
    assert run["status"] == "FAILURE"
    assert "1 of 1 name in this run's configuration" in str(run)
    assert SECRETS["GITHUB_TOKEN"] not in str(run["eventConnection"])


@pytest.mark.parametrize("name", [name for name in SECRETS if name != STATED])
def test_no_process_of_dagster_s_has_it_in_its_environment(attacked: Attacked, name: str) -> None:
    assert len(attacked.children) >= 3
    assert (
        Canary(SECRETS[name].replace("/", "_") if "ALERT" in name or "SMTP" in name else SECRETS[name]).in_processes(
            attacked.children
        )
        == []
    )


@pytest.mark.parametrize("name", [name for name in SECRETS if name != "GITHUB_TOKEN"])
def test_no_file_and_no_table_has_it(attacked: Attacked, name: str) -> None:
    home = attacked.ui.home
    canary = Canary(SECRETS[name])
    assert secrets_file(home).stat().st_mode & 0o777 == 0o600
    assert canary.in_tree(home, secrets_file(home)) == []
    assert canary.in_database(attacked.url) == []


def test_the_search_finds_what_lies_in_the_file(attacked: Attacked) -> None:
    for name in ("STAX_MASTER_KEY", "STAX_LOADER_URL", "AWS_SECRET_ACCESS_KEY"):
        assert Canary(SECRETS[name]).in_file(secrets_file(attacked.ui.home))

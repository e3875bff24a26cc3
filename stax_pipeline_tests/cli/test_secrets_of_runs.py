"""Every secret variable is a canary; then runs are launched through the real GraphQL that try to read it.

An own database with logins of its own, so that every address with a password is a canary too.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import sqlalchemy as sa

from stax_pipeline.cli import processes
from stax_pipeline.cli.environment import secrets_file, shells_secrets_file
from stax_pipeline.cli.serving import free_port
from stax_pipeline.installation import process_secrets
from stax_pipeline.installation.homes import CHECKOUT
from stax_pipeline.installation.settings import read_settings
from stax_pipeline.simulator import Simulator, realistic_organization
from stax_pipeline.warehouse.roles import logins
from stax_pipeline_tests.canary import Canary, Shown, shown
from stax_pipeline_tests.cli.commands.test_services import SECONDS, STAX, environment, start
from stax_pipeline_tests.cli.test_ui import DONE, Ui

LOGINS = ("owner", "loader", "analyst", "dagster")
SECRETS = {"STAX_MASTER_KEY": base64.b64encode(os.urandom(32)).decode()} | {
    name: os.urandom(24).hex() for name in (
        "STAX_ALERT_WEBHOOK", "STAX_SMTP_URL", "STAX_DATABASE_URL", "STAX_LOADER_URL", "STAX_ANALYST_URL",
        "STAX_DAGSTER_URL", "STAX_SMPT_URL", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "GOOGLE_SERVICE_ACCOUNT_KEY",
        "GITHUB_TOKEN", "DATABASE_URL", "HTTPS_PROXY", "SENTRY_DSN",
    )
}  # fmt: skip
JOBS = ("sync", "watch", "purge_history")
STEPS = {"sync": "price_book", "purge_history": "purge_old_runs"}  # that take any configuration


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
    """A running installation, what GraphQL answered, and what the kernel showed of its processes while runs ran."""

    ui: Ui
    answers: dict[str, list[Any]]
    shown: Shown
    of_sync: Shown
    url: str
    file: Path


@contextmanager
def database(stax_home: Path) -> Iterator[dict[str, str]]:
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


@pytest.fixture(scope="module", params=["stax up", "dagster dev"])
def attacked(stax_home: Path, request: pytest.FixtureRequest) -> Iterator[Attacked]:
    with database(stax_home) as addresses:
        yield from attack(addresses, by=request.param)


def attack(addresses: dict[str, str], by: str) -> Iterator[Attacked]:
    home = Path(tempfile.mkdtemp(prefix="stax-secrets-"))
    given = addresses | {
        "STAX_MASTER_KEY": SECRETS["STAX_MASTER_KEY"],
        "STAX_ALERT_WEBHOOK": f"http://127.0.0.1:9/{SECRETS['STAX_ALERT_WEBHOOK']}",
        "STAX_SMTP_URL": f"smtp://u:{SECRETS['STAX_SMTP_URL']}@127.0.0.1:9",
        "STAX_SMPT_URL": f"smtp://u:{SECRETS['STAX_SMPT_URL']}@127.0.0.1:9",
        "STAX_ALERT_EMAIL_TO": "ops@example.org",
        "STAX_ALERT_EMAIL_FROM": "stax@example.org",
        "STAX_REFRESH_MINUTES": "0",
        "DATABASE_URL": f"postgres://u:{SECRETS['DATABASE_URL']}@localhost/other",
        "HTTPS_PROXY": f"http://u:{SECRETS['HTTPS_PROXY']}@127.0.0.1:9",
        "SENTRY_DSN": f"https://{SECRETS['SENTRY_DSN']}@sentry.example/1",
    }
    given |= {name: SECRETS[name] for name in SECRETS.keys() - given.keys()}
    organization = realistic_organization("acme", shared_workspaces=0, daily_tokens=2_000_000)
    with Simulator([organization]) as simulator, ExitStack() as stack, pytest.MonkeyPatch.context() as patched:
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        for name, value in given.items():
            patched.setenv(name, value)
        ui = Ui(home, simulator, more=given)
        stack.callback(ui.stax, "down")
        done = ui.stax("connect", "acme", "--key-file", "-", "--days", "1", typed=simulator.keys["acme"])
        assert done.returncode == 0, done.stderr
        child = started(ui, stack) if by == "stax up" else started_by_dagster_dev(ui, stack)
        children = psutil.Process(child.pid)
        answers = {name: [ui.launch(config, job=job) for job in JOBS for config in shapes(name)] for name in SECRETS}
        echoed = ui.launch({"resources": {"scope": {"config": {"tenants": [SECRETS["GITHUB_TOKEN"]]}}}})
        answers["echoed"] = [ui.ended(echoed["run"]["runId"])]
        seen = shown(children.children(recursive=True))
        tags = {f"canary/{name.lower()}": f'{{"env": "{name}"}}' for name in SECRETS}
        for job in JOBS:
            steps = (
                {} if job == "watch" else {"ops": {STEPS[job]: {"config": {name: {"env": name} for name in SECRETS}}}}
            )
            launched = ui.launch(steps, job=job, tags=tags)
            assert launched["__typename"] == "LaunchRunSuccess", launched
            ended, meanwhile = watched(ui, launched["run"]["runId"], children)
            answers[job], seen = [ended], together(seen, meanwhile)
            assert meanwhile.of("multiprocessing.spawn"), "the run's worker was looked at"
        answers["stax env"] = [ui.stax("env")]
        file = secrets_file(home) if by == "stax up" else shells_secrets_file(home)
        yield Attacked(ui, answers, seen, started_by_sync(ui), addresses["STAX_DATABASE_URL"], file)


def started(ui: Ui, stack: ExitStack) -> subprocess.Popen[bytes]:
    child, printed = start(ui.home, "up", "--port", "3960", settings=ui.settings)
    stack.callback(child.wait, 60)
    stack.callback(child.terminate)
    ui.address = re.findall(r"Dagster's UI: (http://\S+)/", printed)[0]
    return child


def started_by_dagster_dev(ui: Ui, stack: ExitStack) -> subprocess.Popen[bytes]:
    """As README says it: in the shell that evaluated `stax env`."""
    port = free_port(3962)
    script = f'eval "$({shlex.join(STAX)} env)"; exec dagster dev -w workspace.yaml -p {port}'
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with (ui.home / "printed").open("wb") as out:
        child = subprocess.Popen(
            ["/bin/sh", "-c", script], cwd=CHECKOUT, env=environment(ui.home) | ui.settings | {"PATH": path},
            stdout=out, stderr=out, start_new_session=True,
        )  # fmt: skip
    stack.callback(processes.stop_session, child.pid)
    stack.callback(child.terminate)
    ui.address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and child.poll() is None:
        with contextlib.suppress(OSError, AssertionError):
            if ui.launch({}, job="none")["__typename"]:
                break
        time.sleep(0.5)
    assert child.poll() is None, (ui.home / "printed").read_text()
    return child


def watched(ui: Ui, run_id: str, parent: psutil.Process) -> tuple[dict[str, Any], Shown]:
    """The run when it has ended, and what every process below `parent` showed until then."""
    seen, deadline = shown([]), time.monotonic() + SECONDS
    while (found := ui.run(run_id))["status"] not in DONE and time.monotonic() < deadline:
        seen = together(seen, shown(parent.children(recursive=True)))
        time.sleep(0.1)
    return found, seen


def started_by_sync(ui: Ui) -> Shown:
    """What the processes showed that `stax sync` started for its run. One that is not yet a program of its own still
    shows what its parent had.
    """
    command = [*STAX, "sync", "--days", "1"]
    seen = shown([])
    with subprocess.Popen(command, env=environment(ui.home) | ui.settings, stderr=subprocess.DEVNULL) as child:
        itself = psutil.Process(child.pid)
        while child.poll() is None:
            with contextlib.suppress(psutil.Error):
                below = [one for one in itself.children(recursive=True) if one.cmdline() != itself.cmdline()]
                seen = together(seen, shown(below))
            time.sleep(0.05)
    assert child.returncode == 0
    return seen


def together(one: Shown, other: Shown) -> Shown:
    return Shown(one.content | other.content, one.read | other.read, one.closed | other.closed)


@pytest.mark.parametrize("name", SECRETS)
def test_a_launch_that_names_a_variable_is_refused_and_does_not_get_its_value(attacked: Attacked, name: str) -> None:
    assert {answer["__typename"] for answer in attacked.answers[name]} == {"RunConfigValidationInvalid"}
    assert Canary(SECRETS[name]).in_text("answers", attacked.answers[name]) == []


@pytest.mark.parametrize("job", JOBS)
def test_runs_have_the_secrets_that_they_need_and_their_tags_and_steps_get_none(attacked: Attacked, job: str) -> None:
    """The master key opens the tenant's admin key, the loader's login writes."""
    [run] = attacked.answers[job]
    assert run["status"] == "SUCCESS"
    assert [hit for secret in SECRETS.values() for hit in Canary(secret).in_text(job, run)] == []


def test_what_a_run_was_configured_with_is_not_repeated_by_us(attacked: Attacked) -> None:
    [run] = attacked.answers["echoed"]
    assert run["status"] == "FAILURE"
    assert "1 of 1 name in this run's configuration" in str(run)
    assert SECRETS["GITHUB_TOKEN"] not in str(run["eventConnection"])


def test_the_processes_of_the_installation_were_read_while_a_run_ran(attacked: Attacked) -> None:
    """What closes its memory to others, as a process that opens keys does, is shown to root alone."""
    for kind in ("webserver", "daemon", "grpc", "multiprocessing.spawn"):
        looked_at = attacked.shown.of(kind)
        assert looked_at, kind
        assert looked_at & attacked.shown.read or os.geteuid() != 0 and kind == "multiprocessing.spawn", kind


@pytest.mark.parametrize("name", SECRETS)
def test_no_process_of_dagster_s_has_it_in_its_environment(attacked: Attacked, name: str) -> None:
    """Plain `dagster dev` has what its shell has, but for our own secrets: `stax env` takes those from the shell."""
    hits = Canary(SECRETS[name]).in_shown(attacked.shown)
    assert hits == [] or (attacked.file == shells_secrets_file(attacked.ui.home) and name not in process_secrets.OWN)


@pytest.mark.parametrize("name", SECRETS)
def test_no_process_that_sync_starts_has_it_in_its_environment(attacked: Attacked, name: str) -> None:
    assert attacked.of_sync.of("tail") & attacked.of_sync.read, "of Dagster's logs"
    assert Canary(SECRETS[name]).in_shown(attacked.of_sync) == []


@pytest.mark.parametrize("name", SECRETS)
def test_env_does_not_print_it(attacked: Attacked, name: str) -> None:
    [done] = attacked.answers["stax env"]
    assert (done.returncode, "export STAX_HOME" in done.stdout) == (0, True)
    assert Canary(SECRETS[name]).in_text("stax env", done.stdout + done.stderr) == []


@pytest.mark.parametrize("name", [name for name in SECRETS if name != "GITHUB_TOKEN"])
def test_no_file_and_no_table_has_it(attacked: Attacked, name: str) -> None:
    canary, home = Canary(SECRETS[name]), attacked.ui.home
    assert attacked.file.stat().st_mode & 0o777 == 0o600
    assert canary.in_tree(home, secrets_file(home), shells_secrets_file(home)) == []
    assert canary.in_database(attacked.url) == []


def test_the_file_has_our_own_secrets_alone(attacked: Attacked) -> None:
    for name, secret in SECRETS.items():
        assert bool(Canary(secret).in_file(attacked.file)) is (name in process_secrets.OWN), name

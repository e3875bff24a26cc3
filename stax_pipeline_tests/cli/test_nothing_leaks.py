"""A canary key goes through every command, run and failure with debug logging on; then everything written is searched.

One story, because what it costs is the commands: they run once, and each test looks at one place.
"""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from stax_pipeline.anthropic import transport
from stax_pipeline.cli.environment import one_of_dagsters_processes
from stax_pipeline.cli.main import main
from stax_pipeline.installation.homes import CHECKOUT
from stax_pipeline.installation.settings import Settings
from stax_pipeline.resources.dagster import AnthropicAdminApi, Lake, TenantSecrets, Warehouse
from stax_pipeline.simulator import Simulator, realistic_organization
from stax_pipeline.simulator.faults import Fault
from stax_pipeline.warehouse.roles import logins
from stax_pipeline_tests.canary import Canary, shown
from stax_pipeline_tests.dagster_instance.internals import web_application
from stax_pipeline_tests.tenants.support import settings as settings_fixture

ME, COST, USAGE = "organizations/me", "cost_report", "usage_report/messages"
MISTAKES = (
    ("connect", "{key}"),
    ("connect", "acme", "--key-file", "{key}"),
    ("connect", "acme", "{key}"),
    ("sync", "{key}"),
    ("rotate-key", "{key}"),
    ("disconnect", "{key}", "--yes"),
    ("{key}",),
)
LOGGERS = (
    "stax", "httpx", "httpcore", "httpcore.connection", "httpcore.http11", "dagster", "sqlalchemy",
    "sqlalchemy.engine", "sqlalchemy.pool", "alembic", "asyncio", "psycopg2",
)  # fmt: skip


def echoes(key: str) -> dict[str, Fault]:
    """Refusals that repeat the key in body and headers; none of them is worth a second try."""
    headers = (("x-should-retry", "false"), ("x-echo", key), ("retry-after", "86400"), ("set-cookie", f"k={key}"))
    page = f"<html><pre>GET / HTTP/1.1\nx-api-key: {key}</pre></html>"

    def envelope(kind: str) -> str:
        return json.dumps(
            {"type": "error", "error": {"type": kind, "message": f"odd x-api-key {key}"}, "request_id": key}
        )

    return {
        "401": Fault(401, envelope("authentication_error"), headers=headers),
        "403": Fault(403, page, "text/html", headers),
        "400": Fault(400, envelope("invalid_request_error"), headers=headers),
        "429": Fault(429, envelope("rate_limit_error"), headers=headers),
        "500": Fault(500, page, "text/html", headers),
        "redirect": Fault(302, "", headers=(("location", f"https://example.test/?key={key}"),)),
        "JSON that repeats it": Fault(200, json.dumps({"id": key, "name": key})),
    }


@dataclass
class Story:
    """What the commands printed, and the secrets that must not be in it."""

    settings: Settings
    simulator: Simulator
    keys: list[Canary] = field(default_factory=list)
    printed: dict[str, str] = field(default_factory=dict)
    seen: list[Any] = field(default_factory=list)

    def stax(self, *arguments: str, typed: str = "", code: int | None = 0, name: str = "") -> str:
        """The command in this process; everything it writes to its streams is kept."""
        out, before, umask = io.StringIO(), (sys.argv, sys.stdin), os.umask(0o077)
        sys.argv, sys.stdin = ["stax", *arguments], io.TextIOWrapper(io.BytesIO(typed.encode()))
        try:
            with redirect_stdout(out), redirect_stderr(out), pytest.raises(SystemExit) as ended:
                main()
        finally:
            sys.argv, sys.stdin = before
            os.umask(umask)
        said = out.getvalue()
        self.printed[name or " ".join(arguments[:2])] = said
        assert code is None or (ended.value.code or 0) == code, said
        return said

    def places(self, look: Callable[[Canary], list[Any]]) -> list[Any]:
        return [hit for key in self.keys for hit in look(key)]


@contextmanager
def debug_logging(file: Path) -> Iterator[None]:
    handler = logging.FileHandler(file)
    before = {name: logging.getLogger(name).level for name in ("", *LOGGERS)}
    logging.getLogger().addHandler(handler)
    for name in before:
        logging.getLogger(name).setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


@pytest.fixture(scope="module")
def story(stax_home: Path) -> Iterator[Story]:
    organizations = [realistic_organization(name, shared_workspaces=1, seed=77) for name in ("acme", "globex")]
    with Simulator(organizations) as simulator:
        arranged = settings_fixture.__wrapped__(stax_home, simulator)  # type: ignore[attr-defined]
        settings = next(arranged)
        os.environ["STAX_DEBUG"] = "1"
        told = Story(settings, simulator, [Canary(simulator.keys["acme"])])
        with debug_logging(stax_home / "debug.log"):
            tell(told)
        yield told
        (stax_home / "debug.log").unlink()
        next(arranged, None)


def tell(story: Story) -> None:
    key = story.simulator.keys["acme"]
    for arguments in MISTAKES:
        story.stax(*(word.format(key=key) for word in arguments), code=None, name=f"mistake: {' '.join(arguments)}")
    for name, fault in echoes(key).items():
        story.simulator.faults.add(fault, key=key, path=ME, times=None)
        story.stax("connect", "acme", "--no-sync", typed=key, code=None, name=f"connect, {name}")
        assert "not stored" in story.printed[f"connect, {name}"], name
        story.simulator.faults.clear()
    connect_as_a_process(story, key)
    story.keys.append(Canary((story.settings.home / "master.key").read_text().strip()))
    answers = echoes(key)
    for path, name in ((COST, "400"), (USAGE, "429"), ("workspaces", "JSON that repeats it")):
        story.simulator.faults.add(answers[name], key=key, path=path, times=None)
    assert "failed: tenant acme" in story.stax("sync", "--days", "1", code=1, name="sync, refused")
    story.simulator.faults.clear()
    crash(story)
    for command in ("status", "verify", "replay", "env", "url"):
        story.stax(command, code=None)
    story.stax("export", "focus", "--out", str(story.settings.home / "focus.parquet"))
    story.stax("sql", "select * from stax.admin_keys", code=None)
    replace_the_key(story)
    story.stax("rotate-master-key")
    story.keys.append(Canary((story.settings.home / "master.key").read_text().split()[0]))
    story.stax("disconnect", "acme", "--yes")


def connect_as_a_process(story: Story, key: str) -> None:
    """`stax connect` with its first run; meanwhile its processes, and the database's, are looked at."""
    command = [sys.executable, "-X", "dev", "-W", "ignore", "-c", "from stax_pipeline.cli.main import main; main()"]
    child = subprocess.Popen(
        [*command, "connect", "acme", "--key-file", "-", "--days", "1"], cwd=CHECKOUT, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
    )  # fmt: skip
    assert child.stdin and child.stdout
    child.stdin.write(key.encode())
    child.stdin.close()
    looked = 0
    while child.poll() is None:
        family = [child_process for child_process in psutil.process_iter() if is_ours(child_process, child.pid)]
        found = shown(family)
        story.seen += story.keys[0].in_shown(found)
        looked += len(found.read)
        time.sleep(0.2)
    story.printed["connect"] = child.stdout.read().decode()
    assert child.returncode == 0, story.printed["connect"]
    assert looked > 10


def is_ours(process: psutil.Process, leader: int) -> bool:
    try:
        return process.pid == leader or process.ppid() == leader or "postgres" in process.name()
    except psutil.Error:
        return False


def crash(story: Story) -> None:
    """A fault nobody thought of, while the key is at hand, whose message quotes it."""

    async def burst(_self: object, _client: object, _path: str, _params: object, headers: dict[str, str]) -> None:
        raise RuntimeError(f"could not send {headers!r}")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(transport.Transport, "_exchange", burst)
        assert "unexpected RuntimeError" in story.stax("sync", "acme", "--days", "1", code=1, name="sync, crashed")


def replace_the_key(story: Story) -> None:
    """A refused key, an INSERT of key material that the database refuses, and one that succeeds."""
    old, new = story.simulator.keys["acme"], story.simulator.issue_key("acme")
    story.keys.append(Canary(new))
    story.simulator.faults.add(echoes(new)["401"], key=new, path=ME, times=1)
    story.stax("rotate-key", "acme", typed=new, code=4, name="rotate-key, refused")
    admin = sa.create_engine(logins(story.settings).admin)
    with admin.begin() as connection:
        connection.exec_driver_sql("alter table stax.admin_keys add constraint planted check (generation < 2)")
    story.stax("rotate-key", "acme", typed=new, code=1, name="rotate-key, refused by the database")
    with admin.begin() as connection:
        connection.exec_driver_sql("alter table stax.admin_keys drop constraint planted")
    admin.dispose()
    story.stax("rotate-key", "acme", typed=new)
    story.simulator.revoke(old)


def test_no_command_printed_it(story: Story) -> None:
    assert "planted" in story.printed["rotate-key, refused by the database"]
    assert "Failing row" not in "".join(story.printed.values())
    printed = [(key, name, text) for key in story.keys for name, text in story.printed.items()]
    assert [hit for key, name, text in printed for hit in key.in_text(name, text)] == []


def test_no_file_of_the_home_holds_it(story: Story) -> None:
    """Lake, Parquet, Dagster's compute logs, stax.log, the debug log, the database's log."""
    home = story.settings.home
    assert (home / "debug.log").stat().st_size > 100_000
    assert list((home / "lake").rglob("*.zst"))
    assert (home / "postgres" / "server.log").stat().st_size
    assert story.places(lambda key: key.in_tree(home, home / "master.key", home / "postgres" / "data")) == []


def test_no_row_that_is_gone_held_it(story: Story) -> None:
    """The database's own files and its write-ahead log, in clear: what was deleted or rolled back is there too."""
    data = story.settings.home / "postgres" / "data"
    for key in story.keys:
        assert Canary(key.secret, only="clear").in_tree(data) == []


def test_no_table_holds_it(story: Story) -> None:
    """Schema stax, and Dagster's storage with its runs, events, snapshots and ticks."""
    assert story.places(lambda key: key.in_database(logins(story.settings).admin)) == []


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_no_process_had_it_in_its_arguments_or_environment(story: Story) -> None:
    assert story.seen == []


RUNS = """{ runsOrError { ... on Runs { results {
  runId status runConfigYaml tags { key value } stats { __typename }
  eventConnection(limit: 5000) { events { __typename
    ... on MessageEvent { message }
    ... on ExecutionStepFailureEvent { error { message stack causes { message stack } } }
    ... on RunFailureEvent { error { message stack causes { message stack } } }
    ... on MaterializationEvent { metadataEntries { label description
      ... on TextMetadataEntry { text } ... on JsonMetadataEntry { jsonString }
      ... on MarkdownMetadataEntry { mdStr } ... on TableMetadataEntry { table { records } } } } } }
} } } }"""


def test_the_web_interface_shows_it_nowhere(story: Story) -> None:
    with (
        one_of_dagsters_processes(story.settings),
        dg.DagsterInstance.from_config(str(CHECKOUT)) as instance,
    ):
        runs = [record.dagster_run for record in instance.get_run_records()]
        with web_application(instance) as application:
            client = TestClient(application)
            told = client.post("/graphql", json={"query": RUNS})
            assert told.status_code == 200
            assert "errors" not in told.json(), told.text[:2000]
            assert "unexpected RuntimeError" in told.text
            shown = [told, client.get("/"), client.get("/runs")]
            shown += [client.get(f"/download_debug/{run.run_id}") for run in runs]
    assert len(runs) >= 3
    assert all(page.status_code == 200 for page in shown)
    folder = story.settings.home / "shown"
    folder.mkdir()
    for number, page in enumerate(shown):
        (folder / str(number)).write_bytes(page.content)
    assert story.places(lambda key: key.in_tree(folder)) == []


@pytest.mark.parametrize("resource", [Warehouse, Lake, TenantSecrets, AnthropicAdminApi])
def test_no_resource_takes_a_secret_by_run_config(resource: type[dg.ConfigurableResource[Any]]) -> None:
    """Dagster stores run config in clear: what a run can be told is which tenants it is about (`scope`)."""
    assert set(resource.model_fields) == set()

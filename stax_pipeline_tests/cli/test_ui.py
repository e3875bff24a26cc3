"""Dagster's real webserver, daemon and code server, as `stax up` starts them, asked through GraphQL.

One installation for the whole module: what it costs is starting it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from stax_pipeline.installation.settings import first_day_file
from stax_pipeline.simulator import Simulator, faults, realistic_organization
from stax_pipeline_tests.cli.commands.test_services import SECONDS, STAX, environment, start
from stax_pipeline_tests.conftest import forget_outside

RUN = """query ($id: ID!) { runOrError(runId: $id) { ... on Run {
  status canTerminate tags { key value } repositoryOrigin { repositoryLocationName repositoryName }
  rootRunId parentRunId eventConnection(limit: 5000) { events { __typename
    ... on MessageEvent { message }
    ... on RunFailureEvent { error { message } }
    ... on ExecutionStepFailureEvent { stepKey error { message } failureMetadata { description } } } } } } }"""
OF_JOB = """query ($pipeline: PipelineSelector!) { pipelineOrError(params: $pipeline) { ... on Pipeline {
  runs(limit: 50) { runId } } } }"""
TIMELINE = """query ($from: Float!) { runsOrError(filter: {updatedAfter: $from}) { ... on Runs { results {
  runId pipelineName repositoryOrigin { repositoryLocationName } } } } }"""
AGAIN = """mutation ($parent: String!) { launchRunReexecution(
  reexecutionParams: {parentRunId: $parent, strategy: ALL_STEPS}) { __typename
  ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
LAUNCH = """mutation ($params: ExecutionParams!) { launchRun(executionParams: $params) { __typename
  ... on LaunchRunSuccess { run { runId } } ... on RunConfigValidationInvalid { errors { message } }
  ... on PythonError { message } } }"""
EVALUATED = """query ($id: ID!) { runOrError(runId: $id) { ... on Run {
  eventConnection(limit: 5000) { events { __typename
  ... on AssetCheckEvaluationEvent { evaluation { checkName success metadataEntries {
    label ... on TextMetadataEntry { text } } } } } } } } }"""
SYNC = {"pipelineName": "sync", "repositoryName": "__repository__", "repositoryLocationName": "stax-pipeline"}
DONE = {"SUCCESS", "FAILURE", "CANCELED"}
TODAY = datetime.now(UTC).date()


@dataclass
class Ui:
    """An installation that runs, with `acme` and `globex` connected: its command and its GraphQL."""

    home: Path
    simulator: Simulator
    address: str = ""
    more: dict[str, str] = field(default_factory=dict)

    def stax(self, *arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*STAX, *arguments], env=environment(self.home) | self.settings, input=typed, capture_output=True,
            text=True, check=False, timeout=SECONDS,
        )  # fmt: skip

    @property
    def settings(self) -> dict[str, str]:
        return {"STAX_ANTHROPIC_BASE_URL": self.simulator.base_url, "STAX_REFRESH_MINUTES": "0", **self.more}

    def ask(self, query: str, **variables: object) -> dict[str, Any]:
        body = json.dumps({"query": query, "variables": variables}).encode()
        asked = urllib.request.Request(f"{self.address}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(asked, timeout=60) as answer:
            told = json.load(answer)
        assert "errors" not in told, told
        return dict(told["data"])

    def run(self, run_id: str) -> dict[str, Any]:
        return dict(self.ask(RUN, id=run_id)["runOrError"])

    def ended(self, run_id: str) -> dict[str, Any]:
        deadline = time.monotonic() + SECONDS
        while (found := self.run(run_id))["status"] not in DONE and time.monotonic() < deadline:
            time.sleep(0.5)
        return found

    def launch(
        self, config: object, days: int = 1, job: str = "sync", tags: dict[str, str] | None = None
    ) -> dict[str, Any]:
        first = TODAY - timedelta(days=days)
        window = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": TODAY}
        told = (window if job == "sync" else {}) | (tags or {})
        params = {
            "selector": {**SYNC, "pipelineName": job},
            "runConfigData": config,
            "executionMetadata": {"tags": [{"key": key, "value": str(value)} for key, value in told.items()]},
        }
        return dict(self.ask(LAUNCH, params=params)["launchRun"])


@pytest.fixture(scope="module")
def ui() -> Iterator[Ui]:
    organizations = [realistic_organization(name, shared_workspaces=0, daily_tokens=2_000_000)
                     for name in ("acme", "globex")]  # fmt: skip
    home = Path(tempfile.mkdtemp(prefix="stax-ui-"))
    home.chmod(0o711)
    with Simulator(organizations) as simulator:
        made = Ui(home, simulator)
        before = dict(os.environ)
        os.environ.update(made.settings)
        try:
            for slug in ("acme", "globex"):
                done = made.stax("connect", slug, "--key-file", "-", "--days", "1", typed=simulator.keys[slug])
                assert done.returncode == 0, done.stderr
            child, printed = start(home, "up", "--port", "3930", settings=made.settings)
            made.address = re.findall(r"Dagster's UI: (http://\S+)/", printed)[0]
            yield made
            child.terminate()
            child.wait(60)
        finally:
            made.stax("down")
            os.environ.clear()
            os.environ.update(before)
    forget_outside(home)
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def synced(ui: Ui) -> str:
    """The id of a run that `stax sync` made in its own process."""
    done = ui.stax("sync", "--days", "1")
    assert done.returncode == 0, done.stderr
    assert "of 2 tenant-days" in done.stderr or "extracting" in done.stderr  # progress as lines: no terminal here
    [newest, *_] = ui.ask(OF_JOB, pipeline=SYNC)["pipelineOrError"]["runs"]
    return str(newest["runId"])


def test_runs_of_the_command_line_belong_to_the_job_and_the_location(ui: Ui, synced: str) -> None:
    """Two of `connect`, one of `sync`."""
    found = ui.ask(TIMELINE, **{"from": (datetime.now(UTC) - timedelta(days=1)).timestamp()})["runsOrError"]["results"]
    of_sync = [run for run in found if run["pipelineName"] == "sync"]
    assert len(of_sync) == 3
    assert {run["repositoryOrigin"]["repositoryLocationName"] for run in of_sync} == {"stax-pipeline"}
    listed = {run["runId"] for run in ui.ask(OF_JOB, pipeline=SYNC)["pipelineOrError"]["runs"]}
    assert listed == {run["runId"] for run in of_sync}
    assert ui.run(synced)["repositoryOrigin"]["repositoryName"] == "__repository__"


def test_a_run_of_the_command_line_can_be_executed_again(ui: Ui, synced: str) -> None:
    again = ui.ask(AGAIN, parent=synced)["launchRunReexecution"]
    assert again["__typename"] == "LaunchRunSuccess", again
    ended = ui.ended(again["run"]["runId"])
    assert (ended["status"], ended["parentRunId"]) == ("SUCCESS", synced)
    assert {"key": "dagster/asset_partition_range_end", "value": str(TODAY)} in ended["tags"]


def test_a_range_of_one_tenant_by_the_yaml_of_the_documentation(ui: Ui) -> None:
    [yaml] = re.findall(r"```yaml\n(resources:\n.*?)```", Path("docs/operate/operations.md").read_text(), re.DOTALL)
    asked = len(ui.simulator.requests)
    launched = ui.launch(yaml)
    assert launched["__typename"] == "LaunchRunSuccess", launched
    assert ui.ended(launched["run"]["runId"])["status"] == "SUCCESS"
    hints = {entry.key_hint for entry in list(ui.simulator.requests)[asked:]}
    assert hints == {ui.simulator.keys["acme"][-4:]}


@pytest.mark.parametrize(
    ("asset", "check"), [("spend", "spend_ties_to_cost_lines"), ("usage_lines", "usage_lines_tie_to_report")]
)
def test_a_check_is_launched_alone_and_looks_at_every_day(ui: Ui, synced: str, asset: str, check: str) -> None:
    """As a person does from the asset's page: its step runs for this check, and for no other."""
    chosen = {"assetKey": {"path": [asset]}, "name": check}
    selector = {**SYNC, "pipelineName": "__ASSET_JOB", "assetSelection": [], "assetCheckSelection": [chosen]}
    launched = ui.ask(LAUNCH, params={"selector": selector, "runConfigData": {}})["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    run_id = launched["run"]["runId"]
    assert ui.ended(run_id)["status"] == "SUCCESS"
    events = ui.ask(EVALUATED, id=run_id)["runOrError"]["eventConnection"]["events"]
    [found] = [event["evaluation"] for event in events if event["__typename"] == "AssetCheckEvaluationEvent"]
    assert (found["checkName"], found["success"]) == (check, True)
    assert {"label": "looked_at", "text": "every day of the run"} in found["metadataEntries"]


def test_a_run_in_which_nothing_arrived_is_red_and_is_not_tried_again(ui: Ui) -> None:
    ui.simulator.faults.add(faults.status(404), times=None)
    try:
        launched = ui.launch({})
        ended = ui.ended(launched["run"]["runId"])
        failed = ui.stax("sync", "--days", "1")
    finally:
        ui.simulator.faults.clear()
    assert ended["status"] == "FAILURE"
    steps = [e for e in ended["eventConnection"]["events"] if e["__typename"] == "ExecutionStepFailureEvent"]
    assert [event["stepKey"] for event in steps] == ["all_tenants_extracted"]
    [of_run] = [e for e in ended["eventConnection"]["events"] if e["__typename"] == "RunFailureEvent"]
    for told in (steps[0]["failureMetadata"]["description"], steps[0]["error"]["message"], of_run["error"]["message"]):
        for slug in ("acme", "globex"):
            assert re.search(rf"^{slug}: .*404.*`stax sync {slug}` does so now\.$", told, re.MULTILINE), told
    assert {"key": "stax/failed_tenants", "value": "acme, globex"} in ended["tags"]
    assert failed.returncode == 1
    nothing = "failed: step all_tenants_extracted: No tenant got any report in this run. What was fetched before stays."
    assert nothing in failed.stderr.splitlines()
    assert not re.search("^(acme|globex): ", failed.stderr, re.MULTILINE), "told by tenant already"
    assert "failed for 2 of 2 tenants." in failed.stderr
    time.sleep(3)
    runs = ui.ask(OF_JOB, pipeline=SYNC)["pipelineOrError"]["runs"]
    assert all(ui.run(run["runId"])["parentRunId"] != launched["run"]["runId"] for run in runs)


def test_a_connection_that_asks_for_earlier_days_moves_the_first_day(ui: Ui) -> None:
    kept = first_day_file(ui.home)
    assert TODAY - date.fromisoformat(kept.read_text().strip()) == timedelta(days=62)
    early = ui.stax("sync", "--from", str(TODAY - timedelta(days=64)), "--to", str(TODAY - timedelta(days=63)))
    assert early.returncode == 2
    assert "is before the first day of this installation" in early.stderr
    done = ui.stax("connect", "acme", "--key-file", "-", "--days", "64", typed=ui.simulator.keys["acme"])
    assert done.returncode == 0, done.stderr
    moved = f"begins on {TODAY - timedelta(days=64)} now, not on {TODAY - timedelta(days=62)}. A Dagster UI that runs"
    assert moved in done.stdout
    assert TODAY - date.fromisoformat(kept.read_text().strip()) == timedelta(days=64)

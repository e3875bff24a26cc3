"""Runs by GraphQL: what is asked fits Dagster's own schema, and a Dagster that is away or odd starts nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster_graphql.schema import create_schema
from graphql import parse, validate
from graphql.type import GraphQLSchema
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from stax_pipeline.app import dagster_runs
from stax_pipeline.app.dagster_runs import DagsterRuns, RunState
from stax_pipeline.assets import partitions
from stax_pipeline.definitions import defs
from stax_pipeline.domain.extraction import Window
from stax_pipeline_tests.app.conftest import NOW
from stax_pipeline_tests.app.dagster_stub import DagsterStub
from stax_pipeline_tests.app.support import served

CHECKOUT = Path(__file__).resolve().parents[2]
DAY = Window(NOW.date(), NOW.date().replace(day=NOW.day + 1))


@pytest.fixture(scope="module")
def schema() -> GraphQLSchema:
    return create_schema().graphql_schema


@pytest.mark.parametrize("query", [dagster_runs._LAUNCH, dagster_runs._STATUS])
def test_what_is_asked_is_what_dagster_answers(schema: GraphQLSchema, query: str) -> None:
    assert validate(schema, parse(query)) == []


def test_the_parameters_of_a_run_are_known_to_dagster(schema: GraphQLSchema) -> None:
    known = schema.type_map["ExecutionParams"].fields  # type: ignore[attr-defined]
    assert set(known) >= {"selector", "runConfigData", "mode", "executionMetadata"}
    chosen = schema.type_map["JobOrPipelineSelector"].fields  # type: ignore[attr-defined]
    assert set(chosen) >= {"repositoryLocationName", "repositoryName", "jobName"}


def test_every_state_of_dagsters_is_known(schema: GraphQLSchema) -> None:
    states = set(schema.type_map["RunStatus"].values)  # type: ignore[attr-defined]
    assert states - set(dagster_runs._STATES) == {"MANAGED"}


def test_the_names_are_those_of_the_location_the_job_and_the_tags() -> None:
    assert f"location_name: {dagster_runs.LOCATION}\n" in (CHECKOUT / "workspace.yaml").read_text()
    assert defs.resolve_job_def(dagster_runs.JOB).name == dagster_runs.JOB
    assert (partitions.RANGE_START, partitions.RANGE_END) == (dagster_runs.RANGE_START, dagster_runs.RANGE_END)


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


def test_a_run_is_launched_and_watched(folder: Path) -> None:
    stub = DagsterStub()
    with served(stub.app, folder / "s"):
        runs = DagsterRuns(folder / "s")
        run_id = runs.launch_sync("acme", DAY, first=False)
        assert run_id is not None
        assert runs.state(run_id) is RunState.WAITING
        stub.states[run_id] = "CANCELED"
        assert runs.state(run_id) is RunState.FAILED
        assert runs.state("0" * 8 + "-0000" * 3 + "-" + "0" * 12) is RunState.UNKNOWN
        runs.close()


def test_without_dagster_nothing_is_started(folder: Path) -> None:
    runs = DagsterRuns(folder / "nobody")
    assert runs.launch_sync("acme", DAY, first=True) is None
    assert runs.state("0" * 8 + "-0000" * 3 + "-" + "0" * 12) is RunState.UNKNOWN
    runs.close()


@pytest.mark.parametrize(
    ("status", "body"),
    [(200, "<html>"), (500, '{"data": {"launchRun": {"run": {"runId": "x"}}}}'), (200, '{"data": null}'), (200, "[]"),
     (200, '{"data": {"launchRun": {"__typename": "RunConfigValidationInvalid"}}}'),
     (200, '{"data": {"launchRun": null, "runOrError": null}}')],
)  # fmt: skip
def test_an_odd_answer_starts_nothing(folder: Path, status: int, body: str) -> None:
    async def odd(_: object) -> Response:
        return PlainTextResponse(body, status)

    with served(Starlette(routes=[Route("/dagster/graphql", odd, methods=["POST"])]), folder / "s"):
        runs = DagsterRuns(folder / "s")
        assert runs.launch_sync("acme", DAY, first=True) is None
        assert runs.state("0" * 8 + "-0000" * 3 + "-" + "0" * 12) is RunState.UNKNOWN
        runs.close()

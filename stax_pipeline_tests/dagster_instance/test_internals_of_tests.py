"""What tests take from inside Dagster is there and is what they take it for."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
import pytest
from starlette.testclient import TestClient

from stax_pipeline.dagster_instance.internals import sensor_records
from stax_pipeline_tests.dagster_instance import internals
from stax_pipeline_tests.dagster_instance.test_internals import greeting, kept


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def test_promised_tells_what_is_public_from_what_is_not() -> None:
    assert internals.promised(dg.DagsterInstance.get_run_by_id)
    assert not internals.promised(dg.DagsterInstance.get_runs)


def test_keep_sensor_adds_and_then_replaces() -> None:
    with dg.instance_for_test() as instance:
        for last in (1.0, None):
            internals.keep_sensor(instance, "alerts", "c", last)
            assert sensor_records(instance, "alerts") == [("c", last)]


def test_start_run_makes_one_that_counts_as_running(instance: dg.DagsterInstance) -> None:
    run = internals.start_run(instance, greeting, {"lane": "test"})
    running = dg.RunsFilter(tags={"lane": "test"}, statuses=[dg.DagsterRunStatus.STARTED])
    assert [found.dagster_run.run_id for found in instance.get_run_records(filters=running)] == [run.run_id]


def test_log_of_is_what_was_logged_of_that_run(instance: dg.DagsterInstance) -> None:
    ran = greeting.execute_in_process(instance=instance)
    assert "Finished execution of run" in internals.log_of(instance, ran.run_id)
    assert internals.log_of(instance, "another") == ""


def test_stored_error_has_message_cause_and_place() -> None:
    try:
        raise KeyError("the message") from ValueError("the cause")
    except KeyError as fault:
        stored = internals.stored_error(fault)
    assert "the message" in stored and "the cause" in stored and __file__ in stored


def test_web_application_answers_with_the_runs_of_the_instance() -> None:
    with dg.instance_for_test() as instance:
        run = internals.start_run(instance, greeting, {})
        with internals.web_application(instance) as application:
            query = {"query": "{ runsOrError { ... on Runs { results { runId } } } }"}
            told = TestClient(application).post("/graphql", json=query)
    assert told.json()["data"]["runsOrError"]["results"] == [{"runId": run.run_id}]


def test_materialised_are_the_days_that_were(instance: dg.DagsterInstance) -> None:
    dg.materialize([kept], instance=instance, partition_key="2026-11-02")
    assert internals.materialised(instance, "kept") == {"2026-11-02"}
    assert internals.materialised(instance, "another") == set()


def test_storage_class_is_that_of_runs(instance: dg.DagsterInstance) -> None:
    assert internals.storage_class(instance).__name__ == "InMemoryRunStorage"

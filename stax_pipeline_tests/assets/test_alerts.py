"""The sensor `alerts`: one tick from Dagster's records to a message, and what Dagster keeps of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from pytest_httpserver import HTTPServer

from stax_pipeline.alerts.facts import EVERY, QUICK
from stax_pipeline.assets import alerts as sensors
from stax_pipeline.assets.alerts import alerts, failed_checks, last_looked
from stax_pipeline.assets.partitions import range_tags
from stax_pipeline.domain.extraction import Window
from stax_pipeline_tests.conftest import Installation
from stax_pipeline_tests.dagster_instance.internals import keep_sensor
from stax_pipeline_tests.pipeline.support import execute, two_tenants

CANARY = "s3cr3t-canary"
ERROR, WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN
WEEK = Window(date(2026, 11, 15), date(2026, 11, 23))
NEXT_WEEK = Window(date(2026, 11, 16), date(2026, 11, 24))
ONE_DAY = Window(date(2026, 11, 22), date(2026, 11, 23))
LONG_AGO = Window(date(2026, 1, 1), date(2026, 2, 1))
FAILED = {"cost_lines_tie_to_report": ["acme", "globex"]}


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


class _Scope(dg.ConfigurableResource):  # type: ignore[type-arg]
    tenants: list[str] = []


def check_run(
    instance: dg.DagsterInstance, passed: bool, window: Window | None, severity: dg.AssetCheckSeverity = ERROR,
    tenants: list[str] | None = None,
) -> None:  # fmt: skip
    """One run that records a result of the check `cost_lines_tie_to_report` over `window`."""

    @dg.asset
    def cost_lines(scope: _Scope) -> None: ...

    @dg.asset_check(asset=cost_lines)
    def cost_lines_tie_to_report() -> dg.AssetCheckResult:
        named: Mapping[str, str] = {} if passed else {"tenants": "acme, globex"}
        return dg.AssetCheckResult(passed=passed, severity=severity, metadata=named)

    job = dg.define_asset_job("sync", selection=dg.AssetSelection.all())
    defs = dg.Definitions([cost_lines], asset_checks=[cost_lines_tie_to_report], jobs=[job], resources={
        "scope": _Scope.configure_at_launch(),
    })  # fmt: skip
    config = {"resources": {"scope": {"config": {"tenants": tenants or []}}}}
    tags = range_tags(window) if window else {}
    assert defs.resolve_job_def("sync").execute_in_process(config, instance, tags=tags).success


class TestFailedChecks:
    def test_nothing_recorded_is_nothing_failed(self, instance: dg.DagsterInstance) -> None:
        assert failed_checks(instance, 7) == {}

    def test_an_error_names_its_tenants_and_a_warning_is_no_error(self, instance: dg.DagsterInstance) -> None:
        check_run(instance, False, WEEK, WARN)
        assert failed_checks(instance, 7) == {}
        check_run(instance, False, WEEK)
        assert failed_checks(instance, 7) == FAILED

    @pytest.mark.parametrize("window", [WEEK, NEXT_WEEK])
    def test_the_next_daily_run_mends_it(self, instance: dg.DagsterInstance, window: Window) -> None:
        check_run(instance, False, WEEK)
        check_run(instance, True, window)
        assert failed_checks(instance, 7) == {}

    @pytest.mark.parametrize("window", [ONE_DAY, LONG_AGO])
    def test_a_run_over_fewer_or_earlier_days_proves_nothing(
        self, instance: dg.DagsterInstance, window: Window
    ) -> None:
        check_run(instance, False, WEEK)
        check_run(instance, True, window)
        assert failed_checks(instance, 7) == FAILED

    def test_a_run_of_some_tenants_proves_nothing_about_the_rest(self, instance: dg.DagsterInstance) -> None:
        check_run(instance, False, WEEK)
        check_run(instance, True, WEEK, tenants=["globex"])
        assert failed_checks(instance, 7) == FAILED

    def test_the_same_days_again_mend_it_however_few(self, instance: dg.DagsterInstance) -> None:
        check_run(instance, False, ONE_DAY)
        check_run(instance, True, ONE_DAY)
        assert failed_checks(instance, 7) == {}

    def test_an_error_after_a_pass_counts(self, instance: dg.DagsterInstance) -> None:
        check_run(instance, True, WEEK)
        check_run(instance, False, ONE_DAY)
        assert failed_checks(instance, 7) == FAILED


@pytest.fixture
def made(stax_home: Path, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    """Both tenants, just connected; alerts go to an HTTP sink."""
    with two_tenants(stax_home) as installation:
        execute(installation, "update stax.tenants set created_at = now()")
        monkeypatch.setenv("STAX_ALERT_WEBHOOK", httpserver.url_for(f"/{CANARY}"))
        yield installation


def tick(instance: dg.DagsterInstance) -> str:
    said = alerts(dg.build_sensor_context(instance=instance))
    assert isinstance(said, dg.SkipReason)
    return str(said.skip_message)


def test_a_tick_tells_what_is_wrong_and_starts_no_run(
    made: Installation, instance: dg.DagsterInstance, httpserver: HTTPServer
) -> None:
    httpserver.expect_request(f"/{CANARY}").respond_with_data("ok")
    assert tick(instance) == "0 open."
    assert httpserver.log == []
    execute(made, "update stax.tenants set status = 'key_rejected' where slug = 'acme'")
    check_run(instance, False, WEEK)
    assert tick(instance) == "3 open. The webhook on localhost took the message."
    assert tick(instance) == "3 open."
    [(request, _)] = httpserver.log
    assert [(one["tenant"], one["kind"]) for one in request.json["new"]] == [
        ("acme", "key_rejected"), ("acme", "check_failed"), ("globex", "check_failed"),
    ]  # fmt: skip


def test_a_tick_whose_delivery_fails_says_so_without_the_address(
    made: Installation, instance: dg.DagsterInstance, httpserver: HTTPServer
) -> None:
    httpserver.expect_request(f"/{CANARY}").respond_with_data(CANARY, 500)
    execute(made, "update stax.tenants set status = 'key_rejected' where slug = 'acme'")
    said = tick(instance)
    assert said == "1 open. The webhook on localhost did not take the message: it answered 500."
    assert CANARY not in said


def test_what_reads_weeks_of_rows_is_judged_once_an_hour(
    made: Installation, instance: dg.DagsterInstance, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[object] = []

    def noted(*arguments: object) -> str:
        judged.append(arguments[-1])
        return "done"

    monkeypatch.setattr(sensors, "evaluate_alerts", noted)
    first = dg.build_sensor_context(instance=instance)
    alerts(first)
    assert first.cursor
    alerts(dg.build_sensor_context(instance=instance, cursor=first.cursor))
    hour_ago = datetime.fromisoformat(first.cursor) - timedelta(hours=1)
    alerts(dg.build_sensor_context(instance=instance, cursor=hour_ago.isoformat()))
    assert judged == [EVERY, QUICK, EVERY]


def test_when_it_last_looked_is_what_dagster_kept_of_the_sensor() -> None:
    hourly, tick = datetime(2026, 11, 22, 10, tzinfo=UTC), datetime(2026, 11, 22, 10, 35, tzinfo=UTC)
    with dg.instance_for_test() as instance:
        assert last_looked(instance) == (None, None)
        keep_sensor(instance, "alerts", hourly.isoformat(), tick.timestamp())
        assert last_looked(instance) == (tick, hourly)
        keep_sensor(instance, "alerts", hourly.isoformat(), None)
        assert last_looked(instance) == (hourly, hourly)


def test_the_sensor_starts_running_and_targets_no_job() -> None:
    assert (alerts.name, alerts.default_status) == ("alerts", dg.DefaultSensorStatus.RUNNING)
    assert alerts.targets == []

"""`/metrics`: the warehouse's figures, for operators and the scraper alone, and rules that Prometheus understands."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from stax_pipeline.app.application import create_app
from stax_pipeline.app.exposition import Family, Sample, exposed
from stax_pipeline.app.metrics import TOKEN_FILE, make_token
from stax_pipeline.app.request_counts import RequestCounts
from stax_pipeline.installation.homes import CHECKOUT
from stax_pipeline_tests.app.conftest import NOW, PUBLIC, Visit
from stax_pipeline_tests.app.support import STAND_IN, served
from stax_pipeline_tests.conftest import Installation
from stax_pipeline_tests.pipeline.support import execute, query

RULES = CHECKOUT / "deploy" / "prometheus" / "stax.rules.yml"
PROMTOOL = shutil.which("promtool")
Found = dict[tuple[str, frozenset[tuple[str, str]]], float]
_SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z]+="(?:[^"\\]|\\.)*",?)*)\})? (\S+)')
_LABEL = re.compile(r'([a-z]+)="((?:[^"\\]|\\.)*)"')


def parsed(text: str) -> Found:
    """Every sample of the text format, by name and labels; each line must be one, or a comment."""
    found: Found = {}
    for line in text.split("\n")[:-1]:
        if line.startswith(("# HELP ", "# TYPE ")):
            continue
        whole = _SAMPLE.fullmatch(line)
        assert whole, line
        unescaped = [
            (name, re.sub(r"\\(.)", lambda one: {"n": "\n"}.get(one[1], one[1]), value))
            for name, value in _LABEL.findall(whole[2] or "")
        ]
        key = whole[1], frozenset(unescaped)
        assert key not in found, "each once"
        found[key] = float(whole[3])
    return found


def sample(found: Found, name: str, **labels: str) -> float | None:
    return found.get((name, frozenset(labels.items())))


@contextmanager
def beside_dagster(installation: Installation) -> Iterator[TestClient]:
    """The app at loopback, with the stand-in for Dagster's webserver behind it."""
    with tempfile.TemporaryDirectory(prefix="stax-metrics-") as folder:
        socket = Path(folder) / "s"
        app = create_app(installation.settings, socket)
        with served(STAND_IN, socket), TestClient(app, base_url="http://127.0.0.1:3000") as client:
            yield client


@pytest.fixture
def token(two: Installation) -> Iterator[str]:
    make_token(two.home)
    yield (two.home / TOKEN_FILE).read_text().strip()
    (two.home / TOKEN_FILE).unlink()


@given(st.lists(st.tuples(st.text(), st.integers()), unique_by=lambda one: one[0]), st.text())
def test_any_label_and_help_comes_back_as_it_was(values: list[tuple[str, int]], told: str) -> None:
    samples = tuple(Sample({"tenant": value}, number) for value, number in values)
    text = exposed([Family("stax_x", "gauge", told, samples)])
    assert text.split("\n", 1)[0].startswith("# HELP stax_x")
    assert parsed(text) == {("stax_x", frozenset({("tenant", value)})): float(number) for value, number in values}


def test_ages_are_those_of_the_warehouse(two: Installation, visit: Visit) -> None:
    answer = visit().get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    found = parsed(answer.text)
    reached = query(two, "select tenant, usage_data_through, cost_data_through, complete_through from stax.freshness")
    assert len(reached) == 2
    for slug, usage, cost, whole in reached:
        for report, through in (("usage", usage), ("cost", cost)):
            age = sample(found, "stax_data_through_age_seconds", tenant=slug, report=report)
            assert age == (NOW - through).total_seconds() > 0
        ended = datetime.combine(whole, datetime.min.time(), NOW.tzinfo).timestamp() + 86_400
        assert sample(found, "stax_complete_through_age_seconds", tenant=slug) == NOW.timestamp() - ended
        assert sample(found, "stax_tenant_failed", tenant=slug) == 0
    assert (sample(found, "stax_tenants"), sample(found, "stax_tenants_failed")) == (2, 0)
    assert (sample(found, "stax_up", part="database"), sample(found, "stax_up", part="dagster")) == (1, 0)


@pytest.mark.parametrize(
    ("breaks", "mends"),
    [
        ("update stax.tenants set status = 'key_rejected' where slug = 'globex'",
         "update stax.tenants set status = 'connected' where slug = 'globex'"),
        ("update stax.extractions e set error = 'refused' where extraction_id = (select extraction_id from "
         "stax.extractions where report = 'usage_report' and tenant_id = (select tenant_id from stax.tenants "
         "where slug = 'globex') order by recorded_at desc limit 1)",
         "update stax.extractions set error = null where error = 'refused'"),
    ],
)  # fmt: skip
def test_a_tenant_that_cannot_be_fetched_is_told_and_no_other(
    two: Installation, visit: Visit, breaks: str, mends: str
) -> None:
    execute(two, breaks)
    try:
        found = parsed(visit().get("/metrics").text)
    finally:
        execute(two, mends)
    assert sample(found, "stax_tenant_failed", tenant="globex") == 1
    assert sample(found, "stax_tenant_failed", tenant="acme") == 0
    assert sample(found, "stax_tenants_failed") == 1


def test_runs_are_told_by_the_newest_of_each_job_and_status(two: Installation) -> None:
    with beside_dagster(two) as client:
        found = parsed(client.get("/metrics").text)
    assert sample(found, "stax_run_duration_seconds", job="sync", status="success") == 100.25
    assert sample(found, "stax_run_ended_timestamp_seconds", job="sync", status="success") == 1100.75
    assert sample(found, "stax_run_duration_seconds", job="sync", status="failure") == 1
    assert not [key for key in found if ("job", "watch") in key[1]], "it never started"
    assert sample(found, "stax_up", part="dagster") == 1


def test_what_cannot_be_read_is_left_out_and_told(two: Installation, tmp_path: Path) -> None:
    settings = replace(two.settings, app_url="postgresql://stax_app:x@127.0.0.1:9/stax?connect_timeout=2")
    with TestClient(create_app(settings, tmp_path / "nobody"), base_url="http://127.0.0.1:3000") as client:
        answer = client.get("/metrics")
    found = parsed(answer.text)
    assert (answer.status_code, sample(found, "stax_up", part="database")) == (200, 0)
    assert not [name for name, labels in found if "tenant" in dict(labels)]
    assert sample(found, "stax_tenants") is None, "not known is not zero"


def test_requests_are_counted_by_few_words_that_no_stranger_chooses(visit: Visit) -> None:
    client = visit()
    for path in ("/", "/", "/tenants/acme", "/tenants/nobody", "/evil-1", "/evil-2", "/health/live"):
        client.get(path)
    client.get("/", headers={"Host": "evil.example"})
    client.request("PROPFIND", "/health")
    found = parsed(client.get("/metrics").text)
    counted = {key[1]: value for key, value in found.items() if key[0] == "stax_http_requests_total"}
    told = {tuple(dict(labels)[name] for name in ("part", "method", "status")): n for labels, n in counted.items()}
    assert told == {
        ("overview", "GET", "200"): 2, ("overview", "GET", "400"): 1, ("tenants", "GET", "200"): 1,
        ("tenants", "GET", "404"): 1, ("other", "GET", "404"): 2, ("health", "GET", "200"): 1,
        ("health", "other", "405"): 1,
    }  # fmt: skip


class TestWhoMayAsk:
    def test_nobody_without_a_login_learns_a_tenants_name(self, visit: Visit, token: str) -> None:
        client = visit(public_url=PUBLIC)
        for sent in ({}, {"Authorization": "Bearer "}, {"Authorization": f"Bearer {token}x"},
                     {"Authorization": f"Basic {token}"}, {"Authorization": token}, {"Cookie": f"stax_session={token}"},
                     {"Authorization": "Bearer é".encode("latin-1")}):  # fmt: skip
            answer = client.get("/metrics", headers=sent)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
            assert "acme" not in answer.text

    @pytest.mark.parametrize(("name", "status"), [("ola", 200), ("ana", 401), ("tim", 401)])
    def test_operators_alone(self, logged_in: Callable[[str], TestClient], name: str, status: int) -> None:
        answer = logged_in(name).get("/metrics")
        assert (answer.status_code, "acme" in answer.text) == (status, status == 200)

    def test_the_scraper_by_its_token(self, visit: Visit, token: str) -> None:
        answer = visit(public_url=PUBLIC).get("/metrics", headers={"Authorization": f"Bearer {token}"})
        assert (answer.status_code, "acme" in answer.text) == (200, True)

    @pytest.mark.parametrize("content", [None, "", "\n"])
    def test_no_token_opens_nothing(self, two: Installation, visit: Visit, content: str | None) -> None:
        file = two.home / TOKEN_FILE
        if content is not None:
            file.write_text(content)
        for sent in ("Bearer", "Bearer ", "Bearer None"):
            assert visit(public_url=PUBLIC).get("/metrics", headers={"Authorization": sent}).status_code == 401
        file.unlink(missing_ok=True)

    def test_the_token_opens_nothing_else(self, visit: Visit, token: str) -> None:
        client = visit(public_url=PUBLIC)
        for path in ("/", "/tenants/acme", "/dagster/"):
            assert client.get(path, headers={"Authorization": f"Bearer {token}"}).status_code in (303, 401)

    def test_the_token_is_made_once_and_is_its_owners_alone(self, tmp_path: Path) -> None:
        make_token(tmp_path)
        first = (tmp_path / TOKEN_FILE).read_text()
        assert (tmp_path / TOKEN_FILE).stat().st_mode & 0o777 == 0o600
        make_token(tmp_path)
        assert (tmp_path / TOKEN_FILE).read_text() == first
        assert len(first.strip()) >= 40


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def test_rules_ask_for_metrics_and_labels_that_there_are(two: Installation) -> None:
    with beside_dagster(two) as client:
        client.get("/")
        found = parsed(client.get("/metrics").text)
    labels: dict[str, set[str]] = {}
    for name, has in found:
        labels.setdefault(name, set()).update(dict(has))
    assert len(rules()) >= 8
    for rule in rules():
        asked = re.findall(r"(stax_[a-z_]+)(?:\{([^}]*)\})?", rule["expr"])
        assert asked
        for name, matchers in asked:
            assert name in labels, rule["alert"]
            assert set(re.findall(r"([a-z]+)=", matchers)) <= labels[name], rule["alert"]
        told = " ".join(rule["annotations"].values())
        [only] = {name for name, _ in asked[:1]}
        assert set(re.findall(r"\$labels\.([a-z]+)", told)) <= labels[only], rule["alert"]
        page, _, _ = rule["annotations"]["runbook"].partition("#")
        assert f"| `{rule['alert']}` |" in (CHECKOUT / page).read_text()


SERIES = {
    "StaxAway": ({}, {'stax_up{part="database"}': "1x300"}),
    "StaxPartAway": ({'stax_up{part="daemon"}': "0x300"}, {'stax_up{part="daemon"}': "1x300"}),
    "StaxTenantFailed": (
        {'stax_tenant_failed{tenant="acme"}': "1x300"}, {'stax_tenant_failed{tenant="acme"}': "0x300"},
    ),
    "StaxManyTenantsFailed": (
        {"stax_tenants_failed": "3x300", "stax_tenants": "10x300"},
        {"stax_tenants_failed": "2x300", "stax_tenants": "10x300"},
    ),
    "StaxUsageLate": (
        {'stax_data_through_age_seconds{tenant="acme", report="usage"}': "5401+60x300"},
        {'stax_data_through_age_seconds{tenant="acme", report="usage"}': "2100x300",
         'stax_data_through_age_seconds{tenant="acme", report="cost"}': "90000x300"},
    ),
    "StaxDayNotComplete": (
        {'stax_complete_through_age_seconds{tenant="acme"}': "180001+60x300"},
        {'stax_complete_through_age_seconds{tenant="acme"}': "90000+60x300"},
    ),
    "StaxSyncSlow": (
        {'stax_run_duration_seconds{job="sync", status="success"}': "5401x300"},
        {'stax_run_duration_seconds{job="sync", status="success"}': "5400x300",
         'stax_run_duration_seconds{job="sync", status="failure"}': "7200x300"},
    ),
    "StaxErrors": (
        {'stax_http_requests_total{part="tenants", method="GET", status="500"}': "0+1x300"},
        {'stax_http_requests_total{part="tenants", method="GET", status="404"}': "0+9x300",
         'stax_http_requests_total{part="tenants", method="GET", status="500"}': "7x300"},
    ),
}  # fmt: skip
"""By alert: series a minute apart at which it fires, and at which it does not."""


def test_every_rule_has_series_to_be_tried_on() -> None:
    assert SERIES.keys() == {rule["alert"] for rule in rules()}


@pytest.mark.skipif(PROMTOOL is None, reason="promtool (Debian's prometheus) is not installed")
@pytest.mark.parametrize("alert", SERIES)
@pytest.mark.parametrize("fires", [True, False])
def test_prometheus_fires_each_alert_on_what_it_is_for_and_only_then(alert: str, fires: bool, tmp_path: Path) -> None:
    given_series = [{"series": name, "values": values} for name, values in SERIES[alert][0 if fires else 1].items()]
    [rule] = [one for one in rules() if one["alert"] == alert]
    seen = {
        "interval": "1m", "input_series": given_series,
        "promql_expr_test": [{
            "expr": f'count(ALERTS{{alertname="{alert}", alertstate="firing"}}) or vector(0)', "eval_time": "4h",
            "exp_samples": [{"labels": "{}", "value": int(fires)}],
        }],
    }  # fmt: skip
    file = tmp_path / "test.yml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [seen]}))
    assert PROMTOOL
    ran = subprocess.run([PROMTOOL, "test", "rules", str(file)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, (rule, ran.stdout, ran.stderr)


@pytest.mark.parametrize("path", ["*", "", "//", "/secret-token"])
def test_a_path_that_nobody_serves_is_counted_as_other_or_the_overview(path: str) -> None:
    counts = RequestCounts({"tenants", "overview"})
    counts.note({"type": "http", "path": path, "method": "OPTIONS"}, 400)
    assert [kind.part for kind in counts.found()] == ["overview" if path.strip("/") == "" else "other"]

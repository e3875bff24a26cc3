"""Alerts end to end: the simulator misbehaves, a sync runs, a round judges, and a local channel hears of it once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from stax_pipeline.alerts import facts
from stax_pipeline.alerts.channels import channels
from stax_pipeline.alerts.evaluation import Evaluation, evaluate_alerts
from stax_pipeline.alerts.facts import QUICK
from stax_pipeline.alerts.life_cycle import QUIET
from stax_pipeline.alerts.store import take_turn
from stax_pipeline.domain.admin_key import parse_admin_key
from stax_pipeline.domain.extraction import Window
from stax_pipeline.installation.settings import read_settings
from stax_pipeline.simulator.faults import dollars, status
from stax_pipeline.tenants.disconnect import purge
from stax_pipeline.tenants.rotate import rotate_key
from stax_pipeline_tests.alerts.smtp_sink import SmtpSink
from stax_pipeline_tests.conftest import Installation
from stax_pipeline_tests.pipeline.support import (
    COST,
    DAYS,
    FIRST,
    LAST,
    USAGE,
    Row,
    change,
    execute,
    on,
    query,
    sync,
    times,
    two_tenants,
)

CANARY = "s3cr3t-canary"
TICK = timedelta(minutes=5)


class Rig:
    """An installation whose alerts go to an HTTP sink, and its own clock for rounds."""

    def __init__(self, made: Installation, server: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made, self.server = made, server
        monkeypatch.setenv("STAX_ALERT_WEBHOOK", server.url_for(f"/{CANARY}"))
        monkeypatch.setenv("STAX_REFRESH_MINUTES", "0")  # hours pass here without a refresh of the open day
        self.answer(200)
        self.heard: list[Row] = []

    def answer(self, code: int) -> None:
        self.server.clear()
        self.server.expect_request(f"/{CANARY}", method="POST").respond_with_data("", code)

    def round(self, after: timedelta = TICK, **more: Any) -> Evaluation:
        """The next tick; what the sink heard in it is in `heard`."""
        self.made.clock.now += after
        before = len(self.server.log)
        settings = read_settings()
        done = evaluate_alerts(self.made.engine, settings, channels(settings), self.made.clock.now, **more)
        self.heard = [request.json for request, _ in self.server.log[before:]]
        return done

    def told(self, part: str = "new") -> list[tuple[str, str, str]]:
        return [(one["tenant"], one["kind"], one["subject"]) for message in self.heard for one in message[part]]

    def text(self) -> str:
        return "\n".join(message["text"] for message in self.heard)

    def all_done(self) -> None:
        """Nothing more is told, however often it is looked."""
        for _ in range(3):
            self.round()
            assert self.heard == []


@pytest.fixture
def rig(stax_home: Path, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    """Both tenants connected on the first day of the window and synced; nothing is wrong."""
    with two_tenants(stax_home) as made:
        execute(made, "update stax.tenants set created_at = '2026-11-20T00:00Z'")
        sync(made)
        made_rig = Rig(made, httpserver, monkeypatch)
        made_rig.round()
        assert made_rig.heard == []
        yield made_rig


def test_a_revoked_key_is_told_once_and_once_more_when_it_was_rotated(rig: Rig) -> None:
    simulator = rig.made.simulator
    simulator.revoke(simulator.keys["acme"])
    sync(rig.made)
    rig.round()
    assert rig.told() == [("acme", "key_rejected", "")]
    assert "`stax rotate-key acme`" in rig.text()
    rig.all_done()
    fresh = parse_admin_key(simulator.issue_key("acme"))
    rotate_key(rig.made.settings, rig.made.engine, "acme", fresh)
    sync(rig.made)
    rig.round()
    assert rig.heard == []
    rig.round(after=QUIET)
    assert (rig.told(), rig.told("gone")) == ([], [("acme", "key_rejected", "")])
    rig.all_done()


def test_a_restated_day_is_told_with_its_dollars(rig: Rig) -> None:
    change(rig.made, COST, on(FIRST, times("0.95")))
    rig.made.clock.now += timedelta(minutes=10)
    sync(rig.made)
    rig.round()
    [(seen,)] = query(rig.made, "select distinct (seen_at at time zone 'UTC')::date from stax.restatements")
    assert ("acme", "day_restated", f"cost of {FIRST}, seen {seen}") in rig.told()
    assert {slug for slug, _, _ in rig.told()} == {"acme"}
    assert f"restated the reported dollars of {FIRST}" in rig.text()
    rig.all_done()


def test_a_bill_that_is_restated_fivefold_is_not_told_model_by_model(rig: Rig) -> None:
    change(rig.made, COST, on(FIRST, times("5")))
    rig.made.clock.now += timedelta(minutes=10)
    sync(rig.made)
    rig.round()
    assert [kind for _, kind, _ in rig.told()] == ["day_restated"]
    assert query(rig.made, "select 1 from stax.reconciliation where cause = 'restated day'")
    execute(rig.made, "update stax.tenants set created_at = now() + interval '10 years'")  # nothing else becomes due
    rig.round(after=timedelta(days=20))
    assert rig.heard == []


def test_a_day_restated_by_less_than_a_percent_is_not_told(rig: Rig) -> None:
    change(rig.made, COST, on(FIRST, times("0.995")))
    rig.made.clock.now += timedelta(minutes=10)
    sync(rig.made)
    assert query(rig.made, "select * from stax.restatements")
    rig.round()
    assert rig.told() == []


def renamed(old_prefix: str, new: str) -> Any:
    def edit(rows: list[Row]) -> list[Row]:
        for row in rows:
            if (row.get("model") or "").startswith(old_prefix):
                row["model"] = new
        return rows

    return edit


def test_an_unknown_model_is_told_by_name(rig: Rig) -> None:
    for path in (COST, USAGE):
        change(rig.made, path, on(LAST, renamed("claude-sonnet-5-5", "claude-novel-9")))
    rig.made.clock.now += timedelta(minutes=10)
    sync(rig.made)
    rig.round()
    assert ("acme", "unknown_value", "model claude-novel-9") in rig.told()
    assert not [slug for slug, kind, _ in rig.told() if slug == "globex"]
    rig.all_done()


def elsewhere(rows: list[Row]) -> list[Row]:
    return [{**row, "inference_geo": "eu"} for row in rows]


def test_a_geography_without_a_factor_is_unpriced_and_told_by_name_not_by_model(rig: Rig) -> None:
    for path in (COST, USAGE):
        change(rig.made, path, on(LAST, elsewhere))
    rig.made.clock.now += timedelta(minutes=10)
    sync(rig.made)
    rig.round()
    assert [told for told in rig.told() if told[1] == "unknown_value"] == [
        ("acme", "unknown_value", "inference geography eu")
    ]
    sources = "select distinct cost_source from stax.spend where inference_geo = 'eu' and service_tier = 'priority'"
    assert query(rig.made, sources) == [("unpriced",)]
    assert not query(rig.made, "select 1 from stax.spend where inference_geo = 'eu' and list_cost_usd is not null")
    rig.all_done()


def test_an_unknown_cost_kind_is_told_by_name(rig: Rig) -> None:
    execute(rig.made, "update stax.cost_lines set cost_type = 'quantum' where cost_type = 'web_search'")
    rig.round()
    assert {(kind, subject) for _, kind, subject in rig.told()} == {("unknown_value", "cost kind quantum")}


def test_a_late_tenant_is_told_once_for_all_its_days_and_does_not_hide_the_others(rig: Rig) -> None:
    rig.made.simulator.faults.add(status(404), key=rig.made.simulator.keys["acme"], times=None)
    rig.round(after=timedelta(days=2))
    assert sorted(rig.told()) == [("acme", "tenant_late", ""), ("globex", "tenant_late", "")]
    assert len(rig.heard) == 1
    sync(rig.made, Window(DAYS.start, DAYS.end + timedelta(days=2)))
    rig.round()
    rig.round(after=QUIET)
    assert rig.told("gone") == [("globex", "tenant_late", "")]
    rig.all_done()


def test_a_day_whose_cost_is_not_reported_yet_is_told_when_it_should_have_settled(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = f"usage_date = '{LAST}' and report = 'cost_report' and tenant_id = (select tenant_id from stax.tenants"
    execute(rig.made, f"update stax.coverage set state = 'not reported yet' where {late} where slug = 'acme')")
    rig.all_done()
    monkeypatch.setenv("STAX_SETTLE_HOURS", "1")
    rig.round()
    assert rig.told() == [("acme", "tenant_late", "")]


def test_a_changed_unit_is_told_as_quarantined_and_not_as_late_too(rig: Rig) -> None:
    change(rig.made, COST, dollars())
    rig.made.clock.now += timedelta(days=1)
    sync(rig.made, Window(DAYS.start, DAYS.end + timedelta(days=1)))
    rig.round(after=timedelta(hours=2))
    assert rig.told() == [("acme", "quarantined", "cost_report")]
    assert "unit mismatch" in rig.text()
    rig.all_done()
    rig.made.simulator.faults.clear()
    sync(rig.made, Window(DAYS.start, DAYS.end + timedelta(days=1)))
    rig.round()
    rig.round(after=QUIET)
    assert rig.told("gone") == [("acme", "quarantined", "cost_report")]


def test_a_spend_spike_is_told_and_closes_by_itself_after_a_week(rig: Rig) -> None:
    for path in (COST, USAGE):
        change(rig.made, path, on(LAST, times("6")))
    sync(rig.made, Window(LAST - timedelta(weeks=4), DAYS.end))
    execute(rig.made, f"update stax.restatements set seen_at = '{rig.made.clock.now}'")  # not the database's clock
    rig.round()
    assert [told for told in rig.told() if told[1] == "spend_spike"] == [("acme", "spend_spike", str(LAST))]
    assert f"Spend on {LAST} is $" in rig.text()
    assert "(median of the Saturdays before)" in rig.text()
    rig.all_done()
    execute(rig.made, "update stax.tenants set created_at = now() + interval '10 years'")  # nothing else becomes due
    for _ in range(3):
        rig.round(after=timedelta(days=4))
        assert rig.heard == []
    assert query(rig.made, "select 1 from stax.alerts where closed_at is null") == []


def copy_day(made: Installation, source: date, target: date) -> None:
    """The same day once more, earlier: coverage, spend and its totals."""
    for table in ("coverage", "spend", "spend_totals", "spend_day_totals"):
        columns = [row.column_name for row in query(
            made, "select column_name from information_schema.columns where table_schema = 'stax' and table_name = :t"
            " and column_name <> 'usage_date'", t=table,
        )]  # fmt: skip
        names = ", ".join(columns)
        execute(
            made,
            f"insert into stax.{table} (usage_date, {names}) select :target, {names} from stax.{table}"
            " where usage_date = :source on conflict do nothing",
            target=target, source=source,
        )  # fmt: skip


def test_a_price_accuracy_that_left_its_range_is_told_by_likely_cause(rig: Rig) -> None:
    execute(
        rig.made,
        "update stax.reconciliation set ratio = 1.25, cause = 'contract discount' where model = 'claude-opus-5-5'"
        " and service_tier = 'standard' and tenant_id = (select tenant_id from stax.tenants where slug = 'globex')",
    )
    rig.round()
    assert rig.told() == [("globex", "price_accuracy", "contract discount")]
    assert f"times the bill on 3 days, the last {LAST}: claude-opus-5-5 (standard) 1.2500." in rig.text()


def test_an_invoice_that_differs_is_told_for_whole_months_only(rig: Rig) -> None:
    first = date(2026, 10, 1)
    for n in range((FIRST - first).days):
        copy_day(rig.made, LAST, first + timedelta(days=n))
    [(tenant, expected)] = query(
        rig.made,
        "select tenant_id, sum(cost_usd) filter (where cost_source = 'reported') from stax.spend join stax.tenants t"
        " using (tenant_id) where slug = 'acme' and usage_date < '2026-11-01' group by 1",
    )
    record = "insert into stax.invoices values (:tenant, :month, :at, :amount, '')"
    execute(rig.made, record, tenant=tenant, month=first, at=rig.made.clock.now, amount=round(expected, 2))
    execute(rig.made, record, tenant=tenant, month=date(2026, 11, 1), at=rig.made.clock.now, amount=1)
    rig.round()
    assert rig.told() == []
    later = rig.made.clock.now + TICK
    execute(rig.made, record, tenant=tenant, month=first, at=later, amount=round(expected, 2) + 100)
    rig.round()
    assert rig.told() == [("acme", "invoice_differs", "2026-10")]
    execute(rig.made, record, tenant=tenant, month=first, at=later + TICK, amount=None)
    rig.round()
    rig.round(after=QUIET)
    assert rig.told("gone") == [("acme", "invoice_differs", "2026-10")]


def test_a_check_in_error_is_told_for_each_tenant_it_names(rig: Rig) -> None:
    failed = {"spend_ties_to_cost_lines": ["acme", "nobody"]}
    rig.round(failed_checks=failed)
    assert rig.told() == [("acme", "check_failed", "spend_ties_to_cost_lines")]
    rig.round(failed_checks=failed)
    assert rig.heard == []
    rig.round()
    rig.round(after=QUIET)
    assert rig.told("gone") == [("acme", "check_failed", "spend_ties_to_cost_lines")]


def test_a_failing_channel_is_tried_again_with_back_off_and_nothing_is_lost(rig: Rig) -> None:
    rig.answer(503)
    reject(rig.made, "acme")
    done = rig.round()
    assert done.open == 1
    assert done.faults == ["The webhook on localhost did not take the message: it answered 503."]
    tried = [len((rig.round(timedelta(minutes=1)), rig.heard)[1]) for _ in range(16)]
    assert [minute for minute, count in enumerate(tried, start=1) if count] == [5, 15]
    reject(rig.made, "globex")
    rig.answer(200)
    rig.round(after=timedelta(hours=1))
    assert rig.told() == [("acme", "key_rejected", ""), ("globex", "key_rejected", "")]
    assert len(rig.heard) == 1
    assert query(rig.made, "select * from stax.alert_channels") == []
    rig.all_done()


def reject(made: Installation, slug: str) -> None:
    execute(made, "update stax.tenants set status = 'key_rejected' where slug = :slug", slug=slug)


def test_mail_that_fails_does_not_keep_the_webhook_from_hearing(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    with SmtpSink() as sink:
        monkeypatch.setenv("STAX_ALERT_EMAIL_TO", "ops@example.org")
        monkeypatch.setenv("STAX_ALERT_EMAIL_FROM", "stax@example.org")
        monkeypatch.setenv("STAX_SMTP_URL", f"smtp://127.0.0.1:{sink.port}")
        sink.down = True
        reject(rig.made, "acme")
        rig.round()
        assert rig.told() == [("acme", "key_rejected", "")]
        assert sink.messages == []
        sink.down = False
        rig.round()
        assert rig.heard == []
        [(_, _, content)] = sink.messages
        assert b"Subject: stax: acme: admin key rejected" in content


def test_a_query_that_fails_leaves_its_kind_alone_and_the_others_are_judged(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    reject(rig.made, "acme")
    execute(rig.made, "update stax.cost_lines set cost_type = 'quantum' where cost_type = 'web_search'")
    rig.round()
    assert len(rig.told()) == 3
    monkeypatch.setattr(facts, "REJECTED", "select 1 / 0")
    execute(rig.made, "update stax.tenants set status = 'connected'")
    execute(rig.made, "update stax.cost_lines set cost_type = 'web_search' where cost_type = 'quantum'")
    done = rig.round()
    assert "looking for key_rejected: the database refused it" in str(done)
    rig.round(after=QUIET)
    assert {kind for _, kind, _ in rig.told("gone")} == {"unknown_value"}


def test_kinds_that_are_not_looked_at_stay_as_they_are(rig: Rig) -> None:
    execute(rig.made, "update stax.cost_lines set cost_type = 'quantum' where cost_type = 'web_search'")
    rig.round(kinds=QUICK)
    assert rig.told() == []
    rig.round()
    assert len(rig.told()) == 2
    execute(rig.made, "update stax.cost_lines set cost_type = 'web_search' where cost_type = 'quantum'")
    for _ in range(3):
        rig.round(after=QUIET, kinds=QUICK)
        assert rig.told("gone") == []


def test_another_round_at_the_same_time_does_nothing(rig: Rig) -> None:
    reject(rig.made, "acme")
    with rig.made.engine.begin() as connection:
        assert take_turn(connection)
        assert "Another round is running." in str(rig.round())
        assert rig.heard == []
    rig.round()
    assert rig.told() == [("acme", "key_rejected", "")]


def test_a_disconnected_tenant_raises_nothing_and_a_purge_takes_its_alerts_along(rig: Rig) -> None:
    reject(rig.made, "acme")
    rig.round()
    assert purge(rig.made.engine, rig.made.lake, "acme").left == {}
    assert query(rig.made, "select * from stax.alerts") == []
    rig.round(after=timedelta(hours=3))
    assert [told for told in rig.told() if told[0] == "acme"] == []


def test_the_address_is_in_no_table_and_no_words(rig: Rig) -> None:
    rig.answer(500)
    reject(rig.made, "acme")
    said = str(rig.round())
    kept = query(rig.made, "select * from stax.alerts") + query(rig.made, "select * from stax.alert_channels")
    assert len(kept) == 2
    assert CANARY not in said + repr(kept) + repr(rig.made.settings)

"""`stax alerts` and `stax alerts test`: what a person sees, and the exit code."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import pytest
import sqlalchemy as sa
from pytest_httpserver import HTTPServer

from stax_pipeline.domain.tenant import Tenant
from stax_pipeline.installation.settings import read_settings
from stax_pipeline.warehouse.tenants import add_tenant
from stax_pipeline_tests.alerts.smtp_sink import SmtpSink
from stax_pipeline_tests.cli.support import Stax

CANARY = "s3cr3t-canary"


@pytest.fixture
def hook(httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> HTTPServer:
    monkeypatch.setenv("STAX_ALERT_WEBHOOK", httpserver.url_for(f"/{CANARY}"))
    return httpserver


@pytest.mark.usefixtures("settings")
def test_with_nothing_set_a_test_is_wrong_use_and_says_what_to_set(stax: Stax) -> None:
    ended = stax("alerts", "test")
    assert ended.code == 2
    assert "nothing was sent. Set STAX_ALERT_WEBHOOK, or STAX_ALERT_EMAIL_TO" in ended.err


@pytest.mark.usefixtures("settings")
def test_a_test_message_goes_by_every_channel_and_each_says_what_happened(
    stax: Stax, hook: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook.expect_request(f"/{CANARY}").respond_with_data("ok")
    with SmtpSink(password=CANARY) as sink:
        monkeypatch.setenv("STAX_ALERT_EMAIL_TO", "ops@example.org")
        monkeypatch.setenv("STAX_ALERT_EMAIL_FROM", "stax@example.org")
        monkeypatch.setenv("STAX_SMTP_URL", f"smtp://ops:{CANARY}@127.0.0.1:{sink.port}")
        ended = stax("alerts", "test")
        assert (ended.code, ended.err) == (0, "")
        assert ended.out == (
            "webhook: The webhook on localhost took the message.\n"
            "email: The mail server 127.0.0.1 took the message for ops@example.org.\n"
        )
        assert b"test message" in sink.messages[0][2]
        assert hook.log[0][0].json["title"] == "stax: test message"
        hook.clear()
        hook.expect_request(f"/{CANARY}").respond_with_data("", 404)
        sink.password = "another"
        failed = stax("alerts", "test")
    assert (failed.code, failed.out) == (1, "")
    assert "failed: webhook: The webhook on localhost did not take the message: it answered 404." in failed.err
    assert "failed: email: The mail server 127.0.0.1 did not take the message: it refused user" in failed.err
    assert CANARY not in ended.said + failed.said


def test_what_is_open_is_shown_with_what_to_do_and_how_its_channel_fares(
    stax: Stax, engine: sa.Engine, hook: HTTPServer
) -> None:
    hook.expect_request(f"/{CANARY}").respond_with_data("", 500)
    quiet = stax("alerts")
    assert (quiet.code, quiet.out) == (0, "No alert is open.\n")
    assert quiet.err == "The sensor never looked: is `stax up` running? `stax alerts check` looks now.\n"
    with engine.begin() as connection:
        add_tenant(connection, Tenant(uuid4(), "acme", "Acme", "org", "key_rejected", datetime.now(UTC), None))
    checked = stax("alerts", "check")
    assert (checked.code, hook.log[0][0].json["title"]) == (1, "stax: acme: admin key rejected")
    assert "acme: key_rejected, open since" in checked.out and "not told yet" in checked.out
    assert "failed: The webhook on localhost did not take the message: it answered 500." in checked.err
    ended = stax("alerts")
    assert ended.code == 0
    assert "acme: key_rejected, open since" in ended.out and "not told yet" in ended.out
    assert "What to do: Ask for a new Admin key, then `stax rotate-key acme`." in ended.out
    assert "webhook: failing since" in ended.err and "it answered 500" in ended.err
    assert CANARY not in ended.said + checked.said


@pytest.mark.usefixtures("settings")
def test_a_check_tells_the_channels_and_ends_well(stax: Stax, engine: sa.Engine, hook: HTTPServer) -> None:
    hook.expect_request(f"/{CANARY}").respond_with_data("ok")
    with engine.begin() as connection:
        add_tenant(connection, Tenant(uuid4(), "acme", "Acme", "org", "key_rejected", datetime.now(UTC), None))
    checked = stax("alerts", "check")
    assert (checked.code, checked.err) == (0, "")
    assert ", told " in checked.out and "The webhook on localhost took the message." in checked.out
    posted = hook.log[0][0].json
    printed = [line.removeprefix("  |").removeprefix(" ") for line in checked.out.splitlines() if line[:3] == "  |"]
    assert printed == [posted["title"], *posted["text"].splitlines()]
    again = stax("alerts", "check")
    assert (again.code, len(hook.log)) == (0, 1)
    assert "  |" not in again.out and "Nothing was posted." in again.out


@pytest.mark.usefixtures("settings")
def test_a_cause_that_ended_while_the_channel_was_down_is_posted_and_printed_as_gone(
    stax: Stax, engine: sa.Engine, hook: HTTPServer
) -> None:
    hook.expect_request(f"/{CANARY}").respond_with_data("", 500)
    with engine.begin() as connection:
        add_tenant(connection, Tenant(uuid4(), "acme", "Acme", "org", "key_rejected", datetime.now(UTC), None))
    assert stax("alerts", "check").code == 1
    with engine.begin() as connection:
        connection.exec_driver_sql("update stax.tenants set status = 'connected'")
    assert "No alert is open." in stax("alerts", "check").out
    with engine.begin() as connection:  # the quiet hour passes, and the channel may be tried again
        connection.exec_driver_sql("update stax.alerts set resolved_at = resolved_at - interval '2 hours'")
        connection.exec_driver_sql("update stax.alert_channels set retry_at = now() - interval '1 minute'")
    hook.clear()
    hook.expect_request(f"/{CANARY}").respond_with_data("ok")
    checked = stax("alerts", "check")
    posted = hook.log[0][0].json
    assert (checked.code, posted["title"], posted["new"]) == (0, "stax: acme: admin key rejected - gone", [])
    assert [one["kind"] for one in posted["gone"]] == ["key_rejected"]
    assert "  | stax: acme: admin key rejected - gone" in checked.out


@pytest.mark.usefixtures("settings")
def test_without_a_channel_it_says_that_nobody_is_told(stax: Stax) -> None:
    assert "No channel is set: alerts are kept, nobody is told." in stax("alerts").err


@pytest.mark.usefixtures("settings", "hook")
def test_env_does_not_print_where_alerts_go(stax: Stax, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAX_ALERT_EMAIL_TO", "ops@example.org")
    monkeypatch.setenv("STAX_ALERT_EMAIL_FROM", "stax@example.org")
    monkeypatch.setenv("STAX_SMTP_URL", f"smtp://ops:{CANARY}@mail.example.org")
    ended = stax("env")
    (read_settings().postgres_home / "pinned").unlink()
    assert "STAX_ALERT_EMAIL_TO" in ended.out
    assert CANARY not in ended.said

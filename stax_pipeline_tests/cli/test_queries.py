"""`sql`, `env`, `prices` and `rotate-master-key`, and how figures are shown."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from psycopg2.extensions import parse_dsn

from stax_pipeline.cli import render
from stax_pipeline.cli.commands import sql
from stax_pipeline.cli.commands.prices import in_force
from stax_pipeline.cli.database_urls import analyst_url
from stax_pipeline.installation.process_secrets import OWN, _read
from stax_pipeline.installation.settings import Settings, read_settings
from stax_pipeline.keys.tenant_keys import master_keys
from stax_pipeline.pricing.prices import shipped_prices
from stax_pipeline.simulator import Simulator
from stax_pipeline_tests.cli.support import Stax

ODD = "select 12345678901234567890.123456789012345678::numeric as n, 'a,\"b\n' as t, null::text as e, '50%s' as p"


@pytest.mark.usefixtures("settings")
def test_sql_keeps_every_digit_in_every_format(stax: Stax) -> None:
    exact = "12345678901234567890.123456789012345678"
    assert exact in stax("sql", ODD).out
    rows = list(csv.reader(io.StringIO(stax("sql", ODD, "--format", "csv").out)))
    assert rows == [["n", "t", "e", "p"], [exact, 'a,"b\n', "", "50%s"]]
    assert json.loads(stax("sql", ODD, "--format", "json").out) == [{"n": exact, "t": 'a,"b\n', "e": None, "p": "50%s"}]
    assert json.loads(stax("sql", "select 1 where false", "--format", "json").out) == []


@pytest.mark.usefixtures("settings")
def test_text_of_the_source_is_no_formula_and_redraws_no_screen(stax: Stax) -> None:
    query = "select '=cmd()' as a, -1.5 as b, 'x' || chr(27) || '[2J' || chr(8238) || chr(10) || 'y' as c"
    assert list(csv.reader(io.StringIO(stax("sql", query, "--format", "csv").out)))[1][:2] == ["'=cmd()", "-1.5"]
    shown = stax("sql", query).out
    assert "x\\u001b[2J\\u202e\\ny" in shown
    assert len(shown.splitlines()) == 3


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("with gone as (delete from spend returning 1) select * from gone", "read-only transaction"),
        ("delete from spend", "Give one statement that reads"),
        ("set default_transaction_read_only = off; delete from stax.tenants", "Give one statement that reads"),
        ("select 1; select 2", "Give one statement that reads, such as a select: found several"),
        ("set role stax_loader", "or one that returns no rows"),
        (" -- nothing", "Give one statement that reads"),
        ("select * from admin_keys", "permission denied for table admin_keys"),
        ("select * from dagster.runs", "permission denied for schema dagster"),
        ("selec", "syntax error"),
        ("select set_config('role', 'stax_loader', false)", "permission denied"),
    ],
)
@pytest.mark.usefixtures("settings")
def test_sql_refuses_in_one_line(stax: Stax, query: str, words: str) -> None:
    ended = stax("sql", query)
    assert (ended.code, ended.out) == (2, "")
    assert words in ended.err
    assert len(ended.err.strip().splitlines()) == 1


@pytest.mark.usefixtures("settings")
def test_sql_takes_whatever_reads_and_ends_one_that_takes_too_long(stax: Stax, monkeypatch: pytest.MonkeyPatch) -> None:
    for query in ("select ';' as a;", "show timezone", "explain analyze select 1", "values (1)", "table stax.spend"):
        assert stax("sql", query).code == 0
    monkeypatch.setattr(sql, "SESSION", "set statement_timeout = '50ms'")
    ended = stax("sql", "select pg_sleep(60)")
    assert (ended.code, "statement timeout" in ended.err) == (2, True)


@pytest.mark.usefixtures("settings")
def test_env_prints_exports_a_shell_can_read_and_no_master_key(
    stax: Stax, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAX_MASTER_KEY", "ab" * 32)
    monkeypatch.setenv("STAX_LAKE_URL", "/srv/a\u00a0lake")
    ended = stax("env")
    (settings.postgres_home / "pinned").unlink()
    words = [shlex.split(line) for line in ended.out.splitlines()]
    assert words[0] == ["unset", "STAX_MASTER_KEY"]
    assert all(word[0] == "export" and len(word) == 2 for word in words[1:])
    exports = dict(word[1].split("=", 1) for word in words[1:])
    assert exports["STAX_HOME"] == str(settings.home)
    assert exports["DAGSTER_DISABLE_TELEMETRY"] == "1"
    assert exports["STAX_ANTHROPIC_BASE_URL"] == settings.anthropic_base_url
    assert exports["STAX_LAKE_URL"] == "/srv/a\u00a0lake"
    assert not {"STAX_MASTER_KEY", "STAX_DAGSTER_URL"} & exports.keys()
    Path(exports["STAX_SECRETS_FILE"]).unlink()
    assert (settings.home / "dagster").is_dir()


def test_env_takes_every_secret_from_the_shell_and_keeps_it_when_it_is_evaluated_again(
    stax: Stax, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {
        "STAX_MASTER_KEY": "ab" * 32,
        "STAX_ALERT_WEBHOOK": "https://hooks.example/pw-webhook",
        "STAX_SMTP_URL": "smtp://u:pw-mail@mail.example",
        "STAX_ALERT_EMAIL_TO": "ops@example.org",
        "STAX_ALERT_EMAIL_FROM": "stax@example.org",
    }
    secret = sorted(given.keys() & OWN)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    for again in (False, True):
        ended = stax("env")
        assert ended.code == 0, ended.err
        assert not [value for name, value in given.items() if name in secret and value in ended.said]
        assert "pw-" not in ended.said
        unset = [line for line in ended.out.splitlines() if line.startswith("unset")]
        assert unset == ([] if again else [f"unset {' '.join(secret)}"])
        file = settings.home / "dagster" / "shell-secrets.json"
        assert f"export STAX_SECRETS_FILE={file}" in ended.out
        assert file.stat().st_mode & 0o777 == 0o600
        assert json.loads(file.read_text()) == {name: given[name] for name in secret}
        for name in secret:
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("STAX_SECRETS_FILE", str(file))
    assert "pw-webhook" in read_settings().alert_webhook
    file.unlink()
    _read.cache_clear()
    refused = stax("status")
    assert (refused.code, "unset STAX_SECRETS_FILE" in refused.err) == (2, True)
    (settings.postgres_home / "pinned").unlink()


@pytest.mark.usefixtures("settings")
def test_env_without_a_secret_takes_nothing_from_the_shell(stax: Stax, settings: Settings) -> None:
    ended = stax("env")
    (settings.postgres_home / "pinned").unlink()
    assert all(line.startswith("export ") for line in ended.out.splitlines())
    assert "STAX_SECRETS_FILE" not in ended.out
    assert not (settings.home / "dagster" / "shell-secrets.json").exists()


@pytest.mark.usefixtures("settings")
def test_prices_shows_the_book_before_any_sync(stax: Stax) -> None:
    ended = stax("prices", "--model", "opus")
    assert ended.code == 0
    assert "claude-opus-4-5-20251101" in ended.out
    assert "haiku" not in ended.out
    assert re.search(r"^web_search +- ", stax("prices").out, re.MULTILINE)
    assert len(stax("prices", "--all").out.splitlines()) >= len(stax("prices").out.splitlines())


def test_of_every_meter_the_newest_price_that_holds_today_is_in_force() -> None:
    now = shipped_prices()[0]._replace(effective_from=date(2026, 3, 1))
    earlier, coming = (now._replace(effective_from=date(2026, month, 1)) for month in (1, 9))
    other = now._replace(token_type="another")
    book = [earlier, now, coming, other]
    assert in_force(book, date(2026, 8, 31)) == [now, other]
    assert in_force(book, date(2026, 9, 1)) == [coming, other]
    assert in_force(book, date(2025, 1, 1)) == []


@pytest.mark.usefixtures("settings")
def test_the_analysts_address_keeps_the_options_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    given = "postgresql://u:p%40w@h:1/d?options=-cwork_mem%3D8MB%20-cjit%3Doff&host=/run/pg"
    monkeypatch.setenv("STAX_ANALYST_URL", given)
    made = parse_dsn(analyst_url(read_settings()))
    assert made["options"] == "-cwork_mem=8MB -cjit=off -csearch_path=stax"
    assert (made["host"], made["password"]) == ("/run/pg", "p@w")


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("search_path", "pg_catalog, stax, pg_temp"),
        ("default_transaction_read_only", "on"),
        ("statement_timeout", "1min"),
    ],
)
def test_a_query_runs_under_the_products_settings_though_a_pooler_drops_the_options(
    stax: Stax, monkeypatch: pytest.MonkeyPatch, setting: str, value: str
) -> None:
    monkeypatch.setattr("stax_pipeline.cli.database_urls.SEARCH_PATH", "-csearch_path=public")
    assert value in stax("sql", f"show {setting}").out


@pytest.mark.usefixtures("settings")
def test_rotate_master_key_reports_which_key_wraps_what(stax: Stax, simulator: Simulator) -> None:
    for name, key in simulator.keys.items():
        assert stax("connect", name, "--key-file", "-", "--no-sync", typed=key).code == 0
    ended = stax("rotate-master-key")
    assert ended.code == 0
    assert "Re-wrapped now: 2." in ended.out
    assert "wraps 2 stored keys" in ended.out
    assert "wraps none. The backups made before now need it: keep a copy" in ended.out


def test_a_master_key_is_retired_after_a_question_that_says_what_is_lost(
    stax: Stax, settings: Settings, simulator: Simulator
) -> None:
    assert stax("connect", "acme", "--key-file", "-", "--no-sync", typed=simulator.keys["acme"]).code == 0
    file = settings.home / "master.key"
    old = master_keys(settings).primary_id
    stax("rotate-master-key")
    both = file.read_text()
    retire = ("rotate-master-key", "--retire", old)
    silent = stax(*retire)
    assert (silent.code, silent.out, len(silent.err.splitlines())) == (2, "", 1)
    assert "needs --yes without a terminal. Nothing was changed." in silent.err
    refused = stax(*retire, typed="n\n", at_terminal=True)
    assert refused.code == 1
    assert f"backups made before the rotation open with master key {old} alone" in refused.err
    assert "Nothing was changed." in refused.err
    assert stax("rotate-master-key", "--retire", "00000000", "--yes").code == 2
    assert file.read_text() == both
    assert stax(*retire, typed="y\n", at_terminal=True).code == 0
    assert old not in master_keys(settings).ids
    old = master_keys(settings).primary_id
    stax("rotate-master-key")
    assert stax("rotate-master-key", "--retire", old, "--yes").code == 0
    assert old not in master_keys(settings).ids


def test_a_master_key_of_the_setting_is_the_operators_to_put_and_to_remove(
    stax: Stax, settings: Settings, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stax("connect", "acme", "--key-file", "-", "--no-sync", typed=simulator.keys["acme"]).code == 0
    old = (settings.home / "master.key").read_text().strip()
    monkeypatch.setenv("STAX_MASTER_KEY", old)
    assert "put a new master key first in STAX_MASTER_KEY yourself" in stax("rotate-master-key").out
    monkeypatch.setenv("STAX_MASTER_KEY", f"{'ab' * 32} {old}")
    ended = stax("rotate-master-key")
    assert "then remove it from STAX_MASTER_KEY" in ended.out
    assert "--retire" not in ended.out


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (Decimal("1234567.885"), "1,234,567.88"),
        (Decimal("1234567.895"), "1,234,567.90"),
        (Decimal("-0.5"), "-0.50"),
        (Decimal("12345678901234567890.005"), "12,345,678,901,234,567,890.00"),
        (Decimal("0"), "0.00"),
        (Decimal("-0.00"), "0.00"),
        (Decimal("-0.001"), "under one cent"),
        (Decimal("0.005"), "under one cent"),
        (Decimal("0.0051"), "0.01"),
        (None, "-"),
    ],
)
def test_dollars_are_exact(amount: Decimal | None, shown: str) -> None:
    assert render.usd(amount) == shown


def test_a_name_that_drives_terminals_is_shown_escaped() -> None:
    shown = render.table(("näme", "n"), [("\x1b]0;x\x07Acme\u202e\n", "1"), ("Łódź 株式", "22")], right=("n",))
    escaped = r"\u001b]0;x\u0007Acme\u202e\n"
    width = len(escaped)
    rows = ["näme".ljust(width) + "   n", "-" * width + "  --", escaped + "   1", "Łódź 株式".ljust(width) + "  22"]
    assert shown.splitlines() == rows


@pytest.mark.parametrize(
    ("passed", "shown"),
    [
        (timedelta(seconds=-5), "just now"),
        (timedelta(seconds=59), "just now"),
        (timedelta(minutes=1), "1 minute ago"),
        (timedelta(minutes=5, seconds=30), "5 minutes ago"),
        (timedelta(hours=23, minutes=59), "23 hours ago"),
        (timedelta(days=2, hours=1), "2 days ago"),
    ],
)
def test_ages_are_words(passed: timedelta, shown: str) -> None:
    now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    assert render.age(now - passed, now) == shown

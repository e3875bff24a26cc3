"""Settings: a wrong value names its variable and what it may be; no inference key is picked up; no secret shown."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from stax_pipeline.domain.errors import WrongUse
from stax_pipeline.domain.extraction import DataSource
from stax_pipeline.installation.settings import read_settings

SECRET = "s3cr3t-canary"


def test_nothing_set_is_a_complete_configuration() -> None:
    found = read_settings({})
    assert found.embedded
    assert found.home.name == ".stax" and found.home.is_absolute()
    assert found.lake == str(found.home / "lake")
    assert found.anthropic_base_url == "https://api.anthropic.com"
    assert (found.lookback_days, found.settle, found.refresh_minutes) == (7, timedelta(hours=48), 15)
    assert found.source is DataSource.REPORTS
    assert found.master_key == "" and found.master_key_file is None


def test_everything_can_be_set() -> None:
    found = read_settings(
        {
            "STAX_HOME": "/srv/stax", "STAX_DATABASE_URL": "postgresql://u:p@[::1]:5432/d", "STAX_LAKE_URL": "s3://lake",
            "STAX_MASTER_KEY": "k", "STAX_MASTER_KEY_FILE": "/run/key", "STAX_CONCURRENCY": "64",
            "STAX_LOOKBACK_DAYS": "30", "STAX_SETTLE_HOURS": "0", "STAX_REFRESH_MINUTES": "5",
            "STAX_START_DATE": "2026-01-01", "STAX_ANTHROPIC_BASE_URL": "https://proxy.example.org/",
            "STAX_DAGSTER_URL": "postgres://u@localhost/e", "STAX_SOURCE": "both",
        }
    )  # fmt: skip
    assert (found.home, found.lake, found.master_key_file) == (Path("/srv/stax"), "s3://lake", Path("/run/key"))
    assert not found.embedded
    assert found.database_url.partition("?")[0] == "postgresql+psycopg2://u:p@[::1]:5432/d"
    assert found.dagster_url.partition("?")[0] == "postgresql+psycopg2://u@localhost/e"
    assert found.source is DataSource.BOTH
    assert (found.concurrency, found.lookback_days, found.settle_hours, found.refresh_minutes) == (64, 30, 0, 5)
    assert (found.start_date, found.anthropic_base_url) == (date(2026, 1, 1), "https://proxy.example.org")


@pytest.mark.parametrize(
    ("name", "value", "may_be"),
    [
        ("STAX_CONCURRENCY", "0", "a whole number from 1 to 64"),
        ("STAX_CONCURRENCY", "65", "a whole number from 1 to 64"),
        ("STAX_CONCURRENCY", "8.0", "a whole number from 1 to 64"),
        ("STAX_CONCURRENCY", "-1", "a whole number from 1 to 64"),
        ("STAX_CONCURRENCY", "٨", "a whole number from 1 to 64"),
        ("STAX_CONCURRENCY", "1_0", "a whole number from 1 to 64"),
        ("STAX_CONCURRENCY", "9" * 5000, "a whole number from 1 to 64"),
        ("STAX_LOOKBACK_DAYS", "0", "a whole number from 1 to 365"),
        ("STAX_LOOKBACK_DAYS", "366", "a whole number from 1 to 365"),
        ("STAX_SETTLE_HOURS", "721", "a whole number from 0 to 720"),
        ("STAX_SETTLE_HOURS", "1 day", "a whole number from 0 to 720"),
        ("STAX_SOURCE", "report", "one of reports, analytics, both"),
        ("STAX_SOURCE", "BOTH", "one of reports, analytics, both"),
        ("STAX_REFRESH_MINUTES", "45", "one of 0, 5, 10, 15, 20, 30, 60, 120"),
        ("STAX_START_DATE", "yesterday", "a date like 2025-08-18"),
        ("STAX_START_DATE", "2026-02-29", "a date like 2025-08-18"),
        ("STAX_START_DATE", "18.08.2025", "a date like 2025-08-18"),
        ("STAX_DATABASE_URL", "mysql://u@h/d", "a URL like postgresql://"),
        ("STAX_DATABASE_URL", "localhost:5432", "a URL like postgresql://"),
        ("STAX_LOADER_URL", "x", "a URL like postgresql://"),
        ("STAX_ANALYST_URL", "x", "a URL like postgresql://"),
        ("STAX_DAGSTER_URL", "sqlite:///x", "a URL like postgresql://"),
        ("STAX_ANTHROPIC_BASE_URL", "http://api.anthropic.com", "an https:// address, or http:// on loopback"),
        (
            "STAX_ANTHROPIC_BASE_URL",
            f"https://u:{SECRET}@h.example",
            "an https:// address, or http:// on loopback, without user and",
        ),
        (
            "STAX_ANTHROPIC_BASE_URL",
            f"https://{SECRET}@h.example",
            "an https:// address, or http:// on loopback, without user and",
        ),
        ("STAX_LAKE_URL", "ftp://x", "a folder, s3://bucket/path or gs://bucket/path"),
        ("STAX_LAKE_URL", "s3:/x", "a folder, s3://bucket/path or gs://bucket/path"),
        ("STAX_LAKE_URL", "s3://", "a folder, s3://bucket/path or gs://bucket/path"),
        ("STAX_LAKE_URL", "memory://", "a folder, s3://bucket/path or gs://bucket/path"),
        (
            "STAX_LAKE_URL",
            f"s3://KEY:{SECRET}@bucket/path",
            "a folder, s3://bucket/path or gs://bucket/path; keys have",
        ),
        ("STAX_LAKE_URL", f"s3://{SECRET}@bucket", "a folder, s3://bucket/path or gs://bucket/path; keys have"),
        ("STAX_LAKE_URL", f"s3://bucket?secret={SECRET}", "a folder, s3://bucket/path or gs://bucket/path; keys have"),
        ("STAX_ANTHROPIC_BASE_URL", "http://localhost@evil.example", "an https:// address, or http:// on loopback"),
        ("STAX_ANTHROPIC_BASE_URL", "http://localhost.evil.example", "an https:// address, or http:// on loopback"),
        ("STAX_ANTHROPIC_BASE_URL", "http://127.0.0.1.evil.example", "an https:// address, or http:// on loopback"),
        ("STAX_ANTHROPIC_BASE_URL", "http://0.0.0.0", "an https:// address, or http:// on loopback"),
        ("STAX_ANTHROPIC_BASE_URL", "api.anthropic.com", "an https:// address, or http:// on loopback"),
        ("STAX_ANTHROPIC_BASE_URL", "ftp://localhost", "an https:// address, or http:// on loopback"),
        ("STAX_ANTHROPIC_BASE_URL", "https://", "an https:// address, or http:// on loopback"),
        ("STAX_ANTHROPIC_BASE_URL", "https:///v1", "an https:// address, or http:// on loopback"),
        ("STAX_ANTHROPIC_BASE_URL", "https://[::1", "an https:// address, or http:// on loopback"),
        ("STAX_HOME", "~no-such-user-here/stax", "a path"),
        ("STAX_MASTER_KEY_FILE", "~no-such-user-here/key", "a path"),
    ],
)
def test_a_wrong_value_names_its_variable_and_what_it_may_be(name: str, value: str, may_be: str) -> None:
    with pytest.raises(WrongUse) as wrong:
        read_settings({name: value})
    assert str(wrong.value).startswith(f"{name} is not usable: it must be {may_be}")
    assert len(str(wrong.value)) < 200
    assert SECRET not in str(wrong.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080", "http://localhost:1", "http://[::1]:9", "HTTP://LOCALHOST"])
def test_http_is_for_loopback(url: str) -> None:
    assert read_settings({"STAX_ANTHROPIC_BASE_URL": url}).anthropic_base_url == url


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg2"])
def test_the_driver_is_always_spelled_out(scheme: str) -> None:
    assert read_settings({"STAX_DATABASE_URL": f"{scheme}://u@[::1]/d"}).database_url.startswith(
        "postgresql+psycopg2://u@[::1]/d?"
    )


@pytest.mark.parametrize("blank", ["", "  ", "\t\n"])
def test_an_empty_value_is_no_value(blank: str) -> None:
    names = ["STAX_HOME", "STAX_DATABASE_URL", "STAX_CONCURRENCY", "STAX_START_DATE", "STAX_MASTER_KEY_FILE"]
    assert read_settings(dict.fromkeys(names, blank)) == read_settings({})


@pytest.mark.parametrize("name", ["STAX_DATABASE_URL", "STAX_LOADER_URL", "STAX_ANALYST_URL", "STAX_DAGSTER_URL"])
@pytest.mark.parametrize(
    "rest",
    [
        f"u:{SECRET}@word@h:5432/d", f"u:{SECRET}@h@h2/d", f"u:{SECRET}@h:port/d", f"u:{SECRET}@h:0/d",
        f"u:{SECRET}@h:65536/d", f"u:{SECRET}@h:٥٤٣٢/d", f"u:{SECRET}@ho st/d", f"u:{SECRET}@h!/d",
        f"u:{SECRET}@[::1/d", f"u:{SECRET}@h:5432:5433/d",
    ],
)  # fmt: skip
def test_a_database_url_that_means_another_host_than_it_seems_is_refused(name: str, rest: str) -> None:
    with pytest.raises(WrongUse, match="a password's @ must be written %40") as wrong:
        read_settings({name: f"postgresql://{rest}"})
    assert str(wrong.value).startswith(f"{name} is not usable: it must be a URL like postgresql://")
    assert SECRET not in str(wrong.value)


@pytest.mark.parametrize(
    "rest", ["/d?host=/run/pg", "u@[::1]:5432/d", "u:p@127.0.0.2/d", "u:p@localhost:1/d?options=-cx%3Dy@z"]
)
def test_an_unusual_database_url_on_this_machine_is_taken_as_it_is(rest: str) -> None:
    rest += f"{'&' if '?' in rest else '?'}require_auth=password"
    found = read_settings({"STAX_DATABASE_URL": f"postgresql://{rest}"}).database_url
    assert found == f"postgresql+psycopg2://{rest}"


@pytest.mark.parametrize(
    ("rest", "host"),
    [("h", "h"), ("u:p%40w@h:5432/d?options=-cx%3Dy@z", "h"), ("u:p/w#x?y@h/d", "h"), ("u@%2Frun/d", "%2Frun")],
)
def test_an_unusual_database_url_elsewhere_keeps_all_it_says(rest: str, host: str) -> None:
    found = read_settings({"STAX_DATABASE_URL": f"postgresql://{rest}"}).database_url
    assert found.startswith(f"postgresql+psycopg2://{rest}")
    assert sa.make_url(found).host == host and sa.make_url(found).query["sslmode"] == "verify-full"


def test_values_are_stripped() -> None:
    assert read_settings({"STAX_CONCURRENCY": " 4\n"}).concurrency == 4


def test_no_variable_of_anthropic_s_own_is_ever_read() -> None:
    class Watched(dict[str, str]):
        asked: set[str] = set()

        def get(self, name: str, default: str = "") -> str:  # type: ignore[override]
            self.asked.add(name)
            return super().get(name, default)

        def __getitem__(self, name: str) -> str:
            self.asked.add(name)
            return super().__getitem__(name)

    names = ["ANTHROPIC_API_KEY", "ANTHROPIC_ADMIN_KEY", "ANTHROPIC_BASE_URL", "ANTHROPIC_AUTH_TOKEN"]
    watched = Watched(dict.fromkeys(names, SECRET))
    assert read_settings(watched) == read_settings({})
    assert watched.asked and all(name.startswith("STAX_") for name in watched.asked)


def test_the_process_s_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAX_CONCURRENCY", "3")
    monkeypatch.setenv("ANTHROPIC_API_KEY", SECRET)
    found = read_settings()
    assert found.concurrency == 3
    assert SECRET not in repr([getattr(found, name) for name in found.__slots__])


def test_no_secret_is_in_the_repr() -> None:
    url = f"postgresql://u:{SECRET}@h/d"
    found = read_settings(
        {
            "STAX_DATABASE_URL": url, "STAX_LOADER_URL": url, "STAX_ANALYST_URL": url, "STAX_DAGSTER_URL": url,
            "STAX_MASTER_KEY": SECRET,
        }
    )  # fmt: skip
    assert SECRET not in repr(found) and SECRET not in str(found)
    assert found.master_key == SECRET


@pytest.mark.parametrize("name", ["STAX_DATABASE_URL", "STAX_LOADER_URL", "STAX_ANTHROPIC_BASE_URL"])
def test_no_secret_is_in_the_message_of_a_wrong_value(name: str) -> None:
    with pytest.raises(WrongUse) as wrong:
        read_settings({name: f"mysql://u:{SECRET}@h/d"})
    assert SECRET not in str(wrong.value)
    assert wrong.value.__cause__ is None and wrong.value.__suppress_context__


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "[::1]", "localhost"])
def test_a_loopback_address_needs_no_login(host: str) -> None:
    assert read_settings({"STAX_HOST": host}).host in ("127.0.0.1", "127.0.0.2", "::1")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.5", "192.168.1.1", "2001:db8::1"])
def test_any_other_address_is_refused_unless_a_login_in_front_is_declared(host: str) -> None:
    for names in ("", "localhost", "127.0.0.2,LOCALHOST, 127.0.0.1", "stax.localhost"):
        refusal = "^STAX_HOST is not usable: it must be a loopback .* unless STAX_BEHIND_LOGIN names .* than loopback"
        with pytest.raises(WrongUse, match=refusal):
            read_settings({"STAX_HOST": host, "STAX_BEHIND_LOGIN": names})
    found = read_settings({"STAX_HOST": host, "STAX_BEHIND_LOGIN": "Stax.example.com, other"})
    assert (found.host, found.behind_login) == (host, ("stax.example.com", "other"))
    assert found.served_names == {"127.0.0.1", "localhost", "::1", "stax.example.com", "other"}


@pytest.mark.parametrize("host", ["example.com", "127.0.0.1:80", "http://127.0.0.1", "1", "127.0.0.1 0.0.0.0"])
def test_an_address_is_an_ip_address(host: str) -> None:
    with pytest.raises(WrongUse, match="^STAX_HOST is not usable: it must be an IP address"):
        read_settings({"STAX_HOST": host, "STAX_BEHIND_LOGIN": "a"})


@pytest.mark.parametrize("names", ["yes,", "https://a", "a:80", "*", "*.example.com", "a b", "-a", ",", "é"])
def test_a_login_is_declared_by_plain_names(names: str) -> None:
    with pytest.raises(WrongUse, match="^STAX_BEHIND_LOGIN is not usable: it must be names"):
        read_settings({"STAX_BEHIND_LOGIN": names})


MAIL = {
    "STAX_ALERT_EMAIL_TO": "ops@example.org", "STAX_ALERT_EMAIL_FROM": "stax@example.org", "STAX_SMTP_URL": "smtp://h"
}  # fmt: skip


class TestAlerts:
    def test_nothing_is_told_to_anybody_by_default(self) -> None:
        found = read_settings({})
        assert (found.alert_webhook, found.alert_webhook_format, found.smtp) == ("", "json", None)

    @pytest.mark.parametrize(
        ("url", "host", "port", "tls", "user", "password"),
        [
            ("smtp://h", "h", 587, False, "", ""),
            ("smtps://mail.example.org", "mail.example.org", 465, True, "", ""),
            ("smtps://u:p%40%2Fw@mail.example.org:2465/", "mail.example.org", 2465, True, "u", "p@/w"),
            ("smtp://a%40b.org:p@[::1]:25", "::1", 25, False, "a@b.org", "p"),
        ],
    )
    def test_a_mail_server(self, url: str, host: str, port: int, tls: bool, user: str, password: str) -> None:
        found = read_settings(MAIL | {"STAX_SMTP_URL": url}).smtp
        assert found
        assert (found.host, found.port, found.tls, found.user, found.password) == (host, port, tls, user, password)

    @pytest.mark.parametrize(
        ("name", "value", "may_be"),
        [
            ("STAX_ALERT_WEBHOOK", f"http://example.org/{SECRET}", "an https:// address, or http:// on loopback"),
            ("STAX_ALERT_WEBHOOK", f"https://h:0/{SECRET}", "an https:// address, or http:// on loopback"),
            ("STAX_ALERT_WEBHOOK", f"https://h:x/{SECRET}", "an https:// address, or http:// on loopback"),
            ("STAX_ALERT_WEBHOOK", f"https://h/{SECRET} x", "an https:// address, or http:// on loopback"),
            ("STAX_ALERT_WEBHOOK", f"hooks.example.org/{SECRET}", "an https:// address, or http:// on loopback"),
            ("STAX_ALERT_WEBHOOK_FORMAT", "teams", "one of json, slack"),
            ("STAX_ALERT_EMAIL_TO", "ops", "one or more e-mail addresses"),
            ("STAX_ALERT_EMAIL_TO", "a@b.org,", "one or more e-mail addresses"),
            ("STAX_ALERT_EMAIL_TO", "a@b.org\nBcc: x@y.org", "one or more e-mail addresses"),
            ("STAX_ALERT_EMAIL_FROM", "a@b.org, c@d.org", "one e-mail address"),
            ("STAX_SMTP_URL", f"http://u:{SECRET}@h", "a URL like smtp://"),
            ("STAX_SMTP_URL", f"smtp://u:{SECRET}@x@h", "a URL like smtp://"),
            ("STAX_SMTP_URL", f"smtp://u:{SECRET}@h:0", "a URL like smtp://"),
            ("STAX_SMTP_URL", f"smtp://u:{SECRET}@h:65536", "a URL like smtp://"),
            ("STAX_SMTP_URL", f"smtp://u:{SECRET}@", "a URL like smtp://"),
            ("STAX_SMTP_URL", f"smtp://{SECRET}@h", "a URL like smtp://"),
        ],
    )
    def test_a_wrong_value_is_refused_without_being_shown(self, name: str, value: str, may_be: str) -> None:
        with pytest.raises(WrongUse) as wrong:
            read_settings(MAIL | {name: value})
        assert str(wrong.value).startswith(f"{name} is not usable: it must be {may_be}")
        assert SECRET not in str(wrong.value)

    @pytest.mark.parametrize("left_out", list(MAIL))
    def test_e_mail_needs_all_three(self, left_out: str) -> None:
        with pytest.raises(WrongUse, match=f"not set: {left_out}"):
            read_settings({name: value for name, value in MAIL.items() if name != left_out})

    def test_no_secret_is_in_the_repr(self) -> None:
        url, hook = f"smtp://u:{SECRET}@h", f"https://h/{SECRET}"
        found = read_settings(MAIL | {"STAX_SMTP_URL": url, "STAX_ALERT_WEBHOOK": hook})
        assert SECRET not in repr(found) + repr(found.smtp)


@pytest.mark.parametrize(
    ("given", "asks"),
    [
        ({}, False),
        ({"STAX_PUBLIC_URL": "http://localhost:3000"}, False),
        ({"STAX_HOST": "127.0.0.2"}, False),
        ({"STAX_BEHIND_LOGIN": "stax.localhost"}, False),
        ({"STAX_PUBLIC_URL": "https://stax.example.com"}, True),
        ({"STAX_BEHIND_LOGIN": "stax.example.com"}, True),
        ({"STAX_HOST": "0.0.0.0", "STAX_PUBLIC_URL": "https://stax.example.com"}, True),
    ],
)
def test_the_app_asks_for_a_login_wherever_others_reach_it(given: dict[str, str], asks: bool) -> None:
    assert read_settings(given).asks_for_login is asks


def test_the_address_that_people_open_is_served() -> None:
    found = read_settings({"STAX_PUBLIC_URL": "https://Stax.example.com:8443/"})
    assert found.public_url == "https://stax.example.com:8443"
    assert "stax.example.com" in found.served_names


@pytest.mark.parametrize(
    "url",
    ["http://stax.example.com", "stax.example.com", "https://", "https://u:p@stax.example.com", "https://a/b",
     "https://a?b=c", "https://a:0", "ftp://a", "https://[", "https://a#b"],
)  # fmt: skip
def test_an_address_that_people_cannot_open_safely_is_refused(url: str) -> None:
    with pytest.raises(WrongUse, match="^STAX_PUBLIC_URL is not usable: it must be the https:// address"):
        read_settings({"STAX_PUBLIC_URL": url})


@pytest.mark.parametrize("name", ["cookie", "Authorization", "host", "a b", "-", "x:y", "ü"])
def test_a_header_that_names_nobody_is_refused(name: str) -> None:
    with pytest.raises(WrongUse, match="^STAX_LOGIN_HEADER is not usable: it must be the header"):
        read_settings({"STAX_LOGIN_HEADER": name, "STAX_BEHIND_LOGIN": "stax.example.com"})


def test_a_login_header_needs_its_login_declared() -> None:
    with pytest.raises(WrongUse, match="^STAX_LOGIN_HEADER is not usable: STAX_BEHIND_LOGIN must name"):
        read_settings({"STAX_LOGIN_HEADER": "X-Forwarded-User"})
    found = read_settings({"STAX_LOGIN_HEADER": "X-Forwarded-User", "STAX_BEHIND_LOGIN": "stax.example.com"})
    assert found.login_header == "x-forwarded-user"

"""Every setting, read in this one place. A wrong value stops with the variable's name and what it may be.

No `ANTHROPIC_*` variable is ever read: a key for inference must not become a tenant's admin key by accident.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TypeVar
from urllib.parse import SplitResult, unquote, urlsplit

from stax_pipeline.domain.errors import WrongUse
from stax_pipeline.domain.extraction import DataSource
from stax_pipeline.domain.pasted_key import refuse_keys_in_settings
from stax_pipeline.installation import postgres_url, process_secrets
from stax_pipeline.installation.homes import default_home, simulator_of
from stax_pipeline.installation.ownership import described, is_trusted, own_home

T = TypeVar("T")
ANTHROPIC = "https://api.anthropic.com"
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
WEBHOOK_FORMATS = ("json", "slack")
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*")
_SMTP = re.compile(
    r"smtp(?P<tls>s?)://(?:(?P<user>[^:/@\s]+):(?P<password>[^:/@\s]+)@)?"
    r"(?P<host>[\w.-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?/?",
    re.ASCII,
)


def _whole(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 10 and low <= int(text) <= high):
            raise ValueError(f"a whole number from {low} to {high}")
        return int(text)

    return read


REFRESHES = (0, 5, 10, 15, 20, 30, 60, 120, 180, 240, 360, 720)  # what a cron line can say evenly


def _refresh(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 5 and int(text) in REFRESHES):
        raise ValueError(f"one of {', '.join(map(str, REFRESHES))}")
    return int(text)


def _data_source(text: str) -> DataSource:
    try:
        return DataSource(text)
    except ValueError:
        raise ValueError(f"one of {', '.join(DataSource)}") from None


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError("a date like 2025-08-18") from None


def _certificates(text: str) -> Path:
    path = _path(text)
    if not path.is_file():
        raise ValueError("a file of certificates (PEM) of those who may vouch for the database's server")
    return path


def _is_private(url: SplitResult) -> bool:
    """Whether nobody on the way can read what is sent there."""
    return bool(url.hostname) and (url.scheme == "https" or (url.scheme == "http" and url.hostname in LOOPBACK))


def _source(text: str) -> str:
    try:
        url = urlsplit(text)
        if _is_private(url) and "@" not in url.netloc:
            return text.rstrip("/")
    except ValueError:  # its own words say what is wrong, not what it may be
        pass
    raise ValueError("an https:// address, or http:// on loopback, without user and password: no key is sent in clear")


_BUCKET = re.compile(r"(?:s3|gs)://[A-Za-z0-9][A-Za-z0-9._-]*(?:/[^?#\s]*)?")


def _lake(text: str) -> str:
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", text) and not _BUCKET.fullmatch(text):
        raise ValueError("a folder, s3://bucket/path or gs://bucket/path; keys have variables of their own (AWS_…)")
    return text


_HOST_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")


def _listening(text: str) -> str:
    try:
        return str(ip_address("127.0.0.1" if text.lower() == "localhost" else text.strip("[]")))
    except ValueError:
        raise ValueError("an IP address of this machine, such as 127.0.0.1, ::1 or 0.0.0.0") from None


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip().lower() for name in text.split(","))
    if not all(_HOST_NAME.fullmatch(name) for name in names):
        raise ValueError("names under which a login in front serves the UI, such as stax.example.com, comma between")
    return names


_HEADER = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}[A-Za-z0-9])?")


def _login_header(text: str) -> str:
    if not _HEADER.fullmatch(text) or text.lower() in ("authorization", "cookie", "host", "origin"):
        raise ValueError("the header in which the login in front names the person, such as X-Forwarded-User")
    return text.lower()


def _public_url(text: str) -> str:
    try:
        url = urlsplit(text)
        if (
            _is_private(url)
            and url.port != 0
            and "@" not in url.netloc
            and url.path in ("", "/")
            and not url.query + url.fragment
        ):
            return text.rstrip("/").lower()
    except ValueError:
        pass
    raise ValueError("the https:// address that people open, such as https://stax.example.com, without a path")


def _is_own_machine(name: str) -> bool:
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


def _webhook(text: str) -> str:
    try:
        url = urlsplit(text)
        if _is_private(url) and url.port != 0 and text.isascii() and text.isprintable() and " " not in text:
            return text
    except ValueError:
        pass
    raise ValueError("an https:// address, or http:// on loopback: alerts are never sent in clear")


def _webhook_format(text: str) -> str:
    if text not in WEBHOOK_FORMATS:
        raise ValueError(f"one of {', '.join(WEBHOOK_FORMATS)}")
    return text


def _addresses(text: str) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    if not all(_ADDRESS.fullmatch(one) for one in found):
        raise ValueError("one or more e-mail addresses like ops@example.org, separated by commas")
    return found


def _address(text: str) -> str:
    if not _ADDRESS.fullmatch(text):
        raise ValueError("one e-mail address like stax@example.org")
    return text


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mail is handed in. `tls` holds from the first byte (smtps); without it STARTTLS follows the greeting."""

    host: str
    port: int
    tls: bool
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @property
    def is_loopback(self) -> bool:
        return self.host in LOOPBACK


def _smtp(text: str) -> MailServer:
    found = _SMTP.fullmatch(text)
    port = int(found["port"] or (465 if found["tls"] else 587)) if found else 0
    if not found or not 0 < port < 65_536:
        raise ValueError("a URL like smtp://user:password@host:587 or smtps://… (a password's @ must be written %40)")
    host = found["host"].strip("[]").lower()
    return MailServer(host, port, bool(found["tls"]), unquote(found["user"] or ""), unquote(found["password"] or ""))


def _path(text: str) -> Path:
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError:
        raise ValueError("a path; the home directory that its ~ names is not known") from None


def _authorities(text: str) -> Path:
    """Read once, so that a wrong file is told here and not as a failure of every connection."""
    path = _path(text)
    try:
        found = path.stat()
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except OSError as fault:
        why = "it holds none" if isinstance(fault, ssl.SSLError) else fault.strerror
        raise ValueError(f"a file of CA certificates in PEM form ({why})") from None
    if not is_trusted(found):
        raise ValueError(f"a file that nobody else can change ({described(found)}): it says who may hear the keys")
    return path


def _text(text: str) -> str:
    return text


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment says. URLs and keys hold secrets and stay out of the repr."""

    home: Path
    database_url: str = field(default="", repr=False)
    loader_url: str = field(default="", repr=False)
    analyst_url: str = field(default="", repr=False)
    app_url: str = field(default="", repr=False)
    dagster_url: str = field(default="", repr=False)
    database_ca_file: Path | None = None
    lake_url: str = field(default="", repr=False)
    master_key: str = field(default="", repr=False)
    master_key_file: Path | None = None
    ca_file: Path | None = None
    anthropic_base_url: str = field(default=ANTHROPIC, repr=False)
    concurrency: int = 8
    lookback_days: int = 7
    settle_hours: int = 48
    refresh_minutes: int = 15
    start_date: date = date.min
    source: DataSource = DataSource.REPORTS
    host: str = "127.0.0.1"
    port: int = 3000
    behind_login: tuple[str, ...] = ()
    login_header: str = ""
    public_url: str = ""
    postgres_port: int | None = None
    alert_webhook: str = field(default="", repr=False)
    alert_webhook_format: str = "json"
    alert_email_to: tuple[str, ...] = ()
    alert_email_from: str = ""
    smtp: MailServer | None = field(default=None, repr=False)

    @property
    def embedded(self) -> bool:
        return not self.database_url

    @property
    def postgres_home(self) -> Path:
        return self.home / "postgres"

    @property
    def lake(self) -> str:
        return self.lake_url or str(self.home / "lake")

    @property
    def served_names(self) -> frozenset[str]:
        """Names in a request's `Host` that the app answers to: this machine's own, and those it is reached by."""
        own = {self.host} if ip_address(self.host).is_loopback else set()
        public = {urlsplit(self.public_url).hostname or ""} if self.public_url else set()
        return LOOPBACK | own | public | frozenset(self.behind_login)

    @property
    def asks_for_login(self) -> bool:
        """Whether the app is reached by others than this machine's own people, by itself or through a proxy."""
        return not all(map(_is_own_machine, {self.host, *self.served_names}))

    @property
    def settle(self) -> timedelta:
        return timedelta(hours=self.settle_hours)


def first_day_file(home: Path) -> Path:
    """Where an installation keeps the first UTC day that it may fetch."""
    return home / "first_day"


def first_day_of_new() -> date:
    """So far back that the month before is whole when its close is read, on the 8th."""
    return datetime.now(UTC).date() - timedelta(days=62)


def _first_day(home: Path) -> date:
    try:
        return _day(first_day_file(home).read_text().strip())
    except FileNotFoundError:
        return first_day_of_new()
    except OSError as fault:
        raise WrongUse(f"{first_day_file(home)} cannot be read: {fault.strerror}.") from None
    except ValueError:
        raise WrongUse(f"{first_day_file(home)} is not usable: it must hold a date like 2025-08-18.") from None


def read_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """The settings of this process. Raises WrongUse with the variable's name and what it may be."""
    given = os.environ if environment is None else environment
    secrets = process_secrets.secrets_of(given)
    found = {**secrets, **given}
    refuse_keys_in_settings(found)

    def read(name: str, parse: Callable[[str], T], default: T) -> T:
        text = (given.get(name, "") or secrets.get(name, "")).strip()
        if not text:
            return default
        try:
            return parse(text)
        except ValueError as fault:
            raise WrongUse(f"{name} is not usable: it must be {fault}.") from None

    home = own_home(read("STAX_HOME", _path, None) or default_home())
    authorities = read("STAX_DATABASE_CA_FILE", _certificates, None)

    def postgres(text: str) -> str:
        return postgres_url.secured(postgres_url.parsed(text), authorities)

    file = read("STAX_MASTER_KEY_FILE", _path, None)
    nobody: tuple[str, ...] = ()
    host, behind_login = read("STAX_HOST", _listening, "127.0.0.1"), read("STAX_BEHIND_LOGIN", _names, nobody)
    public_url, login_header = read("STAX_PUBLIC_URL", _public_url, ""), read("STAX_LOGIN_HEADER", _login_header, "")
    _require_reachable_by_name(host, behind_login, public_url)
    if login_header and not behind_login:
        raise WrongUse("STAX_LOGIN_HEADER is not usable: STAX_BEHIND_LOGIN must name the address of that login.")
    _require_together(found, "STAX_ALERT_EMAIL_TO", "STAX_ALERT_EMAIL_FROM", "STAX_SMTP_URL")
    return Settings(
        home=home,
        database_url=read("STAX_DATABASE_URL", postgres, ""),
        loader_url=read("STAX_LOADER_URL", postgres, ""),
        analyst_url=read("STAX_ANALYST_URL", postgres, ""),
        app_url=read("STAX_APP_URL", postgres, ""),
        dagster_url=read("STAX_DAGSTER_URL", postgres, ""),
        database_ca_file=authorities,
        lake_url=read("STAX_LAKE_URL", _lake, ""),
        master_key=read("STAX_MASTER_KEY", _text, ""),
        master_key_file=file,
        ca_file=read("STAX_CA_FILE", _authorities, None),
        anthropic_base_url=_source_of(home, read("STAX_ANTHROPIC_BASE_URL", _source, "")),
        concurrency=read("STAX_CONCURRENCY", _whole(1, 64), 8),
        lookback_days=read("STAX_LOOKBACK_DAYS", _whole(1, 365), 7),
        settle_hours=read("STAX_SETTLE_HOURS", _whole(0, 720), 48),
        refresh_minutes=read("STAX_REFRESH_MINUTES", _refresh, 15),
        start_date=read("STAX_START_DATE", _day, None) or _first_day(home),
        source=read("STAX_SOURCE", _data_source, DataSource.REPORTS),
        host=host,
        port=read("STAX_PORT", _whole(1, 65_535), 3000),
        behind_login=behind_login,
        login_header=login_header,
        public_url=public_url,
        postgres_port=read("STAX_POSTGRES_PORT", _whole(1024, 65_535), None),
        alert_webhook=read("STAX_ALERT_WEBHOOK", _webhook, ""),
        alert_webhook_format=read("STAX_ALERT_WEBHOOK_FORMAT", _webhook_format, "json"),
        alert_email_to=read("STAX_ALERT_EMAIL_TO", _addresses, ()),
        alert_email_from=read("STAX_ALERT_EMAIL_FROM", _address, ""),
        smtp=read("STAX_SMTP_URL", _smtp, None),
    )


def _require_reachable_by_name(host: str, behind_login: tuple[str, ...], public_url: str) -> None:
    named = (*behind_login, urlsplit(public_url).hostname or "localhost")
    if not _is_own_machine(host) and all(map(_is_own_machine, named)):
        raise WrongUse(
            "STAX_HOST is not usable: it must be a loopback address such as 127.0.0.1, unless STAX_BEHIND_LOGIN names "
            "the address, other than loopback, under which a login in front serves the app, or STAX_PUBLIC_URL the "
            "one under which people open it."
        )


def _source_of(home: Path, given: str) -> str:
    """Whom keys are sent to. Raises WrongUse where a demo's made-up keys would go to another than its simulator."""
    simulator = simulator_of(home)
    if simulator and given not in ("", simulator):
        raise WrongUse(
            f"STAX_ANTHROPIC_BASE_URL is not usable: {home} is a demo's home, whose made-up keys go to its simulator "
            f"alone ({simulator}). Unset it, or set STAX_HOME to another folder."
        )
    return given or simulator or ANTHROPIC


def _require_together(found: Mapping[str, str], *names: str) -> None:
    missing = [name for name in names if not found.get(name, "").strip()]
    if 0 < len(missing) < len(names):
        raise WrongUse(f"Alerts by e-mail need {', '.join(names)}; not set: {', '.join(missing)}.")

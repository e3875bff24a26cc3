"""What children of a command get of its environment, and that plain `dagster dev` gets its secrets all the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from stax_pipeline.cli import children
from stax_pipeline.cli.environment import one_of_dagsters_processes
from stax_pipeline.cli.unknown_settings import ELSEWHERE
from stax_pipeline.embedded_postgres import binaries
from stax_pipeline.installation import process_secrets
from stax_pipeline.installation.settings import Settings, read_settings
from stax_pipeline.lake.store import Lake

OPEN = {
    "PATH": "/bin:a@b/bin", "HOME": "/h", "LANG": "C", "LC_TIME": "de_DE", "TZ": "UTC", "PYTHONPATH": "/p",
    "STAX_HOME": "/s", "STAX_MASTER_KEY_FILE": "/run/key", "STAX_LAKE_URL": "s3://b/p", "STAX_REFRESH_MINUTES": "5",
    "AWS_REGION": "r", "AWS_WEB_IDENTITY_TOKEN_FILE": "/run/token", "GOOGLE_APPLICATION_CREDENTIALS": "/run/g.json",
    "AWS_SSE_KMS_KEY_ID": "arn:aws:kms:1", "AWS_ENDPOINT_URL": "https://minio:9000", "PGPASSFILE": "/h/.pgpass",
    "PGHOST": "/run/pg", "HTTPS_PROXY": "http://proxy:3128", "no_proxy": "localhost",
    "SSL_CERT_FILE": "/opt/openssl@3/cert.pem",
}  # fmt: skip
OWN = {
    "STAX_MASTER_KEY": "k", "STAX_DATABASE_URL": "postgresql://u:p@localhost/d", "STAX_ALERT_WEBHOOK": "https://h/x",
    "STAX_DAGSTER_URL": "postgresql://d:p@localhost/d", "STAX_SMTP_URL": "smtp://u:p@h", "STAX_LOADER_URL": "l",
    "STAX_ANALYST_URL": "a",
}  # fmt: skip
OF_S3 = {"AWS_ACCESS_KEY_ID": "i", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "t"}
FOREIGN = {
    "GITHUB_TOKEN": "t", "PGPASSWORD": "p", "OPENAI_API_KEY": "k", "DATABASE_URL": "postgres://u:p@h/d", "PAT": "x",
    "SENTRY_DSN": "https://abc@sentry.example/1", "STAX_SMPT_URL": "smtp://u:p@h", "KUBECONFIG_DATA": "x",
    "REDIS": "redis://:p@h", "DAGSTER_CLOUD_AGENT_TOKEN": "x", "PYTHON_KEYRING": "x", "GOOGLE_API_KEY": "x",
    "AWS_ENDPOINT": "https://u:p@minio:9000",
}  # fmt: skip
PROXY = {"https_proxy": "http://u:p@proxy:3128", "ALL_PROXY": "u:p@proxy:3128"}


def test_dagsters_processes_get_what_is_named_and_nothing_else() -> None:
    assert children.of_dagsters_processes(OPEN | OWN | OF_S3 | FOREIGN | PROXY) == OPEN


def test_the_file_gets_our_own_secrets_and_those_of_the_storage_that_is_used() -> None:
    given = OPEN | OWN | OF_S3 | FOREIGN | PROXY
    google = {"GOOGLE_SERVICE_ACCOUNT_KEY": "{}"}
    assert process_secrets.carried(given | google) == OWN | OF_S3 | PROXY
    assert process_secrets.carried(given | google | {"STAX_LAKE_URL": "gs://b"}) == OWN | google | PROXY
    assert process_secrets.carried(given | google | {"STAX_LAKE_URL": "/var/lake"}) == OWN


def test_a_program_that_is_not_dagsters_gets_no_setting() -> None:
    passed = children.of_a_program(OPEN | OWN | OF_S3 | FOREIGN | PROXY)
    assert passed == {name: OPEN[name] for name in ("PATH", "HOME", "LANG", "LC_TIME", "TZ", "PYTHONPATH")}


def test_every_setting_is_either_open_or_handed_over() -> None:
    assert not children.OPEN_SETTINGS & process_secrets.OWN
    assert children.SETTINGS == children.OPEN_SETTINGS | process_secrets.OWN
    assert set(children.of_dagsters_processes(dict.fromkeys(ELSEWHERE, "x"))) == set(ELSEWHERE)


def test_what_a_run_in_this_process_starts_has_no_secret(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAX_MASTER_KEY", "ab" * 32)
    monkeypatch.setenv("GITHUB_TOKEN", "foreign")
    with pytest.raises(KeyError), one_of_dagsters_processes(settings):
        assert read_settings().master_key == "ab" * 32
        command = [sys.executable, "-c", "import json, os; print(json.dumps(dict(os.environ)))"]
        seen = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        raise KeyError
    assert not {"STAX_MASTER_KEY", "GITHUB_TOKEN"} & seen.keys()
    assert seen["STAX_HOME"] == str(settings.home)
    assert (os.environ["STAX_MASTER_KEY"], os.environ["GITHUB_TOKEN"]) == ("ab" * 32, "foreign")
    monkeypatch.delenv("STAX_MASTER_KEY")
    assert read_settings().master_key == ""


def test_a_search_for_postgres_starts_no_program_with_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "pg_config"
    program.write_text(f"#!/bin/sh\nenv > {tmp_path}/seen\necho {tmp_path}\n")
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("STAX_MASTER_KEY", "ab" * 32)
    assert list(binaries._candidates())[-1] == tmp_path
    seen = (tmp_path / "seen").read_text()
    assert f"PATH={tmp_path}" in seen
    assert "STAX_" not in seen


class _Proxy(BaseHTTPRequestHandler):
    """Notes what a client asks of a proxy, and answers as S3 does to a new object."""

    asked: list[tuple[str, str | None]]

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.asked.append((self.path, self.headers["Proxy-Authorization"]))
        self.send_response(200)
        self.send_header("ETag", '"1"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def proxy() -> Iterator[ThreadingHTTPServer]:
    _Proxy.asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), _Proxy) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize("by_proxy", [True, False])
def test_object_storage_is_reached_as_before_by_a_proxy_whose_password_was_handed_over(
    proxy: ThreadingHTTPServer, by_proxy: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = f"127.0.0.1:{proxy.server_address[1]}"
    given = OF_S3 | {"HTTP_PROXY": f"http://user:word@{place}" if by_proxy else "", "STAX_LAKE_URL": "s3://bucket/lake"}
    for name in (*process_secrets.PROXIES, *OF_S3, "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    process_secrets.write(tmp_path / "secrets.json", process_secrets.carried(given))
    monkeypatch.setenv(process_secrets.VARIABLE, str(tmp_path / "secrets.json"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://minio.test" if by_proxy else f"http://{place}")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    Lake("s3://bucket/lake").put_new("raw/a", b"x")
    [(path, authorization)] = _Proxy.asked
    assert path == ("http://minio.test" if by_proxy else "") + "/bucket/lake/raw/a"
    assert authorization == ("Basic dXNlcjp3b3Jk" if by_proxy else None)

"""Whom a request with a key believes: the public authorities or STAX_CA_FILE, never a variable of other programs."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import pytest

from stax_pipeline.alerts.channels import DeliveryFailed, Webhook
from stax_pipeline.alerts.message import trial
from stax_pipeline.anthropic import admin_api
from stax_pipeline.anthropic.transport import Limits
from stax_pipeline.domain.admin_key import AdminKey
from stax_pipeline.domain.errors import SourceUnavailable, WrongUse
from stax_pipeline.installation.certificates import client_context
from stax_pipeline.installation.settings import read_settings
from stax_pipeline_tests.alerts.test_channels import make_certificate

KEY = AdminKey("sk-ant-admin01-canary-0123456789")


class Source(BaseHTTPRequestHandler):
    """An organisation behind TLS; what it heard is kept."""

    heard: ClassVar[list[str]] = []

    def answer(self) -> None:
        self.heard.append(self.headers.get("x-api-key", ""))
        self.rfile.read(int(self.headers.get("content-length", "0")))
        body = b'{"id": "org-1", "name": "Acme", "type": "organization"}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def url(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A source whose certificate no authority knows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    monkeypatch.setattr(Source, "heard", [])
    client_context.cache_clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Source) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"https://127.0.0.1:{server.server_port}"
        server.shutdown()


def ask(url: str, ca_file: Path | None = None) -> str:
    async def run() -> str:
        async with admin_api(url, limits=Limits(tries=1), ca_file=ca_file) as api:
            return (await api.session(KEY).whoami()).name

    return asyncio.run(run())


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_no_variable_lets_a_stranger_hear_the_key(
    url: str, certificate: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str
) -> None:
    folder = tmp_path / "authorities"
    folder.mkdir()
    for number in range(2):  # as OpenSSL looks for it
        (folder / f"{subject_hash(certificate)}.{number}").write_bytes(certificate.read_bytes())
    monkeypatch.setenv(variable, str(certificate if variable == "SSL_CERT_FILE" else folder))
    with pytest.raises(SourceUnavailable, match="certificate could not be verified"):
        ask(url)
    with pytest.raises(DeliveryFailed):
        Webhook(url).send(trial())
    assert Source.heard == []


def subject_hash(certificate: Path) -> str:
    """The name under which OpenSSL finds a certificate in a folder."""
    done = subprocess.run(
        ["openssl", "x509", "-in", certificate, "-noout", "-subject_hash"], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_no_variable_writes_down_what_opens_a_recording(
    url: str, certificate: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    assert ask(url, certificate) == "Acme"
    Webhook(url, ca_file=certificate).send(trial())
    client_context(None, of_system=True)
    assert not (tmp_path / "keys").exists()
    assert Source.heard == [KEY.reveal(), ""]


def test_the_file_that_is_set_is_believed_alone(certificate: Path) -> None:
    assert len(client_context(certificate).get_ca_certs()) == 1
    assert len(client_context(None).get_ca_certs()) > 50
    assert read_settings({"STAX_CA_FILE": str(certificate)}).ca_file == certificate
    for mail in (True, False):
        context = client_context(None, of_system=mail)
        assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)


@pytest.mark.parametrize(
    ("name", "words"), [("none", "No such file"), ("empty", "it holds none"), ("", "Is a directory")]
)
def test_a_file_without_certificates_is_named_at_once(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "empty").touch()
    with pytest.raises(WrongUse, match=f"STAX_CA_FILE is not usable: it must be a file of CA .*({words})"):
        read_settings({"STAX_CA_FILE": str(tmp_path / name)})


@pytest.mark.parametrize("mode", [0o664, 0o646])
def test_a_file_that_others_may_change_is_not_believed(certificate: Path, tmp_path: Path, mode: int) -> None:
    file = tmp_path / "ca.pem"
    file.write_bytes(certificate.read_bytes())
    file.chmod(mode)
    with pytest.raises(WrongUse, match=f"nobody else can change .owner .*, mode {mode:04o}."):
        read_settings({"STAX_CA_FILE": str(file)})

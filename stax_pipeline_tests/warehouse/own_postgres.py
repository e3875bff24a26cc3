"""A Postgres as an operator has it, on loopback TCP: Debian's where it is installed, with TLS or without.

Its name is `db.test`, which no resolver needs to know: a URL names the address too (`hostaddr`).
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NAME = "db.test"
PASSWORD = "the-operators-own"  # noqa: S105 of a server that lives as long as its test
BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))


@dataclass(frozen=True)
class OwnPostgres:
    """A running server, its superuser `boss` and the file of whoever vouches for it."""

    port: int
    authority: Path
    folder: Path

    def url(self, query: str = "", user: str = "boss", password: str = PASSWORD) -> str:
        return f"postgresql://{user}:{password}@{NAME}:{self.port}/postgres?hostaddr=127.0.0.1{query and f'&{query}'}"


@contextmanager
def own_postgres(*, tls: bool, asks: str = "scram-sha-256", name: str = NAME) -> Iterator[OwnPostgres]:
    """A server whose certificate, if it has one, is for `name`, and that asks for passwords the way of `asks`."""
    if not BINARIES:
        pytest.skip("no Postgres of the distribution is installed")
    with tempfile.TemporaryDirectory(prefix="stax-own-") as made:
        folder = Path(made)
        data, authority = folder / "data", folder / "ca.pem"
        data.mkdir(mode=0o700)
        certify(name, authority, folder / "server.key", folder / "server.pem")
        identity = _ordinary_account()
        for path in (folder, data, folder / "server.key", folder / "server.pem") if identity else ():
            shutil.chown(path, *identity)
        as_him = {"user": identity[0], "group": identity[1], "extra_groups": []} if identity else {}
        secret = folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        folder.chmod(0o755)
        subprocess.run(
            [BINARIES[-1] / "initdb", "-D", data, "-U", "boss", f"--pwfile={secret}", "--auth=scram-sha-256", "-N"],
            check=True, stdout=subprocess.DEVNULL, cwd="/", **as_him,
        )  # fmt: skip
        (data / "pg_hba.conf").write_text(f"host all all 127.0.0.1/32 {asks}\n")
        port = _free_port()
        settings = {
            "listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", "fsync": "off",
            "ssl": tls, "ssl_cert_file": folder / "server.pem", "ssl_key_file": folder / "server.key",
        }  # fmt: skip
        command = [BINARIES[-1] / "postgres", "-D", data, *(f"--{key}={value}" for key, value in settings.items())]
        log = (folder / "log").open("w")
        server = subprocess.Popen(command, cwd="/", stdout=log, stderr=log, **as_him)
        try:
            _wait(server, port, folder / "log")
            yield OwnPostgres(port, authority, folder)
        finally:
            server.send_signal(signal.SIGINT)  # ends open sessions too
            server.wait(30)
            log.close()


def certify(name: str, authority: Path, key: Path, certificate: Path) -> None:
    """A certificate for `name`, its key, and the authority that signed it."""
    signing, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority of a test")])

    def signed(subject: x509.Name, public: ec.EllipticCurvePublicKey, extension: x509.ExtensionType) -> bytes:
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public)
        builder = builder.serial_number(x509.random_serial_number()).add_extension(extension, critical=False)
        builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        return builder.sign(signing, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    authority.write_bytes(signed(issuer, signing.public_key(), x509.BasicConstraints(ca=True, path_length=None)))
    certificate.write_bytes(signed(subject, own.public_key(), x509.SubjectAlternativeName([x509.DNSName(name)])))
    key.write_bytes(
        own.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    authority.chmod(0o644)
    key.chmod(0o600)


def _ordinary_account() -> tuple[int, int] | None:
    if os.geteuid() != 0:
        return None
    found = pwd.getpwnam("nobody")
    return found.pw_uid, found.pw_gid


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    for _ in range(600):
        asked = subprocess.run(
            [BINARIES[-1] / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port), "-t", "5"], check=False
        )
        if asked.returncode == 0:
            return
        assert server.poll() is None, log.read_text()
    raise AssertionError(log.read_text())

"""What a Postgres that is not on this machine must do before it is told a password."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from stax_pipeline.domain.errors import WrongUse
from stax_pipeline.installation import postgres_url
from stax_pipeline.installation.settings import read_settings

NAMES = ("STAX_DATABASE_URL", "STAX_LOADER_URL", "STAX_ANALYST_URL", "STAX_DAGSTER_URL")
DEMANDED = {"sslmode": "verify-full", "require_auth": "scram-sha-256"}


@pytest.fixture
def authorities(tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    path.write_text("certificates")
    return path


def query(url: str, authorities: Path) -> dict[str, object]:
    return dict(sa.make_url(postgres_url.secured(postgres_url.parsed(url), authorities)).query)


@pytest.mark.parametrize("name", NAMES)
def test_all_four_urls_demand_the_same(name: str, authorities: Path) -> None:
    found = read_settings({name: "postgresql://u:p@db.example.org/d", "STAX_DATABASE_CA_FILE": str(authorities)})
    url = str(getattr(found, name.removeprefix("STAX_").lower()))
    assert sa.make_url(url).query == {**DEMANDED, "sslrootcert": str(authorities)}
    again = read_settings({name: url, "STAX_DATABASE_CA_FILE": str(authorities)})
    assert getattr(again, name.removeprefix("STAX_").lower()) == url


@pytest.mark.parametrize(
    "rest",
    [
        "db.example.org/d", "10.0.0.5/d", "[2001:db8::1]/d", "0.0.0.0/d", "localhost.example.org/d", "1.127.0.0/d",
        "/d?host=db.example.org", "/d?host=localhost,db", "localhost/d?host=db", "/d?host=/run/pg&host=db",
        "localhost/d?hostaddr=10.0.0.5", "db.example.org/d?hostaddr=127.0.0.1", "/d?service=prod",
        "/d?host=localhost:1&host=db:2", "/d?host=db:127.0.0.1",
    ],
)  # fmt: skip
def test_whatever_leaves_this_machine_is_secured(rest: str, authorities: Path) -> None:
    assert query(f"postgresql://u:p@{rest}", authorities).items() >= DEMANDED.items()


@pytest.mark.parametrize(
    "rest",
    ["localhost/d", "127.0.0.1:5433/d", "127.8.9.1/d", "[::1]/d", "/d?host=/var/run/postgresql", "/d?host=@abstract",
     "localhost/d?hostaddr=127.0.0.1", "LOCALHOST/d", "/d?host=localhost:1&host=127.0.0.1:2"],
)  # fmt: skip
def test_loopback_and_sockets_need_no_tls_but_show_no_password(rest: str, authorities: Path) -> None:
    """Another account may listen there while the server is down."""
    found = query(f"postgresql://u:p@{rest}", authorities)
    assert not found.keys() & {"sslmode", "sslrootcert"} and found["require_auth"] == "!password"
    joined = f"postgresql://u:p@{rest}{'&' if '?' in rest else '?'}require_auth=password"
    assert query(joined, authorities)["require_auth"] == "password"


def test_without_a_host_tls_is_demanded_and_the_socket_may_ask_who_we_are(
    authorities: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """libpq takes PGHOST then; over a socket it does not mind the TLS."""
    bare = {"require_auth": "!password"}
    assert query("postgresql:///d", authorities) == {
        **bare, "sslmode": "verify-full", "sslrootcert": str(authorities)
    }  # fmt: skip
    monkeypatch.setattr(postgres_url, "BUNDLES", ())
    assert sa.make_url(postgres_url.secured("postgresql+psycopg2:///d")).query == bare


@pytest.mark.parametrize(
    ("said", "then"),
    [
        ("sslmode=disable", {"require_auth": "scram-sha-256"}),
        ("sslmode=require", {"require_auth": "scram-sha-256"}),
        ("sslmode=verify-ca", {"require_auth": "scram-sha-256", "sslrootcert": "CA"}),
        ("require_auth=password", {"sslmode": "verify-full", "sslrootcert": "CA"}),
        ("sslrootcert=/mine", DEMANDED),
        ("sslmode=prefer&require_auth=none", {}),
    ],
)
def test_what_the_url_says_itself_wins(said: str, then: dict[str, str], authorities: Path) -> None:
    own = dict(part.split("=") for part in said.split("&"))
    expected = {**own, **{k: str(authorities) if v == "CA" else v for k, v in then.items()}}
    assert query(f"postgresql://u:p@db/d?{said}", authorities) == expected


def test_the_default_is_the_systems_bundle(authorities: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_url, "BUNDLES", ("/nowhere/at/all", str(authorities)))
    assert f"sslrootcert={str(authorities).replace('/', '%2F')}" in postgres_url.secured("postgresql+psycopg2://h/d")
    monkeypatch.setattr(postgres_url, "BUNDLES", ())
    with pytest.raises(WrongUse, match="^STAX_LOADER_URL is not usable: .*STAX_DATABASE_CA_FILE must be set"):
        read_settings({"STAX_LOADER_URL": "postgresql://u:p@db/d"})
    assert read_settings({"STAX_LOADER_URL": "postgresql://u:p@db/d?sslmode=require"}).loader_url


def test_a_file_of_certificates_that_is_none_is_named() -> None:
    with pytest.raises(WrongUse, match="^STAX_DATABASE_CA_FILE is not usable: it must be a file of certificates"):
        read_settings({"STAX_DATABASE_CA_FILE": "/nowhere/ca.pem"})


@pytest.mark.parametrize("empty", ["sslmode=", "require_auth=", "sslmode=verify-full&require_auth="])
def test_an_empty_demand_is_refused(empty: str) -> None:
    """To libpq it says nothing, as where a template's variable was not set: TLS would not be demanded."""
    with pytest.raises(WrongUse, match="sslmode= and require_auth= hold a value"):
        read_settings({"STAX_DATABASE_URL": f"postgresql://u:p@db.example.com/d?{empty}"})

"""`grant`, `revoke` and `url --role`, as an operator types them."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg2
import pytest

from stax_pipeline.installation.settings import Settings
from stax_pipeline.simulator import Simulator
from stax_pipeline.warehouse.roles import logins
from stax_pipeline_tests.cli.support import Stax
from stax_pipeline_tests.warehouse.granted import READER, Session


@pytest.fixture
def connected(stax: Stax, settings: Settings, simulator: Simulator) -> Iterator[Settings]:
    for name, key in simulator.keys.items():
        assert stax("connect", name, "--key-file", "-", "--no-sync", typed=key).code == 0
    yield settings
    (settings.postgres_home / "pinned").unlink(missing_ok=True)
    (settings.home / "passwords" / READER).unlink(missing_ok=True)
    with Session(logins(settings).admin) as admin:
        admin.told(f"drop owned by {READER}", f"drop role {READER}")


def test_a_login_is_granted_handed_over_and_revoked(stax: Stax, connected: Settings) -> None:
    ended = stax("grant", READER, "acme")
    assert ended.code == 0
    file = connected.home / "passwords" / READER
    assert f"password lies in {file}, and `stax url --role {READER}` prints" in ended.out
    assert f"Role {READER} reads now: acme.\n" in ended.out
    assert file.read_text() not in ended.said
    address = stax("url", "--role", READER).out.strip()
    assert file.read_text() not in address
    assert file.read_text() in stax("url", "--role", READER, "--with-password").out
    connection = psycopg2.connect(address)
    with connection, connection.cursor() as cursor:
        cursor.execute("select slug from tenants")
        assert cursor.fetchall() == [("acme",)]
    connection.close()
    assert stax("grant").out == f"Role {READER} reads: acme.\n"
    assert stax("grant", READER, "globex").out == f"Role {READER} reads now: acme, globex.\n"
    assert "reads now: globex." in stax("revoke", READER, "acme").out
    assert "reads now: nothing; the login stays" in stax("revoke", READER, "globex").out
    assert stax("revoke", READER, "--drop").out == f"Login {READER} is dropped, and its password here is removed.\n"
    assert not list(file.parent.glob(f"{READER}*"))
    assert "No login reads single tenants" in stax("grant").out


def test_what_an_earlier_login_read_is_told_and_not_given(stax: Stax, connected: Settings) -> None:
    assert stax("grant", READER, "acme", "globex").code == 0
    with Session(logins(connected).admin) as admin:
        admin.told(f"drop owned by {READER}", f"drop role {READER}")
    listed = stax("grant").out
    assert f"reads: acme, globex. There is no such login; to make it: stax grant {READER} acme globex\n" in listed
    told = stax("grant", READER, "acme").out
    assert f"An earlier login {READER} read globex too, and this one does not" in told
    assert f"to grant that again: stax grant {READER} globex\n" in told


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("grant", "stax_loader", "acme"), "is reserved"),
        (("grant", "Reader", "acme"), "is no name of a role"),
        (("grant", "postgres", "acme"), "The name 'postgres' is taken"),
        (("grant", "stax", "acme"), "one of the product's own logins"),
        (("revoke", READER), "Name tenants SLUG..., or give --drop"),
        (("revoke", READER, "acme", "--drop"), "Name tenants SLUG..., or give --drop"),
        (("revoke", READER, "--drop"), "did not make a login acme_reader"),
        (("url", "--role", ""), "is no name of a role"),
        (("grant", READER, "../acme"), "is no tenant name"),
        (("grant", READER, "acme\n"), "is no tenant name"),
        (("grant", READER, "nobody"), "There is no tenant nobody"),
        (("grant", READER), "Missing argument 'SLUG...'"),
        (("revoke", READER, "acme"), "does not read acme"),
        (("url", "--role", READER), "password of acme_reader is not known here"),
        (("url", "--role", "../master.key"), "is no name of a role"),
    ],
)
@pytest.mark.usefixtures("connected")
def test_what_cannot_be_granted_is_told_in_one_line(stax: Stax, arguments: tuple[str, ...], words: str) -> None:
    ended = stax(*arguments)
    assert ended.code == 2
    assert words in ended.err
    assert "Traceback" not in ended.said
    assert ended.out == ""

"""`stax login`, as an operator types it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from stax_pipeline.app.people import roster
from stax_pipeline.installation.settings import Settings
from stax_pipeline.simulator import Simulator
from stax_pipeline_tests.cli.support import Stax

PASSWORD = "correct horse battery"


@pytest.fixture
def connected(stax: Stax, settings: Settings, simulator: Simulator) -> Iterator[Settings]:
    assert stax("connect", "acme", "--key-file", "-", "--no-sync", typed=simulator.keys["acme"]).code == 0
    yield settings
    stax("disconnect", "acme", "--purge", "--yes")


def test_people_are_added_listed_and_removed(stax: Stax, connected: Settings) -> None:
    assert "There is no login yet. `stax login add NAME --role operator` makes one." in stax("login", "list").err
    made = stax("login", "add", "Anna@example.com", "--tenant", "acme", typed=f"{PASSWORD}\n")
    assert (made.code, made.out) == (0, "Login anna@example.com was made: tenant, sees tenant acme.\n")
    assert PASSWORD not in made.said
    assert "On loopback the app asks nobody for a login: STAX_PUBLIC_URL" in made.err
    assert "sees all tenants" in stax("login", "add", "ola", "--role", "operator", "--no-password").out
    shown = stax("login", "list").out
    assert [line.split() for line in shown.splitlines()[-2:]] == [
        ["anna@example.com", "tenant", "acme", "yes", "0"], ["ola", "operator", "all", "no", "0"],
    ]  # fmt: skip
    assert [one["tenant"] for one in json.loads(stax("login", "list", "--json").out)] == ["acme", ""]
    changed = stax("login", "add", "ola", typed=PASSWORD).out
    assert changed == "Login ola was changed, its sessions ended: analyst, sees all tenants.\n"
    assert stax("login", "remove", "OLA").out == "Login ola is removed; 0 sessions ended.\n"
    assert stax("login", "remove", "ola").code == 2


def test_where_people_come_from_elsewhere_nothing_more_is_said(
    stax: Stax, connected: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAX_PUBLIC_URL", "https://stax.example.com")
    made = stax("login", "add", "ola", "--role", "operator", typed=PASSWORD)
    assert (made.code, made.err) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "typed", "words"),
    [
        (("add", "a b"), PASSWORD, "not a valid name"),
        (("add", "ola"), "short", "12 to 256 printable"),
        (("add", "ola"), "", "12 to 256 printable"),
        (("add", "ola", "--role", "tenant"), PASSWORD, "--tenant SLUG"),
        (("add", "ola", "--role", "operator", "--tenant", "acme"), PASSWORD, "--tenant SLUG"),
        (("add", "ola", "--tenant", "nobody"), PASSWORD, "There is no tenant nobody"),
        (("add", "ola", "--role", "king"), PASSWORD, "is not one of 'operator', 'analyst', 'tenant'"),
    ],
)
def test_what_cannot_be_is_refused(
    stax: Stax, connected: Settings, arguments: tuple[str, ...], typed: str, words: str
) -> None:
    ended = stax("login", *arguments, typed=typed)
    assert ended.code == 2
    assert words in ended.err
    assert roster.listed(connected) == []


def test_a_purge_takes_the_tenants_people_and_their_role(stax: Stax, connected: Settings) -> None:
    stax("login", "add", "anna", "--tenant", "acme", typed=PASSWORD)
    assert stax("disconnect", "acme", "--purge", "--yes").code == 0
    assert roster.listed(connected) == []
    assert stax("grant").out == "No login reads single tenants; `stax grant ROLE SLUG...` makes one.\n"
    assert stax("verify").code == 0


def test_an_invite_is_one_link(stax: Stax, connected: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = stax("invite", "globex")
    assert (refused.code, "set STAX_PUBLIC_URL" in refused.err) == (2, True)
    monkeypatch.setenv("STAX_PUBLIC_URL", "https://stax.example.com")
    made = stax("invite", "globex", "--name", "Globex Inc")
    assert made.code == 0
    assert re.fullmatch(r"https://stax\.example\.com/invite/[\w-]{43}\n", made.out)
    assert "It ends in 24 hours." in made.err
    assert stax("invite", "no name").code == 2

"""What secrets rest on is this account's alone: a home or master key of another account, or open to it, is refused."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from stax_pipeline.domain.errors import CannotStart, WrongUse
from stax_pipeline.installation.ownership import account
from stax_pipeline.installation.settings import read_settings
from stax_pipeline.keys.encryption import add_primary, generate_master_key_file, load_master_keys
from stax_pipeline_tests.cli.support import Stax

OWN = os.geteuid()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = tmp_path / "home"
    made.mkdir(mode=0o700)
    return made


@pytest.fixture
def as_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """To this account, all that was made before is another's."""
    monkeypatch.setattr("os.geteuid", lambda: OWN + 4242)


@pytest.fixture
def stax(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Stax:
    return Stax(monkeypatch, capfd)


def refused(home: Path) -> str:
    with pytest.raises(WrongUse) as wrong:
        read_settings({"STAX_HOME": str(home)})
    return str(wrong.value)


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702, 0o1777])
def test_a_home_that_others_may_write_to_is_refused(home: Path, mode: int) -> None:
    home.chmod(mode)
    assert refused(home) == (
        f"STAX_HOME {home} is open for others to write to (owner {account(OWN)}, mode {mode:04o}): run chmod go-w "
        f"{home} and look at what lies in it"
    )


@pytest.mark.parametrize("mode", [0o700, 0o711, 0o755, 0o2750])
def test_a_home_that_others_may_read_or_pass_is_used(home: Path, mode: int) -> None:
    home.chmod(mode)
    assert read_settings({"STAX_HOME": str(home)}).home == home
    assert read_settings({"STAX_HOME": str(home / "new")}).home == home / "new"


@pytest.mark.usefixtures("as_another")
def test_a_home_of_another_account_is_refused(home: Path) -> None:
    said = refused(home)
    assert f"{home} belongs to another account (owner {account(OWN)}, mode 0700), and this runs as uid" in said
    assert f"run it as {account(OWN)}" in said


@pytest.mark.skipif(OWN != 0, reason="needs root, to give a link away")
def test_a_link_that_another_account_may_turn_is_refused(home: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(home)
    assert read_settings({"STAX_HOME": str(link)}).home == link
    os.chown(link, 4242, 4242, follow_symlinks=False)
    assert "belongs to another account (owner uid 4242, mode 0777)" in refused(link)


def test_a_command_in_a_home_that_others_may_write_to_does_nothing(
    stax: Stax, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.chmod(0o777)
    monkeypatch.setenv("STAX_HOME", str(home))
    for command in ("tenants", "env", "down", "rotate-master-key"):
        ended = stax(command)
        assert (ended.code, ended.out, len(ended.err.splitlines())) == (2, "", 1)
        assert "mode 0777" in ended.err
    assert list(home.iterdir()) == []


def test_a_master_key_of_another_account_is_neither_used_nor_changed(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = home / "master.key"
    generate_master_key_file(file)
    before = file.read_bytes()
    monkeypatch.setattr("os.geteuid", lambda: OWN + 4242)
    told = f"{re.escape(str(file))} belongs to another account .owner {account(OWN)}, mode 0600."
    for use in (lambda: load_master_keys(None, file), lambda: add_primary(file)):
        with pytest.raises(CannotStart, match=told):
            use()
    assert file.read_bytes() == before


@pytest.mark.skipif(OWN != 0, reason="needs root, to give a link away")
def test_a_master_key_behind_a_link_of_another_account_is_refused(home: Path, tmp_path: Path) -> None:
    file, link = home / "master.key", tmp_path / "link"
    generate_master_key_file(file)
    link.symlink_to(file)
    load_master_keys(None, link)
    os.chown(link, 4242, 4242, follow_symlinks=False)
    with pytest.raises(CannotStart, match="belongs to another account"):
        load_master_keys(None, link)

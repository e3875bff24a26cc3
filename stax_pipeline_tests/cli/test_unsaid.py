"""A key pasted as any argument of any command is not repeated, on neither stream, whatever became of it on the way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stax_pipeline.settings import CHECKOUT
from stax_pipeline_tests.canary import Canary
from stax_pipeline_tests.cli.support import Stax

SECRET = "CANARYabcdefGHIJklmn0123456789-opqrstUVWXYZ_abcdEFGH0123456789ijklMNOP"
KEY = f"sk-ant-admin01-{SECRET}"
PASTED = {
    "whole": KEY,
    "with an invisible character": f"{KEY[:23]}\u200b{KEY[23:]}",
    "with a space": f"{KEY[:23]} {KEY[23:]}",
    "in capitals": KEY.upper(),
    "without its beginning": SECRET,
}
COMMANDS = [
    "KEY", "connect KEY", "connect acme --days KEY", "connect acme --key-file KEY", "sync KEY", "sync --from KEY",
    "rotate-key KEY", "disconnect KEY --yes", "rotate-master-key --retire KEY", "status KEY", "tenants KEY", "env KEY",
    "url KEY", "url --role KEY", "sql KEY", "grant KEY acme", "grant reader KEY", "revoke KEY acme", "export KEY",
    "export focus --tenant KEY", "export focus --month KEY", "export spend --out KEY/KEY", "prices import KEY",
    "rates import KEY", "commitments import KEY", "invoice KEY 2026-11 1", "invoice acme KEY 1",
    "invoice acme 2026-11 KEY", "invoice KEY", "alerts KEY", "replay --from KEY", "verify KEY", "backup KEY",
    "restore KEY", "up --port KEY", "demo --port KEY", "simulate --port KEY", "down KEY", "--no-such-option KEY",
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.usefixtures("settings")
def test_no_command_repeats_a_pasted_key(
    stax: Stax, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, pasted in PASTED.items():
        ended = stax(*(word.replace("KEY", pasted) for word in command.split()))
        secret = pasted.upper() if name == "in capitals" else KEY
        assert Canary(secret).in_text(name, ended.said.upper() if secret != KEY else ended.said) == [], ended.said
        assert ended.code != 0 or (command == "backup KEY" and name == "without its beginning"), name
        assert "not shown" in ended.said or pasted not in ended.said


@pytest.mark.parametrize("command", ["backup KEY", "simulate --org KEY", "sql KEY"])
def test_what_surely_is_a_key_does_nothing(
    stax: Stax, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for pasted in (KEY, f"'{KEY}'", KEY.upper()):
        ended = stax(*(word.replace("KEY", pasted) for word in command.split()))
        assert (ended.code, ended.out, len(ended.err.splitlines())) == (2, "", 1)
        assert "An argument holds a key; nothing was done" in ended.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("settings")
def test_a_query_does_not_give_back_the_key_in_it_but_the_ids(stax: Stax) -> None:
    assert Canary(KEY).in_text("", stax("sql", f"select '{KEY}', lower('{KEY}')").said) == []
    assert "apikey_01Rj2N8SVvo6BePZj99NhmiT" in stax("sql", "select 'apikey_01Rj2N8SVvo6BePZj99NhmiT'").out


def test_a_terminal_that_writes_ascii_is_guarded_too() -> None:
    """click writes past a stream of ASCII, to the bytes below it."""
    done = subprocess.run(
        [sys.executable, "-c", "from stax_pipeline.cli.main import main; main()", SECRET], cwd=CHECKOUT,
        capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONPATH": str(CHECKOUT)},
    )  # fmt: skip
    assert "not shown" in done.stderr
    assert Canary(KEY).in_text("", done.stdout + done.stderr) == []

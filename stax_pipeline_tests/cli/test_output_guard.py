"""A key pasted as any argument of any command is not repeated, on neither stream, whatever became of it on the way."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stax_pipeline.cli.output_guard import GuardedBytes, guarded_streams
from stax_pipeline.installation.homes import CHECKOUT
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


HOSTILE = "\x1b[2J\x9b1m\u202eevil\x7f"


class Terminal(io.BytesIO):
    def isatty(self) -> bool:
        return True


def test_text_is_plain_on_both_streams_whatever_says_it(capfd: pytest.CaptureFixture[str]) -> None:
    with guarded_streams([]):
        for stream in (sys.stdout, sys.stderr):
            print(f"a\tb {HOSTILE}", file=stream)
            stream.writelines([HOSTILE, "\x1b[31mred\x1b[0m\n"])
    shown = capfd.readouterr()
    for said in shown:
        assert said.splitlines()[0] == "a\tb \\u001b[2J\\u009b1m\\u202eevil\\u007f"
        assert said.replace("\n", "").replace("\t", "").isprintable()


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_csv_is_plain_at_a_terminal_alone(size: int) -> None:
    """However it is cut: half of a control character is one with the other half."""
    data = f"name\nÜ 株 {HOSTILE}\n".encode()
    for below in (Terminal(), io.BytesIO()):
        guarded = GuardedBytes(below, [])
        for at in range(0, len(data), size):
            guarded.write(data[at : at + size])
        written = below.getvalue()
        if isinstance(below, Terminal):
            assert written.decode() == "name\nÜ 株 \\u001b[2J\\u009b1m\\u202eevil\\u007f\n"
        else:
            assert written == data


@pytest.mark.usefixtures("settings")
def test_json_of_a_hostile_name_is_json_and_plain(stax: Stax) -> None:
    query = "select chr(155) || chr(8238) || chr(127) || chr(27) as name"
    for form in ("json", "table"):
        assert stax("sql", query, "--format", form).out.replace("\n", "").isprintable()
    assert json.loads(stax("sql", query, "--format", "json").out) == [{"name": "\x9b\u202e\x7f\x1b"}]
    assert stax("sql", query, "--format", "csv").out == "name\n\x9b\u202e\x7f\x1b\n"


def test_a_terminal_that_writes_ascii_is_guarded_too() -> None:
    """click writes past a stream of ASCII, to the bytes below it."""
    done = subprocess.run(
        [sys.executable, "-c", "from stax_pipeline.cli.main import main; main()", SECRET], cwd=CHECKOUT,
        capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONPATH": str(CHECKOUT)},
    )  # fmt: skip
    assert "not shown" in done.stderr
    assert Canary(KEY).in_text("", done.stdout + done.stderr) == []


@pytest.mark.usefixtures("settings")
def test_a_name_that_the_database_quotes_makes_no_line_of_its_own(stax: Stax) -> None:
    """`select name::int` of a workspace that somebody renamed."""
    refused = stax("sql", "select (chr(10) || 'stax: all is well') :: int")
    assert refused.code == 2
    assert refused.err.count("\n") == 1 and "\\nstax: all is well" in refused.err

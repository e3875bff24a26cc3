"""The entry point: help at once, exit codes as the design says, no traceback, no option that takes a key."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

from stax_pipeline.cli.main import COMMANDS
from stax_pipeline.cli.main import stax as group
from stax_pipeline.cli.runs import ending_at_interrupts
from stax_pipeline.settings import Settings
from stax_pipeline.simulator import Simulator
from stax_pipeline_tests.cli.support import Stax

SECRET = "sk-ant-admin01-" + "Zq7vNeverToBeSeen" * 3


def test_help_answers_at_once_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from stax_pipeline.cli.main import stax; stax.main(['--help'], standalone_mode=False); "
        "heavy = {'dagster', 'sqlalchemy', 'pyarrow', 'httpx', 'rich', 'psycopg2'} & set(sys.modules); "
        "sys.exit(1 if heavy else 0)"
    )
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in COMMANDS)
    assert time.perf_counter() - started < 3  # measured 0.11 s; the machine of a test run may be busy


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_and_none_takes_a_key(name: str) -> None:
    command = group.get_command(click.Context(group), name)
    assert command is not None
    assert command.name == name
    assert command.help
    options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert not options & {"--key", "--api-key", "--admin-key", "--secret", "--password"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense"], "No such command"),
        (["sync", "--days", "0"], "0 is not in the range"),
        (["sync", "--from", "yesterday"], "does not match the format"),
        (["connect"], "Missing argument"),
        (["connect", "acme", "--key", "x"], "No such option"),
        (["connect", "Acme\n"], "is no tenant name"),
        (["sync", "--days", "3", "--from", "2026-11-01"], "exclude each other"),
        (["sync", "--to", "2026-11-01"], "--to needs --from"),
        (["sync", "--from", "2026-11-05", "--to", "2026-11-01"], "is before --from"),
        (["sync", "--from", "2024-01-01"], "STAX_START_DATE (2025-08-18)"),
        (["sync", "--from", "2026-11-01", "--to", "2999-01-01"], "has not begun yet"),
        (["connect", "acme", "--key-file", "/nonexistent/key"], "cannot be read: No such file"),
    ],
)
@pytest.mark.usefixtures("settings")
def test_wrong_use_is_exit_code_2(stax: Stax, arguments: list[str], words: str) -> None:
    ended = stax(*arguments)
    assert ended.code == 2
    assert words in ended.err
    assert "Traceback" not in ended.said


@pytest.mark.usefixtures("settings")
def test_a_setting_that_cannot_be_is_named(stax: Stax, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAX_LOOKBACK_DAYS", "many")
    ended = stax("sync")
    assert ended.code == 2
    assert "STAX_LOOKBACK_DAYS" in ended.err


@pytest.mark.usefixtures("settings")
def test_an_unreachable_database_or_a_short_master_key_is_exit_code_3(
    stax: Stax, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAX_DATABASE_URL", "postgresql://nobody:secret-word@127.0.0.1:1/none")
    ended = stax("status")
    assert ended.code == 3
    assert "secret-word" not in ended.said
    assert "Traceback" not in ended.said
    monkeypatch.delenv("STAX_DATABASE_URL")
    monkeypatch.setenv("STAX_MASTER_KEY", "MDEyMzQ1Njc4OWFiY2RlZg==")
    ended = stax("connect", "acme", "--key-file", "-", typed=SECRET)
    assert ended.code == 3
    assert "16 bytes" in ended.err


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (SECRET, "401"),
        ("sk-ant-api03-" + "Zq7vNeverToBeSeen" * 3, "Wrong key type"),
        (SECRET + "\nsecond line", "character that no key has"),
        ("“" + SECRET + "”", "character that no key has"),
        ("", "No key was given"),
        (SECRET * 3000, "too long"),
    ],
)
@pytest.mark.usefixtures("settings")
def test_a_refused_key_is_exit_code_4_and_never_shown(stax: Stax, typed: str, words: str) -> None:
    ended = stax("connect", "acme", "--key-file", "-", typed=typed)
    assert ended.code == 4
    assert words in ended.err
    assert "NeverToBeSeen" not in ended.said
    assert stax("tenants").out == ""


def test_a_key_file_and_an_odd_prefix(stax: Stax, settings: Settings, simulator: Simulator, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(simulator.keys["acme"] + "\r\n")
    assert stax("connect", "acme", "--name", "Acme Ltd", "--key-file", str(file), "--no-sync").code == 0
    assert "Acme Ltd" in stax("tenants").out
    odd = stax("rotate-key", "acme", "--key-file", "-", typed="some-other-kind-of-key")
    assert odd.code == 4
    assert "does not start with sk-ant-admin" in odd.err


@pytest.mark.usefixtures("settings")
def test_an_unexpected_fault_is_one_line_and_its_place_is_in_the_log(
    stax: Stax, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError(f"quotes {SECRET}")

    monkeypatch.setattr("stax_pipeline.cli.database.migrate", broken)
    ended = stax("tenants")
    log = settings.home / "stax.log"
    assert ended.code == 1
    assert f"unexpected RuntimeError; please report it. Where it happened is in {log}" in ended.err
    assert len(ended.err.strip().splitlines()) == 1
    assert "in broken" in log.read_text()
    assert "NeverToBeSeen" not in ended.said + log.read_text()
    monkeypatch.setenv("STAX_DEBUG", "1")
    assert "Traceback" in stax("tenants").err


@pytest.mark.usefixtures("settings")
def test_no_tenant_yet(stax: Stax) -> None:
    assert "There is no tenant yet" in stax("status").err
    assert stax("sync").code == 2
    unknown = stax("sync", "nobody")
    assert unknown.code == 2
    assert "There is no tenant nobody" in unknown.err
    assert stax("verify").code == 0


def test_a_run_that_ctrl_c_reached_ends_as_interrupted_even_if_it_swallowed_it() -> None:
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        with pytest.raises(KeyboardInterrupt), ending_at_interrupts():
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(ValueError, match="another fault"), ending_at_interrupts():
            raise ValueError("another fault")
        with ending_at_interrupts():
            pass
    finally:
        signal.signal(signal.SIGINT, before)

"""The entry point: help at once, exit codes as the design says, no traceback, no option that takes a key."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import os
import pty
import signal
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import click
import dagster as dg
import pytest
import sqlalchemy as sa

from stax_pipeline.cli import database as cli_database
from stax_pipeline.cli.main import COMMANDS
from stax_pipeline.cli.main import stax as group
from stax_pipeline.cli.runs import _read, ending_at_signals, report_start
from stax_pipeline.domain.errors import CannotStart
from stax_pipeline.domain.extraction import Window
from stax_pipeline.installation.ownership import account
from stax_pipeline.installation.settings import Settings
from stax_pipeline.simulator import Simulator
from stax_pipeline_tests.cli.support import Ended, Stax
from stax_pipeline_tests.tenants.support import count

DAYS = Window(date(2026, 11, 1), date(2026, 11, 2))
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
        (["sync", "--days", "0"], "'0' is no number of days: expected 1 to 365"),
        (["sync", "--days", "abc"], "'abc' is no number of days: expected 1 to 365"),
        (["connect", "acme", "--days", "366"], "'366' is no number of days: expected 1 to 365"),
        (["sync", "--from", "yesterday"], "'yesterday' is no day: expected a UTC day such as 2026-11-20"),
        (["replay", "--to", "2026-02-30"], "'2026-02-30' is no day: expected a UTC day such as 2026-11-20"),
        (["connect"], "Missing argument"),
        (["connect", "acme", "--key", "x"], "No such option"),
        (["connect", "Acme\n"], "is no tenant name"),
        (["disconnect", "Bad Slug"], "'Bad Slug' is no tenant name"),
        (["sync", "Bad Slug"], "'Bad Slug' is no tenant name"),
        (["sync", "--days", "3", "--from", "2026-11-01"], "exclude each other"),
        (["sync", "--to", "2026-11-01"], "--to needs --from"),
        (["sync", "--from", "2026-11-05", "--to", "2026-11-01"], "is before --from"),
        (["sync", "--from", "2024-01-01"], "2024-01-01 is before the first day of this installation"),
        (["sync", "--from", "2026-11-01", "--to", "2999-01-01"], "has not begun yet"),
        (["sync", "--from", "2999-01-01"], "2999-01-01 has not begun yet"),
        (["connect", "acme", "--key-file", "/nonexistent/key"], "cannot be read: No such file"),
    ],
)
@pytest.mark.usefixtures("settings")
def test_wrong_use_is_exit_code_2(stax: Stax, arguments: list[str], words: str) -> None:
    ended = stax(*arguments)
    assert ended.code == 2
    assert words in ended.err
    assert "Traceback" not in ended.said


@pytest.mark.parametrize("module", ["stax_pipeline", "stax_pipeline.cli.main"])
def test_the_command_is_a_module_too_and_names_what_is_no_setting(module: str) -> None:
    asked = [sys.executable, "-m", module, "sync", "--from", "x"]
    ended = subprocess.run(asked, capture_output=True, text=True, check=False, env=os.environ | {"STAX_HOM": "/x"})
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("warning: STAX_HOM is no setting and was not read; did you mean STAX_HOME?\n")


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


@pytest.mark.usefixtures("settings")
def test_a_sync_without_a_usable_master_key_is_one_line_and_launches_nothing(
    stax: Stax, settings: Settings, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stax("connect", "acme", "--key-file", "-", "--no-sync", typed=simulator.keys["acme"]).code == 0
    file = settings.home / "master.key"
    good = file.read_text()
    for content, mode, words in (
        ("", 0o600, "holds no master key"),
        (base64.b64encode(bytes(5)).decode(), 0o600, "5 bytes, but"),
        (base64.b64encode(bytes(16)).decode(), 0o600, "16 bytes, but"),
        (good, 0o644, "is open to others"),
        (None, 0o600, "There is no master key"),
    ):
        file.unlink()
        if content is not None:
            file.write_text(content)
            file.chmod(mode)
        refused_in_one_line(stax("sync", "--days", "1"), words)
        file.touch()
    monkeypatch.setenv("STAX_MASTER_KEY_FILE", "/nonexistent/master.key")
    refused_in_one_line(stax("sync", "--days", "1"), "cannot be read: No such file")


def refused_in_one_line(ended: Ended, words: str) -> None:
    assert (ended.code, ended.out, len(ended.err.splitlines())) == (3, "", 1), ended.said
    assert words in ended.err
    assert "stax_pipeline." not in ended.err


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (SECRET, "401"),
        ("sk-ant-api03-" + "Zq7vNeverToBeSeen" * 3, "Wrong key type"),
        (SECRET + "\nsecond line", "character that no key has"),
        ("“" + SECRET + "”", "character that no key has"),
        ("", "No key was given"),
        (SECRET * 3000, "too long"),
        ("hello", "This is not an Anthropic key"),
        ("sk-ant-api01-" + "Zq7vNeverToBeSeen" * 3, "this is a Claude Enterprise key"),
    ],
)
@pytest.mark.usefixtures("settings")
def test_a_refused_key_is_exit_code_4_and_never_shown(stax: Stax, typed: str, words: str) -> None:
    ended = stax("connect", "acme", "--key-file", "-", typed=typed)
    assert ended.code == 4
    assert words in ended.err
    assert "NeverToBeSeen" not in ended.said
    assert "arguments" not in ended.err  # a sentence of ours is not taken for a key
    assert stax("tenants").out == ""


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize("typed", ["hello", "sk-ant-api01-x", "sk-ant-api03-x", "sk-ant-oat01-x"])
def test_what_is_no_admin_key_is_never_sent(stax: Stax, simulator: Simulator, typed: str) -> None:
    assert stax("connect", "acme", "--key-file", "-", typed=typed).code == 4
    assert list(simulator.requests) == []


def test_a_key_file_and_an_odd_prefix(stax: Stax, settings: Settings, simulator: Simulator, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(simulator.keys["acme"] + "\r\n")
    assert stax("connect", "acme", "--name", "Acme Ltd", "--key-file", str(file), "--no-sync").code == 0
    assert "Acme Ltd" in stax("tenants").out
    odd = stax("rotate-key", "acme", "--key-file", "-", typed="sk-ant-some-other-kind-of-key")
    assert odd.code == 4
    assert "does not start with sk-ant-admin" in odd.err
    assert "right shape" not in odd.said


@pytest.mark.parametrize("command", ["rotate-key", "connect"])
@pytest.mark.parametrize("rejected", [True, False])
def test_the_key_in_use_is_asked_about_and_what_that_changed_is_said(
    stax: Stax, engine: sa.Engine, simulator: Simulator, command: str, rejected: bool
) -> None:
    key, options = simulator.keys["acme"], ["--no-sync"] if command == "connect" else []
    assert stax("connect", "acme", "--no-sync", typed=key).code == 0
    with engine.begin() as connection:
        status = "key_rejected" if rejected else "connected"
        connection.exec_driver_sql(f"update stax.tenants set status = '{status}'")
        connection.exec_driver_sql("update stax.admin_keys set validated_at = '2026-01-01'")
    again = stax(command, "acme", *options, typed=key)
    assert again.code == 0
    assert "the key in use" in again.out
    assert "Anthropic accepts it: no key was stored or destroyed" in again.out
    assert ("Tenant acme was key_rejected and is connected now" in again.out) is rejected
    assert "nothing changed" not in again.said
    assert count(engine, "tenants", "status = 'connected'") == 1
    assert count(engine, "admin_keys", "validated_at > '2026-01-01'") == count(engine, "admin_keys") == 1


@pytest.mark.parametrize("command", ["rotate-key", "connect"])
def test_the_key_in_use_that_anthropic_still_refuses_changes_nothing(
    stax: Stax, engine: sa.Engine, simulator: Simulator, command: str
) -> None:
    key, options = simulator.keys["acme"], ["--no-sync"] if command == "connect" else []
    assert stax("connect", "acme", "--no-sync", typed=key).code == 0
    with engine.begin() as connection:
        connection.exec_driver_sql("update stax.tenants set status = 'key_rejected'")
    simulator.revoke(key)
    again = stax(command, "acme", *options, typed=key)
    assert again.code == 4
    assert "401" in again.err
    assert count(engine, "tenants", "status = 'key_rejected'") == 1


@pytest.mark.usefixtures("settings")
def test_a_new_name_is_said(stax: Stax, simulator: Simulator) -> None:
    key = simulator.keys["acme"]
    assert stax("connect", "acme", "--name", "Acme", "--no-sync", typed=key).code == 0
    renamed = stax("connect", "acme", "--name", "Acme Ltd", "--no-sync", typed=key)
    assert "Tenant acme is now called 'Acme Ltd'; it was 'Acme'." in renamed.out


@pytest.mark.usefixtures("settings")
def test_a_key_file_that_others_can_read_draws_a_warning(stax: Stax, simulator: Simulator, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(simulator.keys["acme"])
    for mode, warned in ((0o600, False), (0o400, False), (0o640, True), (0o604, True)):
        file.chmod(mode)
        ended = stax("connect", "acme", "--key-file", str(file), "--no-sync")
        assert ended.code == 0
        told = f"warning: other accounts can read the key file {file} (owner {account(os.geteuid())}, mode {mode:04o})"
        assert (told in ended.err) is warned
    assert "can read the key file" not in stax("connect", "acme", "--key-file", "-", "--no-sync").err


@pytest.mark.usefixtures("settings")
def test_an_unexpected_fault_is_one_line_and_its_place_is_in_the_log(
    stax: Stax, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError(f"quotes {SECRET}")

    monkeypatch.setattr("stax_pipeline.warehouse.migrate.require_current", broken)
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
def test_what_a_command_makes_is_private_whatever_the_umask(
    stax: Stax, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAX_HOME", str(tmp_path / "new" / "home"))
    monkeypatch.setenv("STAX_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    modes: dict[Path, int] = {}

    def look_and_fail(_: Settings) -> None:
        """A home in which nothing came to stay goes again, so it is looked at meanwhile."""
        modes.update((path, path.stat().st_mode) for path in [tmp_path / "new", *(tmp_path / "new").rglob("*")])
        raise CannotStart("no database")

    monkeypatch.setattr(cli_database, "migrate", look_and_fail)
    umask = os.umask(0)
    try:
        assert stax("up").code == 3
    finally:
        os.umask(umask)
    assert tmp_path / "new" / "home" / "up.json" in modes
    assert [path for path, mode in modes.items() if mode & 0o077] == []


@pytest.mark.usefixtures("settings")
def test_no_tenant_yet(stax: Stax) -> None:
    assert "There is no tenant yet" in stax("status").err
    assert stax("sync").code == 2
    unknown = stax("sync", "nobody")
    assert unknown.code == 2
    assert "There is no tenant nobody" in unknown.err
    assert stax("verify").code == 0


def test_a_run_that_a_signal_reached_ends_by_it_even_if_it_swallowed_it() -> None:
    before = signal.signal(signal.SIGINT, lambda *_: None)
    terminated = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(KeyboardInterrupt), ending_at_signals():
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(SystemExit, match="143"), ending_at_signals():
            signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))  # as Dagster does
            os.kill(os.getpid(), signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) == terminated
        with pytest.raises(ValueError, match="another fault"), ending_at_signals():
            raise ValueError("another fault")
        with ending_at_signals():
            pass
    finally:
        signal.signal(signal.SIGINT, before)


DROPPED = """
import os, signal, time, weakref
from stax_pipeline.cli.main import take_signals
from stax_pipeline.cli.runs import ending_at_signals
class DagsterExecutionInterruptedError(BaseException): pass
def dagsters(*_): raise DagsterExecutionInterruptedError
class Collected: pass
take_signals()
with {block}:
    {handlers}
    held = Collected()
    watch = weakref.ref(held, lambda _: os.kill(os.getpid(), signal.{signal}))
    del held
    time.sleep(60)
"""
PLAIN, RUN = "__import__('contextlib').nullcontext()", "ending_at_signals()"
OF_DAGSTER = "signal.signal(signal.SIGINT, dagsters); signal.signal(signal.SIGTERM, dagsters)"


@pytest.mark.parametrize(("number", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
@pytest.mark.parametrize(("block", "handlers"), [(PLAIN, "pass"), (RUN, "pass"), (RUN, OF_DAGSTER)])
def test_a_signal_that_comes_where_python_drops_exceptions_ends_the_command(
    block: str, handlers: str, number: str, code: int
) -> None:
    program = DROPPED.format(block=block, handlers=handlers, signal=number)
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=False)
    assert ran.returncode in {code, -number_of(number)}
    assert "ignored" not in ran.stderr


def number_of(name: str) -> int:
    """Python itself ends by SIGINT after a KeyboardInterrupt that nobody catches; `main` makes 130 of it."""
    return int(signal.Signals[name]) if name == "SIGINT" else 0


@pytest.mark.parametrize(("is_terminal", "told"), [(True, "  starting Dagster …\n"), (False, "")])
def test_a_terminal_is_told_that_dagster_starts(monkeypatch: pytest.MonkeyPatch, is_terminal: bool, told: str) -> None:
    out = io.StringIO()
    monkeypatch.setattr(out, "isatty", lambda: is_terminal)
    monkeypatch.setattr(sys, "stderr", out)
    report_start()
    assert out.getvalue() == told


def test_a_run_that_failed_outside_of_its_steps_has_a_reason() -> None:
    @dg.resource
    def broken() -> None:
        raise ValueError("no such lake")

    @dg.op(required_resource_keys={"lake"})
    def step() -> None: ...

    @dg.job(resource_defs={"lake": broken})
    def failing() -> None:
        step()

    ran = _read("run", failing.execute_in_process(raise_on_error=False).all_events, DAYS)
    assert not ran.success
    assert "no such lake" in ran.reason


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (CannotStart("There is no master key: restore it."), "There is no master key: restore it."),
        (dg.Failure(description="There is no master key: restore it."), "There is no master key: restore it."),
        (click.UsageError("odd: use"), "UsageError: odd: use"),
        (KeyError("x"), "KeyError: 'x'"),
        (KeyError(), "KeyError"),
    ],
)
def test_a_broken_step_says_why_without_the_place_of_a_class(fault: Exception, told: str) -> None:
    @dg.op
    def step() -> None:
        raise fault

    @dg.job
    def failing() -> None:
        step()

    ran = _read("run", failing.execute_in_process(raise_on_error=False).all_events, DAYS)
    assert ran.broken == {"step": told}


@pytest.mark.usefixtures("settings")
def test_a_key_piped_in_is_read_without_a_prompt(stax: Stax, simulator: Simulator) -> None:
    ended = stax("connect", "acme", "--no-sync", typed=simulator.keys["acme"] + "\n")
    assert ended.code == 0
    assert ended.err == ""
    assert "organisation and cost report of the last complete day" in ended.out
    again = stax("rotate-key", "acme", typed=simulator.keys["acme"])
    assert again.code == 0
    assert "This is the key in use" in again.out
    assert "no key was stored or destroyed" in again.out
    assert "revoke" not in again.said


@pytest.mark.usefixtures("settings")
def test_a_source_out_of_reach_is_exit_code_3(stax: Stax, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAX_ANTHROPIC_BASE_URL", "http://127.0.0.1:1")
    ended = stax("connect", "acme", typed=SECRET)
    assert ended.code == 3
    assert "The key was not judged" in ended.err


@pytest.mark.parametrize(
    ("pasted", "code", "words"),
    [
        (["\n", "  \n", SECRET + "\n"], 0, "No key was given; paste it, or Ctrl-C to stop."),
        ([SECRET + "\nsecond line\n"], 4, "The paste held a line break"),
        ([SECRET + "\nrest"], 4, "use --key-file"),
        (["\x04"], 130, "Admin key of acme"),
    ],
)
def test_the_prompt_shows_nothing_and_takes_one_line(pasted: list[str], code: int, words: str) -> None:
    asking = (
        "import sys, hashlib; from stax_pipeline.cli import main; from stax_pipeline.cli.prompts import ask_hidden; "
        "main.stax.main = lambda **_: print(hashlib.sha256("
        "ask_hidden('Admin key of acme').strip().encode()).hexdigest()) ; main.main()"
    )
    ended, shown = at_a_terminal(asking, "Admin key of acme: ", pasted)
    assert ended == code, shown
    assert words in shown
    assert "NeverToBeSeen" not in shown
    assert code or hashlib.sha256(SECRET.encode()).hexdigest() in shown


@pytest.mark.parametrize(
    ("typed", "code", "words"), [("y\n", 0, "done"), ("n\n", 1, "Nothing was changed."), ("\x04", 130, "Sure?")]
)
def test_one_is_asked_whether_one_is_sure(typed: str, code: int, words: str) -> None:
    asking = (
        "from stax_pipeline.cli import main; from stax_pipeline.cli.prompts import confirm; "
        "main.stax.main = lambda **_: confirm('Sure?', False) or print('done'); main.main()"
    )
    ended, shown = at_a_terminal(asking, "Sure? [y/N]: ", [typed])
    assert ended == code, shown
    assert words in shown
    assert ("done" in shown) == (code == 0)


def at_a_terminal(code: str, prompt: str, typed: list[str]) -> tuple[int, str]:
    """The exit code of Python code at a terminal and what it showed; each text is typed at the next prompt."""
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-c", code])
    shown = ""
    for number, text in enumerate(typed, 1):
        while shown.count(prompt) < number:
            shown += os.read(terminal, 10_000).decode()
        time.sleep(0.1)
        os.write(terminal, text.encode())
    with contextlib.suppress(OSError):
        while more := os.read(terminal, 10_000):
            shown += more.decode()
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    return os.waitstatus_to_exitcode(status), shown

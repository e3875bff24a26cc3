"""`demo`, `up` and `down` as processes: they start what they say, and leave nothing behind however they end."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from email.message import Message
from pathlib import Path

import psutil
import pytest

from stax_pipeline.cli.commands.demo import _simulator
from stax_pipeline.cli.pid_file import running, stop_left_running
from stax_pipeline.installation.homes import SIMULATOR
from stax_pipeline_tests.conftest import forget_outside

SECONDS = 120
NOTHING: dict[str, str] = {}
STAX = [sys.executable, "-c", "from stax_pipeline.cli.main import main; main()"]


@pytest.fixture
def home() -> Iterator[Path]:
    """A home of its own; whatever a failed test left running in it is ended."""
    made = Path(tempfile.mkdtemp(prefix="stax-up-"))
    made.chmod(0o711)
    yield made
    run(made, "down")
    forget_outside(made)
    shutil.rmtree(made, ignore_errors=True)


def environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("STAX_", "DAGSTER_"))}
    return {**kept, "STAX_HOME": str(home), "PYTHONUNBUFFERED": "1"}


def run(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*STAX, *arguments], env=environment(home), capture_output=True, text=True, check=False, timeout=SECONDS
    )


def start(
    home: Path,
    *arguments: str,
    shell: str = "exec",
    until: str = "Ctrl-C",
    settings: dict[str, str] = NOTHING,
    log: Path | None = None,
) -> tuple[subprocess.Popen[bytes], str]:
    """The command once it said `until`, which is when its UI answers, and what it printed until then."""
    log = log or home / "printed"
    with log.open("wb") as out:
        command = ["/bin/sh", "-c", f'{shell} "$@"', "sh", *STAX, *arguments]
        child = subprocess.Popen(command, env=environment(home) | settings, stdout=out, stderr=out)
    deadline = time.monotonic() + SECONDS
    while until not in log.read_text() and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.2)
    printed = log.read_text()
    assert until in printed, printed
    return child, printed


def processes_of(home: Path) -> list[str]:
    """Command lines of all processes that name the home or have it in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            told = " ".join(process.cmdline()) + " " + process.environ().get("STAX_HOME", "")
        except psutil.Error:
            continue
        if str(home) in told and process.status() != psutil.STATUS_ZOMBIE:
            found.append(told)
    return found


def listening(home: Path) -> set[tuple[str, int]]:
    """Addresses and ports on which processes of the home take connections over the network."""
    found = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            told = " ".join(process.cmdline()) + " " + process.environ().get("STAX_HOME", "")
            connections = process.net_connections("inet") if str(home) in told else []
            found |= {(str(c.laddr.ip), int(c.laddr.port)) for c in connections if c.status != psutil.CONN_ESTABLISHED}
    return found


def address(printed: str) -> str:
    found = re.search(r"^Stax: (http://127\.0\.0\.1:\d+)\nDagster's UI: \1/dagster/$", printed, re.MULTILINE)
    assert found
    return found[1]


def get(address: str, **headers: str) -> tuple[int, Message]:
    """Status and headers of an address."""
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=10) as answer:
            return answer.status, answer.headers
    except urllib.error.HTTPError as refused:
        return refused.code, refused.headers


@pytest.mark.usefixtures("with_data_today")
def test_demo_connects_fetches_sums_up_and_serves_until_it_is_interrupted(home: Path) -> None:
    child, printed = start(home, "demo", "--days", "5", "--port", "3950")
    dollars = r"[1-9][\d,]*\.\d\d"
    for name in ("acme", "globex"):
        assert f"Stored for tenant {name}, encrypted with AES-256-GCM" in printed
        assert re.search(rf"^{name} +6 +[\d,]+ +{dollars} +\S+ +{dollars} ", printed, re.MULTILINE)
    for sight in ("A commitment: acme paid", "A restated day: the bill of acme for", "A late day: globex has"):
        assert sight in printed
    commands = [shlex.split(line)[1:] for line in printed.splitlines() if line.startswith("   stax ")]
    assert len(commands) >= 3
    for command in commands:
        shown = run(home / "demo", *command)
        assert shown.returncode == 0, shown.stderr
        assert len(shown.stdout.splitlines()) > 2, "headings, a rule and a row"
    synced = run(home / "demo", "sync", "acme", "--days", "1")
    assert synced.returncode == 0, synced.stderr
    app = address(printed)
    assert get(f"{app}/health")[0] == 200
    status, headers = get(f"{app}/dagster/")
    assert (status, headers["X-Frame-Options"]) == (200, "DENY")
    assert {"script-src", "frame-ancestors"} <= set(re.findall(r"[a-z-]+", headers["Content-Security-Policy"]))
    for path in ("", "/health", "/dagster/", "/dagster/graphql"):
        assert get(f"{app}{path}", Host="evil.example")[0] == 400
    assert len(processes_of(home)) >= 6
    simulator = int((home / "demo" / SIMULATOR).read_text().rpartition(":")[2])
    assert listening(home) == {("127.0.0.1", 3950), ("127.0.0.1", simulator)}
    child.send_signal(signal.SIGINT)
    assert child.wait(60) == 0
    assert processes_of(home) == []

    again = run(home, "demo", "--days", "1", "--exit")
    assert again.returncode == 0, again.stderr
    assert "This is the key in use" in again.stdout
    assert "once before the source corrects it" in printed
    assert "once before the source corrects it" not in again.stdout
    assert f"   export STAX_HOME={home / 'demo'}\n" in again.stdout
    assert "To remove the demo: stax down --purge\n" in again.stdout
    ended = run(home / "demo", "sync")
    assert (ended.returncode, "has ended, and with it the simulator" in ended.stderr) == (3, True)
    missing = run(home, "status")
    assert (missing.returncode, f"STAX_HOME={home / 'demo'} stax status" in missing.stderr) == (3, True)
    assert processes_of(home) == []


def test_down_stops_what_a_killed_up_left_running(home: Path) -> None:
    child, printed = start(home, "up", "--port", "3970")
    assert listening(home) == {("127.0.0.1", 3970)}, "of app, webserver, daemon, code server and Postgres"
    second = run(home, "up")
    assert second.returncode == 2
    assert f"`STAX_HOME={home} stax down` stops it" in second.stderr
    assert second.stdout == ""
    assert f"`stax up` runs (process {child.pid})" in run(home, "env").stderr
    for name in ("secrets.json", "shell-secrets.json"):
        (home / "dagster" / name).touch()
    child.kill()
    child.wait()
    assert processes_of(home)
    down = run(home, "down")
    assert down.returncode == 0
    assert re.search(r"Stopped \d+ processes", down.stdout)
    assert not list((home / "dagster").glob("*secrets.json"))
    assert f"Removed {home}/dagster/shell-secrets.json: shells that evaluated `stax env` no longer" in down.stdout
    assert processes_of(home) == []
    assert run(home, "down").stdout == "Nothing was running.\n"
    assert address(printed)


def children_of(pid: int) -> dict[str, psutil.Process]:
    """The app's own children, by what they do."""
    [app] = [one for one in psutil.Process(pid).children() if "stax_pipeline.app" in one.cmdline()]
    found = {"app": app}
    for child in app.children():
        with suppress(psutil.Error):  # one that was killed and not waited for yet has no command line
            told = " ".join(child.cmdline())
            found |= {what: child for what in ("webserver", "daemon", "code-server") if what in told}
    return found


def wait_until(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + SECONDS
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.2)
    return holds()


@pytest.mark.parametrize("killed", ["app", "webserver", "daemon"])
def test_one_that_is_killed_ends_them_all_and_up_says_so(home: Path, killed: str) -> None:
    child, _ = start(home, "up", "--port", "3940")
    found = children_of(child.pid)
    assert found.keys() == {"app", "webserver", "daemon", "code-server"}
    found[killed].kill()
    assert child.wait(60) == 3
    assert f"The app ended by itself; {home}/dagster/dagster.log says why." in (home / "printed").read_text()
    log = (home / "dagster" / "dagster.log").read_text()
    assert killed == "app" or f"Dagster's {killed} ended with status -9." in log
    assert processes_of(home) == []
    assert not list((home / "dagster").glob("*secrets.json"))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere `stax down` ends them")
def test_children_of_an_app_that_is_killed_end_with_it(home: Path) -> None:
    """Also where nobody is left to end them."""
    child, _ = start(home, "up", "--port", "3942")
    found = children_of(child.pid)
    child.kill()
    child.wait()
    found.pop("app").kill()
    assert wait_until(lambda: not any(one.is_running() for one in found.values()))
    assert run(home, "down").returncode == 0
    assert processes_of(home) == []


def test_a_code_server_that_is_killed_is_started_again(home: Path) -> None:
    child, printed = start(home, "up", "--port", "3944")
    first = children_of(child.pid)["code-server"]
    first.kill()
    assert wait_until(lambda: children_of(child.pid).get("code-server", first) != first)
    assert wait_until(lambda: get(f"{address(printed)}/health")[0] == 200)
    child.terminate()
    assert child.wait(60) == 143
    assert processes_of(home) == []


def test_sockets_move_where_the_home_is_too_deep_for_them_and_are_gone_afterwards(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / "%41 b"

    def short() -> set[Path]:
        return {one for one in Path(tempfile.gettempdir()).glob(f"stax-*-{'?' * 16}") if one.is_dir()}

    before = short()
    child, printed = start(deep, "up", "--port", "3946", log=tmp_path / "printed")
    made = short() - before
    assert all(one.stat().st_mode & 0o777 == 0o700 for one in made)
    assert any((one / "webserver").is_socket() for one in made)
    assert get(f"{address(printed)}/health")[0] == 200
    child.send_signal(signal.SIGINT)
    assert child.wait(60) == 0
    assert not any((one / "webserver").exists() for one in made)
    assert run(deep, "down", "--purge", "--yes").returncode == 0
    assert short() <= before
    assert not deep.exists()


def test_open_shows_the_app_to_a_browser_that_gets_no_secret(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    nothing = run(home, "open")
    assert (nothing.returncode, "`stax up` starts it" in nothing.stderr) == (3, True)
    browser = tmp_path / "browser"
    browser.write_text(f"#!/bin/sh\nenv > {tmp_path}/seen\necho $1 > {tmp_path}/shown\n")
    browser.chmod(0o700)
    note = {"pid": os.getpid(), "pid_started": psutil.Process().create_time(), "address": "http://127.0.0.1:3999"}
    (home / "demo").mkdir(mode=0o700)
    for place in (home / "demo", home):
        (place / "up.json").write_text(json.dumps(note))
        secret = {"BROWSER": f"{browser} %s", "STAX_MASTER_KEY": "ab" * 32, "GITHUB_TOKEN": "foreign"}
        shown = subprocess.run(
            [*STAX, "open"], env=environment(home) | secret, capture_output=True, text=True, check=False
        )
        assert (shown.returncode, shown.stdout) == (0, "http://127.0.0.1:3999\n")
        assert (tmp_path / "shown").read_text() == "http://127.0.0.1:3999\n"
        assert not re.search("STAX_MASTER_KEY|GITHUB_TOKEN|abab", (tmp_path / "seen").read_text())


@pytest.mark.parametrize("by_down", [False, True])
def test_a_demo_that_was_started_deaf_to_ctrl_c_ends_by_sigterm_and_by_down(home: Path, by_down: bool) -> None:
    deaf = "trap '' INT QUIT TERM; exec"  # what `&` does in a script, and more
    child, _ = start(home, "demo", "--days", "1", "--port", "3990", shell=deaf)
    second = run(home, "demo", "--days", "1", "--exit")
    assert second.returncode == 2
    assert second.stdout == ""
    began = time.monotonic()
    if by_down:
        assert run(home, "down").returncode == 0
    else:
        child.send_signal(signal.SIGTERM)
    assert child.wait(40) == 143
    assert time.monotonic() - began < 40
    assert processes_of(home) == []


@pytest.mark.parametrize("until", ["Backfilling", "extracting cost_report: 14 of 14 pages"])
def test_down_ends_a_demo_that_still_fetches(home: Path, until: str) -> None:
    """A demo of more days than a new installation has before it, too: those are its days then."""
    child, printed = start(home, "demo", "--days", "200", shell="trap '' INT; exec", until=until)
    assert "failed" not in printed
    assert run(home, "down").returncode == 0
    assert child.wait(5) == 143
    assert not re.search("Traceback|ignored|failed", (home / "printed").read_text())
    assert processes_of(home) == []


def test_a_sync_whose_database_is_stopped_by_down_says_so_in_one_line(home: Path, tmp_path: Path) -> None:
    with _simulator(tmp_path, 62) as simulated:
        key = tmp_path / "key"
        key.write_text(simulated.keys["acme"])
        key.chmod(0o600)
        source = {"STAX_ANTHROPIC_BASE_URL": simulated.base_url}
        child, _ = start(
            home, "connect", "acme", "--key-file", str(key), "--days", "60", until="publishing names", settings=source
        )
        assert run(home, "down").returncode == 0
        assert child.wait(60) == 3
    printed = (home / "printed").read_text()
    assert [line for line in printed.splitlines() if line.startswith("stax: ")] == [
        "stax: The database ended while the run was at work (`stax down`, or a restart). What was published stays; the "
        "next sync takes up the rest."
    ]
    assert not re.search("Traceback|Retrying|unexpected", printed)


def test_another_address_is_refused_before_anything_starts(home: Path) -> None:
    refused = subprocess.run(
        [*STAX, "up"], env={**environment(home), "STAX_HOST": "0.0.0.0"}, capture_output=True, text=True, check=False
    )
    assert refused.returncode == 2
    assert "STAX_BEHIND_LOGIN" in refused.stderr
    assert refused.stdout == ""
    assert list(home.iterdir()) == []


def test_down_kills_who_does_not_listen(tmp_path: Path) -> None:
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE) as child:
        assert child.stdout and child.stdout.readline()
        note = {"pid": child.pid, "pid_started": psutil.Process(child.pid).create_time()}
        (tmp_path / "up.json").write_text(json.dumps(note))
        assert running(tmp_path) == child.pid
        assert stop_left_running(tmp_path, seconds=0.3) == 1
        assert child.wait(5) == -signal.SIGKILL
    assert not (tmp_path / "up.json").exists()


def test_the_simulator_knows_no_setting_and_no_other_programs_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("STAX_MASTER_KEY", "GITHUB_TOKEN", "PGPASSWORD", "DATABASE_URL", "AWS_SECRET_ACCESS_KEY", "NO_RULE"):
        monkeypatch.setenv(name, "ab" * 32)
    with _simulator(tmp_path, 2):
        children = [
            child.environ()
            for child in psutil.Process().children()
            if child.status() != psutil.STATUS_ZOMBIE and "simulator" in " ".join(child.cmdline())
        ]
    [environ] = children
    assert "PATH" in environ
    assert "ab" * 32 not in environ.values()
    assert not [name for name in environ if name.startswith("STAX_")]


def test_secrets_that_a_kill_left_go_with_the_next_command_once_nobody_may_read_them(tmp_path: Path) -> None:
    """Whatever the command; as long as a process of the killed one lives it needs the file."""
    for home in (tmp_path, tmp_path / "demo"):
        file = home / "dagster" / "secrets.json"
        file.parent.mkdir(parents=True)
        command = [sys.executable, "-c", "print(1, flush=True); input()"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as orphan:
            assert orphan.stdout and orphan.stdout.readline()
            gone = {"pid": 2**22 + 1, "pid_started": 1.0, "session": orphan.pid, "session_started": 1.0}
            (home / "up.json").write_text(json.dumps(gone))
            file.write_text("{}")
            (file.parent / ".secrets.json.new").touch()
            run(tmp_path, "status")
            assert file.exists()
            orphan.communicate(b"\n")
        run(tmp_path, "status")
        assert list(file.parent.iterdir()) == []
    note = {"pid": os.getpid(), "pid_started": psutil.Process().create_time()}
    (tmp_path / "up.json").write_text(json.dumps(note))
    (tmp_path / "dagster" / "secrets.json").write_text("{}")
    run(tmp_path, "status")
    assert (tmp_path / "dagster" / "secrets.json").exists()

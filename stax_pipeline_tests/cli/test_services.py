"""`demo`, `up` and `down` as processes: they start what they say, and leave nothing behind however they end."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

SECONDS = 120
STAX = [sys.executable, "-c", "from stax_pipeline.cli.main import main; main()"]


@pytest.fixture
def home() -> Iterator[Path]:
    """A home of its own; whatever a failed test left running in it is ended."""
    made = Path(tempfile.mkdtemp(prefix="stax-up-"))
    made.chmod(0o711)
    yield made
    run(made, "down")
    shutil.rmtree(made, ignore_errors=True)


def environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("STAX_", "DAGSTER_"))}
    return {**kept, "STAX_HOME": str(home), "PYTHONUNBUFFERED": "1"}


def run(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*STAX, *arguments], env=environment(home), capture_output=True, text=True, check=False, timeout=SECONDS
    )


def start(home: Path, *arguments: str) -> tuple[subprocess.Popen[bytes], str]:
    """The command once its UI answers, and what it printed until then."""
    log = home / "printed"
    with log.open("wb") as out:
        child = subprocess.Popen([*STAX, *arguments], env=environment(home), stdout=out, stderr=out)
    deadline = time.monotonic() + SECONDS
    while "Ctrl-C" not in log.read_text() and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.2)
    printed = log.read_text()
    assert "Dagster UI: " in printed, printed
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


def address(printed: str) -> str:
    found = re.search(r"http://127\.0\.0\.1:\d+$", printed, re.MULTILINE)
    assert found
    return re.findall(r"Dagster UI: (http://127\.0\.0\.1:\d+)", printed)[0]


def test_demo_connects_fetches_sums_up_and_serves_until_it_is_interrupted(home: Path) -> None:
    child, printed = start(home, "demo", "--days", "2", "--port", "3950")
    for name in ("acme", "globex"):
        assert f"Stored for tenant {name}, encrypted with AES-256-GCM" in printed
        assert re.search(rf"^{name} +3 +[\d,]+ +[1-9][\d,]*\.\d\d +[1-9][\d,]*\.\d\d ", printed, re.MULTILINE)
    with urllib.request.urlopen(f"{address(printed)}/server_info", timeout=10) as answer:
        assert answer.status == 200
    assert len(processes_of(home)) >= 6
    child.send_signal(signal.SIGINT)
    assert child.wait(60) == 0
    assert processes_of(home) == []

    again = run(home, "demo", "--days", "1", "--exit")
    assert again.returncode == 0, again.stderr
    assert "(generation 2)" in again.stdout
    assert processes_of(home) == []


def test_down_stops_what_a_killed_up_left_running(home: Path) -> None:
    child, printed = start(home, "up", "--port", "3970")
    second = run(home, "up")
    assert second.returncode == 2
    assert "`stax down` stops it" in second.stderr
    child.kill()
    child.wait()
    assert processes_of(home)
    down = run(home, "down")
    assert down.returncode == 0
    assert re.search(r"Stopped \d+ processes", down.stdout)
    assert processes_of(home) == []
    assert run(home, "down").stdout == "Nothing was running.\n"
    assert address(printed)

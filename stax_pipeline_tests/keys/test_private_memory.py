"""A process that opens keys: no core file, unreadable by the user's other processes, and everything else as before."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stax_pipeline import embedded_postgres
from stax_pipeline.installation.homes import CHECKOUT

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="prctl and /proc are Linux's")
HARDENED = "from stax_pipeline.keys.private_memory import keep_memory_private as k; k(); k()\n"
IS_DUMPABLE = "import ctypes; dumpable = ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)\n"


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    known = {**os.environ, "PYTHONPATH": str(CHECKOUT), **environment}
    return subprocess.run([sys.executable, "-c", code], env=known, capture_output=True, text=True, check=False)


@LINUX
def test_neither_dumpable_nor_with_a_core_limit_and_a_crash_leaves_no_core(tmp_path: Path) -> None:
    told = run(f"{HARDENED}{IS_DUMPABLE}import resource; print(dumpable, resource.getrlimit(resource.RLIMIT_CORE))")
    assert told.stdout.strip() == "0 (0, 0)", told.stderr
    crashed = run(f"import os; os.chdir({str(tmp_path)!r})\n{HARDENED}os.abort()")
    assert crashed.returncode < 0
    assert list(tmp_path.iterdir()) == []


@LINUX
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make two processes of an ordinary account")
@pytest.mark.parametrize(("dumpable", "seen"), [(1, "open"), (0, "closed")])
def test_another_process_of_the_same_account_cannot_read_it(dumpable: int, seen: str) -> None:
    """With 1, the control: the very same look succeeds at a process that is dumpable again."""
    look = (
        f"{HARDENED}import ctypes, os\nprctl = ctypes.CDLL(None).prctl\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        f"prctl(4, {dumpable}, 0, 0, 0)\n"
        "parent = os.getpid()\n"
        "if os.fork() == 0:\n"
        "    try: open(f'/proc/{parent}/mem', 'rb'); print('open', flush=True)\n"
        "    except PermissionError: print('closed', flush=True)\n"
        "    os._exit(0)\n"
        "os.wait()\n"
    )
    assert run(look).stdout.strip() == seen


@LINUX
def test_programs_started_by_it_are_ordinary_and_it_still_knows_itself() -> None:
    child = "import ctypes, psutil; print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), psutil.Process().create_time() > 0)"
    told = run(
        f"{HARDENED}import subprocess, sys, psutil\nme = psutil.Process()\n"
        f"print(subprocess.run([sys.executable, '-c', {child!r}], capture_output=True, text=True).stdout.strip())\n"
        "print(me.status(), len(me.open_files()) >= 0, bool(me.cmdline()))"
    )
    assert told.stdout.split("\n")[:2] == ["1 True", "running True True"], told.stderr


@LINUX
def test_the_gate_to_every_key_hardens_the_process(tmp_path: Path) -> None:
    opening = (
        "from stax_pipeline.keys.tenant_keys import master_keys; "
        "from stax_pipeline.installation.settings import read_settings; master_keys(read_settings())\n"
    )
    told = run(f"{opening}{IS_DUMPABLE}print(dumpable)", STAX_HOME=str(tmp_path), STAX_MASTER_KEY="ab" * 32)
    assert told.stdout.strip() == "0", told.stderr


@LINUX
@pytest.mark.parametrize(("environment", "told"), [({"STAX_MASTER_KEY": "ab" * 32}, "0"), ({}, "1")])
def test_a_command_that_was_given_the_master_key_is_hardened_from_its_start(
    environment: dict[str, str], told: str
) -> None:
    """Its environment holds it, whatever the command does."""
    code = (
        "import ctypes; from stax_pipeline.cli import main\n"
        "main._run = lambda: print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))\nmain.main()"
    )
    assert run(code, **environment).stdout.strip() == told


def test_no_command_and_nothing_that_it_starts_writes_a_core_file() -> None:
    """Dagster's processes hold passwords of the database even where the master key lies in a file."""
    limit = "import resource; print(resource.getrlimit(resource.RLIMIT_CORE))"
    code = (
        "import resource, subprocess, sys; from stax_pipeline.cli import main\n"
        "most = resource.getrlimit(resource.RLIMIT_CORE)[1]; resource.setrlimit(resource.RLIMIT_CORE, (most, most))\n"
        f"main._run = lambda: subprocess.run([sys.executable, '-c', {limit!r}])\nmain.main()"
    )
    assert run(code, STAX_MASTER_KEY="").stdout.strip() == "(0, 0)"


def test_the_embedded_server_serves_a_hardened_process(stax_home: Path) -> None:
    home = stax_home / "postgres"
    told = run(
        f"{HARDENED}from pathlib import Path; import psycopg2, sqlalchemy as sa\n"
        "from stax_pipeline import embedded_postgres as e\n"
        f"with e.running(Path({str(home)!r})):\n"
        f"    url = e.connection_url(Path({str(home)!r})).replace('+psycopg2', '')\n"
        "    print(psycopg2.connect(url).get_parameter_status('server_encoding'))"
    )
    assert told.stdout.strip() == "UTF8", told.stderr
    assert embedded_postgres.is_running(home)

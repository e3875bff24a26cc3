"""Memory that is free goes back to the system."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

KEEPS_PIECES = """
from stax_pipeline.installation.memory import give_back

def resident() -> int:
    return int(open("/proc/self/statm").read().split()[1]) * 4096

pieces = [bytes(9_000) for _ in range(20_000)]
last = bytes(9_000)
full = resident()
del pieces
give_back()
assert resident() < full - 100_000_000, (full, resident())
give_back()
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists() or sys.platform != "linux", reason="Linux alone tells")
def test_free_pieces_below_one_that_is_used_are_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", KEEPS_PIECES], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_where_the_c_library_has_no_such_call_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    from stax_pipeline.installation.memory import give_back

    monkeypatch.setattr(sys, "platform", "darwin")
    give_back()

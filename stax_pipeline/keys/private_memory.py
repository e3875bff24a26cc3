"""A process that opens keys keeps its memory to itself: no core dump is written, no debugger of the same user attaches.

RLIMIT_CORE alone does not hold where the kernel pipes core dumps to a program (systemd-coredump, apport): only a
process that is not dumpable gets none. On Linux that also closes its /proc/<pid>/mem and environ to the user's other
processes (root aside). A program started from here is dumpable again, as the kernel decides at exec, but still writes
no core file. Where there is no prctl (macOS) the limit is all there is.
"""

from __future__ import annotations

import ctypes
import resource
import sys

_PR_SET_DUMPABLE = 4


def write_no_core() -> None:
    """No core file of this process and of whatever it starts: they hold passwords even where they open no key."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def keep_memory_private() -> None:
    """Switch core dumps off and refuse to be read, for the rest of this process's life. Calling it again is free."""
    write_no_core()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)

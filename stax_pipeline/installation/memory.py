"""Memory of this process that is free, given back to the system."""

from __future__ import annotations

import ctypes
import sys

ARENAS = 2
_M_ARENA_MAX = -8


def share_arenas() -> None:
    """Have glibc's threads share two arenas: each thread's own would keep what is free in it from all others. Holds for
    threads that begin later.
    """
    _call("mallopt", _M_ARENA_MAX, ARENAS)


def give_back() -> None:
    """Have glibc return what is free: after a batch it keeps 200 MB in pieces, and the next needs others."""
    _call("malloc_trim", 0)


def _call(name: str, *given: int) -> None:
    """Where there is another C library (musl, macOS) it does by itself what it does."""
    found = getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
    if found:
        found(*given)

"""Memory of this process that is free, given back to the system."""

from __future__ import annotations

import ctypes
import sys


def give_back() -> None:
    """Have glibc return what is free: after a batch it keeps 200 MB in pieces, and the next needs others.

    Where there is another C library (musl, macOS) it does by itself what it does.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim:
        trim(0)

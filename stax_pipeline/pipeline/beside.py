"""Work in a thread beside the event loop, so that one tenant's large page holds up nobody's requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def beside(work: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
    """What `work` returns or raises. A wait that is given up ends when the work does: nothing runs on unseen."""
    running = asyncio.ensure_future(asyncio.to_thread(work, *args, **named))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise

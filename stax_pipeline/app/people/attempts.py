"""Failed logins, counted in memory: after a few of them, the same name or address waits.

What waits is told nothing about whether such a login exists.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

WINDOW_SECONDS = 300.0
OF_A_NAME, OF_AN_ADDRESS = 5, 30
MOST_KEYS = 10_000  # then the oldest is forgotten: memory is bounded whatever is tried


class Attempts:
    """Failures by name and by address within the last `WINDOW_SECONDS`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failed: dict[tuple[str, str], deque[float]] = {}
        self._lock = threading.Lock()

    def seconds_to_wait(self, name: str, address: str) -> int:
        """0 where a password may be tried now. To try counts as a failure until `forget` is told otherwise."""
        limits = {("name", name): OF_A_NAME, ("address", address): OF_AN_ADDRESS}
        with self._lock:
            now = self._clock()
            waits = [self._wait(key, most, now) for key, most in limits.items()]
            if not any(waits):
                for key in limits:
                    self._note(key, now)
            return max(waits)

    def forget(self, name: str, address: str) -> None:
        """The password of that name was right: its failures, and this try from that address, count no more."""
        with self._lock:
            self._failed.pop(("name", name), None)
            if tries := self._failed.get(("address", address)):
                tries.pop()

    def _wait(self, key: tuple[str, str], most: int, now: float) -> int:
        failed = self._failed.get(key, deque())
        while failed and failed[0] <= now - WINDOW_SECONDS:
            failed.popleft()
        return int(failed[0] + WINDOW_SECONDS - now) + 1 if len(failed) >= most else 0

    def _note(self, key: tuple[str, str], now: float) -> None:
        self._failed.setdefault(key, deque()).append(now)
        if len(self._failed) > MOST_KEYS:
            self._failed.pop(next(iter(self._failed)))

"""How a step of several seconds tells the person who started it what it does."""

from __future__ import annotations

from collections.abc import Callable

Say = Callable[[str], None]


def say_nothing(_line: str) -> None:
    """For callers that tell nobody."""

"""Arrow as the rules use it: without pandas, and with memory that goes back to the system."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder

import pyarrow as pa

from stax_pipeline.installation.memory import share_arenas


class _Hidden(MetaPathFinder):
    """Answers for pandas that it is not installed."""

    def find_spec(self, name: str, _path: Sequence[str] | None, _target: object = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name, name=name)


def without_pandas() -> None:
    """Have Arrow look for pandas, which it does once, while there is none.

    It would import pandas, where that is installed, at the first list that it converts: a quarter of a second and 40 MB
    for data frames that nothing here makes or reads. Whoever asks Arrow for a data frame later still gets one.
    """
    if "pandas" not in sys.modules:
        hidden = _Hidden()
        sys.meta_path.insert(0, hidden)
        pa.array([])
        sys.meta_path.remove(hidden)


def in_system_memory() -> None:
    """Have Arrow take its buffers from the system's allocator, whose free memory `give_back` returns: Arrow's own keeps
    a batch's memory for the next, beside what the rules and Postgres's client keep.
    """
    share_arenas()
    pa.set_memory_pool(pa.system_memory_pool())

"""Keep pandas out of the process: Arrow imports it at the first list it converts, where it is installed.

That costs a quarter of a second and 40 MB, for data frames that nothing here makes or reads. Whoever asks Arrow for a
data frame later still gets one.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder

import pyarrow as pa


class _Hidden(MetaPathFinder):
    """Answers for pandas that it is not installed."""

    def find_spec(self, name: str, _path: Sequence[str] | None, _target: object = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name, name=name)


def without_pandas() -> None:
    """Have Arrow look for pandas, which it does once, while there is none."""
    if "pandas" not in sys.modules:
        hidden = _Hidden()
        sys.meta_path.insert(0, hidden)
        pa.array([])
        sys.meta_path.remove(hidden)

"""The engine of the rules for as long as a step needs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from stax_pipeline.derive.engine import Engine, open_engine
from stax_pipeline.lake.store import Lake


@contextmanager
def rules_engine(lake: Lake) -> Iterator[Engine]:
    """What does not fit into its memory lies among the lake's unfinished files, and is gone at the end."""
    with TemporaryDirectory(prefix="rules-", dir=lake.scratch()) as folder:
        engine = open_engine(Path(folder))
        try:
            yield engine
        finally:
            engine.close()

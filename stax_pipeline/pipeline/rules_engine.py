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
    """What does not fit into its memory lies in a folder of its own, which is gone at the end."""
    with TemporaryDirectory(dir=lake.overflow()) as folder:
        engine = open_engine(Path(folder))
        try:
            yield engine
        finally:
            engine.close()

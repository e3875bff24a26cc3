"""The engine of the rules for as long as a step needs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from stax_pipeline.derive.engine import Engine, open_engine
from stax_pipeline.lake.store import Lake


@contextmanager
def rules_engine(lake: Lake) -> Iterator[Engine]:
    """What does not fit into its memory lies among the lake's unfinished files."""
    engine = open_engine(lake.scratch() / "rules")
    try:
        yield engine
    finally:
        engine.close()

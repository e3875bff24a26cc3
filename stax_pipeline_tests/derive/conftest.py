"""One engine for a module's tests: to open it takes longer than to run a rule."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from stax_pipeline.derive.engine import Engine, open_engine


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    made = open_engine(tmp_path_factory.mktemp("engine"))
    yield made
    made.close()

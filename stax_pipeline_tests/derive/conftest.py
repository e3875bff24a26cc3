"""The engine of these tests."""

from __future__ import annotations

import pytest

from stax_pipeline.derive.engine import Engine
from stax_pipeline_tests.derive import one_tenant


@pytest.fixture(scope="session")
def engine() -> Engine:
    return one_tenant.engine()

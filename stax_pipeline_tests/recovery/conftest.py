"""What recovery is measured against: one run over the tiny organisations that nothing disturbs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stax_pipeline_tests.conftest import Installation
from stax_pipeline_tests.pipeline.support import two_tenants
from stax_pipeline_tests.rig.oracle import Content, everything, run, tiny_organizations


@pytest.fixture(scope="package")
def expected(stax_home: Path) -> Content:
    """Content X."""
    with two_tenants(stax_home, *tiny_organizations()) as made:
        assert run(made).failures == {}
        return everything(made)


@pytest.fixture
def made(stax_home: Path, expected: Content) -> Iterator[Installation]:
    """Two tenants, nothing fetched yet, after content X was taken."""
    with two_tenants(stax_home, *tiny_organizations()) as installation:
        yield installation

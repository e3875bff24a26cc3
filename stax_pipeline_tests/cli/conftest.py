"""The installation these tests run on, and the command."""

import pytest

from stax_pipeline_tests.cli.support import Stax
from stax_pipeline_tests.tenants.support import engine, settings, simulator

__all__ = ["engine", "settings", "simulator"]


@pytest.fixture
def stax(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Stax:
    return Stax(monkeypatch, capfd)

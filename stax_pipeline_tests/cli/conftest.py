"""The installation these tests run on, and the command."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from stax_pipeline_tests.cli.support import Stax
from stax_pipeline_tests.tenants.support import engine, settings, simulator

__all__ = ["engine", "settings", "simulator"]


EDGE_BEFORE, EDGE_AFTER = timedelta(minutes=2), timedelta(minutes=6)


@pytest.fixture
def with_data_today() -> None:
    """Wait until the UTC day has data and does not end in mid-test: commands go by the machine's clock, and the source
    tells of a minute five minutes later. Waits eight minutes at most, at midnight alone.
    """
    now = datetime.now(UTC)
    midnight = datetime.combine((now + EDGE_BEFORE).date(), datetime.min.time(), UTC)
    if now < midnight + EDGE_AFTER:
        time.sleep((midnight + EDGE_AFTER - now).total_seconds())


@pytest.fixture
def stax(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Stax:
    return Stax(monkeypatch, capfd)

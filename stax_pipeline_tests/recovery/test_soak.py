"""A short soak; the long one is `make soak`."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.soak import soak
from stax_pipeline_tests.pipeline import support

SEED = 431258525  # fixed here, so that a change is judged by the same faults; `make soak` draws its own


def test_ten_days_of_faults_leave_the_content_of_a_clean_installation(
    stax_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAX_HOME", str(stax_home))
    monkeypatch.setenv("STAX_ANTHROPIC_BASE_URL", "")
    monkeypatch.setattr(support, "LIMITS", support.LIMITS)
    figures = soak(stax_home, tenants=3, days=10, lookback=1, seed=SEED)
    assert figures.differences == (), f"seed {SEED}"
    assert figures.leaks == [], f"seed {SEED}"
    assert figures.failed > 0, f"seed {SEED}: no fault was felt"

"""Counting lines where standard error is no terminal: the whole is told, and how far a stage came that fell short."""

from __future__ import annotations

import logging

import pytest

from stax_pipeline.cli.progress import LOGGER, shown_progress, step_progress


def tell(stage: str, done: int, total: int, failed: int = 0) -> None:
    step_progress(stage, "pages")(done, total, failed)


def test_a_stage_that_fell_short_says_how_far_it_came(capfd: pytest.CaptureFixture[str]) -> None:
    with shown_progress():
        tell("extracting cost_report", 0, 2)
        tell("extracting usage_report", 1, 4)
        tell("extracting usage_report", 3, 4)
        tell("extracting organization", 8, 10, 1)
        tell("extracting organization", 9, 10, 1)
        tell("extracting analytics", 0, 2, 2)
        tell("publishing usage", 1, 3)
        tell("publishing usage", 3, 3)
        tell("building spend", 1, 3)
    assert capfd.readouterr().err.splitlines() == [
        "  extracting cost_report: 0 of 2 pages",
        "  extracting usage_report: 3 of 4 pages",
        "  extracting organization: 9 of 10 pages, 1 tenant failed",
        "  extracting analytics: 0 of 2 pages, 2 tenants failed",
        "  publishing usage: 3 of 3 pages",
        "  building spend: 1 of 3 pages",
    ]
    assert LOGGER.getEffectiveLevel() != logging.INFO

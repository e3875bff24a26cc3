"""Answers that break below HTTP: once they are invisible, for ever they stop one tenant, then all is there."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from stax_pipeline.anthropic import Limits
from stax_pipeline_tests.conftest import Installation
from stax_pipeline_tests.pipeline import support
from stax_pipeline_tests.pipeline.support import COST, USAGE, content, errors
from stax_pipeline_tests.rig.fault_server import SPOILERS, FaultServer, redirect_to
from stax_pipeline_tests.rig.oracle import Content, everything, recovers, run

IMPATIENT = Limits(read_seconds=1.0, page_seconds=2.5, tries=2, body_bytes=4_000_000)
SEED = random.randrange(1 << 32)
REDIRECT, WORKSPACES = "redirect", "/v1/organizations/workspaces"
FINAL = {"bomb", REDIRECT}  # another try would bring the same: it is not made
ALL = [*sorted(SPOILERS), REDIRECT]
THREE_AT_A_TIME = [tuple(ALL[at : at + 3]) for at in range(0, len(ALL), 3)]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support, "LIMITS", IMPATIENT)


@contextmanager
def relayed(made: Installation) -> Iterator[FaultServer]:
    """The product reads through the fault server."""
    with FaultServer(made.simulator.base_url, SEED) as relay, pytest.MonkeyPatch.context() as environment:
        environment.setenv("STAX_ANTHROPIC_BASE_URL", relay.url)
        yield relay


def test_a_relay_that_spoils_nothing_changes_nothing(made: Installation, expected: Content) -> None:
    with relayed(made) as relay:
        assert run(made).failures == {}
    assert (relay.spoiled, len(relay.asked) > 8) == (0, True)
    assert everything(made) == expected


def test_each_once_in_one_run_is_invisible(
    made: Installation, expected: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(support, "LIMITS", replace(IMPATIENT, tries=6))
    passing = sorted(set(SPOILERS) - FINAL)
    with relayed(made) as relay:
        for number, name in enumerate(passing):
            relay.spoil(SPOILERS[name], nth=2 * number + 1)
        failures = run(made).failures
    assert (relay.spoiled, failures) == (len(passing), {}), f"seed {SEED}"
    assert everything(made) == expected, f"seed {SEED}"


@pytest.mark.parametrize("names", THREE_AT_A_TIME, ids=" ".join)
def test_for_ever_they_stop_one_tenant_who_is_whole_afterwards(
    made: Installation, expected: Content, names: tuple[str, ...]
) -> None:
    """A spoiler for each of acme's reports."""
    key = made.simulator.keys["acme"]

    @contextmanager
    def spoiled(_: Installation) -> Iterator[None]:
        with FaultServer(made.simulator.base_url, SEED) as elsewhere, relayed(made) as relay:
            for name, path in zip(names, (COST, USAGE, WORKSPACES), strict=False):
                spoiler = redirect_to(elsewhere.url) if name == REDIRECT else SPOILERS[name]
                relay.spoil(spoiler, key=key, path=path, times=None)
            yield
            assert elsewhere.asked == [], "the key went elsewhere"
        assert relay.spoiled == sum(1 if name in FINAL else 2 for name in names), f"seed {SEED}"
        assert len(errors(made, "acme")) == len(names), f"seed {SEED}"
        assert errors(made, "globex") == []

    between = recovers(made, spoiled, expected)
    assert [row for row in between["cost_lines"] if "'acme'" in row] == [], f"seed {SEED}"
    whole = {row for row in expected["spend"] if "'globex'" in row}
    assert {row for row in between["spend"] if "'globex'" in row} == whole


def test_any_answer_may_break_anyhow(made: Installation, expected: Content) -> None:
    """Seeded: half of the answers break, each its own way."""
    chance = random.Random(SEED)

    @contextmanager
    def spoiled(_: Installation) -> Iterator[None]:
        with relayed(made) as relay:
            for nth in range(1, 12):
                quick = sorted(set(SPOILERS) - {"hang", "drip", "bomb"})
                if chance.random() < 0.5:
                    relay.spoil(SPOILERS[chance.choice(quick)], nth=nth)
            yield

    try:
        recovers(made, spoiled, expected)
    except AssertionError as wrong:
        raise AssertionError(f"seed {SEED}") from wrong
    assert content(made)["spend"]

"""`stax tenants set` as an operator types it."""

from __future__ import annotations

import pytest

from stax_pipeline.installation.settings import Settings
from stax_pipeline.simulator import Simulator
from stax_pipeline_tests.cli.support import Stax


def test_a_tenants_source_is_set_shown_and_given_back(
    stax: Stax, settings: Settings, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, key in simulator.keys.items():
        assert stax("connect", name, "--key-file", "-", "--no-sync", typed=key).code == 0
    ended = stax("tenants", "set", "acme", "--source", "both")
    assert (ended.code, ended.out) == (
        0,
        "Tenant acme is read from: both. Its figures come from the reports; complete days that are read from now on "
        "are compared with the newer source.\n",
    )  # fmt: skip
    assert sources(stax) == {"acme": "both", "globex": "reports"}
    monkeypatch.setenv("STAX_SOURCE", "analytics")
    assert sources(stax) == {"acme": "both", "globex": "analytics"}
    assert (
        "read from: analytics, as STAX_SOURCE says. Days that are read from now on come from there."
        in stax("tenants", "set", "acme", "--source", "default").out
    )
    assert sources(stax) == {"acme": "analytics", "globex": "analytics"}


def sources(stax: Stax) -> dict[str, str]:
    rows = [line.split() for line in stax("tenants").out.splitlines()]
    return {words[0]: words[-1] for words in rows if words and words[0] in ("acme", "globex")}


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("acme", "--source", "report"), "'reports', 'analytics', 'both', 'default'"),
        (("acme",), "Missing option '--source'"),
        (("acme", "--source", "both"), "There is no tenant acme."),
        (("A C", "--source", "both"), "A C"),
    ],
)
def test_a_mistake_is_told_in_a_sentence(stax: Stax, arguments: tuple[str, ...], words: str) -> None:
    ended = stax("tenants", "set", *arguments)
    assert ended.code == 2
    assert words in ended.err
    assert "Traceback" not in ended.err

"""Variables that look like settings."""

from __future__ import annotations

from stax_pipeline.cli.misspelt import ELSEWHERE, SETTINGS, warnings
from stax_pipeline.settings import read_settings


def test_the_settings_are_those_that_are_read() -> None:
    class Asked(dict[str, str]):
        def get(self, name: str, default: str = "") -> str:  # type: ignore[override]
            self[name] = default
            return default

    asked = Asked()
    read_settings(asked)
    assert asked.keys() == SETTINGS


def test_only_what_looks_like_a_setting_and_is_none_is_told() -> None:
    assert list(warnings([*SETTINGS, *ELSEWHERE, "HOME", "STAXHOME", "stax_home"])) == []
    assert list(warnings(["STAX_TYPO", "STAX_MASTERKEY", "STAX_\x1b"])) == [
        "warning: STAX_\\x1b is no setting and was not read; docs/operations.md lists them.",
        "warning: STAX_MASTERKEY is no setting and was not read; did you mean STAX_MASTER_KEY?",
        "warning: STAX_TYPO is no setting and was not read; docs/operations.md lists them.",
    ]

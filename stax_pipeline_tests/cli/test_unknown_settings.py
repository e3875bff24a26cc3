"""Variables that look like settings."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stax_pipeline.cli.children import open_settings
from stax_pipeline.cli.unknown_settings import ELSEWHERE, SETTINGS, warnings
from stax_pipeline.domain.errors import WrongUse
from stax_pipeline.domain.pasted_key import refuse_keys_in_settings
from stax_pipeline.installation.settings import read_settings
from stax_pipeline_tests.canary import Canary
from stax_pipeline_tests.cli.support import Stax


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
    assert list(warnings(["STAX_UNHEARD_OF", "STAX_MASTERKEY", "STAX_\x1b"])) == [
        "warning: STAX_\\x1b is no setting and was not read; docs/operate/operations.md lists them.",
        "warning: STAX_MASTERKEY is no setting and was not read; did you mean STAX_MASTER_KEY?",
        "warning: STAX_UNHEARD_OF is no setting and was not read; docs/operate/operations.md lists them.",
    ]


ADMIN = "sk-ant-admin01-CANARYabcdefGHIJklmn0123456789-opqrstUVWXYZ_abcdEFGH"
MASTER = "Q0FOQVJZCANARYabcdefGHIJklmn0123456789+/AbC="
KEYS = {
    "admin": ADMIN, "in capitals": ADMIN.upper(), "in a path": f"/srv/{ADMIN}", "in a bucket": f"s3://{ADMIN}/x",
    "base64": MASTER, "without padding": "Q0FOQVJZCANARYabcdefGHIJklmn0123456789-_AbC", "hex": "CA4A" * 16,
    "two": f"{MASTER},{MASTER}",
}  # fmt: skip


@pytest.mark.parametrize("name", ["STAX_HOME", "STAX_LAKE_URL", "STAX_MASTERKEY", "STAX_ADMIN_KEY", "STAX_CA_FILE"])
@pytest.mark.parametrize("what", KEYS)
def test_a_key_in_a_setting_that_takes_none_is_refused_and_not_repeated(
    stax: Stax, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, what: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STAX_HOME", str(tmp_path / "home"))
    monkeypatch.setenv(name, KEYS[what])
    for command in (["env"], ["status"], ["up"], ["sync"]):
        ended = stax(*command)
        assert (ended.code, ended.out) == (2, "")
        assert f"{name} is not usable: it looks like a key" in ended.err
        assert Canary(KEYS[what]).in_text("", ended.said) == []
    assert list(tmp_path.iterdir()) == []


def test_a_key_that_lost_its_beginning_is_no_folder() -> None:
    lost = ADMIN.removeprefix("sk-ant-admin01-")
    for name in ("STAX_HOME", "STAX_LAKE_URL", "STAX_MASTER_KEY_FILE"):
        with pytest.raises(WrongUse, match=f"{name} is not usable: it looks like a key"):
            read_settings({name: lost})


def test_a_key_for_a_name_is_not_repeated_either(stax: Stax, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"STAX_{ADMIN}", "x")
    ended = stax("env")
    assert (ended.code, len(ended.err.splitlines())) == (2, 1)
    assert Canary(ADMIN).in_text("", ended.said) == []


@pytest.mark.parametrize(
    "path",
    ["/srv/Stax", "relative", ".stax", "/home/Alice/projects/stax-2026/data-store-01", "c" * 43, "s3://bucket/path",
     "3f2504e0-4f89-11d3-9a0c-0305e82c3301", "/mnt/3F2504E0-4F89-11D3-9A0C-0305E82C3301"],
)  # fmt: skip
def test_what_is_no_key_is_a_path(path: str) -> None:
    refuse_keys_in_settings({"STAX_HOME": path, "STAX_LAKE_URL": path})


def test_a_variable_that_is_no_setting_is_not_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAX_SMTP_PASSWORD", "s3cr3t-canary")
    monkeypatch.setenv("STAX_CONCURRENCY", "4")
    assert open_settings(os.environ).items() >= {("STAX_CONCURRENCY", "4")}
    assert "STAX_SMTP_PASSWORD" not in open_settings(os.environ)

"""What is installed is what was locked, to the byte; and nobody is told that it is safe when nobody looked."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

import tools.audit as auditing
from stax_pipeline.installation.homes import CHECKOUT
from tools.audit import CLEAN, NOT_AUDITED, VULNERABLE, audit, installed_packages, judge
from tools.lock import Pinned, read_lock
from tools.sbom import gaps

LOCKS = [
    CHECKOUT / "requirements.lock",
    CHECKOUT / "tools" / "tools.lock",
    CHECKOUT / "tools" / "fuzz.lock",
    CHECKOUT / "benchmarks" / "peers" / "dlt.lock",
]
INSTALLED = {"alembic": "1.20.1", "click": "8.4.0"}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_requirement_is_one_version_with_hashes(lock: Path) -> None:
    pinned = read_lock(lock)
    assert len(pinned) == len(re.findall(r"^[A-Za-z0-9]", lock.read_text(), flags=re.MULTILINE)) > 0
    assert all(one.hashes for one in pinned)


@pytest.mark.parametrize(
    "line",
    ["click", "click==8.4.0", "click>=8 --hash=sha256:" + "a" * 64, "click==8.* --hash=sha256:" + "a" * 64,
     "click==8.4.0 --hash=sha256:abc", "click==8.4.0 --hash=md5:" + "a" * 32,
     "click==8.4.0 --hash=sha256:" + "a" * 64 + " --hash=md5:" + "a" * 32],
)  # fmt: skip
def test_a_lock_that_is_less_is_noticed(tmp_path: Path, line: str) -> None:
    (tmp_path / "lock").write_text(line + "\n")
    with pytest.raises(ValueError, match="is not one version with SHA-256 hashes"):
        read_lock(tmp_path / "lock")


def test_no_lock_names_a_place_to_download_from() -> None:
    for lock in LOCKS:
        assert not re.search(r"https?:|file:|^--(extra-)?index", lock.read_text(), flags=re.MULTILINE)


class TestInstall:
    """pip with the very words of the two scripts that install, on packages made here."""

    @pytest.fixture(params=["install.sh", "tools.sh"])
    def words(self, request: pytest.FixtureRequest) -> list[str]:
        script = (CHECKOUT / "tools" / request.param).read_text().replace("\\\n", " ")
        [given] = re.findall(r"^(?:install|.*pip install.*?) (--require-hashes.*) -r \S+$", script, flags=re.MULTILINE)
        assert "--no-deps" in script
        return [*given.split(), "--no-deps"]

    def install(self, words: list[str], folder: Path, hashes: str) -> subprocess.CompletedProcess[str]:
        (folder / "lock").write_text(f"madeup==1.0 {hashes}\n")
        return subprocess.run(
            [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-index", "--no-cache-dir",
             "--find-links", folder, "--target", folder / "into", *words, "-r", folder / "lock"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    def test_a_wheel_with_its_hash_is_installed(self, tmp_path: Path, words: list[str]) -> None:
        done = self.install(words, tmp_path, f"--hash=sha256:{wheel(tmp_path)}")
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "into" / "madeup.py").exists()

    @pytest.mark.parametrize("hashes", ["", "--hash=sha256:" + "0" * 64], ids=["without a hash", "another hash"])
    def test_anything_else_is_not(self, tmp_path: Path, words: list[str], hashes: str) -> None:
        wheel(tmp_path)
        done = self.install(words, tmp_path, hashes)
        assert done.returncode != 0
        assert re.search("hash", done.stderr, re.IGNORECASE)
        assert not (tmp_path / "into").exists()

    def test_nor_is_a_source_archive_whose_hash_is_right(self, tmp_path: Path, words: list[str]) -> None:
        done = self.install(words, tmp_path, f"--hash=sha256:{source(tmp_path)}")
        assert done.returncode != 0
        assert "No matching distribution found for madeup" in done.stderr  # not: for what would build it


def wheel(folder: Path) -> str:
    """A wheel of one module; its SHA-256."""
    path = folder / "madeup-1.0-py3-none-any.whl"
    content = {
        "madeup.py": b"ANSWER = 42\n",
        "madeup-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: madeup\nVersion: 1.0\n",
        "madeup-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(path, "w") as made:
        record = ""
        for name, data in content.items():
            made.writestr(name, data)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            record += f"{name},sha256={digest},{len(data)}\n"
        made.writestr("madeup-1.0.dist-info/RECORD", record + "madeup-1.0.dist-info/RECORD,,\n")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def source(folder: Path) -> str:
    """The same as a source archive; its SHA-256."""
    path = folder / "madeup-1.0.tar.gz"
    (folder / "setup.py").write_text("from setuptools import setup\nsetup(name='madeup', version='1.0')\n")
    with tarfile.open(path, "w:gz") as made:
        made.add(folder / "setup.py", "madeup-1.0/setup.py")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def report(*dependencies: dict[str, Any]) -> str:
    """As pip-audit writes it."""
    return json.dumps({"dependencies": list(dependencies), "fixes": []})


def looked_up(name: str, *vulnerabilities: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "version": INSTALLED[name.lower()], "vulns": list(vulnerabilities)}


BAD = {"id": "PYSEC-2026-1", "fix_versions": ["8.4.1"], "aliases": [], "description": ""}


class TestAudit:
    def test_all_that_is_installed_was_looked_up(self) -> None:
        code, words = judge(report(looked_up("Alembic"), looked_up("click")), "", INSTALLED)
        assert (code, words) == (CLEAN, ["Audited 2 packages, 2 are installed: no known vulnerability."])

    @pytest.mark.parametrize("said", ["", "ERROR: click: Dependency not found and could not be audited\n"])
    def test_a_tool_that_reached_nothing_reports_nothing(self, said: str) -> None:
        code, words = judge("", said, INSTALLED)
        assert code == NOT_AUDITED
        assert words == [f"NOT AUDITED: {said.strip() or 'it said nothing'}"]

    def test_an_index_without_vulnerability_data_is_named_as_that(self) -> None:
        said = "ERROR:pip_audit._cli:alembic: Dependency not found on PyPI and could not be audited: alembic (1.20.1)\n"
        code, words = judge("", said, INSTALLED)
        assert code == NOT_AUDITED
        assert words == ["NOT AUDITED: the package index in use has no vulnerability data (asked about alembic 1.20.1)"]

    @pytest.mark.parametrize(
        "found",
        ["[]", "null", "{}", "No known vulnerabilities found", report(), report(looked_up("click")),
         report({"name": "alembic", "skip_reason": "not found"}, looked_up("click")),
         report({"name": "alembic", "version": "1.0", "vulns": []}, looked_up("click"))],
        ids=["list", "null", "empty", "words", "nothing", "one missing", "one skipped", "another version"],
    )  # fmt: skip
    def test_less_than_everything_is_not_green(self, found: str) -> None:
        code, words = judge(found, "", INSTALLED)
        assert code == NOT_AUDITED
        assert words[-1].startswith("NOT AUDITED")

    def test_nothing_installed_is_not_green(self) -> None:
        assert judge(report(), "", {}).code == NOT_AUDITED

    def test_what_is_installed_must_be_what_was_locked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for found in ({}, {**installed_packages(), "madeup": "1.0"}):
            monkeypatch.setattr(auditing, "installed_packages", lambda found=found: found)
            code, words = audit(LOCKS[0])
            assert code == NOT_AUDITED
            assert words[0].startswith("NOT AUDITED: what is installed is not the lock: ")

    def test_a_tool_without_its_data_is_asked_strictly_and_never_green(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A program of the tool's name that finds nothing, and says so as the real one does without `--strict`."""
        pinned = {one.name: one.version for one in read_lock(LOCKS[0]) if one.applies}
        monkeypatch.setattr(auditing, "installed_packages", lambda: pinned)
        monkeypatch.setattr(auditing, "TOOLS", tmp_path)
        (tmp_path / "bin").mkdir()
        (tmp_path / "done").write_bytes(LOCKS[1].read_bytes())  # so that nothing is installed
        tool = tmp_path / "bin" / "pip-audit"
        tool.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\necho "No known vulnerabilities found" >&2\n')
        tool.chmod(0o755)
        assert audit(LOCKS[0]).code == NOT_AUDITED
        asked = (tmp_path / "asked").read_text().split()
        assert {"--strict", "--require-hashes", "--disable-pip", str(LOCKS[0])} <= set(asked)

    def test_a_known_vulnerability_is_named_even_where_others_were_not_looked_up(self) -> None:
        code, words = judge(report(looked_up("click", BAD)), "", INSTALLED)
        assert code == VULNERABLE
        assert words[0] == "VULNERABLE: click 8.4.0: PYSEC-2026-1, fixed in 8.4.1"
        assert words[1].startswith("NOT AUDITED: 1 of 2 installed packages; without alembic 1.20.1")


@pytest.mark.parametrize(
    ("does", "code", "said"),
    [
        ("echo x > $2/0a1b", 0, "no findings in 7 seconds"),
        ("echo x > $2/crash-0a1b; exit 77", 1, "FOUND: {folder}/crash-0a1b"),
        ("exit 3", 3, "fuzzing ended early with exit code 3 and left no finding: what is above says why"),
    ],
)
def test_fuzzing_ends_with_what_was_found(tmp_path: Path, does: str, code: int, said: str) -> None:
    folder, python = tmp_path / "found", tmp_path / "python"
    folder.mkdir()
    (folder / "crash-of-last-week").touch()
    os.utime(folder / "crash-of-last-week", (0, 0))
    python.write_text(f"#!/bin/sh\nshift\n{does}\n")
    python.chmod(0o700)
    ended = subprocess.run(
        ["sh", "tools/fuzz.sh", python, "7", folder], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, (ended.stdout + ended.stderr).strip()) == (code, said.format(folder=folder))


def test_a_bill_of_materials_has_every_pinned_package_with_its_hashes() -> None:
    pinned = [Pinned("click", "8.4.0", frozenset({"aa"}), True), Pinned("colorama", "0.4.6", frozenset({"bb"}), False)]
    whole = [component("Click", "8.4.0", "aa"), component("colorama", "0.4.6", "bb")]
    assert gaps({"components": whole}, pinned) == []
    assert gaps({"components": whole[:1]}, pinned) == ["colorama 0.4.6"]
    assert gaps({"components": [*whole[:1], component("colorama", "0.4.6", "cc")]}, pinned) == ["colorama 0.4.6"] * 2
    assert gaps({"components": [*whole, component("extra", "1", "dd")]}, pinned) == ["extra 1"]


def component(name: str, version: str, digest: str) -> dict[str, Any]:
    hashes = [{"alg": "SHA-256", "content": digest}]
    return {"name": name, "version": version, "externalReferences": [{"type": "distribution", "hashes": hashes}]}

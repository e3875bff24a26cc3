"""What a hashed lock file pins: name, version, where it applies, hashes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})(?=\s|$)")


class Pinned(NamedTuple):
    """One entry of the lock. `applies` says whether this machine and Python need it."""

    name: str
    version: str
    hashes: frozenset[str]
    applies: bool


def read_lock(path: Path) -> list[Pinned]:
    """Every entry. Raises ValueError for one that is not pinned to one version or has no hash: pip would refuse it."""
    text = re.sub(r"^\s*#.*$", "", path.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [_pinned(line) for line in text.splitlines() if line.strip()]


def _pinned(line: str) -> Pinned:
    words, *hashes = line.split(" --hash=")
    wanted = Requirement(words.strip())
    versions = [one.version for one in wanted.specifier if one.operator == "==" and "*" not in one.version]
    found = HASH.findall(line)
    if len(versions) != 1 or len(wanted.specifier) != 1 or not found or len(found) != len(hashes):
        raise ValueError(f"{words.strip()} is not one version with SHA-256 hashes")
    applies = wanted.marker is None or wanted.marker.evaluate()
    return Pinned(canonicalize_name(wanted.name), versions[0], frozenset(found), applies)

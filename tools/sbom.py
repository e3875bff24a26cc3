"""The bill of materials of a release, CycloneDX JSON, from the lock: `make sbom`. Everything pinned, with hashes.

It covers every platform and the tools that test the product, since the lock does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CHECKOUT))
from tools.lock import Pinned, read_lock  # noqa: E402


def gaps(bill: dict[str, Any], pinned: list[Pinned]) -> list[str]:
    """What the bill lacks or has beyond the lock; a component counts with its version and all of its hashes."""
    found = {
        (
            canonicalize_name(one["name"]),
            one.get("version"),
            frozenset(h["content"] for r in one.get("externalReferences", ()) for h in r.get("hashes", ())),
        )
        for one in bill["components"]
    }
    wanted = {(one.name, one.version, one.hashes) for one in pinned}
    return sorted(f"{name} {version}" for name, version, _ in found ^ wanted)


def main() -> None:
    tool, lock, target = map(Path, sys.argv[1:])
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_suffix(".new")
    command = [tool, "requirements", lock, "--pyproject", CHECKOUT / "pyproject.toml", "--mc-type", "application",
               "--output-format", "JSON", "--output-reproducible", "--output-file", fresh]  # fmt: skip
    quiet = os.environ | {"PYTHONWARNINGS": "ignore"}  # a lock has no dependency graph, and the tool regrets it
    subprocess.run(command, check=True, env=quiet)
    pinned = read_lock(lock)
    apart = gaps(json.loads(fresh.read_text()), pinned)
    if apart:
        sys.exit(f"The bill of materials is not the lock: {', '.join(apart)}")
    fresh.rename(target)
    print(f"Wrote {target}: {len(pinned)} components.")


if __name__ == "__main__":
    main()

"""Known vulnerabilities of what is installed here: `make audit`. Green only when every package was looked up.

Exit codes: 0 every installed package was audited and none is known to be vulnerable; 1 some are; 3 NOT AUDITED: the
tool or its data was out of reach, or what was audited is not what is installed. Nothing is known then.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, NamedTuple

from packaging.utils import canonicalize_name

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CHECKOUT))
from tools.lock import read_lock  # noqa: E402

CLEAN, VULNERABLE, NOT_AUDITED = 0, 1, 3
OURS = frozenset({"stax-pipeline", "pip", "setuptools"})  # this product, and what made the environment
TOOLS = CHECKOUT / ".tools" / "audit"
SHOWN = 5
_UNKNOWN = re.compile(r"Dependency not found on PyPI and could not be audited: (\S+) \((\S+)\)")


class Verdict(NamedTuple):
    code: int
    words: list[str]


def judge(report: str, said: str, installed: dict[str, str]) -> Verdict:
    """What pip-audit's JSON `report` proves about the `installed` versions by name; `said` is its standard error."""
    try:
        dependencies: list[dict[str, Any]] = json.loads(report)["dependencies"]
    except (ValueError, KeyError, TypeError):
        return Verdict(NOT_AUDITED, [f"NOT AUDITED: {_reason(said)}"])
    audited = {canonicalize_name(d["name"]): d["version"] for d in dependencies if "skip_reason" not in d}
    lacking = sorted(f"{name} {version}" for name, version in installed.items() if audited.get(name) != version)
    found = [
        f"{d['name']} {d['version']}: {v['id']}, fixed in {', '.join(v['fix_versions']) or 'no version yet'}"
        for d in dependencies
        for v in d.get("vulns", ())
    ]
    words = [f"VULNERABLE: {one}" for one in found]
    if lacking or not installed:
        shown = ", ".join(lacking[:SHOWN]) + (f" and {len(lacking) - SHOWN} more" if len(lacking) > SHOWN else "")
        words.append(
            f"NOT AUDITED: {len(installed) - len(lacking)} of {len(installed)} installed packages; without {shown}"
        )
    if found:
        return Verdict(VULNERABLE, words)
    if words:
        return Verdict(NOT_AUDITED, words)
    return Verdict(CLEAN, [f"Audited {len(audited)} packages, {len(installed)} are installed: no known vulnerability."])


def _reason(said: str) -> str:
    """pip-audit's last line; where a mirror of PyPI answers that it holds files and nothing else, in plain words."""
    last = (_last(said) or ["it said nothing"])[0]
    unknown = _UNKNOWN.search(last)
    if unknown is None:
        return last
    return f"the package index in use has no vulnerability data (asked about {unknown[1]} {unknown[2]})"


def installed_packages() -> dict[str, str]:
    """Versions by name of what this environment holds, without this product and the installer."""
    found = {canonicalize_name(one.metadata["Name"]): one.version for one in distributions()}
    return {name: version for name, version in found.items() if name not in OURS}


def audit(lock: Path) -> Verdict:
    """Run pip-audit over the lock. Every way in which it can fail to look is NOT AUDITED."""
    installed = installed_packages()
    pinned = {one.name: one.version for one in read_lock(lock) if one.applies}
    apart = sorted({f"{name} {version}" for name, version in pinned.items() ^ installed.items()})
    if apart:
        return Verdict(NOT_AUDITED, [f"NOT AUDITED: what is installed is not the lock: {', '.join(apart[:SHOWN])}"])
    made = subprocess.run(
        ["sh", "tools/tools.sh", str(TOOLS), "tools/tools.lock"],
        cwd=CHECKOUT, env=os.environ | {"PYTHON": sys.executable}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if made.returncode:
        return Verdict(NOT_AUDITED, ["NOT AUDITED: pip-audit cannot be installed here", *_last(made.stderr)])
    command = [TOOLS / "bin" / "pip-audit", "--strict", "--require-hashes", "--disable-pip", "--format", "json",
               "--progress-spinner", "off", "--requirement", lock]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return judge(done.stdout, done.stderr, installed)


def _last(text: str) -> list[str]:
    return text.strip().splitlines()[-1:]


def main() -> None:
    verdict = audit(CHECKOUT / "requirements.lock")
    for line in verdict.words:
        print(line, file=sys.stderr if verdict.code else sys.stdout)
    if verdict.code == NOT_AUDITED:
        print(
            "*** NOT AUDITED: this is no clean bill; run `make audit` where the data is in reach. ***", file=sys.stderr
        )
    sys.exit(verdict.code)


if __name__ == "__main__":
    main()

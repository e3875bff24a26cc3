"""The simulator as a process of its own: what it prints, and that a signal ends it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import httpx

import stax_pipeline

ROOT = Path(stax_pipeline.__file__).parents[1]
COMMAND = [sys.executable, "-m", "stax_pipeline.simulator"]


def test_serves_until_terminated() -> None:
    organizations = ["--org", "acme", "--org", "initech"]
    with subprocess.Popen([*COMMAND, *organizations], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        base_url = process.stdout.readline().strip()
        keys = dict(process.stdout.readline().split() for _ in range(2))
        headers = {"x-api-key": keys["initech"], "anthropic-version": "2023-06-01"}
        answer = httpx.get(f"{base_url}/v1/organizations/me", headers=headers, trust_env=False)
        assert answer.json()["name"] == "initech"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0


def test_refuses_to_serve_others() -> None:
    done = subprocess.run([*COMMAND, "--host", "0.0.0.0"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "loopback only" in done.stderr

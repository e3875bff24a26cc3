"""Run every case in a process of its own and print one table: rows per second, peak memory, the share of each stage.

Usage: python -m benchmarks [case …]. The simulator and Postgres run as processes of their own and are not counted.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.cases import CASES
from stax_pipeline import embedded_postgres
from stax_pipeline.installation.settings import read_settings
from stax_pipeline.warehouse.migrate import upgrade


def main() -> None:
    chosen = sys.argv[1:] or list(CASES)
    results = []
    with tempfile.TemporaryDirectory(prefix="stax-bench-") as folder:
        Path(folder).chmod(0o711)  # as root the server runs as another account and must reach its files
        os.environ["STAX_HOME"] = str(Path(folder) / "home")
        os.environ["STAX_START_DATE"] = str(datetime.now(UTC).date() - timedelta(days=400))  # the longest case's days
        settings = read_settings()
        with embedded_postgres.running(settings.postgres_home):
            upgrade(settings)
            for name in chosen:
                done = subprocess.run(
                    [sys.executable, "-m", "benchmarks.one", name], stdout=subprocess.PIPE, text=True, check=False
                )
                if done.returncode:
                    sys.exit(f"case {name} failed")
                results.append(json.loads(done.stdout.splitlines()[-1]))
                print(_line(results[-1]), flush=True)
    _ratios({result["case"]: result for result in results})


def _line(result: dict[str, float | str | dict[str, float]]) -> str:
    shares = result["shares"]
    assert isinstance(shares, dict)
    parts = ", ".join(f"{stage} {share:.0%}" for stage, share in sorted(shares.items(), key=lambda s: -s[1]))
    return (
        f"{result['case']:<26} {result['seconds']:>7.1f} s {result['rows']:>8} rows "
        f"{result['rows_per_second']:>7.0f} rows/s {result['peak_mb']:>5.0f} MB (+{result['grown_mb']:.0f})   {parts}"
    )


def _ratios(by_case: dict[str, dict[str, float]]) -> None:
    for name, result in by_case.items():
        if "replay_seconds" in result:
            print(f"time, {name}, replay ÷ sync: {result['replay_seconds'] / result['seconds']:.2f}")

    def ratio(a: str, b: str, figure: str, words: str) -> None:
        if a in by_case and b in by_case:
            print(f"{words}: {by_case[a][figure] / by_case[b][figure]:.2f}")

    ratio("400-tenants-1-day", "200-tenants-1-day", "peak_mb", "peak memory, 400 tenants ÷ 200 tenants")
    ratio("200-tenants-1-day", "20-tenants-1-day", "peak_mb", "peak memory, 200 tenants ÷ 20 tenants")
    ratio("200-tenants-1-day", "20-tenants-1-day", "seconds", "time, 200 tenants ÷ 20 tenants")
    ratio("1-tenant-365-days", "1-tenant-30-days", "seconds", "time, 365 days ÷ 30 days")
    ratio("1-tenant-365-days", "1-tenant-30-days", "peak_mb", "peak memory, 365 days ÷ 30 days")


if __name__ == "__main__":
    main()

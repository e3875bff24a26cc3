"""dlt's generic REST source over both reports of every tenant, into Postgres. Runs in dlt's own environment.

Usage: python dlt_load.py < ASKED, where ASKED is JSON with `url`, `postgres`, `folder` and, by tenant, its key and the
parameters of both reports. Prints its CPU seconds, from the first request on, and the rows that it loaded.
"""

import json
import os
import resource
import sys
import time
from typing import Any

ASKED = json.load(sys.stdin)
os.environ.update(
    RUNTIME__DLTHUB_TELEMETRY="false", RUNTIME__LOG_LEVEL="ERROR", DLT_DATA_DIR=ASKED["folder"],
    DLT_PROJECT_DIR=ASKED["folder"],
)  # fmt: skip

import dlt  # noqa: E402  it reads the environment while it is imported
from dlt.sources.rest_api import rest_api_source  # noqa: E402

DATASET = "dlt_peer"


def rows_of(bucket: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"starting_at": bucket["starting_at"], **row} for row in bucket["results"]]


def source(tenant: str, asked: dict[str, Any]) -> Any:
    """Both reports of one tenant."""

    def named(rows: Any) -> Any:
        return [{"tenant": tenant, **row} for row in rows_of(rows)]

    return rest_api_source(
        {
            "client": {
                "base_url": ASKED["url"],
                "headers": {"x-api-key": asked["key"], "anthropic-version": asked["version"]},
                "paginator": {"type": "cursor", "cursor_path": "next_page", "cursor_param": "page"},
            },
            "resources": [
                {
                    "name": table,
                    "endpoint": {"path": report["path"], "params": report["params"], "data_selector": "data"},
                    "processing_steps": [{"yield_map": named}],
                }
                for table, report in asked["reports"].items()
            ],
        },
        name="reports",
    )


def cpu() -> float:
    return sum(
        used.ru_utime + used.ru_stime
        for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def main() -> None:
    before, wall = cpu(), time.perf_counter()
    pipeline = dlt.pipeline("peer", destination=dlt.destinations.postgres(ASKED["postgres"]), dataset_name=DATASET)
    pipeline.run([source(tenant, asked) for tenant, asked in ASKED["tenants"].items()], write_disposition="replace")
    spent, wall = cpu() - before, time.perf_counter() - wall
    loaded = {
        table: count for table, count in pipeline.last_trace.last_normalize_info.row_counts.items() if table[0] != "_"
    }
    print(json.dumps({"client": spent, "wall": wall, "rows": loaded}))


if __name__ == "__main__":
    main()

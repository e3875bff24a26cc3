"""`python -m stax_pipeline.simulator`: the simulator as a process of its own."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from stax_pipeline.simulator.documents import write_documents
from stax_pipeline.simulator.organization import Organization
from stax_pipeline.simulator.realistic import demo_organizations
from stax_pipeline.simulator.server import serve_forever
from stax_pipeline.simulator.story import invoiced_month, story_organizations


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="stax_pipeline.simulator", description="Anthropic Admin API simulator")
    parser.add_argument("--host", default="127.0.0.1", help="loopback address to serve on")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--org",
        action="append",
        dest="organizations",
        help="repeatable; default acme and globex",
    )
    parser.add_argument("--with-parent", action="store_true", help="end when the starting process is gone")
    parser.add_argument(
        "--story",
        type=Path,
        metavar="FOLDER",
        help="the organisations of `stax demo`; their commitments and invoices are written to FOLDER",
    )
    parser.add_argument("--today", type=date.fromisoformat, help="the day on which the story is told (UTC)")
    parser.add_argument("--days", type=int, default=62, help="how many days before it the story goes back")
    options = parser.parse_args(arguments)
    try:
        serve_forever(options.port, _organizations(options), options.host, with_parent=options.with_parent)
    except (ValueError, OSError) as error:
        parser.error(str(error))


def _organizations(options: argparse.Namespace) -> tuple[Organization, ...]:
    if options.story is None:
        return demo_organizations(options.seed, options.organizations or ("acme", "globex"))
    today = options.today or datetime.now(UTC).date()
    organizations = story_organizations(today, options.seed)
    write_documents(options.story, organizations, today - timedelta(days=options.days), today, invoiced_month(today))
    return organizations


if __name__ == "__main__":
    main()

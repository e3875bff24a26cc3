"""`python -m stax_pipeline.simulator`: the simulator as a process of its own."""

from __future__ import annotations

import argparse

from stax_pipeline.simulator.server import serve_forever


def main() -> None:
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
    options = parser.parse_args()
    try:
        serve_forever(
            options.port,
            options.seed,
            options.organizations or ["acme", "globex"],
            options.host,
            with_parent=options.with_parent,
        )
    except (ValueError, OSError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()

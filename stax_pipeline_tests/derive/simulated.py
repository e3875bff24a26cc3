"""What the simulator's organisations used and were billed, as lines, without a server or a database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from stax_pipeline.anthropic.queries import FAST_MODE_BETA, cost_query, usage_queries
from stax_pipeline.derive.cost_lines import CostLine
from stax_pipeline.derive.usage_lines import KeyUsageLine, UsageLine
from stax_pipeline.domain.extraction import Query, QueryName, RawPage, Window
from stax_pipeline.simulator import Organization
from stax_pipeline.simulator.cost_report import cost_report
from stax_pipeline.simulator.usage_report import usage_report
from stax_pipeline_tests.derive.reading import read_costs, read_usage


class Lines(NamedTuple):
    costs: list[CostLine]
    usage: list[UsageLine]
    by_key: list[KeyUsageLine]


def lines_of_organization(organization: Organization, window: Window, now: datetime) -> Lines:
    """Its lines of the window as they can be read at `now` (UTC)."""
    used = read_usage((page for query in usage_queries(window) for page in _pages(organization, query, now)), window)
    paid = read_costs(_pages(organization, cost_query(window), now), window)
    return Lines(paid.lines, used.lines, used.by_key)


def _pages(organization: Organization, query: Query, now: datetime) -> Iterator[RawPage]:
    params, number = list(query.params), 0
    while True:
        items, number = tuple(params), number + 1
        body = (
            cost_report(organization, items, now)
            if query.name is QueryName.COST
            else usage_report(organization, items, now, {FAST_MODE_BETA})
        )
        moment = datetime.now(UTC)
        yield RawPage(query.name, number, query.path, items, {}, 200, "", moment, moment, moment, 0, "", body.decode())
        following = json.loads(body)["next_page"]
        if following is None:
            return
        params = [*query.params, ("page", following)]

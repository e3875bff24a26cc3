"""Pages of one extraction read row by row, with no column anywhere: the second way to every line and every reason."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import reduce
from operator import or_
from typing import NamedTuple

from stax_pipeline.anthropic.analytics_page import AnalyticsRow, RowCheck, dimensions_of, parse_analytics_page
from stax_pipeline.anthropic.envelope import parse_report_page
from stax_pipeline.anthropic.fields import Row, count_new_fields
from stax_pipeline.anthropic.queries import BY_KEY_DIMENSIONS, USAGE_DIMENSIONS
from stax_pipeline.derive.analytics_rows import WorkspaceNames, cost_row, is_set_aside, usage_row
from stax_pipeline.derive.cost_lines import CostLine, cost_lines, numbered
from stax_pipeline.derive.usage_lines import (
    NOTHING,
    Counted,
    Counts,
    Key,
    KeyUsageLine,
    UsageLine,
    count_rows,
    counts,
    disagreements,
    key_usage_lines,
    usage_lines,
)
from stax_pipeline.domain.errors import ContractBroken
from stax_pipeline.domain.extraction import QueryName, RawPage, Window, window_of

Buckets = list[tuple[date, list[Row]]]
COSTS = frozenset({QueryName.COST, QueryName.ANALYTICS_COST})
BUCKETED = frozenset({QueryName.COST, QueryName.ALL, QueryName.FAST, QueryName.BY_KEY})
_WORKSPACES = frozenset({QueryName.WORKSPACES, QueryName.NAMED_WORKSPACES})
_USAGE = {  # the newer source's queries of usage, each with the reports' query it stands for
    QueryName.ALL: QueryName.ALL,
    QueryName.FAST: QueryName.FAST,
    QueryName.BY_KEY: QueryName.BY_KEY,
    QueryName.ANALYTICS_ALL: QueryName.ALL,
    QueryName.ANALYTICS_FAST: QueryName.FAST,
    QueryName.ANALYTICS_BY_KEY: QueryName.BY_KEY,
}


@dataclass(slots=True)
class PageReader:
    """Reads the pages of one extraction in any order; a bucket or row that came twice, word for word, counts once.

    `refreshed_at` is the earliest instant (UTC) at which the
    newer source says its data was refreshed, None where it said nothing. Until `names` is asked, lines of the newer
    source carry the default workspace's real id.
    """

    window: Window
    refreshed_at: datetime | None = None
    names: WorkspaceNames = field(default_factory=WorkspaceNames)
    _seen: dict[QueryName, set[date]] = field(default_factory=lambda: defaultdict(set))
    _rows: dict[QueryName, RowCheck] = field(default_factory=lambda: defaultdict(RowCheck))
    _unknown: dict[QueryName, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    @property
    def unknown(self) -> Counter[str]:
        """Fields and enum values that no documentation lists: how often each came in the query that has most."""
        return reduce(or_, self._unknown.values(), Counter[str]())

    def answered_until(self, queries: Iterable[QueryName]) -> date:
        """The day after the last one that each of these queries has a bucket of: an answer may end early.

        Queries without buckets (of the newer source, of lists) answer for the whole window.
        """
        last = [max(self._seen[query], default=None) for query in queries if query in BUCKETED]
        ends = [self.window.start if day is None else day + timedelta(days=1) for day in last]
        return min([*ends, self.window.end])

    def buckets(self, page: RawPage) -> Buckets:
        """The page's rows by day, in the reports' shape. Raises ContractBroken of its kind, query and page named."""
        try:
            return self._by_row(page) if page.query.is_analytics else self._by_bucket(page)
        except ContractBroken as fault:
            raise type(fault)(f"query {page.query}, page {page.page_number}: {fault}") from None

    def cost(self, page: RawPage) -> list[CostLine]:
        """The page's cost lines, none where it has no cost. Raises ContractBroken naming bucket and row."""
        if page.query in _WORKSPACES:
            self.names.add(page)
        return cost_lines(self.buckets(page), self._unknown[page.query]) if page.query in COSTS else []

    def _by_bucket(self, page: RawPage) -> Buckets:
        seen = self._seen[page.query]
        fresh: Buckets = []
        envelope = parse_report_page(page.body, self.window)
        count_new_fields(envelope.new_fields, self._unknown[page.query])
        for bucket in envelope.buckets:
            if bucket.day not in seen:
                seen.add(bucket.day)
                fresh.append((bucket.day, bucket.results))
        return fresh

    def _by_row(self, page: RawPage) -> Buckets:
        found = parse_analytics_page(page.body, self.window, dimensions_of(page.params))
        moments = [moment for moment in (self.refreshed_at, found.refreshed_at) if moment]
        self.refreshed_at = min(moments, default=None)
        by_day: dict[date, list[Row]] = defaultdict(list)
        for row in self._rows[page.query].fresh(found.rows):
            translated = _translated(row, page.query)
            if page.query in COSTS or counts(translated) != NOTHING:  # code execution counts requests, no tokens
                by_day[row.day].append(translated)
        for rows in by_day.values():
            self.names.note(rows)
        return list(by_day.items())


def _translated(row: AnalyticsRow, query: QueryName) -> Row:
    try:
        if query in COSTS:
            return cost_row(row)
        return usage_row(row, by_key=query is QueryName.ANALYTICS_BY_KEY)
    except ContractBroken as fault:
        raise ContractBroken(f"a row of {row.day}: {fault}") from None


@dataclass(slots=True)
class UsageReader(PageReader):
    """Counts the three queries of usage, each over the days that its requests asked for."""

    _found: dict[QueryName, Counted] = field(default_factory=lambda: defaultdict(dict))
    _asked: dict[QueryName, set[date]] = field(default_factory=lambda: defaultdict(set))

    @property
    def key_days(self) -> frozenset[date]:
        """The days for which usage by key was read."""
        return frozenset(self._asked[QueryName.BY_KEY])

    def add(self, page: RawPage) -> None:
        """Count one page, or learn the workspaces from it. Raises ContractBroken naming bucket and row."""
        if page.query in _WORKSPACES:
            self.names.add(page)
        query = _USAGE.get(page.query)
        if query is None:
            return
        self._asked[query].update((window_of(page.params) or self.window).days)
        dimensions = BY_KEY_DIMENSIONS if query is QueryName.BY_KEY else USAGE_DIMENSIONS
        count_rows(self._found[query], self.buckets(page), dimensions, self._unknown[page.query], page.query)

    def lines(self) -> list[UsageLine]:
        """Raises NegativeSpeedDifference. Speed is '' where the `fast` query was refused or not made."""
        lines = usage_lines(
            self._found.get(QueryName.ALL, {}), self._found.get(QueryName.FAST), self._asked[QueryName.FAST]
        )
        return sorted(line._replace(workspace_id=self.names.of(line.workspace_id)) for line in lines)

    def by_key(self) -> list[KeyUsageLine]:
        lines = key_usage_lines(self._found.get(QueryName.BY_KEY, {}))
        return sorted(line._replace(workspace_id=self.names.of(line.workspace_id)) for line in lines)

    def disagreements(self) -> dict[Key, tuple[Counts, Counts]]:
        """Where the queries `all` and `by_key` differ, on the days that have both."""
        both = self._asked[QueryName.ALL] & self.key_days
        return {key: found for key, found in disagreements(self.lines(), self.by_key()).items() if key[0] in both}


class Costs(NamedTuple):
    """The dollars of one extraction: those that count, and those kept apart from them, each in a stable order."""

    lines: list[CostLine]
    set_aside: list[CostLine]


def read_costs(pages: Iterable[RawPage], window: Window) -> Costs:
    """The cost of one extraction. Raises ContractBroken."""
    reader = PageReader(window)
    lines: list[CostLine] = []
    apart: list[CostLine] = []
    for page in pages:
        for line in reader.cost(page):
            (apart if page.query.is_analytics and is_set_aside(line) else lines).append(line)
    return Costs(_final(reader, lines), _final(reader, apart))


def _final(reader: PageReader, lines: Iterable[CostLine]) -> list[CostLine]:
    return sorted(numbered(line._replace(workspace_id=reader.names.of(line.workspace_id)) for line in lines))


def read_cost(pages: Iterable[RawPage], window: Window) -> list[CostLine]:
    """The cost lines of one extraction, in a stable order, without what is set aside."""
    return read_costs(pages, window).lines


def read_usage(pages: Iterable[RawPage], window: Window) -> UsageReader:
    """The usage of one extraction, all its queries counted."""
    reader = UsageReader(window)
    for page in pages:
        reader.add(page)
    return reader

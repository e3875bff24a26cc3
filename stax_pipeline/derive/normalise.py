"""From the pages of one extraction to its lines as Arrow tables, page by page: what was read of a page is let go.

A plain page becomes lines column by column (`plain_rows`), any other row by row. A page's query says which source it
came from; the lines are the same from both.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import reduce
from operator import or_
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from stax_pipeline.anthropic.analytics_page import AnalyticsRow, RowCheck
from stax_pipeline.anthropic.envelope import Envelope
from stax_pipeline.anthropic.fetched_page import analytics_page_of, report_page_of
from stax_pipeline.anthropic.fields import Row, count_new_fields
from stax_pipeline.anthropic.queries import BY_KEY_DIMENSIONS, USAGE_DIMENSIONS
from stax_pipeline.anthropic.typed_pages import PlainPage
from stax_pipeline.derive.analytics_rows import WorkspaceNames, cost_row, is_set_aside, usage_row
from stax_pipeline.derive.cost_lines import CostLine, cost_lines, numbered
from stax_pipeline.derive.plain_rows import (
    BY_KEY,
    COSTS,
    USAGE,
    Line,
    are_lines,
    count_unknown_values,
    counted_rows,
    lines_of_page,
    table_of_lines,
)
from stax_pipeline.derive.usage_lines import (
    NOTHING,
    Counted,
    count_rows,
    counts,
    key_usage_lines,
)
from stax_pipeline.derive.usage_tables import days_apart, with_speed
from stax_pipeline.domain.errors import ContractBroken
from stax_pipeline.domain.extraction import QueryName, RawPage, Window, window_of

Buckets = list[tuple[date, list[Row]]]
BUCKETED = frozenset({QueryName.COST, QueryName.ALL, QueryName.FAST, QueryName.BY_KEY})
_COSTS = frozenset({QueryName.COST, QueryName.ANALYTICS_COST})
_WORKSPACES = frozenset({QueryName.WORKSPACES, QueryName.NAMED_WORKSPACES})
_USAGE = {  # queries of usage, the newer source's with the reports' query that each stands for
    QueryName.ALL: QueryName.ALL,
    QueryName.FAST: QueryName.FAST,
    QueryName.BY_KEY: QueryName.BY_KEY,
    QueryName.ANALYTICS_ALL: QueryName.ALL,
    QueryName.ANALYTICS_FAST: QueryName.FAST,
    QueryName.ANALYTICS_BY_KEY: QueryName.BY_KEY,
}
_SCHEMAS = {QueryName.COST: COSTS, QueryName.ALL: USAGE, QueryName.BY_KEY: BY_KEY}
_EMPTY = {schema: schema.empty_table() for schema in _SCHEMAS.values()}


def on_days(table: pa.Table, days: Iterable[date]) -> pa.Table:
    """The rows of these usage dates; the table itself where they are all its rows."""
    is_chosen = pc.is_in(table.column("usage_date"), pa.array(sorted(days), pa.date32()))
    return table if pc.all(is_chosen).as_py() is not False else table.filter(is_chosen)


class Normalised(NamedTuple):
    """The lines of one extraction, as `derive.schemas` has them but for `tenant_id`, in no order.

    `set_aside` are dollars kept apart from those that count. Usage by key is known for `key_days` alone.
    """

    cost_lines: pa.Table
    set_aside: pa.Table
    usage_lines: pa.Table
    usage_by_key: pa.Table
    key_days: frozenset[date]

    @property
    def nbytes(self) -> int:
        """How much memory the lines take."""
        return sum(table.nbytes for table in self[:4])

    def on(self, days: Collection[date]) -> Normalised:
        """The lines of these days."""
        costs, apart, usage, by_key = (on_days(table, days) for table in self[:4])
        return Normalised(costs, apart, usage, by_key, self.key_days & set(days))


@dataclass(slots=True)
class PageReader:
    """Reads the pages of one extraction in any order; a bucket or row that came twice, word for word, counts once.

    `refreshed_at` is the earliest instant (UTC) at which the newer source says its data was refreshed, None where it
    said nothing; `rounded` counts amounts with more decimals than are kept.
    """

    window: Window
    refreshed_at: datetime | None = None
    rounded: int = 0
    names: WorkspaceNames = field(default_factory=WorkspaceNames)
    _seen: dict[QueryName, set[date]] = field(default_factory=lambda: defaultdict(set))
    _rows: dict[QueryName, RowCheck] = field(default_factory=lambda: defaultdict(RowCheck))
    _unknown: dict[QueryName, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    _asked: dict[QueryName, set[date]] = field(default_factory=dict)
    _plain: dict[QueryName, list[pa.Table]] = field(default_factory=lambda: defaultdict(list))
    _costs: list[CostLine] = field(default_factory=list)
    _set_aside: list[CostLine] = field(default_factory=list)
    _counted: dict[QueryName, Counted] = field(default_factory=lambda: defaultdict(dict))

    @property
    def unknown(self) -> Counter[str]:
        """Fields and enum values that no documentation lists: how often each came in the query that has most."""
        return reduce(or_, self._unknown.values(), Counter[str]())

    @property
    def key_days(self) -> frozenset[date]:
        """The days for which usage by key was read."""
        return frozenset(self._asked.get(QueryName.BY_KEY, ()))

    def answered_until(self, queries: Iterable[QueryName]) -> date:
        """The day after the last one that each of these queries has a bucket of: an answer may end early.

        Queries without buckets (of the newer source, of lists) answer for the whole window.
        """
        last = [max(self._seen[query], default=None) for query in queries if query in BUCKETED]
        ends = [self.window.start if day is None else day + timedelta(days=1) for day in last]
        return min([*ends, self.window.end])

    def add(self, page: RawPage) -> None:
        """Read one page. Raises ContractBroken naming query and page, or bucket and row."""
        if page.query in _WORKSPACES:
            self.names.add(page)
        if page.query in _USAGE:
            days = (window_of(page.params) or self.window).days
            self._asked.setdefault(_USAGE[page.query], set()).update(days)
        elif page.query not in _COSTS:
            return
        try:
            rows = self._by_row(page) if page.query.is_analytics else self._by_bucket(page)
        except ContractBroken as fault:
            raise type(fault)(f"query {page.query}, page {page.page_number}: {fault}") from None
        if isinstance(rows, pa.RecordBatch):
            self._add_columns(page.query, rows)
        else:
            self._add_rows(page.query, rows)

    def _by_bucket(self, page: RawPage) -> pa.RecordBatch | Buckets:
        """The rows of days that did not come before: columns of a plain page, else rows in the reports' shape."""
        found, seen = report_page_of(page, self.window), self._seen[page.query]
        if isinstance(found, Envelope):
            count_new_fields(found.new_fields, self._unknown[page.query])
        fresh = []
        for bucket in found.buckets:
            if bucket.day not in seen:
                seen.add(bucket.day)
                fresh.append(bucket)
        if isinstance(found, PlainPage) and len(fresh) == len(found.buckets) and are_lines(found):
            return found.rows
        return [(bucket.day, bucket.results) for bucket in fresh]

    def _by_row(self, page: RawPage) -> Buckets:
        found = analytics_page_of(page, self.window)
        moments = [moment for moment in (self.refreshed_at, found.refreshed_at) if moment]
        self.refreshed_at = min(moments, default=None)
        by_day: dict[date, list[Row]] = defaultdict(list)
        for row in self._rows[page.query].fresh(found.rows):
            translated = _translated(row, page.query)
            if page.query in _COSTS or counts(translated) != NOTHING:  # code execution counts requests, no tokens
                by_day[row.day].append(translated)
        for rows in by_day.values():
            self.names.note(rows)
        return list(by_day.items())

    def _add_columns(self, query: QueryName, rows: pa.RecordBatch) -> None:
        count_unknown_values(rows, self._unknown[query])
        if query is QueryName.FAST:
            self._counted[query] |= counted_rows(lines_of_page(rows, USAGE))
        else:
            self._plain[query].append(lines_of_page(rows, _SCHEMAS[query]))

    def _add_rows(self, query: QueryName, buckets: Buckets) -> None:
        unknown = self._unknown[query]
        if query in _COSTS:
            for line in cost_lines(buckets, unknown):
                self.rounded += line.is_rounded
                (self._set_aside if query.is_analytics and is_set_aside(line) else self._costs).append(line)
        else:
            known = _USAGE[query]
            dimensions = BY_KEY_DIMENSIONS if known is QueryName.BY_KEY else USAGE_DIMENSIONS
            count_rows(self._counted[known], buckets, dimensions, unknown, query)

    def normalised(self) -> Normalised:
        """What all pages say together. Raises NegativeSpeedDifference, ContractBroken."""
        fast_days = self._asked.get(QueryName.FAST)
        quick = None if fast_days is None else self._counted[QueryName.FAST]
        whole = _joined(USAGE, self._plain[QueryName.ALL])
        usage, more = with_speed(whole, self._counted[QueryName.ALL], quick, fast_days or ())
        by_key = key_usage_lines(self._counted[QueryName.BY_KEY])
        return Normalised(
            _joined(COSTS, self._plain[QueryName.COST], numbered(self._renamed(self._costs))),
            _joined(COSTS, [], numbered(self._renamed(self._set_aside))),
            _joined(USAGE, [usage], self._renamed(more)),
            _joined(BY_KEY, self._plain[QueryName.BY_KEY], self._renamed(by_key)),
            self.key_days,
        )

    def _renamed(self, lines: Iterable[Line]) -> list[Line]:
        return [line._replace(workspace_id=self.names.of(line.workspace_id)) for line in lines]

    def days_apart(self, found: Normalised) -> set[date]:
        """The days on which the queries `all` and `by_key` differ, of those that have both."""
        both = self._asked.get(QueryName.ALL, set()) & self.key_days
        return days_apart(found.usage_lines, found.usage_by_key) & both if both else set()


def _translated(row: AnalyticsRow, query: QueryName) -> Row:
    try:
        if query in _COSTS:
            return cost_row(row)
        return usage_row(row, by_key=query is QueryName.ANALYTICS_BY_KEY)
    except ContractBroken as fault:
        raise ContractBroken(f"a row of {row.day}: {fault}") from None


def _joined(schema: pa.Schema, tables: Iterable[pa.Table], lines: list[Line] | tuple[()] = ()) -> pa.Table:
    found = [*([table_of_lines(lines, schema)] if lines else []), *tables]
    return pa.concat_tables(found) if found else _EMPTY[schema]


def read_pages(pages: Iterable[RawPage], window: Window) -> Normalised:
    """The lines of one extraction. Raises NegativeSpeedDifference, ContractBroken."""
    reader = PageReader(window)
    for page in pages:
        reader.add(page)
    return reader.normalised()

"""The guards over one walk: a source that pages for ever, in circles or past its window is stopped.

Belongs here: cursors, empty pages, page caps, what counts as progress. Stays out: one page's own envelope
(`anthropic.envelope`, which this calls), HTTP and retries.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import date
from typing import Any, Generic, TypeVar

from stax_pipeline.anthropic.analytics_page import AnalyticsPage, RowCheck, dimensions_of, parse_analytics_page
from stax_pipeline.anthropic.envelope import ListPage, WalkCheck, parse_list_page
from stax_pipeline.anthropic.fetched_page import Content
from stax_pipeline.anthropic.typed_pages import ReportPage, read_report_page
from stax_pipeline.domain.errors import ContractBroken
from stax_pipeline.domain.extraction import Query, QueryName, Window
from stax_pipeline.domain.plurals import count_of

MAX_EMPTY_PAGES = 10  # in a row; a page may be empty mid-way, but not for ever
MAX_LIST_PAGES = 1000  # a million workspaces, keys or members
MAX_ROW_PAGES = 5000  # five million rows in 31 days

T = TypeVar("T", bound=Content)


class PageTokenExpired(ContractBroken):
    """400 or 410 for a page token in the middle of a walk. Drop this walk's pages and read the window once more."""


def row_count(page: Content) -> int:
    """The report rows, or list entries, on one page."""
    if isinstance(page, AnalyticsPage):
        return len(page.rows)
    return len(page.items) if isinstance(page, ListPage) else sum(bucket.size for bucket in page.buckets)


class Pager(ABC, Generic[T]):
    """One walk. `parse` judges a page alone (it may be asked for again), `accept` judges it as the next of the walk."""

    parameter: str  # the name under which the cursor is sent back

    def __init__(self, max_pages: int) -> None:
        self._max_pages = max_pages
        self._pages = 0
        self._empty = 0
        self._cursors: set[str] = set()

    @abstractmethod
    def parse(self, body: str) -> T: ...

    @abstractmethod
    def accept(self, page: T) -> str | None:
        """The cursor of the next page, None when this was the last. Raises ContractBroken."""

    @abstractmethod
    def finish(self, today: date) -> None:
        """Called after the last page. `today` is the UTC day of the walk's earliest `Date` header."""

    def notices(self) -> list[str]:
        """What was odd in this walk but harmless."""
        return []

    def _step(self, *, entries: int, new: int, cursor: str | None) -> str | None:
        self._pages += 1
        self._empty = 0 if entries else self._empty + 1
        if cursor is None:
            return None
        if cursor in self._cursors:
            raise ContractBroken(f"page {self._pages} repeats an earlier page's cursor: the walk would never end")
        if entries and not new:
            raise ContractBroken(f"page {self._pages} brings nothing new and asks to go on")
        if self._empty > MAX_EMPTY_PAGES:
            raise ContractBroken(f"more than {MAX_EMPTY_PAGES} empty pages in a row")
        if self._pages >= self._max_pages:
            raise ContractBroken(f"more than {self._max_pages} pages, the most this walk can need")
        self._cursors.add(cursor)
        return cursor


class ReportPager(Pager[ReportPage]):
    """The walk of a report over a window.

    The page cap is one page a day and the empty pages allowed in a row: every page with data must bring a new day, so
    even a source that ignores `limit` and sends single buckets stays below it.
    """

    parameter = "page"

    def __init__(self, window: Window, query: QueryName) -> None:
        super().__init__(len(window.days) + MAX_EMPTY_PAGES + 1)
        self._window = window
        self._query = query
        self._check = WalkCheck(window)
        self._repeated: list[date] = []

    def parse(self, body: str) -> ReportPage:
        return read_report_page(body, self._window, self._query)

    def accept(self, page: ReportPage) -> str | None:
        step = self._check.add(page)
        self._repeated += step.repeated
        return self._step(entries=len(page.buckets), new=len(step.new), cursor=page.next_page)

    def finish(self, today: date) -> None:
        self._check.finish(today)

    def notices(self) -> list[str]:
        return [f"the bucket of {day} came twice, word for word; it counts once" for day in self._repeated]


class ListPager(Pager[ListPage]):
    """The walk of a list endpoint, forwards by `after_id`."""

    parameter = "after_id"

    def __init__(self) -> None:
        super().__init__(MAX_LIST_PAGES)
        self._ids: set[str] = set()

    def parse(self, body: str) -> ListPage:
        return parse_list_page(body)

    def accept(self, page: ListPage) -> str | None:
        before = len(self._ids)
        self._ids.update(str(item["id"]) for item in page.items)
        cursor = page.last_id if page.has_more else None
        return self._step(entries=len(page.items), new=len(self._ids) - before, cursor=cursor)

    def finish(self, today: date) -> None:
        """A list has no days to cover."""


class RowPager(Pager[AnalyticsPage]):
    """The walk of the newer source over a window, by rows.

    Days without a row are empty days: nothing tells a day that was left out from a day without use.
    """

    parameter = "page"

    def __init__(self, window: Window, dimensions: tuple[str, ...]) -> None:
        super().__init__(MAX_ROW_PAGES)
        self._window = window
        self._dimensions = dimensions
        self._check = RowCheck()

    def parse(self, body: str) -> AnalyticsPage:
        return parse_analytics_page(body, self._window, self._dimensions)

    def accept(self, page: AnalyticsPage) -> str | None:
        new = len(self._check.fresh(page.rows))
        return self._step(entries=len(page.rows), new=new, cursor=page.next_page)

    def finish(self, today: date) -> None:
        """There are no buckets to count."""

    def notices(self) -> list[str]:
        count = self._check.repeated
        return [f"{count_of(count, 'row')} came twice, word for word; each counts once"] if count else []


def pager_of(query: Query) -> Pager[Any]:
    """The guard that fits the query's walk."""
    if query.window is None:
        return ListPager()
    if query.name.is_analytics:
        return RowPager(query.window, dimensions_of(query.params))
    return ReportPager(query.window, query.name)

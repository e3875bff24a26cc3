"""From raw pages back to rows, page by page: a page's rows are counted or kept as lines, then the page is let go."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date

from stax_pipeline.domain.cost import CostLine, cost_lines
from stax_pipeline.domain.envelope import parse_report_page
from stax_pipeline.domain.errors import ContractBroken
from stax_pipeline.domain.extraction import BY_KEY_DIMENSIONS, USAGE_DIMENSIONS, RawPage, Reading, Window
from stax_pipeline.domain.rows import Row
from stax_pipeline.domain.usage import Counted, KeyUsageLine, UsageLine, count_rows, key_usage_lines, usage_lines

Buckets = list[tuple[date, list[Row]]]


@dataclass(slots=True)
class PageReader:
    """Reads the pages of one extraction in any order; a bucket that came twice, word for word, counts once.

    `unknown` counts enum values that no documentation lists.
    """

    window: Window
    unknown: Counter[str] = field(default_factory=Counter)
    _seen: dict[Reading, set[date]] = field(default_factory=lambda: defaultdict(set))

    def buckets(self, page: RawPage) -> Buckets:
        """The page's rows by day. Raises ContractBroken naming reading and page."""
        seen = self._seen[page.reading]
        try:
            found = parse_report_page(page.body, self.window).buckets
        except ContractBroken as fault:
            raise ContractBroken(f"reading {page.reading}, page {page.page_number}: {fault}") from None
        fresh: Buckets = []
        for bucket in found:
            if bucket.day not in seen:
                seen.add(bucket.day)
                fresh.append((bucket.day, bucket.results))
        return fresh

    def cost(self, page: RawPage) -> list[CostLine]:
        """The page's cost lines. Raises ContractBroken naming bucket and row."""
        return cost_lines(self.buckets(page), self.unknown)


@dataclass(slots=True)
class UsageReader(PageReader):
    """Counts the three readings of usage."""

    _found: dict[Reading, Counted] = field(default_factory=lambda: defaultdict(dict))

    def add(self, page: RawPage) -> None:
        """Count one page. Raises ContractBroken naming bucket and row."""
        dimensions = BY_KEY_DIMENSIONS if page.reading is Reading.BY_KEY else USAGE_DIMENSIONS
        unknown = self.unknown if page.reading is Reading.ALL else Counter[str]()
        count_rows(self._found[page.reading], self.buckets(page), dimensions, unknown, page.reading)

    def lines(self) -> list[UsageLine]:
        """Raises NegativeSpeedDifference. Speed is '' where the `fast` reading was refused."""
        return usage_lines(self._found[Reading.ALL], self._found[Reading.FAST] if Reading.FAST in self._seen else None)

    def by_key(self) -> list[KeyUsageLine]:
        return key_usage_lines(self._found[Reading.BY_KEY])


def read_cost(pages: Iterable[RawPage], window: Window) -> list[CostLine]:
    """The cost lines of one extraction, in a stable order."""
    reader = PageReader(window)
    return sorted(line for page in pages for line in reader.cost(page))


def read_usage(pages: Iterable[RawPage], window: Window) -> UsageReader:
    """The usage of one extraction, all its readings counted."""
    reader = UsageReader(window)
    for page in pages:
        reader.add(page)
    return reader

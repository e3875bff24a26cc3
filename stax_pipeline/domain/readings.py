"""From raw pages back to rows: the pages of one extraction, sorted into their readings."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date

from stax_pipeline.domain.cost import CostLine, cost_lines
from stax_pipeline.domain.envelope import Envelope, distinct_buckets, parse_report_page
from stax_pipeline.domain.errors import ContractBroken
from stax_pipeline.domain.extraction import RawPage, Reading, Window
from stax_pipeline.domain.rows import Row
from stax_pipeline.domain.usage import KeyUsageLine, UsageLine, key_usage_lines, usage_lines

Buckets = list[tuple[date, list[Row]]]


@dataclass(slots=True)
class CostRows:
    lines: list[CostLine]
    unknown: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class UsageRows:
    """`speed_known` is False where the source refused the `fast` reading."""

    lines: list[UsageLine]
    by_key: list[KeyUsageLine]
    speed_known: bool
    unknown: Counter[str] = field(default_factory=Counter)


def buckets_by_reading(pages: Iterable[RawPage], window: Window) -> dict[Reading, Buckets]:
    """The report rows of each reading by day; a bucket that came twice, word for word, counts once."""
    envelopes: dict[Reading, list[Envelope]] = defaultdict(list)
    for page in pages:
        try:
            envelopes[page.reading].append(parse_report_page(page.body, window))
        except ContractBroken as fault:
            raise ContractBroken(f"reading {page.reading}, page {page.page_number}: {fault}") from None
    return {
        reading: [(bucket.day, bucket.results) for bucket in distinct_buckets(walked)]
        for reading, walked in envelopes.items()
    }


def read_cost(pages: Iterable[RawPage], window: Window) -> CostRows:
    """The cost lines of one extraction. Raises ContractBroken naming page or bucket and row."""
    unknown: Counter[str] = Counter()
    return CostRows(cost_lines(buckets_by_reading(pages, window).get(Reading.COST, []), unknown), unknown)


def read_usage(pages: Iterable[RawPage], window: Window) -> UsageRows:
    """The usage lines of one extraction, all its readings joined. Raises ContractBroken likewise."""
    found = buckets_by_reading(pages, window)
    unknown: Counter[str] = Counter()
    lines = usage_lines(found.get(Reading.ALL, []), found.get(Reading.FAST), unknown)
    return UsageRows(lines, key_usage_lines(found.get(Reading.BY_KEY, [])), Reading.FAST in found, unknown)

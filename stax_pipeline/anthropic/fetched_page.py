"""A raw page together with what was read from it as it came, and that reading again for a page out of the lake."""

from __future__ import annotations

from dataclasses import dataclass, field

from stax_pipeline.anthropic.analytics_page import AnalyticsPage, dimensions_of, parse_analytics_page
from stax_pipeline.anthropic.envelope import Envelope, ListPage, parse_list_page
from stax_pipeline.anthropic.typed_pages import PlainPage, ReportPage, read_report_page
from stax_pipeline.domain.extraction import RawPage, Window

Content = ReportPage | ListPage | AnalyticsPage


@dataclass(frozen=True, slots=True)
class FetchedPage(RawPage):
    """A page fresh from the source; nothing needs to read its body once more."""

    content: Content = field(repr=False, compare=False)


def report_page_of(page: RawPage, window: Window) -> ReportPage:
    """What a page of a report says. Raises ContractBroken."""
    content = page.content if isinstance(page, FetchedPage) else None
    return content if isinstance(content, PlainPage | Envelope) else read_report_page(page.body, window, page.query)


def analytics_page_of(page: RawPage, window: Window) -> AnalyticsPage:
    """What a page of the newer source says. Raises ContractBroken naming the row."""
    content = page.content if isinstance(page, FetchedPage) else None
    if isinstance(content, AnalyticsPage):
        return content
    return parse_analytics_page(page.body, window, dimensions_of(page.params))


def list_page_of(page: RawPage) -> ListPage:
    """What a page of a list says. Raises ContractBroken."""
    content = page.content if isinstance(page, FetchedPage) else None
    return content if isinstance(content, ListPage) else parse_list_page(page.body)

"""The pages of a case: `me`, and every report and list page that a run asks for, found by following the queries once.

Finding them makes the source make them, which is not measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple

import httpx

from benchmarks.source import Source
from stax_pipeline.anthropic.queries import (
    API_VERSION,
    COST_PATH,
    ME_PATH,
    USAGE_PATH,
    cost_query,
    organization_queries,
    usage_queries,
)
from stax_pipeline.domain.extraction import Query, Window


class Page(NamedTuple):
    """One request: path and query of its address, and its headers, the key among them."""

    path: str
    params: tuple[tuple[str, str], ...]
    headers: dict[str, str]

    @property
    def is_cost(self) -> bool:
        return self.path == COST_PATH

    @property
    def is_usage(self) -> bool:
        return self.path == USAGE_PATH


def walk(source: Source, window: Window, names: Iterable[str]) -> list[Page]:
    """The pages of these organisations over the window, in the order of the queries."""
    with httpx.Client(base_url=source.url, timeout=300) as client:
        return [page for name in names for page in _of_organization(client, source.keys[name], window)]


def _of_organization(client: httpx.Client, key: str, window: Window) -> Iterator[Page]:
    yield Page(ME_PATH, (), {"x-api-key": key, "anthropic-version": API_VERSION})
    for query in _queries(window):
        yield from _of(client, query, key)


def _queries(window: Window) -> Iterator[Query]:
    yield cost_query(Window(window.start, min(window.end, datetime.now(UTC).date())))
    yield from usage_queries(window)
    yield from organization_queries()


def _of(client: httpx.Client, query: Query, key: str) -> Iterator[Page]:
    headers = {"x-api-key": key, "anthropic-version": API_VERSION}
    if query.betas:
        headers["anthropic-beta"] = ",".join(query.betas)
    cursor: tuple[tuple[str, str], ...] = ()
    while True:
        page = Page(query.path, (*query.params, *cursor), headers)
        answer = client.get(page.path, params=page.params, headers=headers).raise_for_status().json()
        yield page
        if not answer["has_more"]:
            return
        cursor = (("page", answer["next_page"]),) if "next_page" in answer else (("after_id", answer["last_id"]),)

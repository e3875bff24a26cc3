"""Work beside the event loop: in a thread of its own, and over when its caller goes on."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from stax_pipeline.anthropic import paging, typed_pages
from stax_pipeline.anthropic.client import READ_IN_PASSING
from stax_pipeline.anthropic.fetched_page import FetchedPage
from stax_pipeline.anthropic.queries import organization_queries
from stax_pipeline.anthropic.typed_pages import PlainPage
from stax_pipeline.domain.errors import ContractBroken
from stax_pipeline.domain.extraction import QueryName, Window
from stax_pipeline.pipeline.beside import beside
from stax_pipeline.pipeline.extraction_record import RunningExtraction
from stax_pipeline.pipeline.run_queries import read_with_one_restart
from stax_pipeline_tests.anthropic.support import QUERY, WINDOW, reply, session, source
from stax_pipeline_tests.derive.builders import cost_row, report_body


def test_what_the_work_returns_or_raises_comes_out() -> None:
    def refuse() -> None:
        raise ContractBroken("no")

    assert asyncio.run(beside(lambda number: number + 1, 1)) == 2
    with pytest.raises(ContractBroken, match="no"):
        asyncio.run(beside(refuse))


def test_a_wait_that_is_given_up_ends_when_the_work_does() -> None:
    """Else the pages would be written away while one is still being added to them."""
    began, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        may_end.wait(30)
        ended.set()

    async def run() -> bool:
        task = asyncio.create_task(beside(work))
        await asyncio.to_thread(began.wait, 30)
        task.cancel()
        await asyncio.sleep(0)
        is_waiting = not task.done()
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        return is_waiting and ended.is_set()

    assert asyncio.run(run())


def test_a_page_is_read_once_in_no_thread_of_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    readers: list[str] = []
    whole = typed_pages.plain_page

    def noted(body: str, window: Window, query: QueryName) -> PlainPage:
        readers.append(threading.current_thread().name)
        return whole(body, window, query)

    monkeypatch.setattr(typed_pages, "plain_page", noted)
    body = report_body(*((day, [cost_row()]) for day in WINDOW.days))

    async def run() -> RunningExtraction:
        async with source(reply(200, body)) as where, session(where) as opened:
            return await read_with_one_restart(opened, [QUERY], RunningExtraction(WINDOW))

    extraction = asyncio.run(run())
    assert extraction.normalised and extraction.normalised.cost_lines.num_rows == len(WINDOW.days)
    assert len(readers) == 1 and readers[0] != threading.main_thread().name


@pytest.mark.parametrize(("length", "threads"), [(10, 0), (READ_IN_PASSING, 2)])
def test_only_a_short_list_is_read_and_kept_in_passing(
    monkeypatch: pytest.MonkeyPatch, length: int, threads: int
) -> None:
    callers: list[str] = []
    parse, add = paging.parse_list_page, RunningExtraction.add

    def noted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any) -> Any:
            callers.append(threading.current_thread().name)
            return real(*given)

        return call

    monkeypatch.setattr(paging, "parse_list_page", noted(parse))
    monkeypatch.setattr(RunningExtraction, "add", noted(add))
    entry = {"id": "key_1", "name": "x" * length}
    body = json.dumps({"data": [entry], "has_more": False, "first_id": "key_1", "last_id": "key_1"})
    keys = next(query for query in organization_queries() if query.name is QueryName.API_KEYS)

    async def run() -> RunningExtraction:
        async with source(reply(200, body)) as where, session(where) as opened:
            return await read_with_one_restart(opened, [keys], RunningExtraction(WINDOW))

    assert asyncio.run(run()).raw.pages == 1
    assert len(callers) == 2
    assert sum(name != threading.main_thread().name for name in callers) == threads


def test_a_fetched_page_is_the_raw_page_that_it_was() -> None:
    """Whatever was read of it is no part of what it is compared or shown by."""

    async def run() -> FetchedPage:
        async with source(reply(200, report_body())) as where, session(where) as opened:
            return await opened.first_page(QUERY)

    page = asyncio.run(run())
    assert replace(page, content=None) == page  # type: ignore[arg-type]
    assert "content" not in repr(page)

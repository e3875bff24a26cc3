"""Both ways in which a page of a report is read, for tests of what must hold on either."""

from __future__ import annotations

from typing import NoReturn

import pytest

from stax_pipeline.anthropic import typed_pages
from stax_pipeline.anthropic.typed_pages import NotPlain


@pytest.fixture(params=["columns where plain", "rows"])
def each_reading(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test runs as the product reads, then with every page read row by row."""

    def never(*_: object) -> NoReturn:
        raise NotPlain("a test asked for rows")

    if request.param == "rows":
        monkeypatch.setattr(typed_pages, "plain_page", never)

"""The documentation that is made from the product is the product's, and its examples are the demo's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from stax_pipeline.checks.examine import examine_all
from stax_pipeline.cli.tour import tour
from stax_pipeline.domain.extraction import Window
from stax_pipeline.installation.homes import CHECKOUT
from stax_pipeline.pipeline.isolation import no_progress
from stax_pipeline.pipeline.publish_spend import Books
from stax_pipeline.pipeline.replay import replay
from stax_pipeline.simulator import story_organizations, write_papers
from stax_pipeline.tenants.agreements import Imported, import_commitments, import_prices, import_rates
from stax_pipeline.warehouse.engine import connect_engine
from stax_pipeline.warehouse.roles import logins
from stax_pipeline.warehouse.tenants import all_tenants
from stax_pipeline_tests.conftest import Installation
from stax_pipeline_tests.pipeline.support import sync, two_tenants
from tools.make_questions import DAYS, EXAMPLES, MONTH, NOW, live_a_month, questions_markdown
from tools.make_tables import tables_markdown


@pytest.fixture(scope="module")
def month(stax_home: Path) -> Iterator[Installation]:
    """The days of docs/start/questions.md, only read here."""
    with live_a_month(stax_home) as made:
        yield made


def test_the_questions_have_the_answers_that_an_analyst_gets(month: Installation) -> None:
    assert (CHECKOUT / "docs" / "start" / "questions.md").read_text() == questions_markdown(month), (
        "run: python tools/make_questions.py > docs/start/questions.md"
    )


def test_the_demo_shows_each_thing_with_the_warehouse_s_own_figures(month: Installation) -> None:
    engine = connect_engine(logins(month.settings).analyst)
    with engine.connect() as connection:
        told = " ".join(tour(connection, month.home, month.settings).split())
    engine.dispose()
    for words in (
        "A restated day: the bill of acme for 2026-11-18 said 1,355.79 USD when it was first read, and says 1,412.28",
        "(changed at a later extraction)",
        "An invoice that matches: acme was invoiced 51,354.03 USD for 2026-10, and 51,354.03 were expected",
        "An invoice that does not: globex was invoiced 13,593.96 USD for 2026-10, 1,854.68 more than expected. Its "
        "Priority Tier use, which is in no cost report, is worth 1,854.68.",
        "A credit: acme got 250.00 USD back on 2026-11-12 (Service credit).",
        "A late day: globex has tokens for 2026-11-21, and its cost is not reported yet. The day is estimated at ",
        "for Priority Tier capacity of claude-opus-4-8 (acme-2026-h2); the tokens that used it are worth ",
    ):
        assert words in told
    assert f"export STAX_HOME={month.home}" in told


def test_the_examples_are_the_demo_s_papers(tmp_path: Path) -> None:
    write_papers(tmp_path, story_organizations(NOW.date()), DAYS.start, NOW.date(), MONTH)
    for made in tmp_path.iterdir():
        assert (EXAMPLES / made.name).read_text() == made.read_text()


def test_the_examples_turn_no_check_red_in_the_demo(stax_home: Path) -> None:
    window = Window(date(2026, 11, 11), date(2026, 11, 23))
    with two_tenants(stax_home, *story_organizations(NOW.date()), now=NOW) as made:
        made.simulator.correct()
        _import(made, "commitments", import_commitments)
        sync(made, window)
        before = _broken(made, window)
        _import(made, "rates", import_rates)
        _import(made, "prices", import_prices)
        with made.engine.connect() as connection:
            tenants = all_tenants(connection)
        books = Books(made.engine, made.lake, made.settings.settle)
        list(replay(books, made.settings.source, tenants, window, lambda *_: no_progress))
        assert _broken(made, window) == before


def _import(made: Installation, name: str, imports: Callable[[sa.Engine, str, bytes], Imported[Any]]) -> None:
    imported = imports(made.engine, f"{name}.csv", (EXAMPLES / f"{name}.csv").read_bytes())
    assert all(recorded.added for recorded in imported.recorded.values())


def _broken(made: Installation, window: Window) -> set[str]:
    with made.engine.connect() as connection:
        return {one.rule.name for one in examine_all(connection, window, NOW, made.settings) if not one.holds}


def test_the_table_reference_is_what_the_database_says_of_itself(installation: Installation) -> None:
    with installation.engine.connect() as connection:
        assert (CHECKOUT / "docs" / "reference" / "tables.md").read_text() == tables_markdown(connection), (
            "run: python tools/make_tables.py > docs/reference/tables.md"
        )

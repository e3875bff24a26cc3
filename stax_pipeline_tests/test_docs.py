"""The documentation that is made from the product is the product's, its examples are the demo's, its links lead on."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from stax_pipeline.checks.runner import run_rules
from stax_pipeline.cli.demo_tour import tour
from stax_pipeline.domain.extraction import Window
from stax_pipeline.installation.homes import CHECKOUT
from stax_pipeline.pipeline.build_batch import Books
from stax_pipeline.pipeline.isolation import no_progress
from stax_pipeline.pipeline.replay import replay
from stax_pipeline.simulator import story_organizations, write_documents
from stax_pipeline.tenants.agreements import Imported, import_commitments, import_prices, import_rates
from stax_pipeline.warehouse.engine import connect_engine
from stax_pipeline.warehouse.roles import logins
from stax_pipeline.warehouse.tenants import all_tenants
from stax_pipeline_tests.conftest import Installation
from stax_pipeline_tests.pipeline.support import sync, two_tenants
from tools.make_questions import DAYS, EXAMPLES, MONTH, NOW, live_a_month, questions_markdown
from tools.make_tables import tables_markdown

DOCS = CHECKOUT / "docs"
PAGES = [*sorted(CHECKOUT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]
PRODUCT = CHECKOUT / "stax_pipeline"
ROOMS = sorted({PRODUCT / module.relative_to(PRODUCT).parts[0] for module in PRODUCT.glob("*/**/*.py")})
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_NAMED = re.compile(r"\bdocs/[\w./-]*\w\.\w+")
_FILE = re.compile(r"`([\w./-]+\.(?:py|md|csv|sh|lock|txt))`")


@pytest.fixture(scope="module")
def month(stax_home: Path) -> Iterator[Installation]:
    """The days of docs/start/questions.md, only read here."""
    with live_a_month(stax_home) as made:
        yield made


def test_the_questions_have_the_answers_that_an_analyst_gets(month: Installation) -> None:
    assert (CHECKOUT / "docs" / "start" / "questions.md").read_text() == questions_markdown(month), (
        "run: python tools/make_questions.py > docs/start/questions.md"
    )


def test_the_first_queries_run_as_the_analyst(month: Installation) -> None:
    queries = re.findall(r"```sql\n(select.*?);\n```", (DOCS / "start" / "first-steps.md").read_text(), re.DOTALL)
    engine = connect_engine(logins(month.settings).analyst)
    with engine.connect() as connection:
        for query in queries:
            connection.execute(sa.text(query))
    engine.dispose()
    assert len(queries) == 3


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
    write_documents(tmp_path, story_organizations(NOW.date()), DAYS.start, NOW.date(), MONTH)
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
        return {one.rule.name for one in run_rules(connection, window, NOW, made.settings) if not one.holds}


def test_the_table_reference_is_what_the_database_says_of_itself(installation: Installation) -> None:
    with installation.engine.connect() as connection:
        assert (CHECKOUT / "docs" / "reference" / "tables.md").read_text() == tables_markdown(connection), (
            "run: python tools/make_tables.py > docs/reference/tables.md"
        )


def links_of(page: Path) -> list[str]:
    return _LINK.findall(_FENCE.sub("", page.read_text()))


def broken_links(page: Path) -> list[str]:
    """Relative links whose file is not there, or has no heading of that anchor."""
    broken = []
    for link in links_of(page):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    return broken


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    found: dict[str, int] = {}
    names = set()
    for heading in re.findall(r"^#+ (.+)$", _FENCE.sub("", page.read_text()), re.MULTILINE):
        name = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        names.add(f"{name}-{found[name]}" if name in found else name)
        found[name] = found.get(name, 0) + 1
    return names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_every_link_leads_to_a_page_and_its_heading(page: Path) -> None:
    assert broken_links(page) == []


def test_a_link_that_leads_nowhere_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("# TLS to your own `Postgres`\n## Again\n## Again\n```\n# no heading\n```\n")
    page = tmp_path / "page.md"
    page.write_text(
        "# Here\n[a](there.md) [b](there.md#tls-to-your-own-postgres) [c](there.md#again-1) [d](#here)\n"
        "[e](https://x.org) [f](gone.md) [g](there.md#gone) [h](there.md#no-heading) [i](#gone)\n"
        "[j](there.md#again-2)\n```\n[k](code.md)\n```\n"
    )
    assert broken_links(page) == ["gone.md", "there.md#gone", "there.md#no-heading", "#gone", "there.md#again-2"]


def test_the_index_lists_every_page_under_its_group() -> None:
    index = DOCS / "index.md"
    listed = [DOCS / link.partition("#")[0] for link in links_of(index) if not link.startswith("../")]
    assert sorted(listed) == [page for page in PAGES if page.is_relative_to(DOCS) and page != index]
    headings = re.findall(r"^## (.+)$", index.read_text(), re.MULTILINE)
    assert [heading.lower() for heading in headings] == list(dict.fromkeys(page.parent.name for page in listed))


def test_every_page_that_messages_and_docstrings_name_is_there() -> None:
    named = {(path.name, name) for path in _sources() for name in _NAMED.findall(path.read_text())}
    assert len(named) > 10
    assert sorted((path, name) for path, name in named if not (CHECKOUT / name).exists()) == []


def _sources() -> Iterator[Path]:
    yield CHECKOUT / "Makefile"
    for folder in ("stax_pipeline", "stax_pipeline_tests", "tools", "benchmarks"):
        yield from (path for path in (CHECKOUT / folder).rglob("*") if path.suffix in {".py", ".sql", ".sh"})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    """From the checkout's top or the tests' folder; a test's bare name stands for the folder named before it."""
    tests = CHECKOUT / "stax_pipeline_tests"
    known = {path.name for path in tests.rglob("test_*.py")}
    named = [name for name in _FILE.findall(page.read_text()) if "/" in name or name.startswith("test_")]
    assert [n for n in named if not (n in known or (CHECKOUT / n).exists() or (tests / n).exists())] == []


def test_contributing_lists_every_room_with_its_docstring_s_first_sentence() -> None:
    text = (CHECKOUT / "CONTRIBUTING.md").read_text()
    for room in ROOMS:
        told = ast.get_docstring(ast.parse((room / "__init__.py").read_text())) or ""
        first = re.split(r"(?<=\.)\s", " ".join(told.split("\n\n")[0].split()))[0]
        assert first, f"{room.name} does not say what it holds"
        assert f"| `{room.name}` | {first.rstrip('.')} |" in text, f"{room.name}: {first}"
    assert len(re.findall(r"^\| `\w+` \|", text, re.MULTILINE)) == len(ROOMS)

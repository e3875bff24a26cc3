"""The documentation that is made from the product is the product's."""

from __future__ import annotations

from pathlib import Path

from docs.make_questions import live_a_month, questions_markdown
from docs.make_tables import tables_markdown
from stax_pipeline.settings import CHECKOUT
from stax_pipeline_tests.conftest import Installation


def test_the_table_reference_is_what_the_database_says_of_itself(installation: Installation) -> None:
    with installation.engine.connect() as connection:
        assert (CHECKOUT / "docs" / "tables.md").read_text() == tables_markdown(connection), (
            "run: python docs/make_tables.py > docs/tables.md"
        )


def test_the_questions_have_the_answers_that_an_analyst_gets(stax_home: Path) -> None:
    with live_a_month(stax_home) as made:
        assert (CHECKOUT / "docs" / "questions.md").read_text() == questions_markdown(made), (
            "run: python docs/make_questions.py > docs/questions.md"
        )

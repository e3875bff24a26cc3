"""Writes `docs/questions.md`, questions with the SQL and the answer: python docs/make_questions.py > docs/questions.md

The answers are those of the simulated `acme` and `globex` on fixed days, asked as the role `stax_analyst`; a test
compares this text with the file. What the page's operator records and what happens to him is in `live_a_month`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from textwrap import fill
from unittest.mock import patch

import sqlalchemy as sa

from docs.questions_asked import QUESTIONS
from stax_pipeline.domain.extraction import Window
from stax_pipeline.domain.imports.invoices import read_invoice
from stax_pipeline.domain.invoices import Invoice
from stax_pipeline.resources import embedded_postgres
from stax_pipeline.resources.warehouse.engine import connect_engine
from stax_pipeline.resources.warehouse.migrate import upgrade
from stax_pipeline.resources.warehouse.roles import logins
from stax_pipeline.resources.warehouse.tenants import get_tenant
from stax_pipeline.settings import CHECKOUT, read_settings
from stax_pipeline.simulator import Simulator, demo_organizations
from stax_pipeline.tenants.agreements import import_commitments, import_invoice
from stax_pipeline_tests.conftest import Installation, passable_home
from stax_pipeline_tests.steps.support import sync, two_tenants

HEAD = """# Questions, and the SQL that answers them

Copy a query into `stax sql "…"` or any Postgres client. The answers below are those of the demo's two made-up tenants,
computed by `python docs/make_questions.py`; a test runs every query as the role `stax_analyst` and compares.
Dollars are exact in the warehouse and rounded here to read well; days are UTC days. No query asks for a day that
is still running.

The use of a day depends on the day alone. A `stax demo --days N` whose N days reach back to 1 November 2026 (to 1
October for questions 9 and 10) and that runs after 20 November gives the same answers, once it has on record what the
operator of this page had:

```
stax commitments import docs/examples/questions-commitments.csv
stax replay
stax invoice acme 2026-10 docs/examples/questions-invoice-acme.csv --note INV-1042
stax invoice globex 2026-10 docs/examples/questions-invoice-globex.csv --note "INV-2077, to be clarified"
```

Some cannot be the same:

- **2**: it tells how far the data reaches, and that is your clock's; and it counts the restated day of question 8.
- **8**: here 12 November was read twice, with dollars 4 % too low at first. A demo reads it right at once, and has
  changes of the subject `price` instead, since it recorded the commitment after its days were built.
- **9 and 10** ask for October. The 30 days of a plain demo do not hold all of it: the month is then incomplete, and the
  missing days are named.

Without the commitment, 3, 6, 7 and 11 (and in 1 the row without a workspace) say other things too.
"""
EXAMPLES = CHECKOUT / "docs" / "examples"
NOW, EARLIER = datetime(2026, 11, 22, 12, tzinfo=UTC), datetime(2026, 11, 14, 12, tzinfo=UTC)
DAYS = Window(date(2026, 10, 1), date(2026, 11, 23))
RESTATED = Window(date(2026, 11, 12), date(2026, 11, 13))


@contextmanager
def live_a_month(home: Path) -> Iterator[Installation]:
    """`acme` and `globex` over the days of the page. On one day acme's first reading showed dollars 4 % too low; its
    Priority use of one model is under a commitment; both have an invoice for October.
    """
    acme, globex = demo_organizations()
    with two_tenants(home, acme, globex, now=EARLIER) as made:
        _record_agreements(made)
        cheaper = Simulator([replace(acme, discount=Decimal("0.04")), globex], clock=made.clock)
        with cheaper, patch.dict(os.environ, {"STAX_ANTHROPIC_BASE_URL": cheaper.base_url}):
            sync(made, RESTATED)
        made.clock.now = NOW
        sync(made, DAYS)
        yield made


def _record_agreements(made: Installation) -> None:
    """What the page's examples hold, as `stax commitments import` and `stax invoice` record it."""
    file = EXAMPLES / "questions-commitments.csv"
    import_commitments(made.engine, file.name, file.read_bytes())
    for slug, note in (("acme", "INV-1042"), ("globex", "INV-2077, to be clarified")):
        file = EXAMPLES / f"questions-invoice-{slug}.csv"
        billed = Invoice(date(2026, 10, 1), read_invoice(file.name, file.read_bytes()).amount_usd, note)
        with made.engine.connect() as connection:
            tenant = get_tenant(connection, slug)
        import_invoice(made.engine, tenant, billed)


def questions_markdown(made: Installation) -> str:
    """The page, every query asked as the analyst."""
    engine = connect_engine(logins(made.settings).analyst)
    try:
        with engine.connect() as connection:
            return HEAD + "".join(
                f"\n## {number}. {question.words}\n\n```sql{question.query};\n```\n\n"
                f"{_table(connection.execute(sa.text(question.query)))}\n{fill(question.reading, 120)}\n"
                for number, question in enumerate(QUESTIONS, start=1)
            )
    finally:
        engine.dispose()


def _table(result: sa.CursorResult[tuple[object, ...]]) -> str:
    rows = list(result)
    lines = [list(result.keys()), ["---:" if _is_numeric(rows, n) else "---" for n in range(len(result.keys()))]]
    lines += [[_text(value) for value in row] for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _is_numeric(rows: list[sa.Row[tuple[object, ...]]], column: int) -> bool:
    return bool(rows) and all(isinstance(row[column], int | Decimal | None) for row in rows)


def _text(value: object) -> str:
    return "" if value is None else f"{value:,f}" if isinstance(value, Decimal) else str(value)


def main() -> None:
    with passable_home() as home:
        settings = read_settings({"STAX_HOME": str(home)})
        with embedded_postgres.running(settings.postgres_home):
            upgrade(settings)
            with live_a_month(home) as made:
                print(questions_markdown(made), end="")


if __name__ == "__main__":
    main()

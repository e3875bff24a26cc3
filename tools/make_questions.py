"""Questions with the SQL and the answer: python tools/make_questions.py > docs/start/questions.md

The answers are those of the demo's `acme` and `globex` on fixed days, asked as the role `stax_analyst`; a test compares
this text with the file. What the page's operator records and what happens to him is in `live_a_month`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from textwrap import fill

import sqlalchemy as sa

from stax_pipeline import embedded_postgres
from stax_pipeline.domain.extraction import Window
from stax_pipeline.installation.homes import CHECKOUT
from stax_pipeline.installation.settings import read_settings
from stax_pipeline.pricing.imports.invoices import read_invoice
from stax_pipeline.pricing.invoices import Invoice
from stax_pipeline.simulator import corrected_day, invoice_name, story_organizations
from stax_pipeline.tenants.agreements import import_commitments, import_invoice
from stax_pipeline.warehouse.engine import connect_engine
from stax_pipeline.warehouse.migrate import upgrade
from stax_pipeline.warehouse.roles import logins
from stax_pipeline.warehouse.tenants import get_tenant
from stax_pipeline_tests.conftest import Installation, passable_home
from stax_pipeline_tests.pipeline.support import sync, two_tenants
from tools.questions_asked import QUESTIONS

HEAD = """# Questions, and the SQL that answers them

Copy a query into `stax sql "…"` or any Postgres client. The answers below are those of the demo's two made-up tenants,
computed by `python tools/make_questions.py`; a test runs every query as the role `stax_analyst` and compares.
Dollars are exact in the warehouse and rounded here to read well; days are UTC days. No query asks for a day that
is still running.

What a tenant used on a day depends on the day alone: a `stax demo` whose days reach back to 1 October 2026 gives the
same answers, but for two that depend on when you ask. **2** tells how far the data reaches. **8** names the day that
was read once before the source corrected it, four days before today: here 18 November.

A demo records the commitment and the invoices of the last closed month itself. Those of this page are in
`docs/examples`:

```
stax commitments import docs/examples/commitments.csv
stax invoice acme 2026-10 docs/examples/invoice-acme-2026-10.csv
stax invoice globex 2026-10 docs/examples/invoice-globex-2026-10.csv
```
"""
EXAMPLES = CHECKOUT / "docs" / "examples"
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAYS = Window(date(2026, 10, 1), date(2026, 11, 23))
MONTH = date(2026, 10, 1)


@contextmanager
def live_a_month(home: Path) -> Iterator[Installation]:
    """The demo's story over the days of the page, in the order in which `stax demo` tells it."""
    restated = corrected_day(NOW.date())
    with two_tenants(home, *story_organizations(NOW.date()), now=NOW) as made:
        _record_agreements(made)
        sync(made, Window(restated, restated + timedelta(days=1)), "acme")
        made.simulator.correct()
        sync(made, DAYS)
        yield made


def _record_agreements(made: Installation) -> None:
    """What the examples hold, as `stax commitments import` and `stax invoice` record it."""
    file = EXAMPLES / "commitments.csv"
    import_commitments(made.engine, file.name, file.read_bytes())
    for slug in ("acme", "globex"):
        file = EXAMPLES / invoice_name(slug, MONTH)
        billed = Invoice(MONTH, read_invoice(file.name, file.read_bytes()).amount_usd, file.name)
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

"""Hand-made rows for views: a tenant, and an `add` that fills in what a test does not care about. All is taken back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from stax_pipeline.warehouse.tables import metadata
from stax_pipeline_tests.conftest import Installation, installed
from stax_pipeline_tests.warehouse.spend_totals import add_up

WHEN = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAY = date(2026, 11, 10)


@dataclass
class Warehouse:
    """One transaction of the loader; `tenant_id` is acme's."""

    connection: sa.Connection
    tenant_id: UUID = field(default_factory=uuid4)
    lines: int = 0

    def add(self, table: str, **values: Any) -> None:
        """One row; a text that is not named is '', a count 0, a day `DAY`, and what may be NULL is NULL."""
        made = metadata.tables[f"stax.{table}"]
        self.lines += 1
        given = {
            c.name: _anything(c, self)
            for c in made.columns
            if c.name not in values and not c.nullable and not c.server_default and not c.computed
        }
        self.connection.execute(made.insert().values(**given, **values))

    def add_spend(self, usd: str | None = "0", source: str = "reported", **values: Any) -> None:
        """A token line whose effective dollars are its dollars, unless told."""
        shown = {
            "cost_type": "tokens", "token_type": "output_tokens", "unit": "tokens", "workspace_id": "default",
            "model": "claude-opus-4-8", "service_tier": "standard", "effective_cost_usd": usd,
        }  # fmt: skip
        self.add("spend", **{**shown, "cost_usd": usd, "cost_source": source, **values})

    def cover(self, day: date, state: str = "complete", **values: Any) -> None:
        """Both reports read, old enough to settle."""
        for report in ("cost_report", "usage_report"):
            self.add(
                "coverage", report=report, usage_date=day, state=state, extraction_id=self.extraction(report),
                old_enough_to_settle=True, rows=1, **values,
            )  # fmt: skip

    def extraction(self, report: str) -> UUID:
        made = uuid4()
        self.add("extractions", extraction_id=made, report=report)
        return made

    def rows(self, query: str, **values: Any) -> list[dict[str, Any]]:
        """What the query finds once spend is added up, as it is where it was published."""
        add_up(self.connection)
        found = self.connection.execute(sa.text(query), values)
        return [dict(row._mapping) for row in found]

    def row(self, query: str, **values: Any) -> dict[str, Any]:
        [found] = self.rows(query, **values)
        return found


def _anything(column: sa.Column[Any], warehouse: Warehouse) -> Any:
    if column.name == "tenant_id":
        return warehouse.tenant_id
    if column.name in ("line", "occurrence"):
        return warehouse.lines
    kinds: list[tuple[type, Any]] = [
        (sa.Boolean, False), (sa.DateTime, WHEN), (sa.Date, DAY), (sa.BigInteger, 0), (sa.Numeric, Decimal(0)),
        (sa.UUID, uuid4()), (sa.Text, ""),
    ]  # fmt: skip
    return next(value for kind, value in kinds if isinstance(column.type, kind))


@pytest.fixture(scope="module")
def made(stax_home: Path) -> Iterator[Installation]:
    with installed(stax_home) as installation:
        yield installation


@pytest.fixture
def warehouse(made: Installation) -> Iterator[Warehouse]:
    with made.engine.connect() as connection:
        opened = Warehouse(connection)
        opened.add("tenants", slug="acme", name="Acme", organization_id="o-1", status="connected")
        opened.add("workspaces", workspace_id="default", name="Default", is_default=True)
        yield opened
        connection.rollback()

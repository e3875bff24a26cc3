"""A discounted tenant with a commitment: the rate is suggested, recorded, and explains the bills after a replay."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from stax_pipeline.domain.extraction import Window
from stax_pipeline.simulator import realistic_organization
from stax_pipeline_tests.cli.support import Stax
from stax_pipeline_tests.conftest import Installation
from stax_pipeline_tests.pipeline.support import query, sync, two_tenants

DAYS = Window(date(2026, 11, 15), date(2026, 11, 23))
ACME = realistic_organization("acme", daily_tokens=100_000_000, shared_workspaces=1, discount=Decimal("0.2"))
GLOBEX = realistic_organization("globex", daily_tokens=50_000_000, shared_workspaces=1)
CAUSES = "select distinct cause from stax.reconciliation join stax.tenants using (tenant_id) where slug = 'acme'"
PRIORITY = (
    "select sum(cost_usd) as usd from stax.spend join stax.tenants using (tenant_id) "
    "where slug = 'acme' and cost_source = 'priority-reconstructed'"
)


@pytest.fixture
def made(stax_home: Path) -> Iterator[Installation]:
    with two_tenants(stax_home, ACME, GLOBEX) as installation:
        assert sync(installation, DAYS).failures == {}
        yield installation


def test_a_suggested_rate_explains_the_bills_once_past_days_are_replayed(
    stax: Stax, made: Installation, tmp_path: Path
) -> None:
    listed = query(made, PRIORITY)[0].usd
    assert "contract discount" in {row.cause for row in query(made, CAUSES)}
    file = tmp_path / "rates.csv"
    assert stax("rates", "suggest", "--out", str(file)).code == 0
    assert file.read_text().splitlines()[1:] == [f"acme,claude-*,*,*,{DAYS.start},,0.2,"]
    assert stax("rates", "import", str(file)).code == 0
    commitments = tmp_path / "commitments.yaml"
    commitments.write_text(
        "- {commitment_id: c-1, tenant: acme, model: claude-sonnet-4-5, input_tokens_per_minute: 4000,\n"
        "   output_tokens_per_minute: 800, fee_usd: 3000.00, starts_on: 2026-11-01, ends_on: 2026-11-30}\n"
    )
    assert stax("commitments", "import", str(commitments)).code == 0
    assert stax("commitments").out.splitlines()[2].split()[-1] == "-"
    assert stax("replay").code == 0
    assert {row.cause for row in query(made, CAUSES)} <= {"", "band"}
    assert query(made, PRIORITY)[0].usd == listed * Decimal("0.8")
    assert stax("rates", "suggest").out == ""
    shown = stax("commitments").out.splitlines()[2].split()
    assert shown[-1] == "%"
    assert 0 < Decimal(shown[-2]) < 100

"""An installation that two tenants' agreements are imported into, and the columns of the files."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
import sqlalchemy as sa

from stax_pipeline.domain.tenant import Tenant
from stax_pipeline.pricing.prices import shipped_prices
from stax_pipeline.tenants.agreements import import_commitments, import_rates
from stax_pipeline.warehouse.prices import record_prices
from stax_pipeline.warehouse.tenants import add_tenant
from stax_pipeline_tests.conftest import Installation, installed

ACME, GLOBEX = UUID(int=1), UUID(int=2)
PRICES = "model,effective_from,token_type,usd_per_unit"
RATES = "tenant,model_pattern,service_tier,token_type,effective_from,effective_to,discount,usd_per_unit"
COMMITMENTS = "commitment_id,tenant,model,input_tokens_per_minute,output_tokens_per_minute,fee_usd,starts_on,ends_on"
PRICE = "claude-opus-5,2026-11-01,output_tokens"
RATE = "acme,claude-*,*,*,2026-01-01"
COMMITMENT = "c-1,acme,claude-opus-5-5,100,10"
IN, OUT = "uncached_input_tokens", "output_tokens"
YAML = """
- tenant: acme
  model_pattern: claude-*
  service_tier: '*'
  token_type: "*"
  effective_from: 2026-01-01
  effective_to: null
  discount: 0.1
"""


@pytest.fixture(scope="module")
def standing(stax_home: Path) -> Iterator[Installation]:
    with installed(stax_home) as installation:
        with installation.engine.begin() as connection:
            for tenant_id, slug in ((ACME, "acme"), (GLOBEX, "globex")):
                add_tenant(connection, Tenant(tenant_id, slug, slug, slug, "connected", datetime.now(UTC), None))
        yield installation


@pytest.fixture
def made(standing: Installation) -> Installation:
    """Only the shipped prices, and what is on record of `globex`."""
    with standing.engine.begin() as connection:
        for table in ("contract_rates", "commitments", "list_prices"):
            connection.execute(sa.text(f"delete from stax.{table}"))
        record_prices(connection, shipped_prices())
    rate, commitment = (
        "globex,claude-opus-5,*,*,2026-01-01,,0.1,",
        "g-1,globex,claude-opus-5,1,1,5,2026-08-01,2026-08-31",
    )
    import_rates(standing.engine, "r.csv", f"{RATES}\n{rate}\n".encode())
    import_commitments(standing.engine, "c.csv", f"{COMMITMENTS}\n{commitment}\n".encode())
    return standing


def on_record(made: Installation) -> list[str]:
    found = []
    with made.engine.connect() as connection:
        for table in ("list_prices", "contract_rates", "commitments"):
            found += sorted(map(repr, connection.execute(sa.text(f"select * from stax.{table}"))))
    return found


def lines(head: str, *rows: str) -> str:
    return "\n".join([head, *rows]) + "\n"

"""FOCUS exports for tests: demo data with every kind of line, the rows, the files, and the linter that judges them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from pathlib import Path

from stax_pipeline.domain.extraction import Window
from stax_pipeline.exports.contents import Wanted, columns_of, rows_of
from stax_pipeline.exports.files import Format, write_file
from stax_pipeline.exports.mixed_speed import FocusRow
from stax_pipeline.pricing.commitments import Commitment
from stax_pipeline.simulator import realistic_organization
from stax_pipeline.warehouse.agreements import record_commitments
from stax_pipeline.warehouse.tenants import get_tenant
from stax_pipeline_tests.conftest import Installation
from stax_pipeline_tests.pipeline.support import FIRST, execute, sync, two_tenants

FOCUS_COLUMNS = [
    "BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodEnd",
    "BillingPeriodStart", "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargeFrequency", "ChargePeriodEnd",
    "ChargePeriodStart", "CommitmentDiscountCategory", "CommitmentDiscountId", "CommitmentDiscountName",
    "CommitmentDiscountQuantity", "CommitmentDiscountStatus", "CommitmentDiscountType", "CommitmentDiscountUnit",
    "ConsumedQuantity", "ConsumedUnit", "ContractedCost", "ContractedUnitPrice", "EffectiveCost", "HostProviderName",
    "InvoiceId", "InvoiceIssuerName", "ListCost", "ListUnitPrice", "PricingCategory", "PricingCurrency",
    "PricingCurrencyContractedUnitPrice", "PricingCurrencyEffectiveCost", "PricingCurrencyListUnitPrice",
    "PricingQuantity", "PricingUnit", "RegionId", "RegionName", "ServiceCategory", "ServiceName",
    "ServiceProviderName", "ServiceSubcategory", "SkuId", "SkuMeter", "SkuPriceDetails", "SkuPriceId", "SubAccountId",
    "SubAccountName",
]  # fmt: skip
OWN_COLUMNS = [
    "x_CostSource", "x_IsEstimated", "x_ServiceTier", "x_TokenType", "x_Model", "x_PriceBookVersion", "x_TenantId",
    "x_ExtractedAt", "x_Tenant", "x_UsageDate", "x_SpendLine",
]  # fmt: skip
MONTH = Window(date(2026, 11, 1), date(2026, 12, 1))
COMMITMENT = Commitment(
    "acme-2026", "claude-opus-4-8", 50_000, 10_000, Decimal("12345.67"), date(2026, 11, 20), date(2027, 1, 31)
)
UNITED = ["--supports", "SupportsUnitPricing", "--supports", "SupportsMultiplePricingCategories"]


@contextmanager
def every_kind_of_line(home: Path) -> Iterator[Installation]:
    """Two synced tenants: lines from the simulator, but for those it does not send."""
    organizations = (
        realistic_organization(
            "acme", daily_tokens=300_000_000, shared_workspaces=1, priority_share=0.25, blocked_rate=0.6
        ),
        realistic_organization("globex", daily_tokens=100_000_000, shared_workspaces=1, priority_share=0.1),
    )
    with two_tenants(home, *organizations) as installation:
        _commit(installation)
        sync(installation)
        _seed(installation)
        yield installation


def _seed(made: Installation) -> None:
    """Unpriced lines, a credit, and names that a spreadsheet would run."""
    chosen = "ctid in (select ctid from stax.spend where cost_source = 'usage-estimated' order by line limit 3)"
    execute(
        made,
        "update stax.spend set cost_source = 'unpriced', cost_usd = null, effective_cost_usd = null, "
        "list_cost_usd = null, contracted_cost_usd = null, list_unit_price_usd = null, "
        f"contracted_unit_price_usd = null, model = 'claude-next' where {chosen}",
    )
    execute(
        made,
        "insert into stax.spend (usage_date, tenant_id, line, workspace_id, model, cost_type, token_type, "
        "service_tier, context_window, inference_geo, speed, description, unit, cost_source, cost_usd, "
        "credits_usd, effective_cost_usd, pricing_unit, price_source, price_book_version, commitment_id, "
        "cost_line_count) "
        "select :day, tenant_id, 90000, 'default', '', 'credit', '', '', '', '', '', '=Goodwill credit', '', "
        "'reported', -12.34, -12.34, -12.34, '', '', '', '', 1 from stax.tenants where slug = 'globex'",
        day=FIRST,
    )
    execute(made, "update stax.workspaces set name = '=1+1' where is_default")


def _commit(made: Installation) -> None:
    with made.engine.begin() as connection:
        record_commitments(connection, get_tenant(connection, "acme").tenant_id, [COMMITMENT])


def export(made: Installation, wanted: Wanted, target: Path, form: Format) -> int:
    with made.engine.connect() as connection:
        return write_file(target, form, columns_of(connection, wanted), rows_of(connection, wanted))


def rows(made: Installation, wanted: Wanted) -> list[FocusRow]:
    with made.engine.connect() as connection:
        names = [column.name for column in columns_of(connection, wanted)]
        return [dict(zip(names, row, strict=True)) for row in rows_of(connection, wanted)]


def linted(file: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "focus_data_toolkit", "validate", "--dataset", "cost-and-usage", *options]
    return subprocess.run([*command, str(file)], capture_output=True, text=True, check=False, timeout=300)

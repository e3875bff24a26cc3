"""What price accuracy of simulated organisations speaks for: a negotiated discount and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from stax_pipeline.derive.suggested_rates import Suggestion
from stax_pipeline.domain.extraction import Window
from stax_pipeline.pricing.contract_rates import ContractRate
from stax_pipeline.pricing.imports.rates import rates_csv
from stax_pipeline.simulator import realistic_organization
from stax_pipeline.tenants.agreements import import_rates, suggested_rates
from stax_pipeline.warehouse.tenants import get_tenant
from stax_pipeline_tests.conftest import Installation
from stax_pipeline_tests.pipeline.support import sync, two_tenants

DAYS = Window(date(2026, 11, 14), date(2026, 11, 23))
DISCOUNTED = realistic_organization("acme", daily_tokens=200_000_000, shared_workspaces=1, discount=Decimal("0.125"))
PLAIN = realistic_organization("globex", daily_tokens=100_000_000, shared_workspaces=1)
NOISY = realistic_organization(
    "acme", daily_tokens=200_000_000, shared_workspaces=1, discount=Decimal("0.125"), blocked_rate=0.5
)


@pytest.fixture(scope="module")
def synced(stax_home: Path) -> Iterator[Installation]:
    with two_tenants(stax_home, DISCOUNTED, PLAIN) as made:
        assert sync(made, DAYS).failures == {}
        yield made


def suggested(made: Installation, slug: str) -> list[Suggestion]:
    with made.engine.connect() as connection:
        return suggested_rates(connection, get_tenant(connection, slug))


def test_a_discount_is_found_to_the_tenth_of_a_percent_and_not_proposed_twice(synced: Installation) -> None:
    (found,) = suggested(synced, "acme")
    assert found.rate == ContractRate("claude-*", "*", "*", DAYS.start, None, Decimal("0.125"), None)
    assert (found.days, found.last, found.tiers) == (8, date(2026, 11, 21), ("batch", "standard"))
    assert len(found.models) > 2
    assert found.list_usd * Decimal("0.874") < found.reported_usd < found.list_usd * Decimal("0.876")
    import_rates(synced.engine, "suggested.csv", rates_csv([("acme", found.rate)]).encode())
    assert suggested(synced, "acme") == []


def test_nothing_is_proposed_for_a_tenant_who_pays_list_prices(synced: Installation) -> None:
    assert suggested(synced, "globex") == []


def test_blocked_requests_never_make_a_wrong_discount(stax_home: Path) -> None:
    """The simulator blocks standard requests alone: all of batch shows the discount, of standard some models do."""
    with two_tenants(stax_home, NOISY, PLAIN) as made:
        assert sync(made, DAYS).failures == {}
        found = [one.rate for one in suggested(made, "acme")]
    assert [rate.service_tier for rate in found if rate.model_pattern == "claude-*"] == ["batch"]
    assert {rate.discount for rate in found} == {Decimal("0.125")}

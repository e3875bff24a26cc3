"""Views on simulated data, asked as the analyst, against the simulator's arithmetic; and the queries of the docs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from stax_pipeline.installation.homes import CHECKOUT
from stax_pipeline.simulator import truth
from stax_pipeline.warehouse.engine import connect_engine
from stax_pipeline.warehouse.roles import logins
from stax_pipeline_tests.conftest import Installation
from stax_pipeline_tests.pipeline.support import FIRST, LAST, sync, two_tenants

COMPLETE = [FIRST, FIRST + timedelta(days=1), LAST]
NOVEMBER = date(2026, 11, 1)
SQL = [
    pytest.param(query, id=f"{page}-{number}")
    for page in ("operate/invoices", "reference/focus", "understand/price-accuracy", "understand/restatements")
    for number, query in enumerate(
        re.findall(r"```sql\n(.*?)```", (CHECKOUT / "docs" / f"{page}.md").read_text(), re.S)
    )
]


@pytest.fixture(scope="module")
def made(stax_home: Path) -> Iterator[Installation]:
    with two_tenants(stax_home) as installation:
        assert sync(installation).failures == {}
        yield installation


@pytest.fixture(scope="module")
def analyst(made: Installation) -> Iterator[sa.Connection]:
    engine = connect_engine(logins(made.settings).analyst)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def ask(analyst: sa.Connection, query: str, **values: object) -> list[Any]:
    return list(analyst.execute(sa.text(query), values))


@pytest.mark.parametrize("slug", ["acme", "globex"])
class TestAgainstTheTruth:
    def test_the_month_that_an_invoice_is_held_against(
        self, made: Installation, analyst: sa.Connection, slug: str
    ) -> None:
        [found] = ask(analyst, "select * from stax.invoice_check where tenant = :slug", slug=slug)
        days = [truth(made.simulator.organizations[slug], day) for day in COMPLETE]
        assert found.expected_usd == found.billed_usd == sum(day.reported_usd for day in days)
        assert found.priority_reconstructed_usd > sum(day.priority_usd for day in days)  # the open day is in it
        assert (found.month, found.days_complete, found.days_settled, found.status) == (NOVEMBER, 3, 1, "no invoice")
        assert (found.price_accuracy, found.commitment_fee_usd) == (1, 0)

    def test_priority_is_what_the_invoice_will_lack(
        self, made: Installation, analyst: sa.Connection, slug: str
    ) -> None:
        query = (
            "select usage_date, sum(usd) as usd from stax.invoice_differences "
            "where tenant = :slug and kind = 'priority-reconstructed' group by 1"
        )
        found = {row.usage_date: row.usd for row in ask(analyst, query, slug=slug)}
        organization = made.simulator.organizations[slug]
        assert {day: found[day] for day in COMPLETE} == {day: truth(organization, day).priority_usd for day in COMPLETE}

    def test_the_price_book_is_exact(self, analyst: sa.Connection, slug: str) -> None:
        figures = "lowest_ratio, highest_ratio, days_outside, days_unpriced"
        query = f"select {figures} from stax.price_accuracy where tenant = :slug"
        assert {tuple(row) for row in ask(analyst, query, slug=slug)} == {(1, 1, 0, 0)}
        bars = ask(
            analyst,
            "select distinct cost_source, price_accuracy from stax.spend_monthly where tenant = :slug",
            slug=slug,
        )
        assert {source for source, bar in bars if bar is not None} == {"priority-reconstructed", "usage-estimated"}
        assert {bar for _, bar in bars} == {1, None}

    def test_list_is_what_everything_costs(self, analyst: sa.Connection, slug: str) -> None:
        query = (
            "select count(*), count(*) filter (where usd_per_million_tokens = list_usd_per_million_tokens) "
            "from stax.effective_prices where tenant = :slug and usage_date <= :last"
        )
        [[rows, equal]] = ask(analyst, query, slug=slug, last=LAST)
        assert rows == equal > 0

    def test_the_cache_has_a_price_on_every_line(self, analyst: sa.Connection, slug: str) -> None:
        query = (
            "select count(*), count(net_saved_usd), min(hit_ratio), max(hit_ratio) from stax.cache_savings "
            "where tenant = :slug"
        )
        [[rows, priced, lowest, highest]] = ask(analyst, query, slug=slug)
        assert rows == priced > 0
        assert 0 <= lowest < highest < 1

    def test_shares_sum_to_one(self, analyst: sa.Connection, slug: str) -> None:
        query = (
            "select usage_date, sum(tokens_ratio), sum(effective_cost_ratio), count(*) from stax.tier_mix "
            "where tenant = :slug group by 1"
        )
        for _, tokens, dollars, rows in ask(analyst, query, slug=slug):
            assert abs(tokens - 1) <= rows * Decimal("0.0000005")
            assert abs(dollars - 1) <= rows * Decimal("0.0000005")

    def test_everybody_has_a_name(self, made: Installation, analyst: sa.Connection, slug: str) -> None:
        organization = made.simulator.organizations[slug]
        query = "select distinct principal, account_email from stax.spend_by_key_daily where tenant = :slug"
        found = {tuple(row) for row in ask(analyst, query, slug=slug)}
        names = {key.name for key in organization.api_keys} | {member.name for member in organization.members}
        words = {"without an API key (Console or service account)", "not split: the source tells no key"}
        assert {who for who, _ in found} <= names | words
        assert {email for _, email in found} - {None} <= {member.email for member in organization.members}

    def test_nothing_changed_yet(self, analyst: sa.Connection, slug: str) -> None:
        grid = ask(analyst, "select usage_date, restated from stax.completeness where tenant = :slug", slug=slug)
        assert [restated for _, restated in grid] == [False] * 4
        assert ask(analyst, "select 1 from stax.restated_days where tenant = :slug", slug=slug) == []


@pytest.mark.parametrize("query", SQL)
def test_every_query_of_the_docs_runs(analyst: sa.Connection, query: str) -> None:
    assert analyst.execute(sa.text(query)).returns_rows

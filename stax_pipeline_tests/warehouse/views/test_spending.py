"""What was spent and what it bought, against rows made by hand."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stax_pipeline.pricing.prices import ListPrice, Usage, shipped_prices
from stax_pipeline.pricing.prices.book import ALIASES, PriceBook
from stax_pipeline.warehouse.prices import record_prices
from stax_pipeline.warehouse.views import view
from stax_pipeline_tests.warehouse.views.conftest import DAY, Warehouse

READ, WRITE_5M, WRITE_1H = (
    "cache_read_input_tokens", "cache_creation.ephemeral_5m_input_tokens", "cache_creation.ephemeral_1h_input_tokens",
)  # fmt: skip
BOOK = PriceBook.of(shipped_prices())


class TestCacheSavings:
    QUERY = "select * from stax.cache_savings"

    def test_reads_save_and_writes_cost(self, warehouse: Warehouse) -> None:
        """Opus 4.8: uncached $5, read $0.50, writes $6.25 and $10 per million."""
        record_prices(warehouse.connection, shipped_prices())
        warehouse.add(
            "usage_lines", workspace_id="default", model="claude-opus-4-8", service_tier="standard",
            context_window="0-200k", inference_geo="global", speed="standard", uncached_input_tokens=1_000_000,
            cache_read_input_tokens=2_000_000, cache_creation_5m_input_tokens=400_000,
            cache_creation_1h_input_tokens=600_001, output_tokens=9,
        )  # fmt: skip
        found = warehouse.row(self.QUERY)
        assert (found["tenant"], found["usage_date"], found["workspace_name"]) == ("acme", DAY, "Default")
        assert (found["input_tokens"], found["hit_ratio"]) == (4_000_001, Decimal("0.500000"))
        assert found["saved_by_reads_usd"] == Decimal("9")
        assert found["paid_for_writes_usd"] == Decimal("3.500005")
        assert found["net_saved_usd"] == Decimal("5.499995")

    def test_what_is_written_and_not_read_loses(self, warehouse: Warehouse) -> None:
        record_prices(warehouse.connection, shipped_prices())
        warehouse.add(
            "usage_lines", model="claude-opus-4-8", service_tier="batch", inference_geo="us", workspace_id="w",
            cache_read_input_tokens=1, cache_creation_1h_input_tokens=1_000_000,
        )  # fmt: skip
        found = warehouse.row(self.QUERY)
        assert found["paid_for_writes_usd"] == Decimal("2.75")  # ($10 − $5) × 0.5 × 1.1
        assert found["net_saved_usd"] == Decimal("0.000002475") - Decimal("2.75")
        assert found["context_window"] is found["speed"] is None

    @pytest.mark.parametrize(
        "line",
        [
            {"model": "claude-unheard-of", "service_tier": "standard"},
            {"model": "claude-opus-4-8", "service_tier": "flex"},
            {"model": "claude-opus-4-8", "service_tier": "standard", "inference_geo": "mars"},
            {"model": "claude-opus-4-8", "service_tier": "standard", "usage_date": date(2026, 5, 27)},
            {"model": "claude-opus-4-8", "service_tier": "standard", "speed": "fast", "usage_date": date(2026, 5, 28)},
        ],
    )
    def test_without_a_price_nothing_is_guessed(self, warehouse: Warehouse, line: dict[str, object]) -> None:
        record_prices(warehouse.connection, [price for price in shipped_prices() if price.speed == "standard"])
        warehouse.add("usage_lines", cache_read_input_tokens=5, **line)
        found = warehouse.row(self.QUERY)
        assert found["saved_by_reads_usd"] is found["net_saved_usd"] is found["price_source"] is None
        assert found["paid_for_writes_usd"] == 0
        assert found["hit_ratio"] == 1

    def test_a_superseded_price_is_not_used(self, warehouse: Warehouse) -> None:
        record_prices(warehouse.connection, shipped_prices())
        superseded = (
            "insert into stax.list_prices select (jsonb_populate_record(p, jsonb_build_object('usd_per_unit', 99, "
            "'recorded_at', '2026-01-01', 'superseded_at', '2026-01-02'))).* from stax.list_prices p"
        )
        warehouse.connection.execute(sa.text(superseded))
        warehouse.add(
            "usage_lines", model="claude-opus-4-8", service_tier="standard", cache_read_input_tokens=1_000_000
        )
        assert warehouse.row(self.QUERY)["saved_by_reads_usd"] == Decimal("4.5")

    @pytest.mark.parametrize(
        ("windows", "day", "saved", "source"),
        [
            (("all",), date(2026, 11, 9), None, "band-lower"),
            (("all",), DAY, Decimal(6), "mine"),
            (("0-100k",), DAY, Decimal("0.45"), "band-lower"),  # above 100k the shipped price is the lower one
            (("0-100k", "100k-1M"), DAY, Decimal(6), "mine"),
        ],
    )
    @pytest.mark.parametrize("window", ["", "0-200k", "200k-1M"])
    def test_a_band_ends_where_it_ends_in_the_price_book(
        self, warehouse: Warehouse, windows: tuple[str, ...], day: date, saved: Decimal | None, source: str, window: str
    ) -> None:
        """Haiku 5.5 from 2026-11-10 on: one price for every prompt, a new lower one, or both the same."""
        model, usd = "claude-haiku-5-5", {"uncached_input_tokens": "7", READ: "1", WRITE_5M: "8", WRITE_1H: "9"}
        mine = [
            ListPrice(model, DAY, "tokens", token_type, held, "standard", "1M tokens", Decimal(price), Decimal("1.1"),
                      "mine")
            for held in windows for token_type, price in usd.items()
        ]  # fmt: skip
        record_prices(warehouse.connection, shipped_prices())
        record_prices(warehouse.connection, mine, imported=True)
        warehouse.add("usage_lines", usage_date=day, model=model, service_tier="standard", context_window=window,
                      cache_read_input_tokens=1_000_000)  # fmt: skip
        found = warehouse.row(self.QUERY)
        book = PriceBook.of([*shipped_prices(), *mine])
        uncached, read = (
            book.token_price(Usage(day, model, kind, "standard", window, "", ""))
            for kind in ("uncached_input_tokens", READ)
        )
        assert uncached and read
        assert found["saved_by_reads_usd"] == uncached.low - read.low
        assert found["price_source"] == uncached.source
        if window != "200k-1M":
            assert found["price_source"] == source
            assert saved in (None, found["saved_by_reads_usd"])

    def test_the_aliases_are_those_of_the_price_book(self, warehouse: Warehouse) -> None:
        found = warehouse.rows(f"select alias, id from {view.ALIASES} as a (alias, id)")
        assert {row["alias"]: row["id"] for row in found} == ALIASES

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        model=st.sampled_from(sorted({p.model for p in BOOK.prices} | ALIASES.keys() | {"claude-other"})),
        day=st.dates(date(2025, 6, 1), date(2026, 12, 31)),
        tier=st.sampled_from(["", "standard", "batch", "priority", "flex"]),
        window=st.sampled_from(["", "0-200k", "200k-1M", "0-100k", "100k-1M", "1M-2M"]),
        geo=st.sampled_from(["", "global", "us", "not_available", "mars"]),
        speed=st.sampled_from(["", "standard", "fast"]),
        counts=st.tuples(*[st.integers(0, 10**10)] * 3),
    )
    def test_its_prices_are_those_of_the_code(
        self, warehouse: Warehouse, model: str, day: date, tier: str, window: str, geo: str, speed: str,
        counts: tuple[int, int, int],
    ) -> None:  # fmt: skip
        def usd(token_type: str, tokens: int) -> Decimal | None:
            price = BOOK.token_price(Usage(day, model, token_type, tier or "standard", window, geo, speed))
            return price and price.amount(tokens)[0]

        def more(token_type: str, tokens: int, than: str) -> Decimal | None:
            one, other = usd(token_type, tokens), usd(than, tokens)
            return Decimal(0) if not tokens else None if one is None or other is None else one - other

        with warehouse.connection.begin_nested() as point:
            record_prices(warehouse.connection, shipped_prices())
            warehouse.add(
                "usage_lines", usage_date=day, model=model, service_tier=tier, context_window=window,
                inference_geo=geo, speed=speed, cache_read_input_tokens=counts[0],
                cache_creation_5m_input_tokens=counts[1], cache_creation_1h_input_tokens=counts[2],
            )  # fmt: skip
            found = warehouse.row(self.QUERY)
            point.rollback()
        uncached = "uncached_input_tokens"
        short, long = more(WRITE_5M, counts[1], uncached), more(WRITE_1H, counts[2], uncached)
        assert found["saved_by_reads_usd"] == more(uncached, counts[0], READ)
        assert found["paid_for_writes_usd"] == (None if short is None or long is None else short + long)


class TestTierMix:
    def test_shares_of_the_day_and_new_values_as_themselves(self, warehouse: Warehouse) -> None:
        warehouse.add_spend("6", quantity=300, speed="standard", context_window="0-200k", inference_geo="global")
        warehouse.add_spend("1.5", quantity=100, service_tier="flex_discount", speed="ludicrous")
        warehouse.add_spend("0.5", cost_type="web_search", token_type="", unit="requests", quantity=50, model="",
                            service_tier="")  # fmt: skip
        warehouse.add_spend("99", quantity=1, usage_date=DAY + timedelta(days=1))
        found = warehouse.rows("select * from stax.tier_mix where usage_date = :day order by cost_usd desc", day=DAY)
        assert [(r["service_tier"], r["speed"], r["context_window"], r["cost_type"]) for r in found] == [
            ("standard", "standard", "0-200k", "tokens"), ("flex_discount", "ludicrous", None, "tokens"),
            (None, None, None, "web_search"),
        ]  # fmt: skip
        assert [(r["tokens"], r["cost_usd"], r["tokens_ratio"], r["effective_cost_ratio"]) for r in found] == [
            (300, 6, Decimal("0.75"), Decimal("0.75")), (100, Decimal("1.5"), Decimal("0.25"), Decimal("0.1875")),
            (None, Decimal("0.5"), None, Decimal("0.0625")),
        ]  # fmt: skip


class TestWorkspaces:
    @pytest.mark.parametrize(
        ("view", "table"),
        [("spend_daily", "spend"), ("spend_monthly", "spend"), ("spend_by_key_daily", "spend_by_key"),
         ("cache_savings", "usage_lines")],
    )  # fmt: skip
    def test_those_that_share_a_name_stay_apart(self, warehouse: Warehouse, view: str, table: str) -> None:
        for number in (1, 2, 3):
            warehouse.add("workspaces", workspace_id=f"wrkspc_{number}", name="Prod" if number < 3 else "Dev")
        for workspace in ("default", "wrkspc_1", "wrkspc_2", "wrkspc_3", "wrkspc_gone"):
            more = {} if table == "usage_lines" else {"cost_source": "reported", "cost_usd": "1"}
            warehouse.add(table, workspace_id=workspace, model="claude-opus-4-8", **more)
        found = warehouse.rows(f"select workspace_id, workspace from stax.{view} group by 1, 2")  # noqa: S608
        assert {row["workspace_id"]: row["workspace"] for row in found} == {
            "default": "Default", "wrkspc_1": "Prod (wrkspc_1)", "wrkspc_2": "Prod (wrkspc_2)", "wrkspc_3": "Dev",
            "wrkspc_gone": "wrkspc_gone",
        }  # fmt: skip

    def test_the_unused_part_of_a_commitment_has_none(self, warehouse: Warehouse) -> None:
        warehouse.add_spend("0", "commitment-unused", workspace_id="")
        assert warehouse.row("select workspace from stax.spend_daily")["workspace"] is None


class TestSpendSummary:
    def test_billed_reconstructed_and_estimated_are_told_apart_and_credits_are_not_added_again(
        self, warehouse: Warehouse
    ) -> None:
        warehouse.add_spend("100", quantity=300)
        warehouse.add_spend("-60", credits_usd="-60", cost_type="", token_type="", unit="", model="")
        warehouse.add_spend("7", "priority-reconstructed", quantity=20, service_tier="priority")
        warehouse.add_spend("3", "usage-estimated", quantity=5)
        warehouse.add_spend("0", "unbilled", quantity=1)
        warehouse.add_spend(None, "unpriced", quantity=9)
        warehouse.add_spend("0", "commitment-unused", effective_cost_usd="4")
        assert warehouse.row("select * from stax.spend_summary") == {
            "tenant": "acme", "tenant_id": warehouse.tenant_id, "usage_date": DAY, "billed_usd": 40,
            "credits_usd": -60, "priority_reconstructed_usd": 7, "estimated_usd": 3, "total_usd": 50, "tokens": 335,
            "unpriced_tokens": 9,
        }  # fmt: skip

    @pytest.mark.parametrize("view", ["spend_daily", "spend_monthly", "tier_mix", "invoice_check"])
    def test_credits_have_a_column_wherever_dollars_are_summed(self, warehouse: Warehouse, view: str) -> None:
        warehouse.cover(DAY)
        warehouse.add_spend("100")
        warehouse.add_spend("-60", credits_usd="-60", cost_type="", token_type="", unit="", model="")
        warehouse.add_spend("30", credits_usd="-20")  # charges of 50 that a credit met in one line
        found = warehouse.row(f"select sum(credits_usd) as usd from stax.{view}")  # noqa: S608
        assert found["usd"] == -80

    @pytest.mark.parametrize("view", ["spend_daily", "spend_monthly"])
    def test_cost_source_stays_a_row(self, warehouse: Warehouse, view: str) -> None:
        warehouse.add_spend("2")
        warehouse.add_spend("5", "usage-estimated")
        found = warehouse.rows(f"select cost_source, cost_usd from stax.{view} order by 1")  # noqa: S608
        assert [tuple(row.values()) for row in found] == [("reported", 2), ("usage-estimated", 5)]


class TestFocus:
    def test_a_tier_with_a_contract_price_alone_costs_it(self, warehouse: Warehouse) -> None:
        warehouse.add_spend(
            "3", "usage-estimated", service_tier="flex", quantity=2_000_000, pricing_quantity="2",
            pricing_unit="1M tokens", contracted_cost_usd="3", contracted_unit_price_usd="1.5", price_source="contract",
        )  # fmt: skip
        columns = ("BilledCost", "EffectiveCost", "ContractedCost", "ContractedUnitPrice", "ListCost", "x_IsEstimated")
        query = ", ".join(f'"{name}"' for name in columns)
        found = warehouse.row(f"select {query} from stax.focus_cost_and_usage")  # noqa: S608
        assert tuple(found.values()) == (0, 3, 3, Decimal("1.5"), 3, True)


class TestEffectivePrices:
    def test_unbilled_tokens_lower_it_unpriced_ones_are_left_out(self, warehouse: Warehouse) -> None:
        warehouse.add_spend("3", quantity=100_000, list_cost_usd="4")
        warehouse.add_spend("0", "unbilled", quantity=50_000, list_cost_usd="2")
        warehouse.add_spend(None, "unpriced", quantity=1_000_000)
        found = warehouse.row("select * from stax.effective_prices")
        assert (found["tokens"], found["cost_usd"], found["list_cost_usd"]) == (1_150_000, 3, 6)
        assert found["usd_per_million_tokens"] == found["effective_usd_per_million_tokens"] == 20
        assert found["list_usd_per_million_tokens"] == 40

    def test_what_a_commitment_left_unused_weighs_on_the_used(self, warehouse: Warehouse) -> None:
        warehouse.add_spend("5", "priority-reconstructed", service_tier="priority", quantity=500_000,
                            effective_cost_usd="3", commitment_id="c")  # fmt: skip
        warehouse.add_spend("0", "commitment-unused", service_tier="priority", effective_cost_usd="1",
                            commitment_id="c", workspace_id="")  # fmt: skip
        found = warehouse.row("select * from stax.effective_prices")
        assert (found["usd_per_million_tokens"], found["effective_usd_per_million_tokens"]) == (10, 8)

    def test_services_have_no_price_per_token(self, warehouse: Warehouse) -> None:
        warehouse.add_spend("1", cost_type="code_execution", token_type="", unit="hours")
        assert warehouse.rows("select * from stax.effective_prices") == []


class TestSpendByKey:
    def test_everybody_has_a_name(self, warehouse: Warehouse) -> None:
        warehouse.add("api_keys", api_key_id="apikey_1", name="jobs", status="archived")
        warehouse.add("members", member_id="user_1", name="Ada", email="ada@acme.example")
        warehouse.add("members", member_id="user_2")
        for key, account in (
            ("apikey_1", ""), ("apikey_9", ""), ("", "user_1"), ("", "user_2"), ("apikey_1", "user_1"), ("", ""),
            ("unattributed", ""),
        ):  # fmt: skip
            warehouse.add("spend_by_key", workspace_id="default", api_key_id=key, account_id=account, model="m",
                          cost_type="tokens", token_type="output_tokens", cost_source="reported", quantity=7,
                          cost_usd="2")  # fmt: skip
        found = {(r["api_key_id"], r["account_id"]): r for r in warehouse.rows("select * from stax.spend_by_key_daily")}
        assert {key: row["principal"] for key, row in found.items()} == {
            ("apikey_1", None): "jobs", ("apikey_9", None): "apikey_9", (None, "user_1"): "Ada",
            (None, "user_2"): "user_2", ("apikey_1", "user_1"): "Ada with jobs",
            (None, None): "without an API key (Console or service account)",
            ("unattributed", None): "not split: the source tells no key",
        }  # fmt: skip
        gone = found["apikey_1", None]
        assert (gone["api_key_status"], gone["workspace_name"], gone["tokens"]) == ("archived", "Default", 7)
        assert found[None, "user_1"]["account_email"] == "ada@acme.example"
        assert found[None, "user_2"]["account_email"] is None

    def test_what_nobody_used_is_nobodys(self, warehouse: Warehouse) -> None:
        warehouse.add("spend_by_key", api_key_id="unattributed", cost_type="tokens", cost_source="commitment-unused",
                      cost_usd="0", effective_cost_usd="3")  # fmt: skip
        found = warehouse.row("select * from stax.spend_by_key_daily")
        assert (found["principal"], found["workspace_id"]) == ("nobody: the unused part of a commitment", None)

    def test_searches_are_no_tokens(self, warehouse: Warehouse) -> None:
        warehouse.add("spend_by_key", cost_type="web_search", cost_source="reported", quantity=3, cost_usd="0.03")
        found = warehouse.row("select * from stax.spend_by_key_daily")
        assert (found["tokens"], found["web_search_requests"], found["model"]) == (None, 3, None)


class TestMonths:
    def test_months_meet_where_they_should(self, warehouse: Warehouse) -> None:
        for day, usd in ((date(2026, 9, 30), "1"), (date(2026, 10, 1), "2"), (date(2026, 10, 31), "4")):
            warehouse.add_spend(usd, usage_date=day, quantity=10)
        found = warehouse.rows("select month, cost_usd, tokens, price_accuracy from stax.spend_monthly order by 1")
        assert [tuple(row.values()) for row in found] == [
            (date(2026, 9, 1), 1, 10, None), (date(2026, 10, 1), 6, 20, None),
        ]  # fmt: skip

    def test_the_price_accuracy_stands_beside_reconstructed_dollars(self, warehouse: Warehouse) -> None:
        """Of the month's days that can be compared, for the dated id of an alias."""
        model = "claude-opus-4-5-20251101"
        for tier, priced, reported, day in (
            ("standard", "11", "10", 10), ("batch", "20", "20", 10), ("standard", "5", "0", 11),
        ):  # fmt: skip
            warehouse.add("reconciliation", usage_date=date(2026, 11, day), model=model, service_tier=tier,
                          priced_usd=priced, reported_usd=reported,
                          ratio=Decimal(priced) / Decimal(reported) if reported != "0" else None)  # fmt: skip
        warehouse.add("reconciliation", usage_date=date(2026, 12, 1), model=model, service_tier="batch",
                      priced_usd="90", reported_usd="9", ratio="10")  # fmt: skip
        warehouse.add_spend("3", "priority-reconstructed", model="claude-opus-4-5", service_tier="priority")
        warehouse.add_spend("4", model=model)
        found = warehouse.rows("select cost_usd, price_accuracy from stax.spend_monthly order by 1")
        assert [tuple(row.values()) for row in found] == [(3, Decimal("1.033333")), (4, None)]

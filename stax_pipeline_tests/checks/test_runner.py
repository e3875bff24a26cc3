"""Every rule holds on good data and names the tenant and the day of a violation put there by SQL, then taken back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from stax_pipeline.checks import rules, views
from stax_pipeline.checks.distinct import DISTINCT_RULES
from stax_pipeline.checks.raw_pages import cost_gaps, usage_gaps
from stax_pipeline.checks.rule import Rule
from stax_pipeline.checks.rules import RULES, SOURCES_AGREE
from stax_pipeline.checks.runner import Finding, run_rule, run_rules
from stax_pipeline.domain.extraction import Window
from stax_pipeline.warehouse.tenants import all_tenants
from stax_pipeline_tests.conftest import Installation
from stax_pipeline_tests.pipeline.support import DAYS, FIRST, LAST, TODAY, sync, two_tenants

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
ACME = "(select tenant_id from stax.tenants where slug = 'acme')"
OF = f"tenant_id = {ACME} and usage_date = '{FIRST}'"
ONE = f"ctid = (select ctid from stax.{{}} where {OF} and {{}} limit 1)"

AGAIN = (
    "insert into stax.{0} select (again).* from (select jsonb_populate_record(held, '{{\"line\": 1000000}}') as again "
    f"from stax.{{0}} held where {OF} limit 1) rows"
)

SEEDS: list[tuple[Rule, str]] = [
    (views.INVOICES_MATCH,
     "insert into stax.coverage select tenant_id, report, d, extraction_id, extracted_at, data_through, "
     "old_enough_to_settle, 'complete', rows from stax.coverage, generate_series(date '2026-10-01', '2026-10-31', "
     f"interval '1 day') d where {OF}; insert into stax.invoices select tenant_id, '2026-10-01', now(), 12, '' "
     "from stax.tenants where slug = 'acme'"),
    (rules.DATA_IS_FRESH, f"delete from stax.coverage where {OF} and report = 'cost_report'"),
    (rules.DATA_IS_FRESH, f"update stax.coverage set state = 'provisional' where {OF}"),
    (rules.NO_DAY_COMPLETE_BEFORE_LAG,
     f"update stax.coverage set extracted_at = '2026-11-20T00:04:59Z', data_through = '2026-11-19T23:00Z' where {OF}"),
    (rules.NO_DAY_COMPLETE_BEFORE_LAG,
     f"update stax.coverage set data_through = '2026-11-20T00:00:01Z' where {OF} and report = 'usage_report'"),
    (rules.NO_DAY_COMPLETE_BEFORE_LAG,
     "update stax.coverage set data_through = extracted_at - interval '4 minutes 59 seconds' "
     f"where tenant_id = {ACME} and usage_date = '{TODAY}'"),
    (rules.EVERY_EXTRACTION_PUBLISHED,
     f"delete from stax.coverage where {OF} and report = 'cost_report'"),
    (rules.ALL_TENANTS_EXTRACTED, f"update stax.extractions set error = 'broken' where tenant_id = {ACME}"),
    (rules.USAGE_READINGS_AGREE,
     "update stax.usage_by_key set output_tokens = output_tokens + 1 where "
     + ONE.format("usage_by_key", "true")),
    (rules.USAGE_READINGS_AGREE, f"delete from stax.usage_by_key where {OF}"),
    (rules.SPEND_TIES_TO_COST_LINES,
     "update stax.cost_lines set amount_usd = amount_usd + 0.000000000000000001 where "
     + ONE.format("cost_lines", "true")),
    (rules.SPEND_TIES_TO_COST_LINES, f"delete from stax.spend where {OF}"),
    (rules.SPEND_TIES_TO_USAGE_LINES,
     "update stax.usage_lines set output_tokens = output_tokens + 1 where " + ONE.format("usage_lines", "true")),
    (rules.SPEND_TIES_TO_USAGE_LINES,
     "update stax.spend set service_tier = 'batch' where "
     + ONE.format("spend", "service_tier = 'standard' and unit = 'tokens' and quantity > 0")),
    *((rules.SPEND_TOTALS_TIE_TO_SPEND,
       f"update stax.spend_totals set {figure} where " + ONE.format("spend_totals", "list_cost_usd > 0"))
      for figure in (
          "tokens = coalesce(tokens, 0) + 1", "model = 'claude-other'", "list_cost_usd = null",
          *(f"{name} = {name} + 0.000000000000000001" for name in (
              "cost_usd", "credits_usd", "effective_cost_usd", "commitment_fee_usd")))),
    *((rules.SPEND_TOTALS_TIE_TO_SPEND,
       f"update stax.spend_day_totals set {name} = {name} + {least} where {OF}")
      for name, least in (
          ("tokens", "1"), ("unpriced_tokens", "1"), ("billed_usd", "1e-18"), ("credits_usd", "1e-18"),
          ("priority_reconstructed_usd", "1e-18"), ("estimated_usd", "1e-18"), ("commitment_fee_usd", "1e-18"))),
    (rules.SPEND_TOTALS_TIE_TO_SPEND, f"delete from stax.spend_day_totals where {OF}"),
    (rules.SPEND_TOTALS_TIE_TO_SPEND, f"delete from stax.spend_totals where {OF}"),
    (rules.SPEND_TOTALS_TIE_TO_SPEND, AGAIN.format("spend_totals")),
    (rules.SPEND_TOTALS_TIE_TO_SPEND,
     "update stax.spend set list_cost_usd = list_cost_usd + 0.000000000000000001 where "
     + ONE.format("spend", "list_cost_usd is not null")),
    (rules.SPEND_BY_KEY_TIES_TO_SPEND,
     "update stax.spend_by_key set cost_usd = cost_usd - 0.000000000000000001 where "
     + ONE.format("spend_by_key", "cost_usd is not null")),
    (rules.SPEND_IS_CURRENT,
     "update stax.spend set usage_extraction_id = gen_random_uuid() where " + ONE.format("spend", "true")),
    (rules.SPEND_IS_CURRENT, f"delete from stax.spend where {OF}"),
    (rules.SPEND_IS_CURRENT, f"update stax.spend set price_book_version = 'old' where {OF}"),
    (rules.SPEND_IS_CURRENT,
     f"update stax.coverage set rows = 0, digest = '', key_digest = '' where {OF}; "
     f"delete from stax.cost_lines where {OF}; delete from stax.usage_lines where {OF}; "
     "update stax.coverage set extraction_id = "
     f"(select extraction_id from stax.extractions where tenant_id = {ACME} and report = 'organization' limit 1) "
     f"where {OF}"),
    (rules.SPEND_TIES_TO_USAGE_LINES,
     f"update stax.spend set model = 'claude-other' where {OF} and unit = 'tokens'"),
    (rules.SPEND_TIES_TO_USAGE_LINES,
     "update stax.usage_lines set web_search_requests = web_search_requests + 1 where "
     + ONE.format("usage_lines", "true")),
    (rules.SPEND_BY_KEY_TIES_TO_SPEND,
     "update stax.spend_by_key set model = 'claude-other' where "
     + ONE.format("spend_by_key", "cost_usd > 0")),
    (rules.SPEND_BY_KEY_TIES_TO_SPEND, f"update stax.spend_by_key set quantity = quantity * 3 where {OF}"),
    (rules.FOCUS_TIES_TO_SPEND,
     "update stax.spend set list_unit_price_usd = list_unit_price_usd + 0.000000001 where "
     + ONE.format("spend", "list_unit_price_usd > 0 and pricing_quantity > 1")),
    (rules.FOCUS_TIES_TO_SPEND,
     "update stax.spend set contracted_cost_usd = contracted_cost_usd + 0.01 where "
     + ONE.format("spend", "contracted_unit_price_usd > 0 and pricing_quantity < 1")),
    (rules.FOCUS_TIES_TO_SPEND,
     "update stax.spend set commitment_id = 'never-recorded' where "
     + ONE.format("spend", "service_tier = 'priority'")),
    (rules.EVERY_COST_LINE_MET,
     "update stax.spend set quantity = null where "
     + ONE.format("spend", "cost_source = 'reported' and cost_type = 'tokens' and cost_usd > 0")),
    (rules.EVERY_TOKEN_PRICED,
     "update stax.spend set cost_source = 'unpriced', cost_usd = null where " + ONE.format("spend", "true")),
    (rules.EVERY_USAGE_BILLED,
     f"update stax.spend set cost_source = 'unbilled', cost_usd = 0 where {OF} and cost_source = 'reported' "
     "and model like '%sonnet%'"),
    (rules.RECONCILIATION_TIES_TO_COST_LINES,
     "update stax.reconciliation set reported_usd = reported_usd + 0.000000000000000001 where "
     + ONE.format("reconciliation", "true")),
    (rules.PRICE_BOOK_MATCHES_BILL,
     "update stax.reconciliation set ratio = 1.02, cause = 'price' where " + ONE.format("reconciliation", "true")),
    (rules.GRANTED_LOGINS_ONLY_READ,
     "insert into stax.tenant_grants select 'stax_analyst', tenant_id, now() from stax.tenants where slug = 'acme'"),
    (views.COMMITMENTS_TIE_TO_FEE,
     "insert into stax.commitments select 'c', now(), tenant_id, 'claude-opus-4-8', 1, 1, 7, "
     f"'{FIRST}', '{FIRST}', null from stax.tenants where slug = 'acme'"),
    (views.COMMITMENTS_TIE_TO_FEE,
     "update stax.spend set commitment_id = 'unknown' where " + ONE.format("spend", "true")),
    (views.RESTATEMENTS_TIE_TO_COST_LINES,
     "insert into stax.restatements (usage_date, tenant_id, kind, workspace_id, description, cost_type, token_type, "
     "model, service_tier, context_window, inference_geo, speed, seen_at, old_usd, new_usd, reason) "
     "select usage_date, tenant_id, 'cost', workspace_id, description, cost_type, token_type, model, service_tier, "
     "context_window, inference_geo, '', now(), 0, sum(amount_usd) + 0.000000000000000001, '' from stax.cost_lines "
     f"where {OF} group by 1, 2, 4, 5, 6, 7, 8, 9, 10, 11 limit 1"),
    (views.RESTATEMENTS_TIE_TO_COST_LINES,
     "insert into stax.restatements (usage_date, tenant_id, kind, workspace_id, description, cost_type, token_type, "
     "model, service_tier, context_window, inference_geo, speed, seen_at, old_usd, new_usd, reason) "
     f"select '{FIRST}', tenant_id, 'cost', 'gone', '', '', '', '', '', '', '', '', now(), 9, 8, '' from stax.tenants "
     "where slug = 'acme'"),
    *((rule, AGAIN.format(rule.asset)) for rule in DISTINCT_RULES),
]  # fmt: skip


@pytest.fixture(scope="module")
def made(stax_home: Path) -> Iterator[Installation]:
    with two_tenants(stax_home) as installation:
        assert sync(installation).failures == {}
        yield installation


@pytest.fixture
def connection(made: Installation) -> Iterator[sa.Connection]:
    """What a test writes is taken back."""
    with made.engine.connect() as opened:
        yield opened
        opened.rollback()


def look(made: Installation, connection: sa.Connection, rule: Rule, now: datetime = NOON, refresh: int = 0) -> Finding:
    return run_rule(connection, rule, DAYS, now, replace(made.settings, refresh_minutes=refresh))


def test_every_rule_is_seeded() -> None:
    elsewhere = {
        views.VIEWS_TIE_TO_TABLES.name,  # no row can break it: `test_view_rules` breaks the views
        SOURCES_AGREE.name,  # of tenants that are read from both: `test_compare`, `test_source_per_tenant`
    }
    assert {rule.name for rule, _ in SEEDS} | elsewhere == {rule.name for rule in (*RULES, *DISTINCT_RULES)}


def test_all_hold_on_good_data(made: Installation, connection: sa.Connection) -> None:
    found = list(run_rules(connection, DAYS, NOON, made.settings))
    assert [finding.rule for finding in found] == [*RULES, *DISTINCT_RULES]
    assert [(f.rule.name, f.rows) for f in found if not f.holds] == []
    assert not any(f.is_severe for f in found)


@pytest.mark.parametrize(("rule", "seed"), SEEDS, ids=[f"{rule.name}-{n}" for n, (rule, _) in enumerate(SEEDS)])
def test_a_violation_is_found_and_names_the_tenant(
    made: Installation, connection: sa.Connection, rule: Rule, seed: str
) -> None:
    assert connection.execute(sa.text(seed)).rowcount > 0
    found = look(made, connection, rule)
    assert not found.holds
    assert found.tenants == ("acme",)
    assert all(len(row) == len(rule.columns) for row in found.rows)
    assert found.connected == 2
    assert found.is_severe is (rule.severe_share < 0.5)
    if "usage_date" in rule.columns:
        days = {row[rule.columns.index("usage_date")] for row in found.rows}
        assert days <= {FIRST, TODAY}
        assert len(days) == 1


ALL_DAYS = (rules.SPEND_IS_CURRENT, rules.GRANTED_LOGINS_ONLY_READ, views.COMMITMENTS_TIE_TO_FEE)
WINDOWED = [(rule, seed) for rule, seed in SEEDS[8:] if rule not in ALL_DAYS]


@pytest.mark.parametrize(("rule", "seed"), WINDOWED, ids=[f"{r.name}-{n}" for n, (r, _) in enumerate(WINDOWED)])
def test_days_outside_the_window_are_not_looked_at(
    made: Installation, connection: sa.Connection, rule: Rule, seed: str
) -> None:
    connection.execute(sa.text(seed))
    assert run_rule(connection, rule, Window(LAST, DAYS.end), NOON, made.settings).holds


class TestFreshness:
    def test_a_day_is_due_sixty_minutes_after_its_end(self, made: Installation, connection: sa.Connection) -> None:
        early, due = (datetime(2026, 11, 23, *at, tzinfo=UTC) for at in ((0, 59, 59), (1, 0, 1)))
        assert look(made, connection, rules.DATA_IS_FRESH, early).holds
        found = look(made, connection, rules.DATA_IS_FRESH, due)
        assert found.tenants == ("acme", "globex")
        assert {(row[1], row[2], row[3]) for row in found.rows} == {
            ("cost_report", TODAY, "missing"), ("usage_report", TODAY, "open"),
        }  # fmt: skip
        assert found.is_severe

    def test_with_refresh_on_usage_must_follow(self, made: Installation, connection: sa.Connection) -> None:
        """Usage reaches 11:55; at 12:30 that is now − 2 × 15 − 5 min exactly."""
        on_time, late = (datetime(2026, 11, 22, 12, 30, second, tzinfo=UTC) for second in (0, 1))
        assert look(made, connection, rules.DATA_IS_FRESH, on_time, refresh=15).holds
        found = look(made, connection, rules.DATA_IS_FRESH, late, refresh=15)
        assert {row[3] for row in found.rows} == {"late"}
        assert found.tenants == ("acme", "globex")
        assert look(made, connection, rules.DATA_IS_FRESH, late, refresh=0).holds

    def test_a_tenant_that_never_had_data_is_named_after_an_hour(
        self, made: Installation, connection: sa.Connection
    ) -> None:
        add = (
            "insert into stax.tenants (tenant_id, slug, name, organization_id, status, created_at) "
            "values (gen_random_uuid(), 'initech', 'Initech', 'o-3', 'connected', :at)"
        )
        connection.execute(sa.text(add), {"at": datetime(2026, 11, 22, 11, 0, tzinfo=UTC)})
        assert look(made, connection, rules.DATA_IS_FRESH).holds
        found = look(made, connection, rules.DATA_IS_FRESH, datetime(2026, 11, 22, 12, 1, tzinfo=UTC))
        assert found.tenants == ("initech",)
        assert look(made, connection, rules.ALL_TENANTS_EXTRACTED).tenants == ("initech",)
        connection.execute(sa.text("update stax.tenants set status = 'disconnected' where slug = 'initech'"))
        assert look(made, connection, rules.DATA_IS_FRESH, datetime(2026, 11, 22, 12, 1, tzinfo=UTC)).holds
        assert look(made, connection, rules.ALL_TENANTS_EXTRACTED).holds

    def test_a_rejected_key_does_not_make_a_tenant_fresh(self, made: Installation, connection: sa.Connection) -> None:
        connection.execute(sa.text("update stax.tenants set status = 'key_rejected' where slug = 'acme'"))
        found = look(made, connection, rules.DATA_IS_FRESH, datetime(2026, 11, 23, 1, 1, tzinfo=UTC))
        assert "acme" in found.tenants


class TestTies:
    @pytest.mark.parametrize("by", ["0.01", "-0.01"])
    def test_a_changed_cent_is_found(self, made: Installation, connection: sa.Connection, by: str) -> None:
        tenants = all_tenants(connection)
        assert cost_gaps(connection, made.lake, tenants, DAYS) == []
        change = f"update stax.cost_lines set amount_usd = amount_usd + {by} where {ONE.format('cost_lines', 'true')}"
        connection.execute(sa.text(change))
        [gap] = cost_gaps(connection, made.lake, tenants, DAYS)
        assert (gap.tenant, gap.usage_date, str(gap.table - gap.pages)[: len(by)]) == ("acme", FIRST, by)

    def test_a_changed_token_is_found(self, made: Installation, connection: sa.Connection) -> None:
        tenants = all_tenants(connection)
        assert usage_gaps(connection, made.lake, tenants, DAYS) == []
        for column in ("uncached_input_tokens", "cache_creation_1h_input_tokens"):
            chosen = ONE.format("usage_lines", "true")
            connection.execute(sa.text(f"update stax.usage_lines set {column} = {column} + 1 where {chosen}"))
        [gap] = usage_gaps(connection, made.lake, tenants, DAYS)
        assert (gap.tenant, gap.usage_date, gap.table - gap.pages) == ("acme", FIRST, 2)

    def test_a_lost_and_an_invented_day_are_found(self, made: Installation, connection: sa.Connection) -> None:
        connection.execute(sa.text(f"delete from stax.usage_lines where {OF}"))
        connection.execute(sa.text(f"update stax.cost_lines set usage_date = '2026-11-18' where {OF}"))
        tenants = all_tenants(connection)
        assert [gap.table for gap in usage_gaps(connection, made.lake, tenants, DAYS)] == [0]
        wide = Window(datetime(2026, 11, 18, tzinfo=UTC).date(), DAYS.end)
        assert [(g.usage_date.day, g.pages == 0) for g in cost_gaps(connection, made.lake, tenants, wide)] == [
            (18, True), (19, False),
        ]  # fmt: skip

"""Rules of what people read and sign: views hold what their tables hold, invoices match, fees and changes add up.

Each is a query whose rows are the violations.
"""

from __future__ import annotations

from stax_pipeline.checks.rule import WINDOW, Rule

_SPEND = "sum(quantity) filter (where unit = 'tokens'), sum(cost_usd), sum(effective_cost_usd)"
_VIEW = "sum(tokens), sum(cost_usd), sum(effective_cost_usd)"
_BY_KEY = "sum(quantity) filter (where cost_type = 'tokens'), sum(cost_usd), sum(effective_cost_usd)"
_INPUT = (
    "uncached_input_tokens + cache_read_input_tokens + cache_creation_5m_input_tokens + cache_creation_1h_input_tokens"
)
_NO_DOLLARS = "null::numeric, null::numeric"
_WHOLE_MONTHS = ":end - :start >= 28 and {0} >= :start and ({0} + interval '1 month')::date <= :end"
_EVERY_DAY = "usage_date between :start and :end - 1"  # a month adds up over days that did not change too
_MONTH = "date_trunc('month', usage_date)::date"


def _sums(name: str, figures: str, source: str, day: str = "usage_date", where: str = WINDOW) -> str:
    return f"select '{name}', tenant_id, {day}, {figures} from stax.{source} where {where} group by 2, 3"


def _day_by_day(name: str) -> str:
    """Sums of a view that groups: asked by the day, it reads that day alone."""
    sums = f"select {_VIEW} from stax.{name} x where x.tenant_id = d.tenant_id and x.usage_date = d.usage_date"
    return f"select '{name}', tenant_id, usage_date, v.* from days d cross join lateral ({sums} having count(*) > 0) v"


_ADDED_UP = f"""
    select tenant_id, usage_date, sum(quantity) filter (where unit = 'tokens') as tokens,
           sum(cost_usd) as usd, sum(effective_cost_usd) as effective_usd, sum(credits_usd) as credits_usd,
           sum(quantity) filter (where unit = 'tokens' and cost_type = 'tokens') as of_tokens,
           sum(cost_usd) filter (where cost_type = 'tokens') as usd_of_tokens,
           sum(effective_cost_usd) filter (where cost_type = 'tokens') as effective_usd_of_tokens,
           bool_or(cost_type = 'tokens') as has_tokens
    from stax.spend where {WINDOW} group by 1, 2
"""


def _added_up(name: str, figures: str = "tokens, usd, effective_usd", where: str = "true") -> str:
    return f"select '{name}', tenant_id, usage_date, {figures} from added_up where {where}"


_HELD = " union all ".join(
    (
        _added_up("spend_daily"),
        _added_up("tier_mix"),
        _added_up("effective_prices", "of_tokens, usd_of_tokens, effective_usd_of_tokens", "has_tokens"),
        _sums("spend_monthly", _SPEND, "spend", _MONTH, f"{_EVERY_DAY} and {_WHOLE_MONTHS.format(_MONTH)}"),
        _added_up("spend_summary", "coalesce(tokens, 0), coalesce(usd, 0), credits_usd"),
        _sums("spend_by_key_daily", _BY_KEY, "spend_by_key"),
        _sums("usage_tokens", f"sum({_INPUT} + output_tokens), {_NO_DOLLARS}", "usage_lines"),
        _sums("cache_savings", f"sum({_INPUT}), {_NO_DOLLARS}", "usage_lines"),
    )
)
_SHOWN = " union all ".join(
    (
        _sums("spend_daily", _VIEW, "spend_daily"),
        _day_by_day("tier_mix"),
        _day_by_day("effective_prices"),
        _sums("spend_monthly", _VIEW, "spend_monthly", "month", _WHOLE_MONTHS.format("month")),
        _sums("spend_summary", "sum(tokens), sum(total_usd), sum(credits_usd)", "spend_summary"),
        _sums("spend_by_key_daily", _VIEW, "spend_by_key_daily"),
        _sums("usage_tokens", f"sum(tokens), {_NO_DOLLARS}", "usage_tokens"),
        _sums("cache_savings", f"sum(input_tokens), {_NO_DOLLARS}", "cache_savings"),
    )
)

VIEWS_TIE_TO_TABLES = Rule(
    "views_tie_to_tables",
    "spend",
    "Per tenant and day, the views that people sum hold the tokens and dollars of their tables to the last digit. "
    "Looks at the days of the run; of spend_monthly at the whole months among them.",
    ("tenant", "day", "view", "table_tokens", "view_tokens", "table_usd", "view_usd", "table_effective_usd",
     "view_effective_usd"),
    f"""
    with added_up as materialized ({_ADDED_UP}),
         days as (select tenant_id, usage_date from added_up
                  union select tenant_id, usage_date from stax.coverage where {WINDOW}),
         held (shown_by, tenant_id, day, tokens, usd, effective_usd) as ({_HELD}),
         shown (shown_by, tenant_id, day, tokens, usd, effective_usd) as ({_SHOWN})
    select t.slug, day, shown_by, h.tokens, v.tokens, h.usd, v.usd, h.effective_usd, v.effective_usd
    from held h full join shown v using (shown_by, tenant_id, day) left join stax.tenants t using (tenant_id)
    where (h.tokens, h.usd, h.effective_usd) is distinct from (v.tokens, v.usd, v.effective_usd)
    order by 1, 2, 3
    """,
    follows_days=True,
    of_views=True,
)  # fmt: skip

INVOICES_MATCH = Rule(
    "invoices_match",
    "spend",
    "Every recorded invoice of a complete month lies within 0.1 % of the reported dollars plus commitment fees; "
    "invoice_differences names the days and models that can explain one that does not. Looks at every month, whatever "
    "days the run is about: an invoice comes when its month is over.",
    ("tenant", "month", "invoice_usd", "expected_usd", "difference_usd"),
    """
    select tenant, month, invoice_usd, expected_usd, difference_usd
    from stax.invoice_check
    where invoice_usd is not null and status = 'differs'
    order by 1, 2
    """,
    1.0,
)


def _fee_until(days: str) -> str:
    """USD of the term's first `days` days, half-even to 18 decimals, in whole numbers throughout: exact."""
    units = f"c.fee_usd * ({days}) * 1e18"
    whole = f"div({units}, c.days)"
    twice = f"2 * ({units} - {whole} * c.days)"
    up = f"case when {twice} > c.days or ({twice} = c.days and mod({whole}, 2) = 1) then 1 else 0 end"
    return f"({whole} + {up}) * 0.000000000000000001"


COMMITMENTS_TIE_TO_FEE = Rule(
    "commitments_tie_to_fee",
    "spend",
    "Used and unused dollars of a recorded commitment sum to the day's fee to the last digit, and no line names a "
    "commitment that is not in force. Looks at every day of the terms on record of which the usage report is complete, "
    "whatever days the run is about, and at the days of the run: a commitment may be recorded long after its days.",
    ("tenant", "usage_date", "commitment_id", "fee_usd", "effective_cost_usd"),
    f"""
    with days as (
        select v.tenant_id, v.usage_date
        from stax.commitments c join stax.coverage v using (tenant_id)
        where v.report = 'usage_report' and v.state = 'complete' and v.usage_date between c.starts_on and c.ends_on
        union
        select tenant_id, usage_date from stax.coverage
        where report = 'usage_report' and state = 'complete' and {WINDOW}
    ),
    fees as (
        select c.tenant_id, d.usage_date, c.commitment_id,
               {_fee_until("d.usage_date - c.starts_on + 1")} - {_fee_until("d.usage_date - c.starts_on")} as usd
        from (select *, (ends_on - starts_on + 1)::numeric as days from stax.commitments where superseded_at is null) c
        join days d on d.tenant_id = c.tenant_id and d.usage_date between c.starts_on and c.ends_on
    ),
    borne as (
        select d.tenant_id, d.usage_date, s.commitment_id, sum(s.effective_cost_usd) as usd
        from days d
        cross join lateral (select x.commitment_id, x.effective_cost_usd from stax.spend x
                            where x.usage_date = d.usage_date and x.tenant_id = d.tenant_id
                              and x.commitment_id <> '' offset 0) s
        group by 1, 2, 3
    )
    select t.slug, usage_date, commitment_id, f.usd, b.usd
    from fees f full join borne b using (tenant_id, usage_date, commitment_id) join stax.tenants t using (tenant_id)
    where f.usd is distinct from b.usd
    order by 1, 2, 3
    """,
    looks_back=True,
)

_LINE = "workspace_id, description, cost_type, token_type, model, service_tier, context_window, inference_geo"

RESTATEMENTS_TIE_TO_COST_LINES = Rule(
    "restatements_tie_to_cost_lines",
    "cost_lines",
    "The last recorded change of a reported figure says what the cost lines say now, 0 where they are gone. Looks at "
    "the days of the run.",
    ("tenant", "usage_date", "workspace_id", "model", "token_type", "restated_usd", "cost_lines_usd"),
    f"""
    with said as (
        select distinct on (tenant_id, usage_date, {_LINE}) tenant_id, usage_date, {_LINE}, new_usd
        from stax.restatements
        where {WINDOW} and kind = 'cost'
        order by tenant_id, usage_date, {_LINE}, seen_at desc
    ),
    both_sides as (
        select tenant_id, usage_date, {_LINE}, new_usd as said_usd, true as is_said, null::numeric as held_usd from said
        union all
        select tenant_id, usage_date, {_LINE}, null, false, sum(amount_usd)
        from stax.cost_lines
        where {WINDOW} and (tenant_id, usage_date) in (select tenant_id, usage_date from said)
        group by tenant_id, usage_date, {_LINE}
    )
    select t.slug, usage_date, workspace_id, model, token_type, max(said_usd), coalesce(max(held_usd), 0)
    from both_sides join stax.tenants t using (tenant_id)
    group by t.slug, usage_date, {_LINE}
    having bool_or(is_said) and max(said_usd) is distinct from coalesce(max(held_usd), 0)
    order by 1, 2, 3, 4, 5
    """,
    follows_days=True,
)

VIEW_RULES = (VIEWS_TIE_TO_TABLES, INVOICES_MATCH, COMMITMENTS_TIE_TO_FEE, RESTATEMENTS_TIE_TO_COST_LINES)

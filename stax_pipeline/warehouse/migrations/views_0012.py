"""The views of migration 0012 as it was released: billed, reconstructed and estimated dollars apart, credits shown."""

from stax_pipeline.warehouse.migrations.views import changed
from stax_pipeline.warehouse.migrations.views_0005 import agreements, spending
from stax_pipeline.warehouse.migrations.views_0005.view import ALIASES, View

_NOT_AGAIN = "USD of credits: the negative part of {0}, which holds it; not to be added again"
_CREDITS = {"credits_usd": _NOT_AGAIN.format("the reported dollars")}
_TOKENS = "sum(s.quantity) filter (where s.unit = 'tokens') as tokens"
_CREDITS_TOO = (_TOKENS, f"{_TOKENS}, sum(s.credits_usd) as credits_usd")

SPEND_SUMMARY = View(
    "spend_summary",
    "Dollars per tenant and day, told apart: billed, of it credits, reconstructed, estimated, and their total. Sum it "
    "over days; spend_daily has the same by workspace, model and cost source",
    """
    select t.slug as tenant, s.tenant_id, s.usage_date, s.billed_usd, s.credits_usd, s.priority_reconstructed_usd,
           s.estimated_usd, s.billed_usd + s.priority_reconstructed_usd + s.estimated_usd as total_usd, s.tokens,
           s.unpriced_tokens
    from (select tenant_id, usage_date,
                 coalesce(sum(cost_usd) filter (where cost_source = 'reported'), 0) as billed_usd,
                 sum(credits_usd) as credits_usd,
                 coalesce(sum(cost_usd) filter (where cost_source = 'priority-reconstructed'), 0)
                     as priority_reconstructed_usd,
                 coalesce(sum(cost_usd) filter (where cost_source = 'usage-estimated'), 0) as estimated_usd,
                 coalesce(sum(quantity) filter (where unit = 'tokens'), 0) as tokens,
                 coalesce(sum(quantity) filter (where unit = 'tokens' and cost_source = 'unpriced'), 0)
                     as unpriced_tokens
          from stax.spend
          group by tenant_id, usage_date) s
    join stax.tenants t using (tenant_id)
    """,
    {
        "tenant": "The tenant's name in commands",
        "billed_usd": "USD of the cost report, credits included",
        "credits_usd": _NOT_AGAIN.format("billed_usd"),
        "priority_reconstructed_usd": "USD of Priority tokens at their price, which no cost report holds",
        "estimated_usd": "USD of tokens whose cost has not arrived yet, estimated from tokens and prices",
        "total_usd": "billed_usd + priority_reconstructed_usd + estimated_usd",
        "tokens": "Tokens of the usage report",
        "unpriced_tokens": "Tokens without a known price: they are in no dollar figure",
    },
)

SPEND_DAILY = changed(spending.SPEND_DAILY, _CREDITS_TOO, columns=_CREDITS)
SPEND_MONTHLY = changed(
    spending.SPEND_MONTHLY,
    _CREDITS_TOO,
    (
        "select m.*, case",
        "select m.month, m.slug, m.tenant_id, m.workspace_id, m.workspace_name, m.model, m.cost_type, m.service_tier, "
        "m.cost_source, m.cost_usd, m.effective_cost_usd, m.list_cost_usd, m.tokens, case",
    ),
    ("then bar.ratio end as error_bar", "then bar.ratio end as error_bar, m.credits_usd"),
    columns=_CREDITS,
)
TIER_MIX = changed(
    spending.TIER_MIX,
    ("sum(s.cost_usd) as cost_usd,", "sum(s.cost_usd) as cost_usd, sum(s.credits_usd) as credits_usd,"),
    (
        "select g.*,",
        "select g.slug, g.tenant_id, g.usage_date, g.model, g.service_tier, g.speed, g.context_window, "
        "g.inference_geo, g.cost_type, g.tokens, g.cost_usd, g.effective_cost_usd,",
    ),
    ("as effective_cost_ratio", "as effective_cost_ratio, g.credits_usd"),
    columns=_CREDITS,
)
INVOICE_CHECK = changed(
    agreements.INVOICE_CHECK,
    (
        "select f.*, case",
        "select f.slug, f.tenant_id, f.month, f.invoice_usd, f.note, f.reported_usd, f.estimated_usd, "
        "f.reconstructed_usd, f.commitment_fee_usd, f.expected_usd, f.difference_usd, f.days_in_month, "
        "f.days_complete, f.days_settled, f.error_bar, case",
    ),
    ("else 'differs' end as status", "else 'differs' end as status, f.credits_usd"),
    ("s.reported_usd, s.estimated_usd,", "s.reported_usd, s.credits_usd, s.estimated_usd,"),
    (
        "coalesce(sum(y.reported_usd), 0) as reported_usd,",
        "coalesce(sum(y.reported_usd), 0) as reported_usd, coalesce(sum(y.credits_usd), 0) as credits_usd,",
    ),
    (
        "filter (where x.cost_source = 'reported') as reported_usd,",
        "filter (where x.cost_source = 'reported') as reported_usd, sum(x.credits_usd) as credits_usd,",
    ),
    columns={
        "reported_usd": "USD of the cost report on the month's loaded days, credits included",
        "credits_usd": _NOT_AGAIN.format("reported_usd"),
    },
)

_SIZES = """(values
    ('0-100k', '100k', 1), ('0-200k', '100k', 1), ('0-200k', '200k', 2), ('100k-1M', '200k', 1), ('100k-1M', '1M', 2),
    ('200k-1M', '1M', 1)) as sizes (context_window, size, place)"""
_FACTOR = (
    "* case when u.service_tier = 'batch' then 0.5 else 1 end * case u.inference_geo when 'us' then k.us_multiplier "
    "else 1 end"
)
_PRICES = f"""
            from (select k.token_type, k.source, k.banded, k.usd {_FACTOR} as usd
                  from (select x.token_type, min(x.usd_per_unit) <> max(x.usd_per_unit) as banded,
                               min(x.usd_per_unit) as usd,
                               (array_agg(x.us_multiplier order by x.usd_per_unit, x.place))[1] as us_multiplier,
                               (array_agg(x.source order by x.usd_per_unit, x.place))[1] as source
                        from (select distinct on (x.token_type, asked.size) x.*, asked.place
                              from stax.list_prices x
                              cross join (select size, place from {_SIZES}
                                          where context_window = coalesce(nullif(u.context_window, ''), '0-200k')
                                          union all
                                          select u.context_window, 1
                                          where coalesce(nullif(u.context_window, ''), '0-200k')
                                                not in (select context_window from {_SIZES})) asked
                              where x.cost_type = 'tokens' and x.superseded_at is null
                                and x.effective_from <= u.usage_date and x.token_type <> 'output_tokens'
                                and x.model = coalesce((select a.id from {ALIASES} as a (alias, id)
                                                        where a.alias = u.model), u.model)
                                and x.speed = case u.speed when 'fast' then 'fast' else 'standard' end
                                and (x.context_window = 'all'
                                     or (x.context_window, asked.size) in (select context_window, size from {_SIZES}))
                              order by x.token_type, asked.size, x.effective_from desc, x.context_window = 'all') x
                        group by x.token_type
                        having count(*) = greatest(1, (select count(*) from {_SIZES}
                               where context_window = coalesce(nullif(u.context_window, ''), '0-200k')))) k) p
        ) p on u.service_tier in ('', 'standard', 'batch', 'priority')
           and u.inference_geo in ('', 'global', 'not_available', 'us')
    ) g
"""
"""As the price book looks a price up: the newest for each size of prompts in the window, the lower of several."""

_BEFORE, _UNTIL = spending.CACHE_SAVINGS.query.split("from (select h.token_type")
CACHE_SAVINGS = changed(spending.CACHE_SAVINGS, (f"from (select h.token_type{_UNTIL}", _PRICES.lstrip()))

VIEWS = (SPEND_SUMMARY, SPEND_DAILY, SPEND_MONTHLY, TIER_MIX, CACHE_SAVINGS, INVOICE_CHECK)

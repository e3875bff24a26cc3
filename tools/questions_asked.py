"""The questions of `docs/start/questions.md`, their SQL and how to read the answers; `make_questions` asks them."""

from __future__ import annotations

from typing import NamedTuple


class Question(NamedTuple):
    """`reading` says in one line how to read the answer."""

    words: str
    query: str
    reading: str


QUESTIONS = (
    Question(
        "What did each workspace cost this month?",
        """
select tenant, workspace,
       round(sum(cost_usd) filter (where cost_source = 'reported'), 2) as billed_usd,
       round(sum(credits_usd), 2) as credits_usd,
       round(sum(cost_usd) filter (where cost_source = 'priority-reconstructed'), 2) as priority_reconstructed_usd,
       round(sum(cost_usd), 2) as total_usd, sum(tokens) as tokens
from stax.spend_daily
where usage_date between '2026-11-01' and '2026-11-20'
group by tenant, workspace_id, workspace
order by tenant, total_usd desc nulls last""",
        "`billed_usd` is Anthropic's own figure and holds the credits; `priority_reconstructed_usd` is in no cost "
        "report and never mixed with it. Empty: the workspace had none. A row without a workspace is the unused part "
        "of a commitment.",
    ),
    Question(
        "How far does the data reach, and may I trust the last days?",
        """
select tenant, to_char(data_through at time zone 'UTC', 'YYYY-MM-DD HH24:MI') as data_through_utc, complete_through,
       count(*) filter (where cost_state = 'complete' and usage_state = 'complete') as complete_days,
       count(*) filter (where restated) as restated_days
from stax.freshness join stax.completeness using (tenant, tenant_id)
where usage_date between '2026-11-01' and '2026-11-20'
group by tenant, data_through, complete_through
order by tenant""",
        "Usage is known up to the first instant; dollars are whole up to the day beside it. `completeness` is the grid "
        "of days behind it: 20 of 20 here, read on 22 November at noon.",
    ),
    Question(
        "Which models and tiers does the money go to?",
        """
select model, service_tier, round(sum(effective_cost_usd), 2) as effective_usd, sum(tokens) as tokens,
       round(sum(effective_cost_usd) / sum(sum(effective_cost_usd)) over (), 4) as dollar_ratio
from stax.tier_mix
where tenant = 'acme' and usage_date between '2026-11-01' and '2026-11-20'
group by model, service_tier
order by effective_usd desc nulls last
limit 8""",
        "`dollar_ratio` is the share of all dollars, web search and code execution included. `speed`, `context_window` "
        "and `inference_geo` can be grouped by in the same way.",
    ),
    Question(
        "What is our Priority Tier use worth, and how far can that figure be trusted?",
        """
with accuracy as (
    select tenant_id, model, min(ratio) as lowest_ratio, max(ratio) as highest_ratio,
           count(*) filter (where cause not in ('', 'band')) as days_off
    from stax.reconciliation
    where usage_date between '2026-11-01' and '2026-11-20' and service_tier = 'standard'
    group by tenant_id, model
)
select s.tenant, s.model, round(sum(s.cost_usd), 2) as priority_usd, lowest_ratio, highest_ratio, days_off
from stax.spend_daily s
left join accuracy using (tenant_id, model)
where s.usage_date between '2026-11-01' and '2026-11-20' and s.cost_source = 'priority-reconstructed'
group by s.tenant, s.model, lowest_ratio, highest_ratio, days_off
order by s.tenant, priority_usd desc""",
        "The two ratios are the lowest and highest day of priced ÷ reported for the same model's standard tokens: 1 "
        "means that the price book gives the bill to the last digit. Where no cost report can check, this is what can.",
    ),
    Question(
        "Did the cache save money, or cost some?",
        """
select model, round(sum(cache_read_tokens) / sum(input_tokens), 4) as hit_ratio,
       round(sum(saved_by_reads_usd), 2) as saved_by_reads_usd,
       round(sum(paid_for_writes_usd), 2) as paid_for_writes_usd, round(sum(net_saved_usd), 2) as net_saved_usd
from stax.cache_savings
where tenant = 'globex' and usage_date between '2026-11-01' and '2026-11-20'
group by model
order by net_saved_usd desc""",
        "Against the same tokens as uncached input at list price. A negative `net_saved_usd` says that more was paid "
        "for writing the cache than reading it brought back.",
    ),
    Question(
        "What does a million tokens really cost us?",
        """
select model, service_tier,
       round(1000000 * sum(list_cost_usd) / sum(tokens), 4) as list_usd_per_million_tokens,
       round(1000000 * sum(effective_cost_usd) / sum(tokens), 4) as effective_usd_per_million_tokens
from stax.effective_prices
where tenant = 'acme' and usage_date between '2026-11-01' and '2026-11-20'
group by model, service_tier
having sum(tokens) > 100000000
order by effective_usd_per_million_tokens desc
limit 8""",
        "All token types together, so the mix counts: cache reads pull the price down. On Priority the two differ "
        "where a commitment's fee, used and unused, is spread over its tokens.",
    ),
    Question(
        "Who spent the most?",
        """
select principal, workspace, api_key_status, round(sum(effective_cost_usd), 2) as effective_usd, sum(tokens) as tokens
from stax.spend_by_key_daily
where tenant = 'acme' and usage_date between '2026-11-01' and '2026-11-20'
group by principal, api_key_id, account_id, workspace_id, workspace, api_key_status
order by effective_usd desc
limit 8""",
        "Tokens per key are the source's; dollars are split by them, because no report tells dollars per key. Nor does "
        "it tell context window, geography or speed per key: their dollars are pooled before they are split. Group by "
        "ids, as here: two keys, people or workspaces may share a name.",
    ),
    Question(
        "What changed since we last looked?",
        """
select tenant, usage_date, kind, measure, changes, round(old_usd, 2) as old_usd, round(new_usd, 2) as new_usd,
       round(difference_usd, 2) as difference_usd, reasons
from stax.restated_days
where usage_date between '2026-11-01' and '2026-11-20'
order by tenant, usage_date, kind, measure""",
        "The source told other dollars for this day when it was read again. `restatements` has every line of it; "
        "`last_seen_at > …` in this view asks for what was published since an instant. Under new prices `measure` "
        "names the column of `spend`; one measure is never added to another.",
    ),
    Question(
        "Does the invoice match?",
        """
select tenant, month, invoice_usd, round(expected_usd, 2) as expected_usd, round(difference_usd, 2) as difference_usd,
       days_complete, price_accuracy, status, note
from stax.invoice_check
where month = '2026-10-01'
order by tenant""",
        "`expected_usd` is what was reported and the fees of commitments. Half a cent apart is a match; up to 0.1 % is "
        "said as such; above that it differs, and the next question asks why.",
    ),
    Question(
        "Which days and models can explain an invoice that differs?",
        """
select kind, model, sum(days) as days, round(sum(usd), 2) as usd
from stax.invoice_differences
where tenant = 'globex' and month = '2026-10-01'
group by kind, model
order by sum(usd) is null desc, abs(sum(usd)) desc""",
        "What has no dollars, such as missing days, comes first. Here nothing is missing and no price is off: what the "
        "reports lack is Priority, and its dollars are the size of the difference above.",
    ),
    Question(
        "What was left unused of the commitment?",
        """
select commitment_id, direction, round(sum(used_units) / sum(committed_units), 4) as utilisation_ratio,
       round(sum(fee_usd), 2) as fee_usd, round(sum(unused_fee_usd), 2) as unused_fee_usd,
       round(sum(priority_reconstructed_usd), 2) as priority_reconstructed_usd,
       round(1000000 * sum(fee_usd) / sum(tokens), 4) as effective_usd_per_million_tokens
from stax.commitment_utilisation
where tenant = 'acme' and period = 'day' and period_start between '2026-11-01' and '2026-11-20'
group by commitment_id, direction
order by direction""",
        "The fee of these twenty days, beside what the same tokens list for: the commitment pays where "
        "`priority_reconstructed_usd` is the larger.",
    ),
    Question(
        "What do web search, code execution and sessions cost?",
        """
select tenant, cost_type, round(sum(cost_usd), 2) as cost_usd,
       round(sum(cost_usd) filter (where usage_date = '2026-11-20'), 2) as last_day_usd
from stax.spend_daily
where cost_type in ('web_search', 'code_execution', 'session_usage')
  and usage_date between '2026-11-01' and '2026-11-20'
group by tenant, cost_type
order by tenant, cost_usd desc""",
        "Code execution and sessions are on the cost report alone; no usage report counts their hours.",
    ),
    Question(
        "Which day cost more than its weekday usually does?",
        """
with days as (
    select tenant, usage_date, total_usd - credits_usd as usd
    from stax.spend_summary
    where usage_date between '2026-11-01' and '2026-11-20'
),
compared as (
    select *, lag(usd, 7) over (partition by tenant order by usage_date) as week_before from days
)
select tenant, usage_date, to_char(usage_date, 'FMDay') as weekday, round(usd, 2) as usd,
       round(week_before, 2) as week_before_usd, round(usd / week_before, 3) as ratio
from compared
where week_before is not null
order by ratio desc
limit 5""",
        "Compared with the same weekday a week before: against yesterday every Monday would be a spike. Credits are "
        "left out: the week after one would look like a spike too.",
    ),
    Question(
        "What was billed, and what is reconstructed or estimated?",
        """
select tenant, round(sum(billed_usd), 2) as billed_usd, round(sum(credits_usd), 2) as credits_usd,
       round(sum(priority_reconstructed_usd), 2) as priority_reconstructed_usd,
       round(sum(estimated_usd), 2) as estimated_usd, round(sum(total_usd), 2) as total_usd
from stax.spend_summary
where usage_date between '2026-11-01' and '2026-11-20'
group by tenant
order by tenant""",
        "Only `billed_usd` is on a bill. `credits_usd` is its negative part and not added again; `total_usd` is "
        "billed, reconstructed and estimated together. Nothing is estimated once a day's cost has arrived.",
    ),
)

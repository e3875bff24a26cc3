-- bills -> paid: token dollars summed where usage meets them; credits are apart.
create temp table paid as
with summed as (
    select day, workspace_id, met, token_type, one(min(kind), max(kind), null) as kind, sum(usd) as usd,
           coalesce(sum(usd) filter (usd < 0), 0) as credits, count(*) as bills,
           one(min(description), max(description), null) as description
    from bills
    where cost_type = 'tokens' and not is_credit
    group by day, workspace_id, met, token_type
),
several as (
    select day, workspace_id, met, token_type,
           string_agg(distinct description, '; ' order by description) filter (description <> '') as descriptions
    from bills
    semi join (from summed where description is null) using (day, workspace_id, met, token_type)
    where cost_type = 'tokens' and not is_credit
    group by day, workspace_id, met, token_type
)
select * exclude (description, descriptions), coalesce(description, descriptions) as description
from summed left join several using (day, workspace_id, met, token_type);

-- bills, notes -> paid: token dollars summed where usage meets them; credits are apart.
create temp table paid as
with summed as (
    select day, space, met, type, one(min(kind), max(kind), null) as kind, sum(usd) as usd,
           coalesce(sum(usd) filter (usd < 0), 0) as credits, count(*) as bills, one(min(note), max(note), null) as note
    from bills
    where cost_type = 'tokens' and not is_credit
    group by day, space, met, type
),
several as (
    select day, space, met, type,
           string_agg(distinct description, '; ' order by description) filter (description <> '') as descriptions
    from bills join notes using (note)
    semi join (from summed where note is null) using (day, space, met, type)
    where cost_type = 'tokens' and not is_credit
    group by day, space, met, type
)
from summed left join several using (day, space, met, type);

-- before, after, days -> shrunk: settled days that had rows and now have none, or lose more than half of their figure.
create temp table shrunk as
select tenant_id, usage_date, b.figure as before, a.figure as after
from before b left join after a using (tenant_id, usage_date)
semi join (from days where settled) using (tenant_id, usage_date)
where a.figure is null or (b.figure > 0 and a.figure * 2 < b.figure);

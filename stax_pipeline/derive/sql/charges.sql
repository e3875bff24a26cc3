-- held, fresh (cost lines) -> before, after: what is charged by day; a credit is no loss of data.
create temp table before as
select tenant_id, usage_date, sum(greatest(amount_usd, 0)) as figure from held group by tenant_id, usage_date;
create temp table after as
select tenant_id, usage_date, sum(greatest(amount_usd, 0)) as figure from fresh group by tenant_id, usage_date;

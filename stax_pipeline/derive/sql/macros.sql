-- Arithmetic that every rule shares. Money is HUGEINT, whole units of 10^-18; nothing divides with `/`, which is DOUBLE.
create macro or_default(value, fallback) as case when value = '' then fallback else value end;
create macro geo_class(geo) as case when geo in ('', 'global', 'not_available') then 'global' else geo end;
create macro one(least_, most, several) as case when least_ = most then least_ else several end;

-- `units` and `fine`, which is in units of 10^-36, rounded half-even to units, once. Neither is negative.
create macro half_even(units, fine) as case
    when fine = 0 then units
    else units + fine // 1000000000000000000 + case
        when fine % 1000000000000000000 > 500000000000000000 then 1
        when fine % 1000000000000000000 = 500000000000000000 then (units + fine // 1000000000000000000) % 2
        else 0 end end;

-- total × weight ÷ weights, whole and rest, within 128 bits for total < 10^38 and weights < 2^63.
create macro share(total, weight, weights) as case
    when weight = weights then total
    else (total // weights) * weight + ((total % weights) * weight) // weights end;
create macro remainder(total, weight, weights) as case
    when weight = weights then 0
    else ((total % weights) * weight) % weights end;

-- whether tokens of a usage line belong on the cost report
create macro is_metered(service_tier, a, b, c, d, e) as
    service_tier in ('', 'standard', 'batch') and greatest(a, b, c, d, e) > 0;

create macro tokens_of(a, b, c, d, e) as sum(a) + sum(b) + sum(c) + sum(d) + sum(e);

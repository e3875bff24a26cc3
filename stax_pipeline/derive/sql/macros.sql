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

-- a // b of whole numbers: where both fit into 64 bits they are divided there, thirty times faster than in 128
create macro quotient(a, b) as coalesce(try_cast(a as bigint) // try_cast(b as bigint), a // b);

-- total × weight ÷ weights, whole and rest, within 128 bits for total < 10^38 and weights < 2^63.
create macro share(total, weight, weights) as
    quotient(total, weights) * weight + quotient((total - quotient(total, weights) * weights) * weight, weights);
create macro remainder(total, weight, weights) as
    (total - quotient(total, weights) * weights) * weight
    - quotient((total - quotient(total, weights) * weights) * weight, weights) * weights;

-- whether tokens of a usage line belong on the cost report
create macro is_metered(service_tier, a, b, c, d, e) as
    service_tier in ('', 'standard', 'batch') and greatest(a, b, c, d, e) > 0;

create macro tokens_of(a, b, c, d, e) as sum(a) + sum(b) + sum(c) + sum(d) + sum(e);

-- token types that usage is told in, '' for what is not sold by token; a burndown unit of a commitment is an input token
create table token_types as
from (values (0, '', null), (1, 'uncached_input_tokens', 1000), (2, 'cache_read_input_tokens', 100),
             (3, 'cache_creation.ephemeral_5m_input_tokens', 1250),
             (4, 'cache_creation.ephemeral_1h_input_tokens', 2000), (5, 'output_tokens', 1000))
     as each_(type, token_type, burndown_thousandths);

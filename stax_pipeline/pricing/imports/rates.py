"""Contract rates from a file, and to one: what `stax rates suggest` writes, `stax rates import` takes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal

from stax_pipeline.anthropic.fields import KNOWN_VALUES
from stax_pipeline.domain.csv_text import csv_line, defused
from stax_pipeline.pricing.contract_rates import ANY, ContractRate
from stax_pipeline.pricing.imports.sourced import Sourced, plain, refuse_repeated
from stax_pipeline.pricing.imports.table import MAX_USD_PER_UNIT, Row, parse_decimal, read_table
from stax_pipeline.pricing.prices.book import dated_model

REQUIRED = ("tenant", "model_pattern", "service_tier", "token_type", "effective_from")
OPTIONAL = ("effective_to", "discount", "usd_per_unit")
_PATTERN = re.compile(r"[a-z0-9][a-z0-9.@:_-]{0,199}\*?|\*")


def read_rates(file: str, content: bytes) -> list[Sourced[ContractRate]]:
    """The file's rates with their tenants' slugs, aliases replaced by dated ids. Raises BadInput."""
    rates = [_rate(row) for row in read_table(file, content, REQUIRED, OPTIONAL).rows]
    words = "tenant, model_pattern, service_tier, token_type and effective_from"
    refuse_repeated(rates, lambda one: (one.tenant, *one.value[:4]), words)
    return rates


def _rate(row: Row) -> Sourced[ContractRate]:
    tenant = row.required("tenant", "a tenant's name")
    named = row.text("model_pattern")
    if not _PATTERN.fullmatch(named):
        raise row.bad("model_pattern", "a model id, or its beginning and * at the end, such as claude-opus-*")
    pattern = dated_model(named)
    alias = named.removesuffix(ANY)
    if named.endswith(ANY) and not dated_model(alias).startswith(alias):
        raise row.bad("model_pattern", f"the dated id {dated_model(alias)}: no model is recorded by that alias")
    tier = row.choice("service_tier", KNOWN_VALUES["service_tier"] | {ANY})
    token_type = row.choice("token_type", KNOWN_VALUES["token_type"] | {ANY})
    first = row.day("effective_from")
    last = row.day("effective_to") if row.text("effective_to") else None
    if last and last < first:
        raise row.bad("effective_to", f"a day not before effective_from ({first})")
    rate = ContractRate(pattern, tier, token_type, first, last, *_price(row, tier, token_type))
    return Sourced(row, rate, f"{named} is recorded by its dated id {pattern}" if pattern != named else "", tenant)


def _price(row: Row, tier: str, token_type: str) -> tuple[Decimal | None, Decimal | None]:
    """The discount or the absolute price, whichever the row has."""
    if bool(row.text("discount")) == bool(row.text("usd_per_unit")):
        found = "both" if row.text("discount") else "neither"
        raise row.bad(None, "either discount or usd_per_unit", found)
    if row.text("discount"):
        share = parse_decimal(row.text("discount"))
        if share is None or not 0 <= share < 1:
            raise row.bad("discount", "a share of the list price, not below 0 and below 1: 0.15 for 15 %")
        return share, None
    for column, value in (("service_tier", tier), ("token_type", token_type)):
        if value == ANY:
            raise row.bad(column, "one name, since the row has an absolute price")
    return None, row.decimal("usd_per_unit", most=MAX_USD_PER_UNIT)


def rates_csv(rates: Iterable[tuple[str, ContractRate]]) -> str:
    """Rates with their tenants' slugs, as `read_rates` takes them."""
    rows = [(slug, *("" if part is None else defused(plain(part)) for part in rate)) for slug, rate in rates]
    return "".join(map(csv_line, [("tenant", *ContractRate._fields), *rows]))

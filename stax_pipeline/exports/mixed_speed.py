"""FOCUS rows that the view cannot make: lines in which standard and fast speed met, split by what each lists for.

The rest of the mapping is the view `focus_cost_and_usage`; what each column means is `docs/reference/focus.md`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from stax_pipeline.derive.join import JoinKey, join_key, tokens
from stax_pipeline.derive.terms import Terms
from stax_pipeline.derive.usage_lines import UsageLine
from stax_pipeline.domain.money import EXACT, SCALE, multiply, round_usd, split, sum_usd
from stax_pipeline.pricing.prices.book import UNITS, Usage

FocusRow = dict[str, Any]
_Prices = tuple[Decimal, Decimal]  # at list and after the contract rate
MIXED = "mixed"


class SpeedPart(NamedTuple):
    """The tokens of one speed in a spend line; USD per 1M tokens at list price and after the contract rate."""

    speed: str
    tokens: int
    list_price: Decimal
    contracted_price: Decimal

    @property
    def list_cost(self) -> Decimal:
        return multiply(self.list_price, _millions(self.tokens))

    @property
    def contracted_cost(self) -> Decimal:
        return multiply(self.contracted_price, _millions(self.tokens))


class MixedLine(NamedTuple):
    """A spend line in which several speeds met: its dimensions, and its token type."""

    dimensions: UsageLine
    token_type: str

    @property
    def key(self) -> JoinKey:
        return join_key(self.dimensions, self.token_type)


def speed_parts(usage: Iterable[UsageLine], terms: Terms) -> dict[JoinKey, list[SpeedPart]]:
    """Of every join key the tokens by speed; no parts where one of them has no price, or more than one."""
    found: dict[JoinKey, dict[str, list[tuple[int, _Prices | None]]]] = defaultdict(lambda: defaultdict(list))
    for key, part in tokens(usage):
        found[key][part.line.speed].append((part.number, _prices(part.line, key.token_type, terms)))
    return {key: _parts(speeds) for key, speeds in found.items()}


def _prices(line: UsageLine, token_type: str, terms: Terms) -> _Prices | None:
    tier = line.service_tier or "standard"
    quote = terms.quote(
        Usage(line.usage_date, line.model, token_type, tier, line.context_window, line.inference_geo, line.speed)
    )
    listed, contracted = quote.listed or quote.contracted, quote.contracted or quote.listed
    return (listed.low, contracted.low) if listed and contracted else None


def _parts(speeds: dict[str, list[tuple[int, _Prices | None]]]) -> list[SpeedPart]:
    parts: list[SpeedPart] = []
    for speed, counted in sorted(speeds.items()):
        several = {prices for _, prices in counted}
        prices = several.pop()
        if prices is None or several:
            return []
        parts.append(SpeedPart(speed, sum(count for count, _ in counted), *prices))
    return parts


def split_by_speed(row: FocusRow, line: MixedLine, parts: Sequence[SpeedPart]) -> list[FocusRow]:
    """One row per speed, dollars in proportion to list cost, by the largest remainder: every column's sum stays.

    The row stays whole where the parts do not explain it (prices changed since the line was built).
    """
    if not _explain(row, parts):
        return [row]
    by_tokens = [part.tokens for part in parts]
    by_list = _weights([part.list_cost for part in parts]) or by_tokens
    by_contract = _weights([part.contracted_cost for part in parts]) or by_tokens
    shares = {
        "BilledCost": split(row["BilledCost"], by_list),
        "EffectiveCost": split(row["EffectiveCost"], by_list),
        "ListCost": split(row["ListCost"], by_list),
        "ContractedCost": split(row["ContractedCost"], by_contract),
    }
    if row["CommitmentDiscountQuantity"] is not None:
        shares["CommitmentDiscountQuantity"] = split(row["CommitmentDiscountQuantity"], by_tokens)
    return [
        row | {name: values[number] for name, values in shares.items()}
        | {"PricingCurrencyEffectiveCost": shares["EffectiveCost"][number]}
        | _of_speed(row["SkuId"], line, part)
        for number, part in enumerate(parts)
    ]  # fmt: skip


def _explain(row: FocusRow, parts: Sequence[SpeedPart]) -> bool:
    return bool(
        parts
        and sum(part.tokens for part in parts) == row["ConsumedQuantity"]
        and round_usd(sum_usd(part.list_cost for part in parts)) == row["ListCost"]
        and round_usd(sum_usd(part.contracted_cost for part in parts)) == row["ContractedCost"]
    )


def _weights(amounts: Sequence[Decimal]) -> list[int]:
    """Amounts as whole numbers; none where all are zero and say nothing of proportion."""
    whole = [int(EXACT.scaleb(amount, SCALE)) for amount in amounts]
    return whole if any(whole) else []


def _of_speed(sku: str, line: MixedLine, part: SpeedPart) -> FocusRow:
    dimensions = line.dimensions._replace(speed=part.speed)
    return {
        "ConsumedQuantity": Decimal(part.tokens),
        "PricingQuantity": _millions(part.tokens),
        "ListUnitPrice": part.list_price,
        "ContractedUnitPrice": part.contracted_price,
        "PricingCategory": "Committed" if dimensions.service_tier == "priority" else "Standard",
        "PricingCurrencyListUnitPrice": part.list_price,
        "PricingCurrencyContractedUnitPrice": part.contracted_price,
        "SkuPriceId": sku_price_id(sku, dimensions, line.token_type),
        "SkuPriceDetails": sku_price_details(dimensions, line.token_type),
    }


def sku_price_id(sku: str, line: UsageLine, token_type: str) -> str:
    """What a token's price depends on, as the view puts it together."""
    region = "" if line.inference_geo == "not_available" else line.inference_geo
    return "/".join(filter(None, (sku, line.service_tier, token_type, line.context_window, region, line.speed)))


def sku_price_details(line: UsageLine, token_type: str) -> dict[str, str]:
    """The same by name."""
    details = {
        "x_Model": line.model,
        "x_TokenType": token_type,
        "x_ServiceTier": line.service_tier,
        "x_ContextWindow": line.context_window,
        "x_InferenceGeo": line.inference_geo,
        "x_Speed": line.speed,
    }
    return {name: value for name, value in details.items() if value}


def _millions(number: int) -> Decimal:
    return EXACT.divide(Decimal(number), Decimal(UNITS["1M tokens"]))

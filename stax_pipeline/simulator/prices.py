"""List prices of the simulated source, read from the two dated CSV files as plain data.

The rules for choosing a price live here. What was used, and how cost lines are formed, stays out.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from functools import lru_cache
from pathlib import Path

TOKEN_TYPES = (
    "uncached_input_tokens",
    "cache_creation.ephemeral_5m_input_tokens",
    "cache_creation.ephemeral_1h_input_tokens",
    "cache_read_input_tokens",
    "output_tokens",
)
BATCH_FACTOR = Decimal("0.5")
US_FACTOR = Decimal("1.1")
WEB_SEARCH_USD = Decimal("0.01")
HOUR_USD = {"code_execution": Decimal("0.05"), "session_usage": Decimal("0.08")}

_FOLDER = Path(__file__).parents[1] / "pricing" / "prices"
_FILES = {"standard": "claude-list-prices.csv", "fast": "claude-fast-mode-prices.csv"}
_BAND_MODELS = frozenset({"claude-haiku-5-5"})

_Steps = list[tuple[date, str, Decimal]]


@lru_cache(maxsize=2)
def _book(speed: str) -> Mapping[tuple[str, str], _Steps]:
    steps: dict[tuple[str, str], _Steps] = defaultdict(list)
    with (_FOLDER / _FILES[speed]).open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            step = (
                date.fromisoformat(row["effective_from"]),
                row["context_window"],
                Decimal(row["usd_per_mtok"]),
            )
            steps[row["model"], row["token_type"]].append(step)
    return steps


@lru_cache(maxsize=4096)
def usd_per_mtok(
    model: str,
    token_type: str,
    day: date,
    context_window: str,
    speed: str,
    *,
    long_prompt: bool = False,
) -> Decimal:
    """The published price of one million tokens: the latest step on or before `day` for this window or `all`.

    `long_prompt` chooses the band above 100,000 prompt tokens of the models that have one.
    """
    window = context_window
    if model in _BAND_MODELS:
        window = "100k-1M" if long_prompt else "0-100k"
    found = [(start, usd) for start, at, usd in _book(speed)[model, token_type] if at in (window, "all")]
    valid = [(start, usd) for start, usd in found if start <= day]
    if not valid:
        raise LookupError(f"no {speed} price for {model} {token_type} {window} on {day}")
    return max(valid, key=lambda step: step[0])[1]


def factor(service_tier: str, inference_geo: str) -> Decimal:
    """What the tier and the place of inference multiply a token price with."""
    batch = BATCH_FACTOR if service_tier == "batch" else Decimal(1)
    return batch * (US_FACTOR if inference_geo == "us" else Decimal(1))

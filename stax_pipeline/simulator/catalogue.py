"""The models that simulated organisations use, and since when, until when and how they may be used.

Dates are those on which a typical customer starts and stops using a model, inside its life. Prices stay out.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

FOREVER = date.max
US_GEO_FROM = date(2026, 2, 5)
SESSIONS_FROM = date(2026, 4, 8)


@dataclass(frozen=True, slots=True)
class Span:
    """Days from `first` to `last`, both included."""

    first: date
    last: date = FOREVER


@dataclass(frozen=True, slots=True)
class Model:
    """`geo` tells whether the reports know where inference ran; `long` and `fast` when those modes were offered."""

    id: str
    used: Span
    weight: float
    priority: bool = False
    geo: bool = False
    long: Span | None = None
    fast: Span | None = None


MODELS = (
    Model(
        "claude-sonnet-4-20250514",
        Span(date(2025, 8, 18), date(2026, 2, 28)),
        3.0,
        priority=True,
    ),
    Model(
        "claude-opus-4-1-20250805",
        Span(date(2025, 8, 18), date(2026, 1, 31)),
        0.8,
        priority=True,
    ),
    Model("claude-3-5-haiku-20241022", Span(date(2025, 8, 18), date(2025, 12, 31)), 2.0),
    Model(
        "claude-sonnet-4-5-20250929",
        Span(date(2025, 9, 29), date(2026, 11, 29)),
        2.0,
        priority=True,
        long=Span(date(2025, 9, 29), date(2026, 4, 29)),
    ),
    Model("claude-haiku-4-5-20251001", Span(date(2025, 10, 15)), 2.0, priority=True),
    Model(
        "claude-opus-4-5-20251101",
        Span(date(2025, 11, 24), date(2026, 4, 30)),
        1.5,
        priority=True,
    ),
    Model(
        "claude-opus-4-6",
        Span(date(2026, 2, 5), date(2026, 6, 28)),
        1.5,
        priority=True,
        geo=True,
        long=Span(date(2026, 2, 5)),
        fast=Span(date(2026, 2, 7)),
    ),
    Model(
        "claude-sonnet-4-6",
        Span(date(2026, 2, 17), date(2026, 10, 15)),
        3.0,
        priority=True,
        geo=True,
        long=Span(date(2026, 2, 17)),
    ),
    Model(
        "claude-opus-4-7",
        Span(date(2026, 4, 16), date(2026, 8, 15)),
        1.5,
        priority=True,
        geo=True,
        long=Span(date(2026, 4, 16)),
        fast=Span(date(2026, 5, 12), date(2026, 7, 23)),
    ),
    Model(
        "claude-opus-4-8",
        Span(date(2026, 5, 28)),
        1.2,
        priority=True,
        geo=True,
        long=Span(date(2026, 5, 28)),
        fast=Span(date(2026, 5, 28), date(2026, 11, 29)),
    ),
    Model(
        "claude-sonnet-5",
        Span(date(2026, 6, 30), date(2026, 10, 31)),
        2.0,
        geo=True,
        long=Span(date(2026, 6, 30)),
    ),
    Model(
        "claude-opus-5",
        Span(date(2026, 7, 24)),
        0.6,
        geo=True,
        fast=Span(date(2026, 7, 24)),
    ),
    Model(
        "claude-opus-5-5",
        Span(date(2026, 9, 22)),
        2.0,
        geo=True,
        long=Span(date(2026, 9, 22)),
        fast=Span(date(2026, 9, 24)),
    ),
    Model(
        "claude-sonnet-5-5",
        Span(date(2026, 9, 28)),
        3.5,
        geo=True,
        long=Span(date(2026, 9, 28)),
    ),
    Model("claude-haiku-5-5", Span(date(2026, 10, 7)), 2.5, geo=True),
)
BAND_MODELS = frozenset({"claude-haiku-5-5"})

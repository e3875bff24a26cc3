"""What is measured: how many tenants, over how many days, and whether a replay of them as well."""

from __future__ import annotations

from typing import NamedTuple


class Case(NamedTuple):
    tenants: int
    days: int
    replayed: bool = False


CASES = {
    "1-tenant-30-days": Case(1, 30, replayed=True),
    "20-tenants-1-day": Case(20, 1, replayed=True),
    "200-tenants-1-day": Case(200, 1),
    "400-tenants-1-day": Case(400, 1),
    "1-tenant-365-days": Case(1, 365),
}

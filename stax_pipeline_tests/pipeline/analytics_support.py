"""Runs with `STAX_SOURCE` set, and what must not depend on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from stax_pipeline.checks.raw_pages import cost_gaps, set_aside_gaps, usage_gaps
from stax_pipeline.checks.rules import RULES
from stax_pipeline.checks.runner import run_rule
from stax_pipeline.domain.extraction import Window
from stax_pipeline.simulator import Organization, realistic_organization
from stax_pipeline.simulator.faults import Fault
from stax_pipeline_tests.conftest import NOON, Installation
from stax_pipeline_tests.pipeline.support import DAYS, content, query, two_tenants

COST, USAGE = "/v1/organizations/analytics/cost", "/v1/organizations/analytics/usage"
CLOSED = DAYS.days[:-1]
Page = dict[str, Any]


def with_priority_money(discount: str = "0") -> Organization:
    return realistic_organization(
        "acme", daily_tokens=300_000_000, shared_workspaces=1, priority_share=0.25, discount=Decimal(discount),
        priority_in_analytics=True,
    )  # fmt: skip


@contextmanager
def reading(home: Path, source: str, *organizations: Organization, now: datetime = NOON) -> Iterator[Installation]:
    with two_tenants(home, *organizations, now=now) as made, pytest.MonkeyPatch.context() as environment:
        environment.setenv("STAX_SOURCE", source)
        yield made


def figures(made: Installation) -> dict[str, Any]:
    """Everything people read that must not depend on the source."""
    found: dict[str, Any] = {name: content(made)[name] for name in ("usage_lines", "usage_by_key", "reconciliation")}
    found["spend"] = sorted(
        map(tuple, query(made, "select slug, usage_date, workspace_id, model, cost_type, token_type, service_tier, "
            "context_window, inference_geo, speed, quantity, unit, cost_source, cost_usd, list_cost_usd, price_source "
            "from stax.spend join stax.tenants using (tenant_id)")),
        key=repr,
    )  # fmt: skip
    found["by_key"] = content(made)["spend_by_key"]
    found["coverage"] = sorted(
        map(tuple, query(made, "select slug, report, usage_date, state, data_through from stax.coverage "
            "join stax.tenants using (tenant_id)"))
    )  # fmt: skip
    return found


def edit(path: str, change: Any, made: Installation, **more: Any) -> None:
    made.simulator.faults.add(Fault(change=lambda page, token: change(page)), path=path, **more)


def holds(made: Installation, window: Window = DAYS) -> list[str]:
    """Names of the rules that do not hold."""
    with made.engine.connect() as connection:
        now = made.clock.now
        return [r.name for r in RULES if not run_rule(connection, r, window, now, made.settings).holds]


def gaps(made: Installation) -> list[object]:
    tenants = query(made, "select tenant_id, slug from stax.tenants")
    with made.engine.connect() as connection:
        return [
            gap for tie in (cost_gaps, usage_gaps, set_aside_gaps) for gap in tie(connection, made.lake, tenants, DAYS)
        ]

"""One tenant's source is its own: told once where it has no newer one, and no child's dollars counted in its parent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from stax_pipeline.domain.extraction import Report
from stax_pipeline.domain.next_step import next_step
from stax_pipeline.simulator import Organization, faults, realistic_organization
from stax_pipeline_tests.conftest import Installation
from stax_pipeline_tests.pipeline.analytics_support import CLOSED, COST, USAGE, gaps, holds, reading
from stax_pipeline_tests.pipeline.support import content, execute, query, status, sync, true_usd, usd_by_day

CODES = ["organization_type_not_supported", "organization_not_enrolled_in_beta", "organization_not_eligible"]
HIPAA = faults.error_envelope("invalid_request_error", 400, message="Not available with HIPAA readiness enabled.")


@pytest.fixture
def both(stax_home: Path) -> Iterator[Installation]:
    with reading(stax_home, "both") as opened:
        yield opened


def set_source(made: Installation, slug: str, source: str | None) -> None:
    execute(
        made, "update stax.tenants set source = :source, newer_source_refused_at = null where slug = :slug",
        slug=slug, source=source,
    )  # fmt: skip


def asked(made: Installation, slug: str) -> int:
    """How many requests to the newer source so far."""
    hint = made.simulator.keys[slug][-4:]
    return sum("/analytics/" in request.path and request.key_hint == hint for request in made.simulator.requests)


class TestNoNewerSource:
    @pytest.mark.parametrize("code", [*CODES, "HIPAA"])
    def test_it_is_told_once_with_the_way_out_and_asked_no_more(self, both: Installation, code: str) -> None:
        refusal = HIPAA if code == "HIPAA" else faults.error_envelope("invalid_request_error", 400, code)
        for path in (COST, USAGE):
            both.simulator.faults.add(refusal, key=both.simulator.keys["acme"], path=path, times=None)
        first = sync(both)
        [reason] = first.failures["acme"]
        assert "this organization does not have Anthropic's newer source" in reason
        assert "`stax tenants set acme --source reports`" in next_step("acme", reason)
        assert list(first.failures) == ["acme"]
        assert status(both, "acme") == "connected"
        assert usd_by_day(both, "acme", "reported") == true_usd(both, "acme", CLOSED)
        assert asked(both, "acme") == 1
        assert sync(both).failures == {}
        assert asked(both, "acme") == 1
        assert {row.tenant for row in query(both, "select tenant from stax.source_differences")} == {"globex"}

    def test_it_is_asked_again_when_that_is_set_again(self, both: Installation) -> None:
        refusal = faults.error_envelope("invalid_request_error", 400, CODES[1])
        both.simulator.faults.add(refusal, key=both.simulator.keys["acme"], path=COST, times=1)
        sync(both)
        set_source(both, "acme", "both")
        assert sync(both).failures == {}
        assert {row.tenant for row in query(both, "select tenant from stax.source_differences")} == {"acme", "globex"}

    def test_a_tenant_that_has_no_other_source_fails_each_time(self, both: Installation) -> None:
        set_source(both, "acme", "analytics")
        refusal = faults.error_envelope("invalid_request_error", 400, CODES[0])
        for path in (COST, USAGE):
            both.simulator.faults.add(refusal, key=both.simulator.keys["acme"], path=path, times=None)
        for _ in range(2):
            assert len(sync(both).failures["acme"]) == 2
        set_source(both, "acme", "reports")
        assert sync(both).failures == {}
        assert usd_by_day(both, "acme", "reported") == true_usd(both, "acme", CLOSED)

    def test_a_scope_that_the_newer_source_needs_fails_the_comparison_alone(self, both: Installation) -> None:
        both.simulator.faults.add(
            faults.missing_scope("read:analytics"), key=both.simulator.keys["acme"], path=COST, times=None
        )
        for _ in range(2):
            ran = sync(both)
            [reason] = ran.failures["acme"]
            assert "lacks the scope read:analytics" in reason
            assert "`stax tenants set acme --source reports`" in next_step("acme", reason)
            assert status(both, "acme") == "connected"
            assert usd_by_day(both, "acme", "reported") == true_usd(both, "acme", CLOSED)


def parent_of(*children: Organization) -> Organization:
    parent = realistic_organization("acme", daily_tokens=300_000_000, shared_workspaces=1, priority_share=0.25)
    return replace(parent, children=children)


def child(name: str) -> Organization:
    return realistic_organization(name, daily_tokens=100_000_000, shared_workspaces=1, priority_share=0.1)


class TestParents:
    @pytest.mark.parametrize("source", ["analytics", "both"])
    def test_a_childs_use_is_in_no_figure_of_its_parent(self, stax_home: Path, source: str) -> None:
        globex = child("globex")
        with reading(stax_home, source, parent_of(globex), globex) as made:
            ran = sync(made)
            assert ran.failures == {}
            for slug in ("acme", "globex"):
                assert usd_by_day(made, slug, "reported") == true_usd(made, slug, CLOSED)
            assert [words for words in ran.findings if "child" in words] == []
            assert (holds(made), gaps(made)) == ([], [])
            figures = {name: content(made)[name] for name in ("spend", "spend_by_key", "usage_lines", "usage_by_key")}
        with reading(stax_home, source, parent_of(), globex) as made:
            sync(made)
            assert {name: content(made)[name] for name in figures} == figures

    def test_children_that_are_no_tenant_are_named(self, stax_home: Path) -> None:
        globex, initech = child("globex"), child("initech")
        with reading(stax_home, "analytics", parent_of(globex, initech), globex) as made:
            ran = sync(made)
            told = {words for words in ran.findings if "child" in words}
            assert ran.failures == {}
            assert len(told) == 1
            assert initech.id in told.pop()
            assert usd_by_day(made, "acme", "reported") == true_usd(made, "acme", CLOSED)

    def test_where_its_own_cannot_be_told_apart_nothing_is_published(self, stax_home: Path) -> None:
        with reading(stax_home, "analytics", parent_of(child("globex"))) as made:
            made.simulator.faults.add(
                faults.body({"data": [], "has_more": False, "next_page": None}), times=None,
                when=lambda params: any(name == "organization_ids[]" for name, _ in params),
            )  # fmt: skip
            ran = sync(made)
            assert all("does not tell this parent organization's own use" in why for why in ran.failures["acme"])
            assert query(made, "select 1 from stax.spend") == []

    def test_an_organization_that_cannot_be_grouped_so_is_no_parent(self, both: Installation) -> None:
        refused = faults.error_envelope("invalid_request_error", 400, "parent_organization_required")
        both.simulator.faults.add(refused, times=None, when=lambda params: ("group_by[]", "organization_id") in params)
        assert sync(both).failures == {}
        assert {row.tenant for row in query(both, "select tenant from stax.source_differences")} == {"acme", "globex"}

    def test_it_costs_one_request_a_window(self, both: Installation) -> None:
        sync(both, reports=(Report.COST,))
        paths = [(r.path, dict(r.params)["group_by[]"]) for r in both.simulator.requests if "/analytics/" in r.path]
        assert [group for _, group in paths].count("organization_id") == 2  # two tenants

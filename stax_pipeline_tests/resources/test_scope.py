"""A run's scope: looked up once, narrowed by name, never repeating what a run was configured with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from stax_pipeline.definitions import defs
from stax_pipeline.resources.scope import Missing, Scope, scope
from stax_pipeline_tests.conftest import Installation
from stax_pipeline_tests.pipeline.support import execute, two_tenants


class Leaky(dg.ConfigurableResource):  # type: ignore[type-arg]
    """What `Scope` was once."""

    tenants: list[str] = []


JOBS = [job.name for job in defs.resolve_all_job_defs()]
SECRET = "value-of-a-launch-config-0123456789"


@pytest.fixture
def made(stax_home: Path) -> Iterator[Installation]:
    with two_tenants(stax_home) as installation:
        yield installation


def slugs(of: Scope) -> list[str]:
    return [tenant.slug for tenant in of.tenants]


def test_a_run_of_all_leaves_rejected_and_disconnected_tenants_out_and_knows_the_rejected(made: Installation) -> None:
    assert slugs(Scope()) == ["acme", "globex"]
    execute(made, "update stax.tenants set status = 'key_rejected' where slug = 'acme'")
    execute(made, "update stax.tenants set status = 'disconnected' where slug = 'globex'")
    rejected = Scope()
    assert (slugs(rejected), [t.slug for t in rejected.left_out], rejected.named) == ([], ["acme"], None)


def test_a_named_tenant_is_tried_though_its_key_was_rejected(made: Installation) -> None:
    execute(made, "update stax.tenants set status = 'key_rejected'")
    narrowed = Scope(["acme"])
    assert (slugs(narrowed), narrowed.left_out, narrowed.named) == (["acme"], [], ["acme"])


def test_tenants_are_looked_up_once(made: Installation) -> None:
    begun = Scope()
    assert slugs(begun) == ["acme", "globex"]
    execute(made, "update stax.tenants set status = 'key_rejected'")
    assert slugs(begun) == ["acme", "globex"]
    assert slugs(Scope()) == []


def test_a_name_that_is_no_tenant_fails_the_step_without_being_repeated(made: Installation) -> None:
    with pytest.raises(dg.Failure) as refused:
        _ = Scope(["acme", SECRET]).tenants
    told = str(refused.value.description)
    assert told.startswith("1 of 2 names in this run's configuration")
    assert SECRET not in told
    assert refused.value.allow_retries is False
    assert refused.value.__cause__ is None


def test_what_an_asset_lacks_the_assets_after_it_lack() -> None:
    run = Scope()
    assert run.note("raw_cost_report", [], {"acme": "404"}) == {}
    assert run.note("usage_lines", ["raw_usage_report"], {}) == {}
    assert run.note("cost_lines", ["raw_cost_report", "usage_lines"], {"globex": "unit mismatch"}) == {
        "acme": Missing("raw_cost_report", "404")
    }
    assert run.note("spend", ["cost_lines", "usage_lines"], {"acme": "locked"}) == {
        "globex": Missing("cost_lines", "unit mismatch")
    }
    assert run.failures == {
        "acme": [Missing("raw_cost_report", "404"), Missing("spend", "locked")],
        "globex": [Missing("cost_lines", "unit mismatch")],
    }


def test_the_resource_takes_tenants_and_accept_shrink_and_nothing_else() -> None:
    made = scope(dg.build_init_resource_context(config={"tenants": ["acme"], "accept_shrink": True}))
    assert (made.is_narrowed, made.accept_shrink) == (True, True)
    empty = scope(dg.build_init_resource_context(config={}))
    assert (empty.is_narrowed, empty.accept_shrink) == (False, False)
    assert set(scope.config_schema.config_type.fields) == {"tenants", "accept_shrink"}  # type: ignore[union-attr]


@pytest.mark.parametrize("job", JOBS)
def test_no_job_s_configuration_reads_the_environment(job: str) -> None:
    """A *source* type resolves {"env": NAME}: whoever may launch a run could read every secret of the worker."""
    snapshot = defs.resolve_job_def(job).get_job_snapshot()
    types = snapshot.config_schema_snapshot.all_config_snaps_by_key
    sources = [
        snap.key
        for snap in types.values()
        if "Source" in snap.key or {field.name for field in snap.fields or []} == {"env"}
    ]
    assert sources == []


def test_the_walk_finds_a_source_type() -> None:
    """The test above can fail: a `ConfigurableResource` with a list of texts has one."""

    @dg.op(required_resource_keys={"leaky"})
    def step() -> None: ...

    @dg.job(resource_defs={"leaky": Leaky.configure_at_launch()})
    def leaking() -> None:
        step()

    types: Any = leaking.get_job_snapshot().config_schema_snapshot.all_config_snaps_by_key
    assert [key for key in types if "Source" in key]

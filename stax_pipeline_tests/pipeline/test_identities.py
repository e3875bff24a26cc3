"""What a run does not ask again: whose a key is, within a run, and the lists of names, within a UTC day."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from stax_pipeline.anthropic import WhoAmI
from stax_pipeline.domain.errors import ContractBroken
from stax_pipeline.domain.extraction import Report
from stax_pipeline.keys.tenant_keys import open_key
from stax_pipeline.pipeline.identities import Identities
from stax_pipeline.simulator import faults
from stax_pipeline_tests.conftest import Installation
from stax_pipeline_tests.pipeline import support
from stax_pipeline_tests.pipeline.support import execute, query, sync, two_tenants

ME, LISTS = "/v1/organizations/me", ("workspaces", "api_keys", "users")
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


class Key:
    """A session that counts how often it is asked whose it is."""

    def __init__(self, organization_id: str = "org") -> None:
        self.asked = 0
        self._organization_id = organization_id

    async def whoami(self) -> WhoAmI:
        self.asked += 1
        return WhoAmI(self._organization_id, "Acme", NOON)


def ask(identities: Identities, key: Any, tenant: Any, generation: int = 1) -> WhoAmI:
    return asyncio.run(identities.of(key, tenant, generation))


@pytest.fixture
def tenant() -> Any:
    return SimpleNamespace(tenant_id=uuid4(), organization_id="org", slug="acme")


class TestIdentities:
    def test_a_key_is_asked_once_and_the_servers_clock_goes_on(self, tenant: Any) -> None:
        seconds, key = [10.0], Key()
        identities = Identities(lambda: seconds[0])
        assert ask(identities, key, tenant).server_date == NOON
        seconds[0] += 7200
        assert ask(identities, key, tenant) == WhoAmI("org", "Acme", NOON + timedelta(hours=2))
        assert key.asked == 1

    def test_another_generation_of_the_key_is_asked_for_itself(self, tenant: Any) -> None:
        identities, key = Identities(), Key()
        for generation in (1, 2, 2):
            ask(identities, key, tenant, generation)
        assert key.asked == 2

    def test_the_day_is_told_once_a_key_was_asked_for(self, tenant: Any) -> None:
        seconds = [0.0]
        identities = Identities(lambda: seconds[0])
        assert identities.today(tenant) is None
        ask(identities, Key(), tenant)
        assert identities.today(tenant) == NOON.date()
        seconds[0] = 43_200
        assert identities.today(tenant) == NOON.date() + timedelta(days=1)

    def test_a_key_of_another_organization_is_refused_every_time(self, tenant: Any) -> None:
        identities, key = Identities(), Key("other")
        for asked in (1, 2):
            with pytest.raises(ContractBroken, match="belongs to another organisation \\('Acme'\\)"):
                ask(identities, key, tenant)
            assert key.asked == asked


def asked(made: Installation) -> Counter[str]:
    """How often acme's paths were asked since the last time."""
    hint = made.simulator.keys["acme"][-4:]
    paths = Counter(request.path for request in made.simulator.requests if request.key_hint == hint)
    made.simulator.requests.clear()
    return paths


def lists(made: Installation) -> list[int]:
    paths = asked(made)
    return [paths[f"/v1/organizations/{name}"] for name in LISTS]


class TestRuns:
    @pytest.fixture
    def made(self, stax_home: Path) -> Iterator[Installation]:
        with two_tenants(stax_home) as installation:
            yield installation

    def test_me_is_asked_once_a_run_and_names_once_a_day(self, made: Installation) -> None:
        assert sync(made).failures == {}
        first = asked(made)
        assert [first[ME], *(first[f"/v1/organizations/{name}"] for name in LISTS)] == [1, 2, 1, 1]
        made.clock.now += timedelta(hours=3)
        assert sync(made).failures == {}
        second = asked(made)
        assert [second[ME], *(second[f"/v1/organizations/{name}"] for name in LISTS)] == [1, 0, 0, 0]
        made.clock.now += timedelta(days=1)
        assert sync(made, reports=[Report.ORGANIZATION]).failures == {}
        assert lists(made) == [2, 1, 1]

    def test_no_key_is_opened_for_names_that_are_held(
        self, made: Installation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        opened: list[str] = []

        def noted(connection: Any, tenant: Any, masters: Any) -> Any:
            opened.append(tenant.slug)
            return open_key(connection, tenant, masters)

        monkeypatch.setattr(support, "open_key", noted)
        counts = []
        for _ in range(2):
            assert sync(made).failures == {}
            counts.append(opened.count("acme"))
            opened.clear()
        assert counts == [3, 2]

    def test_names_that_are_not_whole_are_asked_for_again(self, made: Installation) -> None:
        no_scope = faults.status(403)
        made.simulator.faults.add(no_scope, key=made.simulator.keys["acme"], path="/v1/organizations/users", times=1)
        assert set(sync(made, reports=[Report.ORGANIZATION]).failures) == {"acme"}
        assert lists(made) == [2, 1, 1]
        assert sync(made, reports=[Report.ORGANIZATION]).failures == {}
        assert lists(made) == [2, 1, 1]
        sync(made, reports=[Report.ORGANIZATION])
        assert lists(made) == [0, 0, 0]

    def test_names_that_were_refused_when_published_are_asked_for_again(self, made: Installation) -> None:
        sync(made, reports=[Report.ORGANIZATION])
        execute(made, "update stax.extractions set error = 'refused' where report = 'organization'")
        asked(made)
        sync(made, reports=[Report.ORGANIZATION])
        assert lists(made) == [2, 1, 1]
        assert len(query(made, "select 1 from stax.extractions where error is null")) == 2

    def test_names_are_written_once_and_again_where_one_is_gone(self, made: Installation) -> None:
        assert sync(made).steps["names"].rows > 0
        held = "select tenant_id, member_id, xmin::text from stax.members order by 1, 2"
        before = query(made, held)
        assert sync(made).steps["names"].rows == 0
        assert query(made, held) == before
        execute(made, "delete from stax.members where member_id = :one", one=before[0].member_id)
        assert sync(made).failures == {}
        after = query(made, held)
        assert [row[:2] for row in after] == [row[:2] for row in before]

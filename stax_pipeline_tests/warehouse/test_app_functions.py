"""The two functions of the app: who may call them, and what they refuse whoever calls."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from stax_pipeline.domain.errors import KeyRefused
from stax_pipeline.domain.sealed_key import SealedKey
from stax_pipeline.domain.tenant import Tenant
from stax_pipeline.warehouse import app_functions
from stax_pipeline.warehouse.app_functions import (
    NAME_TAKEN,
    OTHER_ORGANIZATION,
    OTHER_TENANT,
    RACED,
    end_connection,
    key_in_use,
    next_generation,
    store_admin_key,
)
from stax_pipeline.warehouse.engine import connect_engine
from stax_pipeline.warehouse.roles import logins
from stax_pipeline.warehouse.tenants import StoredKey
from stax_pipeline_tests.conftest import Installation, installed

AT = datetime(2026, 11, 22, 12, tzinfo=UTC)
CALLS = [
    "select stax.end_connection(gen_random_uuid(), 'eve')",
    "select stax.store_admin_key(gen_random_uuid(), 'eve', 'Eve', 'org', 1, '', '', '', '', now(), 'eve')",
]


@pytest.fixture
def made(stax_home: Path) -> Iterator[Installation]:
    with installed(stax_home) as installation:
        yield installation


@pytest.fixture
def acme(made: Installation) -> Tenant:
    return made.add_tenant("acme")


@pytest.fixture
def app(made: Installation) -> Iterator[sa.Engine]:
    engine = connect_engine(logins(made.settings).app)
    yield engine
    engine.dispose()


def store(
    app: sa.Engine, tenant_id: UUID, generation: int, *, slug: str = "acme", organization_id: str = "another"
) -> None:
    key = StoredKey(tenant_id, generation, SealedKey(b"sealed", b"wrapped", "master"), "hint", AT)
    with app.begin() as connection:
        store_admin_key(connection, key, slug=slug, name="Acme", organization_id=organization_id, person="ana")


def rows(made: Installation, query: str) -> list[tuple[object, ...]]:
    with made.engine.connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(query)]


@pytest.mark.parametrize("login", ["loader", "analyst", "dagster"])
@pytest.mark.parametrize("call", CALLS)
def test_nobody_else_may_call_them(made: Installation, login: str, call: str) -> None:
    engine = connect_engine(getattr(logins(made.settings), login))
    with pytest.raises(sa.exc.ProgrammingError, match="permission denied"), engine.begin() as connection:
        connection.exec_driver_sql(call)
    engine.dispose()


def test_the_owner_who_calls_them_changes_nothing(made: Installation, acme: Tenant) -> None:
    engine = connect_engine(logins(made.settings).owner)
    with pytest.raises(sa.exc.ProgrammingError, match="row-level security"), engine.begin() as connection:
        connection.exec_driver_sql(CALLS[1])
    with pytest.raises(sa.exc.ProgrammingError, match="row-level security"), engine.begin() as connection:
        end_connection(connection, acme.tenant_id, "eve")
    engine.dispose()
    assert rows(made, "select status, count(*) from stax.tenants group by 1") == [("connected", 1)]
    assert rows(made, "table stax.connection_audit") == []


def test_a_new_key_destroys_the_one_before(made: Installation, acme: Tenant, app: sa.Engine) -> None:
    with app.begin() as connection:
        assert next_generation(connection, acme.tenant_id) == 2
    store(app, acme.tenant_id, 2, organization_id=acme.organization_id)
    found = rows(made, "select generation, length(ciphertext), revoked_at is null from stax.admin_keys order by 1")
    assert found == [(1, 0, False), (2, 6, True)]
    with app.begin() as connection:
        assert key_in_use(connection, acme.tenant_id) == (2, "hint", AT)
        end_connection(connection, acme.tenant_id, "tim")
        assert key_in_use(connection, acme.tenant_id) is None
        assert next_generation(connection, acme.tenant_id) == 3
    assert rows(made, "select what, who, key_hint from stax.connection_audit order by at") == [
        ("rotated", "ana", "hint"), ("disconnected", "tim", ""),
    ]  # fmt: skip
    assert rows(made, "select status from stax.tenants") == [("disconnected",)]


def test_a_new_tenant_is_made_with_its_role_granted(made: Installation, app: sa.Engine) -> None:
    tenant_id = uuid4()
    store(app, tenant_id, 1)
    assert rows(made, "select slug, name, organization_id, status from stax.tenants") == [
        ("acme", "Acme", "another", "connected")
    ]
    assert rows(made, "select role_name from stax.tenant_grants") == [(f"stax_tenant_{tenant_id.hex}",)]


def test_what_does_not_fit_is_refused_and_nothing_is_changed(made: Installation, acme: Tenant, app: sa.Engine) -> None:
    own = acme.organization_id
    before = rows(made, "select * from stax.admin_keys"), rows(made, "select * from stax.tenants")
    for words, tenant_id, generation, slug, organization_id in (
        (RACED, acme.tenant_id, 1, "acme", own),
        (RACED, acme.tenant_id, 3, "acme", own),
        (OTHER_ORGANIZATION, acme.tenant_id, 2, "acme", "another"),
        (OTHER_TENANT, uuid4(), 1, "other", own),
        (NAME_TAKEN, uuid4(), 1, "acme", "another"),
    ):
        with pytest.raises(KeyRefused) as refused:
            store(app, tenant_id, generation, slug=slug, organization_id=organization_id)
        assert str(refused.value) == words
    assert (rows(made, "select * from stax.admin_keys"), rows(made, "select * from stax.tenants")) == before


def test_of_two_at_the_same_moment_one_is_stored(made: Installation, acme: Tenant, app: sa.Engine) -> None:
    with app.begin() as first, app.begin() as second:
        generations = {next_generation(one, acme.tenant_id) for one in (first, second)}
    assert generations == {2}
    store(app, acme.tenant_id, 2, organization_id=acme.organization_id)
    with pytest.raises(KeyRefused, match="Another key was stored for this tenant"):
        store(app, acme.tenant_id, 2, organization_id=acme.organization_id)


def test_other_faults_are_no_refusals(acme: Tenant, app: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_functions, "_REFUSALS", {})
    with pytest.raises(sa.exc.DBAPIError):
        store(app, acme.tenant_id, 9, organization_id=acme.organization_id)

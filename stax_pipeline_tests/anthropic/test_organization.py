"""Names from the list endpoints: which workspace is the default one, whose a key is, what is missing."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from stax_pipeline.anthropic.organization import Organization, read_organization
from stax_pipeline.domain.errors import ContractBroken
from stax_pipeline.domain.extraction import QueryName, RawPage
from stax_pipeline_tests.derive.builders import list_body, raw_page

CREATED = "2026-01-02T03:04:05Z"


@pytest.fixture
def far_away(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose clock is set to a zone far from UTC."""
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def space(id_: str, **changes: Any) -> dict[str, Any]:
    return {"id": id_, "type": "workspace", "name": id_.title(), "created_at": CREATED, "archived_at": None} | changes


def key(**changes: Any) -> dict[str, Any]:
    return {
        "id": "apikey_1", "type": "api_key", "name": "Key", "status": "active", "created_at": CREATED,
        "partial_key_hint": "sk-ant-api03-R2D...igAA", "workspace_id": None,
    } | changes  # fmt: skip


def member(**changes: Any) -> dict[str, Any]:
    return {
        "id": "user_1", "type": "user", "name": "Ada", "email": "ada@example.org", "role": "developer",
        "added_at": CREATED,
    } | changes  # fmt: skip


def workspaces(every: list[str], named: list[str]) -> list[RawPage]:
    return [
        raw_page(QueryName.NAMED_WORKSPACES, list_body(*map(space, named))),
        raw_page(QueryName.WORKSPACES, list_body(*map(space, every))),
    ]


def read_keys(*rows: dict[str, Any]) -> Organization:
    return read_organization([*workspaces(["w_0", "w_1"], ["w_1"]), raw_page(QueryName.API_KEYS, list_body(*rows))])


def test_who_is_listed_twice_counts_once_as_listed_last() -> None:
    """Found by fuzzing: a list that changes between its pages repeats an entry; equal names, then a time and none."""
    pages = [raw_page(QueryName.MEMBERS, list_body(member(), member(added_at=None)))]
    pages += [raw_page(QueryName.API_KEYS, list_body(key(), key(status="archived"))), *workspaces(["w_1", "w_1"], [])]
    found = read_organization(pages)
    assert [one.added_at for one in found.members] == [None]
    assert [one.status for one in found.api_keys] == ["archived"]
    assert [one.anthropic_id for one in found.workspaces] == ["w_1"]


def test_the_default_workspace_is_the_one_left_out_of_the_other_list() -> None:
    found = read_organization(workspaces(["w_1", "w_0", "w_2"], ["w_2", "w_1"])).workspaces
    assert [(w.workspace_id, w.anthropic_id, w.is_default) for w in found] == [
        ("default", "w_0", True), ("w_1", "w_1", False), ("w_2", "w_2", False),
    ]  # fmt: skip


def test_the_two_lists_may_come_in_any_order_and_several_pages() -> None:
    named, every = workspaces(["w_0", "w_1"], ["w_1", "w_2"])
    more = raw_page(QueryName.WORKSPACES, list_body(space("w_2")), 2)
    found = read_organization([every, more, named])
    assert [w.workspace_id for w in found.workspaces] == ["default", "w_1", "w_2"]


def test_two_workspaces_left_out_are_a_contradiction() -> None:
    with pytest.raises(ContractBroken, match="more than one workspace"):
        read_organization(workspaces(["w_0", "w_1", "w_2"], ["w_1"]))


def test_an_organization_that_shows_no_default_workspace_has_none() -> None:
    assert not any(w.is_default for w in read_organization(workspaces(["w_1"], ["w_1"])).workspaces)


def test_a_workspace_keeps_its_times_and_unknown_fields() -> None:
    row = space("w_0", archived_at="2026-02-03T00:00:00+01:00", tags={"team": "x"})
    (found,) = read_organization([raw_page(QueryName.WORKSPACES, list_body(row))]).workspaces
    assert found.created_at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert found.archived_at == datetime(2026, 2, 2, 23, tzinfo=UTC)
    assert found.archived_at.utcoffset() == datetime.now(UTC).utcoffset()
    assert (found.name, json.loads(found.extras)) == ("W_0", {"tags": {"team": "x"}})


@pytest.mark.parametrize(
    ("told", "workspace_id"),
    [
        ({"workspace_id": None}, "default"),
        ({"workspace_id": "w_1"}, "w_1"),
        ({"scope": {"type": "workspace", "workspace_id": "w_1"}}, "w_1"),
        ({"scope": {"type": "workspace", "workspace_id": "w_0"}}, "default"),
        ({"scope": {"type": "workspace", "workspace_id": None}}, "default"),
        ({"scope": {"type": "organization"}}, ""),
        ({"scope": {"type": "workspace", "workspace_id": "w_1"}, "workspace_id": "w_2"}, "w_1"),
        ({"scope": {"type": "organization"}, "workspace_id": None}, ""),
        ({"scope": None, "workspace_id": "w_1"}, "w_1"),
    ],
)
def test_a_key_s_workspace_is_its_scope_first(told: dict[str, Any], workspace_id: str) -> None:
    row = key()
    del row["workspace_id"]
    assert read_keys(row | told).api_keys[0].workspace_id == workspace_id


def test_a_key_that_tells_neither_scope_nor_workspace_is_a_fault() -> None:
    row = key()
    del row["workspace_id"]
    with pytest.raises(ContractBroken, match="workspace_id"):
        read_keys(row)


def test_a_key_keeps_name_status_and_hint() -> None:
    (found,) = read_keys(key(status="brand_new", expires_at="2027-01-01T00:00:00Z")).api_keys
    assert (found.api_key_id, found.name, found.status) == ("apikey_1", "Key", "brand_new")
    assert found.partial_key_hint == "sk-ant-api03-R2D...igAA"
    assert json.loads(found.extras) == {"expires_at": "2027-01-01T00:00:00Z"}
    assert read_keys(key(partial_key_hint=None)).api_keys[0].partial_key_hint == ""


def test_members_are_read_unknown_roles_too() -> None:
    body = list_body(member(), member(id="user_0", role="wizard"))
    found = read_organization([raw_page(QueryName.MEMBERS, body)]).members
    assert [(m.member_id, m.role) for m in found] == [("user_0", "wizard"), ("user_1", "developer")]
    assert (found[1].name, found[1].email, found[1].added_at) == (
        "Ada", "ada@example.org", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    )  # fmt: skip


@pytest.mark.parametrize("field", ["name", "email", "role"])
def test_a_member_without_a_required_field_is_a_fault(field: str) -> None:
    row = member()
    del row[field]
    with pytest.raises(ContractBroken, match=field):
        read_organization([raw_page(QueryName.MEMBERS, list_body(row))])


@pytest.mark.parametrize("value", ["yesterday", "", 20260101, "2026-01-02T03:04:05", "0001-01-01T00:00:00+14:00"])
def test_a_time_that_is_no_instant_is_a_fault(value: object) -> None:
    with pytest.raises(ContractBroken, match="added_at is not an instant"):
        read_organization([raw_page(QueryName.MEMBERS, list_body(member(added_at=value)))])


def test_the_zone_of_this_machine_has_no_say(far_away: None) -> None:
    (found,) = read_organization([raw_page(QueryName.MEMBERS, list_body(member()))]).members
    assert found.added_at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_nothing_read_is_an_empty_snapshot() -> None:
    assert read_organization([]) == Organization([], [], [])

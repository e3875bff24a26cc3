"""Names of logins that may be granted tenants."""

from __future__ import annotations

import pytest

from stax_pipeline.domain.errors import WrongUse
from stax_pipeline.domain.role_name import parse_role


@pytest.mark.parametrize("name", ["a", "acme_finance", "acme-eu2", "reader", "x" * 63, "staxreader", "pgreader"])
def test_a_plain_name_is_taken_as_it_is(name: str) -> None:
    assert parse_role(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "", " ", "Acme", "1a", "_a", "-a", "a b", "a\n", "a\x00", 'a"; drop table x--', "a.b", "../a", "/etc/passwd",
        "асme", "x" * 64, "x" * 300, "a%",
    ],
)  # fmt: skip
def test_any_other_is_refused_and_shown_in_ascii(name: str) -> None:
    with pytest.raises(WrongUse, match="is no name of a role") as refused:
        parse_role(name)
    assert str(refused.value).isascii()
    assert len(str(refused.value)) < 250


@pytest.mark.parametrize("name", ["stax_loader", "stax_analyst", "stax_x", "pg_monitor", "pg_x"])
def test_reserved_prefixes_are_refused(name: str) -> None:
    with pytest.raises(WrongUse, match="does not begin with stax_ or pg_"):
        parse_role(name)


@pytest.mark.parametrize("name", ["postgres", "public", "none", "current_user"])
def test_names_that_postgres_has_are_taken(name: str) -> None:
    with pytest.raises(WrongUse, match=f"The name '{name}' is taken"):
        parse_role(name)

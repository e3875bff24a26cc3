"""One field of one row: missing is never zero, never the default workspace, and never silently bent."""

from __future__ import annotations

from collections import Counter

import pytest

from stax_pipeline.anthropic.fields import count_unknown, extras, nested, text, workspace
from stax_pipeline.domain.errors import ContractBroken


def test_null_is_empty_text_and_missing_is_a_fault() -> None:
    assert text({"model": None}, "model") == ""
    with pytest.raises(ContractBroken, match="field model is missing"):
        text({}, "model")


@pytest.mark.parametrize("value", [1, True, [], {}])
def test_text_must_be_text(value: object) -> None:
    with pytest.raises(ContractBroken, match="field model is"):
        text({"model": value}, "model")


@pytest.mark.parametrize("value", ["a\x00b", "\ud800", "x\udfff", "x" * 501])
def test_text_must_be_storable(value: str) -> None:
    with pytest.raises(ContractBroken, match="cannot be stored"):
        text({"model": value}, "model")


@pytest.mark.parametrize("value", ["x" * 500, "\u202eright to left", "😀", "=1+1", "a\nb"])
def test_odd_but_storable_text_is_kept_as_it_is(value: str) -> None:
    assert text({"model": value}, "model") == value


def test_the_workspace_of_null_is_the_default_one_and_of_nothing_is_a_fault() -> None:
    assert workspace({"workspace_id": None}) == "default"
    assert workspace({"workspace_id": "wrkspc_1"}) == "wrkspc_1"
    with pytest.raises(ContractBroken, match="workspace_id"):
        workspace({})


@pytest.mark.parametrize("row", [{}, {"cache_creation": None}, {"cache_creation": 5}, {"cache_creation": [1]}])
def test_a_nested_object_must_be_one(row: dict[str, object]) -> None:
    with pytest.raises(ContractBroken, match="cache_creation"):
        nested(row, "cache_creation")


def test_unknown_fields_are_kept_under_their_own_names() -> None:
    assert extras({"a": 1, "b": None}, frozenset({"a"})) == {"b": None}
    assert extras({"c": 2}, frozenset(), "cache_creation.") == {"cache_creation.c": 2}


def test_only_values_nobody_documented_are_counted() -> None:
    unknown: Counter[str] = Counter()
    count_unknown({"service_tier": "priority_on_demand", "inference_geo": None, "model": "anything"}, unknown)
    assert unknown == {}
    for _ in range(2):
        count_unknown({"service_tier": "turbo", "context_window": "1M-2M"}, unknown)
    assert unknown == {"value service_tier=turbo": 2, "value context_window=1M-2M": 2}

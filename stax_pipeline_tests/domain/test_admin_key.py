"""A key shows itself to nobody, and odd input never reaches a request."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import string
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stax_pipeline.domain.admin_key import AdminKey, parse_admin_key, prefix_warning
from stax_pipeline.domain.errors import KeyRefused
from stax_pipeline.domain.pasted_key import without_keys

CANARY = "sk-ant-admin01-CANARYCANARYCANARY-9876"
PLAIN = string.ascii_letters + string.digits + "_-"


def refusal(text: str) -> str:
    with pytest.raises(KeyRefused) as refused:
        parse_admin_key(text)
    assert refused.value.__cause__ is None
    assert refused.value.__context__ is None
    return str(refused.value)


@pytest.mark.parametrize("outer", ["", " ", "\n", "\r\n", "\t ", "\u00a0"])
def test_outer_white_space_is_stripped(outer: str) -> None:
    assert parse_admin_key(f"{outer}{CANARY}{outer}").reveal() == CANARY


@pytest.mark.parametrize("text", ["", " ", "\n\t"])
def test_nothing_given(text: str) -> None:
    assert "console.anthropic.com/settings/keys" in refusal(text)


@pytest.mark.parametrize(
    "odd", ["\n", "\r\n", " ", "\t", "\0", "\u200b", "\u2019", '"', "\u201c", "\u00e9", "\ufeff", "\x7f", ":", "\ud800"]
)
def test_odd_character_inside_is_refused_without_an_echo(odd: str) -> None:
    told = refusal(f"{CANARY}{odd}{CANARY}")
    assert "CANARY" not in told
    assert "copy the key alone" in told


@pytest.mark.parametrize("invisible", ["\u200b", "\ufeff", "\0"])
def test_invisible_outer_character_is_no_white_space(invisible: str) -> None:
    assert "CANARY" not in refusal(f"{invisible}{CANARY}")


@pytest.mark.parametrize("length", [1001, 100_000])
def test_too_long(length: int) -> None:
    assert "too long" in refusal("CANARY"[:6] * (length // 6 + 1))
    longest = "sk-ant-" + "a" * 993
    assert parse_admin_key(longest).reveal() == longest


@pytest.mark.parametrize("key", ["sk-ant-api03-CANARY", "sk-ant-api", "SK-ANT-API03-CANARY", " sk-ant-api03-CANARY\n"])
def test_regular_key_gets_the_guides_hint(key: str) -> None:
    told = refusal(key)
    assert "Wrong key type" in told
    assert "console.anthropic.com/settings/keys" in told
    assert "Admin key" in told
    assert "CANARY" not in told


@pytest.mark.parametrize("text", ["hello", "CANARY-1234", "sk-CANARY", "sk-ant-", "ask-ant-admin01-CANARY"])
def test_what_cannot_be_a_key_is_refused_before_any_request(text: str) -> None:
    told = refusal(text)
    assert told.startswith("This is not an Anthropic key: every one starts with sk-ant-.")
    assert "Nothing was sent." in told
    assert "CANARY" not in told


def test_an_enterprise_key_is_told_apart_from_a_regular_one() -> None:
    told = refusal("sk-ant-api01-CANARY")
    assert "this is a Claude Enterprise key (its prefix is sk-ant-api01)" in told
    assert "regular" not in told
    assert "spend money" not in told


@pytest.mark.parametrize(
    "key", ["", "hello", "sk-ant-ü", "a" * 1001, "sk-ant-api01-x", "sk-ant-api03-x", "sk-ant-oat01-x"]
)
def test_no_refusal_is_taken_for_a_key_on_its_way_to_the_screen(key: str) -> None:
    told = refusal(key)
    assert without_keys(told) == told


@pytest.mark.parametrize("prefix", ["sk-ant-oat01-", "sk-ant-ort01-", "sk-ant-sid01-"])
def test_a_login_token_is_no_key(prefix: str) -> None:
    assert "this is a login token, not a key" in refusal(f"{prefix}CANARY")


def test_warning_for_another_prefix() -> None:
    assert prefix_warning(parse_admin_key(CANARY)) is None
    warning = prefix_warning(parse_admin_key("sk-ant-else-CANARY-1234"))
    assert warning is not None
    assert "\n" not in warning
    assert "CANARY" not in warning


def test_only_the_last_four_characters_show(caplog: pytest.LogCaptureFixture) -> None:
    key = parse_admin_key(CANARY)
    logging.getLogger("test").warning("%s %r %s", key, key, [key])
    shown = [repr(key), str(key), f"{key}", f"{key:>80}", f"{key!r}", repr({"key": key}), caplog.text]
    assert key.hint == "9876"
    for text in shown:
        assert "CANARY" not in text
        assert "9876" in text
    assert repr(AdminKey("short")) == "<AdminKey …>"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_cannot_be_pickled(protocol: int) -> None:
    with pytest.raises(TypeError, match="^an admin key cannot be pickled$"):
        pickle.dumps(parse_admin_key(CANARY), protocol)


def test_cannot_be_copied_hashed_extended_or_serialised() -> None:
    key = parse_admin_key(CANARY)
    with pytest.raises(TypeError, match="^an admin key cannot be copied$"):
        copy.copy(key)
    with pytest.raises(TypeError, match="^an admin key cannot be copied$"):
        copy.deepcopy({"nested": [key]})
    with pytest.raises(TypeError, match="^an admin key cannot be a member"):
        hash(key)
    with pytest.raises(AttributeError):
        key.note = "x"  # type: ignore[attr-defined]
    with pytest.raises(TypeError) as failed:
        json.dumps(key)
    assert "CANARY" not in "".join(traceback.format_exception(failed.value))
    with pytest.raises(TypeError):
        vars(key)


def test_equality() -> None:
    assert parse_admin_key(CANARY) == parse_admin_key(CANARY)
    assert parse_admin_key(CANARY) != parse_admin_key(CANARY + "x")
    assert (parse_admin_key(CANARY) == CANARY) is False


@given(st.text(max_size=1200))
def test_any_text_is_a_plain_key_or_refused_with_a_fixed_text(text: str) -> None:
    try:
        key = parse_admin_key(text)
    except KeyRefused as refused:
        assert str(refused).isascii()
        assert len(str(refused)) < 500
        return
    assert key.reveal() == text.strip()
    assert set(key.reveal()) <= set(PLAIN)


OTHER_TYPES = ("api", "oat", "ort", "sid")


@given(
    st.text(alphabet=PLAIN, min_size=1, max_size=990)
    .filter(lambda text: not text.lower().startswith(OTHER_TYPES))
    .map(lambda text: f"sk-ant-{text}")
)
def test_every_plain_text_with_the_prefix_is_accepted(text: str) -> None:
    assert parse_admin_key(text).reveal() == text
    if len(text) > 20:
        assert text not in repr(parse_admin_key(text))


@given(
    st.text(alphabet=PLAIN, min_size=1, max_size=50),
    st.characters(exclude_characters=PLAIN),
    st.text(alphabet=PLAIN, min_size=1, max_size=50),
)
def test_one_odd_character_is_enough(before: str, odd: str, after: str) -> None:
    assert refusal(before + odd + after) == refusal("a\nb")

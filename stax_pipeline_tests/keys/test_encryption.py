"""Keys at rest open for their own tenant and generation and for nothing else."""

from __future__ import annotations

import base64
import errno
import os
import pickle
import threading
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stax_pipeline.domain.admin_key import AdminKey, parse_admin_key
from stax_pipeline.domain.errors import CannotStart, TenantStopped
from stax_pipeline.domain.sealed_key import SealedKey, StoredKeyDamaged
from stax_pipeline.keys import encryption
from stax_pipeline.keys.encryption import (
    MasterKeys,
    UnknownMasterKey,
    add_primary,
    generate_master_key_file,
    load_master_keys,
    master_key_id,
    open_sealed,
    remove_master_key,
    rewrap,
    seal,
)

CANARY = "sk-ant-admin01-CANARYCANARYCANARY-9876"
KEY = parse_admin_key(CANARY)
OLD, NEW = bytes(range(32)), bytes(range(100, 132))
MASTERS = MasterKeys(OLD)
A, B = UUID(int=1), UUID(int=2)
SEALED = seal(KEY, tenant_id=A, generation=3, masters=MASTERS)

tenants = st.uuids()
generations = st.integers(min_value=0, max_value=2**63 - 1)
keys = st.from_regex(r"[A-Za-z0-9_-]{1,300}", fullmatch=True)
master_bytes = st.binary(min_size=32, max_size=32)


def encoded(key: bytes) -> str:
    return base64.b64encode(key).decode()


def is_damaged(sealed: SealedKey, tenant_id: UUID = A, generation: int = 3, masters: MasterKeys = MASTERS) -> bool:
    with pytest.raises(StoredKeyDamaged, match="reconnect") as refused:
        open_sealed(sealed, tenant_id, generation, masters)
    assert refused.value.__context__ is None
    assert isinstance(refused.value, TenantStopped)
    assert "CANARY" not in "".join(traceback.format_exception(refused.value))
    return True


@given(keys, tenants, generations, master_bytes, master_bytes)
def test_round_trip_before_and_after_rotation(
    secret: str, tenant_id: UUID, generation: int, old: bytes, new: bytes
) -> None:
    sealed = seal(AdminKey(secret), tenant_id=tenant_id, generation=generation, masters=MasterKeys(old))
    assert open_sealed(sealed, tenant_id, generation, MasterKeys(old)).reveal() == secret
    rewrapped = rewrap(sealed, tenant_id, generation, MasterKeys(new, old))
    assert rewrapped.ciphertext == sealed.ciphertext
    assert rewrapped.master_key_id == master_key_id(new)
    assert open_sealed(rewrapped, tenant_id, generation, MasterKeys(new)).reveal() == secret


@given(tenants, generations, tenants, generations)
def test_moved_to_another_tenant_or_generation(home: UUID, made: int, other: UUID, later: int) -> None:
    sealed = seal(KEY, tenant_id=home, generation=made, masters=MASTERS)
    if other != home:
        assert is_damaged(sealed, other, made)
    if later != made:
        assert is_damaged(sealed, home, later)


def test_half_of_a_row_moved_alone() -> None:
    for other in (
        seal(KEY, tenant_id=B, generation=3, masters=MASTERS),
        seal(KEY, tenant_id=A, generation=2, masters=MASTERS),
        seal(KEY, tenant_id=A, generation=3, masters=MASTERS),
    ):
        assert is_damaged(replace(SEALED, ciphertext=other.ciphertext))
        assert is_damaged(replace(SEALED, wrapped_data_key=other.wrapped_data_key))
    assert is_damaged(replace(SEALED, ciphertext=SEALED.wrapped_data_key))
    assert is_damaged(replace(SEALED, wrapped_data_key=SEALED.ciphertext))


def with_part(part: str, stored: bytes) -> SealedKey:
    if part == "ciphertext":
        return replace(SEALED, ciphertext=stored)
    return replace(SEALED, wrapped_data_key=stored)


@pytest.mark.parametrize("part", ["ciphertext", "wrapped_data_key"])
def test_every_flipped_bit_and_every_length_is_noticed(part: str) -> None:
    stored: bytes = getattr(SEALED, part)
    for position in range(len(stored)):
        for bit in range(8):
            changed = bytearray(stored)
            changed[position] ^= 1 << bit
            assert is_damaged(with_part(part, bytes(changed)))
        assert is_damaged(with_part(part, stored[:position]))
    assert is_damaged(with_part(part, stored + b"\0"))


@given(st.binary(max_size=200), st.sampled_from(["ciphertext", "wrapped_data_key"]))
def test_arbitrary_bytes_never_open(stored: bytes, part: str) -> None:
    assert is_damaged(with_part(part, stored))


@given(st.text(max_size=20).filter(lambda text: text != SEALED.master_key_id))
def test_changed_master_key_id(key_id: str) -> None:
    with pytest.raises((StoredKeyDamaged, UnknownMasterKey)):
        open_sealed(replace(SEALED, master_key_id=key_id), A, 3, MasterKeys(OLD, NEW))


def test_master_key_id_of_another_readable_key() -> None:
    assert is_damaged(replace(SEALED, master_key_id=master_key_id(NEW)), masters=MasterKeys(OLD, NEW))


def test_unknown_master_key_is_named() -> None:
    for attempt in (open_sealed, rewrap):
        with pytest.raises(UnknownMasterKey, match=f"under master key {master_key_id(OLD)}, which is not set"):
            attempt(SEALED, A, 3, MasterKeys(NEW))


def test_another_key_of_the_same_name_does_not_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encryption, "master_key_id", lambda _key: SEALED.master_key_id)
    assert is_damaged(SEALED, masters=MasterKeys(NEW))


def test_nothing_repeats() -> None:
    again = seal(KEY, tenant_id=A, generation=3, masters=MASTERS)
    assert again.ciphertext != SEALED.ciphertext
    assert again.wrapped_data_key != SEALED.wrapped_data_key
    assert CANARY.encode() not in again.ciphertext


def test_stored_form() -> None:
    assert SEALED.ciphertext.startswith(b"SX\x01\x02g3")
    assert len(SEALED.ciphertext) == 4 + 2 + 12 + len(CANARY) + 16
    assert SEALED.wrapped_data_key.startswith(b"SX\x01\x08" + SEALED.master_key_id.encode())
    assert len(SEALED.wrapped_data_key) == 4 + 8 + 12 + 32 + 16


def test_stopped_rotation_can_be_rerun() -> None:
    both = MasterKeys(NEW, OLD)
    rows = {UUID(int=n): seal(KEY, tenant_id=UUID(int=n), generation=n, masters=MASTERS) for n in range(1, 6)}
    for n in (1, 2):
        rows[UUID(int=n)] = rewrap(rows[UUID(int=n)], UUID(int=n), n, both)
    for n in range(1, 6):
        assert open_sealed(rows[UUID(int=n)], UUID(int=n), n, both) == KEY
    finished = {n: rewrap(rows[UUID(int=n)], UUID(int=n), n, both) for n in range(1, 6)}
    assert finished[1] is rows[UUID(int=1)]
    assert {row.master_key_id for row in finished.values()} == {both.primary_id}
    assert all(open_sealed(finished[n], UUID(int=n), n, MasterKeys(NEW)) == KEY for n in range(1, 6))


def test_rewrap_refuses_a_damaged_row() -> None:
    with pytest.raises(StoredKeyDamaged):
        rewrap(replace(SEALED, wrapped_data_key=SEALED.wrapped_data_key[:-1]), A, 3, MasterKeys(NEW, OLD))
    with pytest.raises(StoredKeyDamaged):
        rewrap(SEALED, B, 3, MasterKeys(NEW, OLD))


@pytest.mark.parametrize(
    "value",
    [
        encoded(OLD),
        encoded(OLD).rstrip("="),
        base64.urlsafe_b64encode(OLD).decode(),
        OLD.hex(),
        OLD.hex().upper(),
        f" {encoded(OLD)}\n",
    ],
)
def test_forms_of_a_master_key(value: str) -> None:
    masters = load_master_keys(value, None)
    assert masters.primary_id == master_key_id(OLD)
    assert masters.ids == {master_key_id(OLD)}


@given(st.lists(master_bytes, min_size=1, max_size=5), st.sampled_from([",", "\n", ", ", "\r\n", ",\n"]))
def test_several_master_keys_the_first_is_primary(found: list[bytes], separator: str) -> None:
    masters = load_master_keys(separator.join(map(encoded, found)) + separator, None)
    assert masters.primary_id == master_key_id(found[0])
    assert masters.ids == {master_key_id(key) for key in found}


@pytest.mark.parametrize("length", [0, 1, 16, 24, 31, 33, 64])
def test_any_other_length_is_refused(length: int) -> None:
    with pytest.raises(CannotStart, match="32"):
        MasterKeys(bytes(length))
    for value in (encoded(b"\xf0" * length), (b"\xf0" * length).hex()):
        with pytest.raises(CannotStart, match="STAX_MASTER_KEY") as refused:
            load_master_keys(value, None)
        assert not value or value not in str(refused.value)


@pytest.mark.parametrize("value", [encoded(bytes(16)), bytes(16).hex()])
def test_sixteen_bytes_are_refused_in_plain_words(value: str) -> None:
    with pytest.raises(CannotStart, match="key 2: 16 bytes, but AES-256 needs exactly 32"):
        load_master_keys(f"{encoded(OLD)},{value}", None)


@given(st.text(min_size=1, max_size=80))
def test_any_text_is_master_keys_or_refused_without_an_echo(value: str) -> None:
    try:
        load_master_keys(value, None)
    except CannotStart as refused:
        assert str(refused).isascii()
        assert refused.__cause__ is None


@pytest.mark.parametrize("value", [None, "", " \n"])
def test_missing_master_key_says_what_to_set(value: str | None) -> None:
    with pytest.raises(CannotStart, match=r"STAX_MASTER_KEY .*STAX_MASTER_KEY_FILE"):
        load_master_keys(value, None)


def test_missing_file_is_never_invented(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="cannot be read: No such file"):
        load_master_keys(None, tmp_path / "master.key")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o601])
def test_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "master.key"
    generate_master_key_file(path)
    path.chmod(mode)
    for attempt in (lambda: load_master_keys(None, path), lambda: add_primary(path)):
        with pytest.raises(CannotStart, match=f"mode {mode:04o}.*chmod 600"):
            attempt()


def test_value_goes_before_the_file(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    generate_master_key_file(path)
    assert load_master_keys(encoded(OLD), path).primary_id == master_key_id(OLD)


def test_generated_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    assert generate_master_key_file(path)
    content = path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_nlink == 1
    assert not generate_master_key_file(path)
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]
    assert len(load_master_keys(None, path).ids) == 1


def test_generated_once_by_many_at_once(tmp_path: Path) -> None:
    path, made = tmp_path / "master.key", []
    threads = [threading.Thread(target=lambda: made.append(generate_master_key_file(path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [False] * 7 + [True]


def test_unwritable_place_is_named(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="cannot be written"):
        generate_master_key_file(tmp_path / "missing" / "master.key")


def test_new_primary_keeps_the_old_readable(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    generate_master_key_file(path)
    before = load_master_keys(None, path)
    sealed = seal(KEY, tenant_id=A, generation=1, masters=before)
    fresh = add_primary(path)
    after = load_master_keys(None, path)
    assert after.primary_id == fresh != before.primary_id
    assert after.ids == {fresh, before.primary_id}
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_uid == os.geteuid()
    assert list(tmp_path.iterdir()) == [path]
    assert open_sealed(rewrap(sealed, A, 1, after), A, 1, after) == KEY


@pytest.mark.parametrize("change", [add_primary, lambda path: remove_master_key(path, "00000000")])
def test_what_a_killed_writer_left_beside_the_file_goes_with_the_next_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], object]
) -> None:
    path, other = tmp_path / "master[1].key", tmp_path / ".master1.key.00.tmp"
    generate_master_key_file(path)
    other.touch()
    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        killed.setattr(Path, "replace", interrupted)
        add_primary(path)
    assert len(list(tmp_path.iterdir())) == 3
    change(path)
    assert sorted(tmp_path.iterdir()) == [other, path]


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("call", ["replace", "write"])
def test_a_file_that_cannot_be_replaced_stays_as_it_is_with_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """A file that is a mount of its own cannot be renamed over; a full disk takes no second one."""
    path = tmp_path / "master.key"
    generate_master_key_file(path)
    before = path.read_bytes()

    def refused(*_: object) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr(*((Path, "replace") if call == "replace" else (os, "fsync")), refused)
    with pytest.raises(CannotStart, match=r"master\.key cannot be .*: Device or resource busy"):
        add_primary(path)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == before


def test_master_keys_show_ids_only_and_stay_here() -> None:
    masters = MasterKeys(OLD, NEW)
    assert repr(masters) == f"<MasterKeys primary {master_key_id(OLD)} of 2>"
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(masters)
    assert repr(SEALED) == f"SealedKey(master_key_id='{master_key_id(OLD)}')"

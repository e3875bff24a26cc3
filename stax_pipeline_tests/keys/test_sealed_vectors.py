"""Negative vectors for keys at rest, as Wycheproof has them for AES-256-GCM, applied to the stored form itself.

Every case starts from one value that opens. The base vector is Wycheproof's (key 00..1f, iv 50..5b, msg 20..2f): it
pins the cipher, the sealed value below pins the format, which released installations have in their databases.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from stax_pipeline.domain.admin_key import AdminKey
from stax_pipeline.domain.sealed_key import SealedKey, StoredKeyDamaged
from stax_pipeline.keys.encryption import MasterKeys, master_key_id, open_sealed, seal

MASTER = bytes(range(32))
MASTERS = MasterKeys(MASTER)
TENANT, OTHER = UUID("6f0c6f0e-58a4-4c0c-9a5b-0d5d5a3c1e11"), UUID(int=2)
SECRET = "sk-ant-admin01-golden-value-of-a-test-and-of-nobody-AAAA"
SEALED = SealedKey(
    bytes.fromhex(
        "535801026733ea682dd1aa0c6204f809b10df429251e5151f39b3e6fe6a7cbaee93dfd0d07c0ceb1"
        "5e3a2abc601ef7bea77228e9fde460ee83b5c7d5a915ef3062ab5aa223320ae3da871403df85d2cb"
        "89cc6a6abbed0252c425"
    ),
    bytes.fromhex(
        "535801086334663062623930f83762693570bb108c2ce60012cd32b94432f344c002f935b5fe6bf5"
        "a9981bf26928225551b03a767ebc828fb84fc8e73da757e71a2ddd5991e15ed4"
    ),
    "c4f0bb90",
)
MAGIC, VERSION, LENGTH, NAME = 0, 2, 3, 4
NONCE_OF = {"ciphertext": 4 + 2, "wrapped_data_key": 4 + 8}
TAG = 16
Change = Callable[[bytes, int], bytes]  # of a stored value and the place of its nonce


def opens(sealed: SealedKey, tenant: UUID = TENANT, generation: int = 3, masters: MasterKeys = MASTERS) -> bool:
    try:
        return open_sealed(sealed, tenant, generation, masters).reveal() == SECRET
    except StoredKeyDamaged as damaged:
        assert (damaged.__cause__, damaged.__context__) == (None, None)
        return False


def test_the_cipher_is_aes_256_gcm_with_a_nonce_of_96_bits_and_a_tag_of_128() -> None:
    key, iv, plain = bytes(range(32)), bytes(range(0x50, 0x5C)), bytes(range(0x20, 0x30))
    expected = "b2061457c0759fc1749f174ee1ccadfa" + "9ce8fef6d8ab1bf1bf887232eab590dd"
    assert AESGCM(key).encrypt(iv, plain, b"").hex() == expected


def test_a_value_sealed_by_a_released_version_opens() -> None:
    assert master_key_id(MASTER) == SEALED.master_key_id
    assert opens(SEALED)


def flipped(stored: bytes, place: int, bits: int = 1) -> bytes:
    place %= len(stored)
    return stored[:place] + bytes([stored[place] ^ bits]) + stored[place + 1 :]


def tag_bit(number: int) -> Change:
    """One bit of the tag flipped, numbered as Wycheproof does: from the first byte, least significant first."""
    return lambda stored, _nonce: flipped(stored, -TAG + number // 8, 1 << number % 8)


def with_tag(tag: bytes) -> Change:
    return lambda stored, _nonce: stored[:-TAG] + tag


def cut_tag(left: int) -> Change:
    return lambda stored, _nonce: stored[: len(stored) - TAG + left]


def with_nonce(made: Callable[[bytes], bytes]) -> Change:
    return lambda stored, at: stored[:at] + made(stored[at : at + 12]) + stored[at + 12 :]


VECTORS: dict[str, Change] = {
    **{f"flipped bit {n} in tag": tag_bit(n) for n in (0, 1, 7, 8, 31, 32, 33, 63, 64, 71, 77, 80, 96, 97, 120, 127)},
    "flipped bits 0 and 64 in tag": lambda s, _: flipped(flipped(s, -TAG), -TAG + 8),
    "flipped bits 31 and 63 in tag": lambda s, _: flipped(flipped(s, -TAG + 3, 0x80), -TAG + 7, 0x80),
    "flipped bits 63 and 127 in tag": lambda s, _: flipped(flipped(s, -TAG + 7, 0x80), -1, 0x80),
    "all bits of tag flipped": lambda s, _: s[:-TAG] + bytes(byte ^ 0xFF for byte in s[-TAG:]),
    "tag all 0": with_tag(bytes(TAG)),
    "tag all 1": with_tag(b"\xff" * TAG),
    "msbs of tag flipped": lambda s, _: s[:-TAG] + bytes(byte ^ 0x80 for byte in s[-TAG:]),
    "lsbs of tag flipped": lambda s, _: s[:-TAG] + bytes(byte ^ 0x01 for byte in s[-TAG:]),
    **{f"tag truncated to {n} bytes": cut_tag(n) for n in (0, 1, 4, 8, 12, 15)},
    "tag one byte longer": lambda s, _: s + b"\0",
    "tag before the text": lambda s, at: s[: at + 12] + s[-TAG:] + s[at + 12 : -TAG],
    "text flipped": lambda s, at: flipped(s, at + 12),
    "no text": lambda s, at: s[: at + 12] + s[-TAG:],
    "text and tag gone": lambda s, at: s[: at + 12],
    "iv all 0": with_nonce(lambda _: bytes(12)),
    "iv all 1": with_nonce(lambda _: b"\xff" * 12),
    "iv incremented": with_nonce(lambda iv: iv[:-1] + bytes([(iv[-1] + 1) % 256])),
    "iv of 0 bytes": with_nonce(lambda _: b""),
    "iv of 8 bytes": with_nonce(lambda iv: iv[:8]),
    "iv of 11 bytes": with_nonce(lambda iv: iv[:11]),
    "iv of 13 bytes": with_nonce(lambda iv: iv + b"\0"),
    "iv of 16 bytes": with_nonce(lambda iv: iv + bytes(4)),
    "other magic": lambda s, _: flipped(s, MAGIC),
    "format version 0": lambda s, _: s[:VERSION] + b"\0" + s[VERSION + 1 :],
    "format version 2": lambda s, _: s[:VERSION] + b"\2" + s[VERSION + 1 :],
    "format version 255": lambda s, _: s[:VERSION] + b"\xff" + s[VERSION + 1 :],
    "key id longer than it is": lambda s, _: s[:LENGTH] + bytes([s[LENGTH] + 1]) + s[LENGTH + 1 :],
    "key id of length 0": lambda s, at: s[:LENGTH] + b"\0" + s[at:],
    "another key id": lambda s, _: flipped(s, NAME),
    "empty": lambda _s, _n: b"",
    "twice": lambda s, _: s + s,
}


@pytest.mark.parametrize("part", NONCE_OF)
@pytest.mark.parametrize("name", VECTORS)
def test_negative_vector(name: str, part: str) -> None:
    stored: bytes = getattr(SEALED, part)
    changed = VECTORS[name](stored, NONCE_OF[part])
    assert changed != stored
    assert not opens(
        replace(SEALED, ciphertext=changed) if part == "ciphertext" else replace(SEALED, wrapped_data_key=changed)
    )


BOUND: dict[str, tuple[UUID, int, MasterKeys]] = {
    "another tenant": (OTHER, 3, MASTERS),
    "no tenant": (UUID(int=0), 3, MASTERS),
    "an older generation": (TENANT, 2, MASTERS),
    "a newer generation": (TENANT, 4, MASTERS),
    "the generation in another byte": (TENANT, 3 << 8, MASTERS),
}


@pytest.mark.parametrize("name", BOUND)
def test_wrong_authenticated_data(name: str) -> None:
    tenant, generation, masters = BOUND[name]
    assert not opens(SEALED, tenant, generation, masters)


def test_authenticated_data_without_the_header_or_the_purpose_does_not_open() -> None:
    """One part of a value cannot stand in for the other: their purposes are bound."""
    again = seal(AdminKey(SECRET), tenant_id=TENANT, generation=3, masters=MASTERS)
    assert opens(again)
    assert not opens(replace(again, ciphertext=again.wrapped_data_key))
    assert not opens(replace(again, wrapped_data_key=again.ciphertext))

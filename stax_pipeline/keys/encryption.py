"""Admin keys at rest: AES-256-GCM, one fresh data key per tenant and generation, wrapped by a master key.

Every sealed value is `magic(2) version(1) id length(1) key id, nonce(12), ciphertext and tag`. Authenticated with it:
this header, the purpose, the tenant's UUID and the generation, so that a value moved to another tenant's row or
rolled back to an older generation does not open. The master key's id is bound to the wrapped data key alone:
rotation wraps that anew and never touches the secret.
What stays out: where sealed keys are stored (`warehouse.tenants`), where master keys are set (the settings).
No error of this module holds a key, and none is raised while one that does is being handled.
"""

from __future__ import annotations

import base64
import binascii
import glob
import hashlib
import os
import re
import secrets
from pathlib import Path
from typing import NoReturn, SupportsIndex
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from stax_pipeline.domain.admin_key import AdminKey
from stax_pipeline.domain.errors import CannotStart, TenantStopped, WrongUse
from stax_pipeline.domain.plurals import count_of
from stax_pipeline.domain.sealed_key import SealedKey, StoredKeyDamaged
from stax_pipeline.installation.ownership import OTHERS_USE, why_not_ours

KEY_BYTES = 32
_MAGIC = b"SX"
_VERSION = 1
_NONCE_BYTES = 12
_SECRET = b"anthropic-admin-key"
_DATA_KEY = b"data-key"
_FINGERPRINT_LABEL = b"stax-pipeline master key id\0"
_HEX = re.compile(r"[0-9A-Fa-f]+")
_MASTER_KEY_ID = re.compile(r"[0-9a-f]{8}")
_HOW_TO_SET = (
    "Set STAX_MASTER_KEY to 32 random bytes in base64 (openssl rand -base64 32), "
    "or STAX_MASTER_KEY_FILE to a file of mode 0600 that holds them."
)


class UnknownMasterKey(TenantStopped):
    """A stored key was sealed under a master key that is not among the readable ones."""

    def __init__(self, master_key_id: str) -> None:
        super().__init__(
            f"The stored key was sealed under master key {master_key_id}, which is not set. "
            "Add that master key to STAX_MASTER_KEY (after the primary one), or reconnect the tenant."
        )
        self.master_key_id = master_key_id


class MasterKeys:
    """One primary master key, which seals, and further ones that can still be read. Shows ids only."""

    __slots__ = ("__by_id", "primary_id")

    def __init__(self, primary: bytes, *others: bytes) -> None:
        if any(len(key) != KEY_BYTES for key in (primary, *others)):
            raise CannotStart(f"Every master key must be {KEY_BYTES} bytes. {_HOW_TO_SET}")
        self.primary_id = master_key_id(primary)
        self.__by_id = {master_key_id(key): AESGCM(key) for key in (primary, *others)}

    @property
    def ids(self) -> frozenset[str]:
        return frozenset(self.__by_id)

    def cipher(self, key_id: str) -> AESGCM:
        if key_id not in self.__by_id:
            raise UnknownMasterKey(key_id)
        return self.__by_id[key_id]

    def __repr__(self) -> str:
        return f"<MasterKeys primary {self.primary_id} of {len(self.__by_id)}>"

    def __reduce_ex__(self, _protocol: SupportsIndex) -> NoReturn:
        raise TypeError("master keys cannot be pickled or copied")


def master_key_id(key: bytes) -> str:
    """A short name that follows from the key itself, so that two keys never share one by mistake."""
    return hashlib.sha256(_FINGERPRINT_LABEL + key).hexdigest()[:8]


def load_master_keys(value: str | None, file: Path | None) -> MasterKeys:
    """The master keys from a setting's value or, without one, from a file: base64 or hex, the first is primary."""
    if value and value.strip():
        return MasterKeys(*_decode_all(value, "STAX_MASTER_KEY"))
    if file is not None:
        return MasterKeys(*_decode_all(_read_private(file), str(file)))
    raise CannotStart(f"The master key is missing, so stored keys can be neither read nor made. {_HOW_TO_SET}")


def generate_master_key_file(path: Path) -> bool:
    """Make a master key in a new file of mode 0600; False, and the file untouched, when there is one already."""
    temporary = _write_aside(path, _encode(secrets.token_bytes(KEY_BYTES)))
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    _sync_directory(path.parent)
    return True


def add_primary(path: Path) -> str:
    """Put a new primary master key before those of the file, which stay readable; returns its id."""
    kept = _read_private(path)
    _decode_all(kept, str(path))
    fresh = secrets.token_bytes(KEY_BYTES)
    _replace(path, _encode(fresh) + kept)
    return master_key_id(fresh)


def remove_master_key(path: Path, key_id: str) -> None:
    """Take the master key of that id out of the file for good; what it sealed can then not be opened any more."""
    kept = [key for key in _decode_all(_read_private(path), str(path)) if master_key_id(key) != key_id]
    _replace(path, "".join(map(_encode, kept)))


def seal(key: AdminKey, *, tenant_id: UUID, generation: int, masters: MasterKeys) -> SealedKey:
    """Encrypt a key for one tenant and generation under a data key of its own."""
    data_key = secrets.token_bytes(KEY_BYTES)
    ciphertext = _encrypt(
        AESGCM(data_key), f"g{generation}", key.reveal().encode("ascii"), _SECRET, tenant_id, generation
    )
    return SealedKey(ciphertext, _wrap(data_key, tenant_id, generation, masters), masters.primary_id)


def open_sealed(sealed: SealedKey, tenant_id: UUID, generation: int, masters: MasterKeys) -> AdminKey:
    """The key again, if it was sealed for this very tenant and generation."""
    data_key = _unwrap(sealed, tenant_id, generation, masters)
    secret = _decrypt(AESGCM(data_key), f"g{generation}", sealed.ciphertext, _SECRET, tenant_id, generation)
    if secret is None:
        raise StoredKeyDamaged
    return AdminKey(secret.decode("ascii"))


def rewrap(sealed: SealedKey, tenant_id: UUID, generation: int, masters: MasterKeys) -> SealedKey:
    """The same sealed secret with its data key under the primary master key; unchanged when it is already."""
    data_key = _unwrap(sealed, tenant_id, generation, masters)
    if sealed.master_key_id == masters.primary_id:
        return sealed
    return SealedKey(sealed.ciphertext, _wrap(data_key, tenant_id, generation, masters), masters.primary_id)


def _wrap(data_key: bytes, tenant_id: UUID, generation: int, masters: MasterKeys) -> bytes:
    key_id = masters.primary_id
    return _encrypt(masters.cipher(key_id), key_id, data_key, _DATA_KEY, tenant_id, generation)


def _unwrap(sealed: SealedKey, tenant_id: UUID, generation: int, masters: MasterKeys) -> bytes:
    key_id = sealed.master_key_id
    if _MASTER_KEY_ID.fullmatch(key_id) is None:
        raise StoredKeyDamaged
    cipher = masters.cipher(key_id)
    data_key = _decrypt(cipher, key_id, sealed.wrapped_data_key, _DATA_KEY, tenant_id, generation)
    if data_key is None or len(data_key) != KEY_BYTES:
        raise StoredKeyDamaged
    return data_key


def _encrypt(cipher: AESGCM, key_id: str, plain: bytes, purpose: bytes, tenant_id: UUID, generation: int) -> bytes:
    header, nonce = _header(key_id), secrets.token_bytes(_NONCE_BYTES)
    return header + nonce + cipher.encrypt(nonce, plain, _bound(header, purpose, tenant_id, generation, key_id))


def _decrypt(
    cipher: AESGCM, key_id: str, stored: bytes, purpose: bytes, tenant_id: UUID, generation: int
) -> bytes | None:
    """None when anything is wrong; no exception is alive when the caller says so."""
    header, stored = _header(key_id), bytes(stored)
    body = stored[len(header) :]
    if not stored.startswith(header) or len(body) < _NONCE_BYTES:
        return None
    nonce, encrypted = body[:_NONCE_BYTES], body[_NONCE_BYTES:]
    try:
        return cipher.decrypt(nonce, encrypted, _bound(header, purpose, tenant_id, generation, key_id))
    except InvalidTag:
        return None


def _header(key_id: str) -> bytes:
    name = key_id.encode("ascii")
    return _MAGIC + bytes((_VERSION, len(name))) + name


def _bound(header: bytes, purpose: bytes, tenant_id: UUID, generation: int, key_id: str) -> bytes:
    fields = (bytes((_VERSION,)), purpose, tenant_id.bytes, generation.to_bytes(8, "big"), key_id.encode("ascii"))
    return header + b"".join(len(part).to_bytes(4, "big") + part for part in fields)


def _decode_all(text: str, source: str) -> list[bytes]:
    words = re.split(r"[\s,]+", text.strip(", \t\r\n"))
    if words == [""]:
        raise CannotStart(f"{source} holds no master key. {_HOW_TO_SET}")
    return [_decode(word, f"{source}, key {number}") for number, word in enumerate(words, start=1)]


def _decode(word: str, source: str) -> bytes:
    if _HEX.fullmatch(word) and len(word) in (32, 64):
        key: bytes | None = bytes.fromhex(word)
    else:
        key = _from_base64(word)
    if key is None:
        raise CannotStart(f"{source}: neither base64 nor hex. {_HOW_TO_SET}")
    if len(key) != KEY_BYTES:
        length = count_of(len(key), "byte")
        raise CannotStart(f"{source}: {length}, but AES-256 needs exactly {KEY_BYTES}. {_HOW_TO_SET}")
    return key


def _from_base64(word: str) -> bytes | None:
    standard = word.rstrip("=").translate(str.maketrans("-_", "+/"))
    try:
        return base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def _encode(key: bytes) -> str:
    return base64.b64encode(key).decode("ascii") + "\n"


def _read_private(path: Path) -> str:
    try:
        with path.open("rb") as file:
            others, content = why_not_ours(path, os.fstat(file.fileno()), OTHERS_USE), file.read(100_000)
    except OSError as error:
        raise CannotStart(f"The master key file {path} cannot be read: {error.strerror}. {_HOW_TO_SET}") from None
    if others:
        raise CannotStart(f"The master key file {others}")
    return content.decode("utf-8", errors="replace")


def _write_aside(path: Path, text: str) -> Path:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise CannotStart(f"The master key file {path} cannot be written: {error.strerror}.") from None
    return temporary


def _replace(path: Path, text: str) -> None:
    """Put `text` in the file's place, whole; what a killed writer left beside it is removed."""
    if path.is_symlink():
        raise WrongUse(
            f"{path} is a link, and what keeps the file behind it might put the old one back. Put a new master key "
            "first in that file yourself (openssl rand -base64 32), then run `stax rotate-master-key` again."
        )
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        left.unlink(missing_ok=True)
    temporary = _write_aside(path, text)
    try:
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise CannotStart(f"The master key file {path} cannot be replaced: {error.strerror}.") from None
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

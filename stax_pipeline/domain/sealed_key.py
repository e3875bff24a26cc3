"""An admin key as it is stored: sealed. What seals and opens it is `keys.encryption`."""

from __future__ import annotations

from dataclasses import dataclass, field

from stax_pipeline.domain.errors import TenantStopped


class StoredKeyDamaged(TenantStopped):
    """A stored key does not open: changed, cut, of another tenant or of another generation."""

    def __init__(self) -> None:
        super().__init__(
            "The stored key is damaged, of another tenant or an older one put back; "
            "reconnect the tenant with its admin key."
        )


@dataclass(frozen=True, slots=True)
class SealedKey:
    """What the database stores of an admin key; useless without the master key."""

    ciphertext: bytes = field(repr=False)
    wrapped_data_key: bytes = field(repr=False)
    master_key_id: str

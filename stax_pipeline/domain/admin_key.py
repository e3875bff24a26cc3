"""An Anthropic admin key in memory: checked once on entry, and never shown, copied or stored by accident.

What stays out: asking for it (`cli`), trying it out against Anthropic (`tenants`), sealing it (`keys.encryption`).
No text of this module ever repeats what was pasted: it may be a key.
"""

from __future__ import annotations

import hmac
import re
from typing import NoReturn, SupportsIndex

from stax_pipeline.domain.errors import KeyRefused

LONGEST_KEY = 1000
ADMIN_PREFIX = "sk-ant-admin"
EVERY_PREFIX = "sk-ant-"
REGULAR_PREFIX = "sk-ant-api"
ENTERPRISE_PREFIX = "sk-ant-api01-"
TOKEN_PREFIXES = ("sk-ant-oat", "sk-ant-ort", "sk-ant-sid")
_PLAIN = re.compile(r"[A-Za-z0-9_-]+")
_SHORTEST_WITH_HINT = 16
_HOW_TO_CREATE = "create an Admin key at console.anthropic.com/settings/keys (Create key, then Admin key)"


class AdminKey:
    """A secret that shows only its last four characters and refuses to leave the process in any other form."""

    __slots__ = ("__secret",)

    def __init__(self, secret: str) -> None:
        self.__secret = secret

    def reveal(self) -> str:
        """The key itself: for the request header and for sealing, nowhere else."""
        return self.__secret

    @property
    def hint(self) -> str:
        """The last four characters, for people to tell keys apart; fewer secrets than that show nothing."""
        return self.__secret[-4:] if len(self.__secret) >= _SHORTEST_WITH_HINT else ""

    def __repr__(self) -> str:
        return f"<AdminKey …{self.hint}>"

    __str__ = __repr__

    def __format__(self, _spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AdminKey):
            return NotImplemented
        return hmac.compare_digest(self.__secret.encode(), other.__secret.encode())

    def __hash__(self) -> NoReturn:
        raise TypeError("an admin key cannot be a member of a set or a key of a mapping")

    def __reduce_ex__(self, _protocol: SupportsIndex) -> NoReturn:
        raise TypeError("an admin key cannot be pickled")

    def __getstate__(self) -> NoReturn:
        raise TypeError("an admin key cannot be pickled")

    def __copy__(self) -> NoReturn:
        raise TypeError("an admin key cannot be copied")

    def __deepcopy__(self, _memo: object) -> NoReturn:
        raise TypeError("an admin key cannot be copied")


def parse_admin_key(text: str) -> AdminKey:
    """The key in a pasted text, without its outer white space; anything odd is refused before a request is made."""
    secret = text.strip()
    if not secret:
        raise KeyRefused(f"No key was given: {_HOW_TO_CREATE} and paste it whole.")
    if len(secret) > LONGEST_KEY:
        raise KeyRefused(f"This is too long for a key (more than {LONGEST_KEY} characters): copy the key alone.")
    if _PLAIN.fullmatch(secret) is None:
        raise KeyRefused(
            "The key holds a character that no key has (only letters, digits, - and _ may occur; a space, a line "
            "break, a quote or an invisible character came along): copy the key alone."
        )
    start = secret.lower()
    if not start.startswith(EVERY_PREFIX) or len(secret) <= len(EVERY_PREFIX):
        raise KeyRefused(
            f"This is not an Anthropic key: every one starts with {EVERY_PREFIX}. Please {_HOW_TO_CREATE}; it starts "
            f"with {ADMIN_PREFIX}. Nothing was sent."
        )
    if start.startswith(ENTERPRISE_PREFIX):
        raise KeyRefused(
            "Wrong key type: this is a Claude Enterprise key (its prefix is sk-ant-api01). It reads the analytics of a "
            f"Claude Enterprise organization, not the cost and usage reports of the Console. Please {_HOW_TO_CREATE}; "
            f"it starts with {ADMIN_PREFIX}."
        )
    if start.startswith(TOKEN_PREFIXES):
        raise KeyRefused(
            f"Wrong key type: this is a login token, not a key. Please {_HOW_TO_CREATE}; it starts with {ADMIN_PREFIX}."
        )
    if start.startswith(REGULAR_PREFIX):
        raise KeyRefused(
            "Wrong key type: this is a regular API key (sk-ant-api...), which can spend money but cannot read billing. "
            f"Please {_HOW_TO_CREATE}; it starts with sk-ant-admin."
        )
    return AdminKey(secret)


def prefix_warning(key: AdminKey) -> str | None:
    """One line for a key that does not look like an admin key, None for one that does."""
    if key.reveal().startswith(ADMIN_PREFIX):
        return None
    return "The key does not start with sk-ant-admin as admin keys do; Anthropic's answer will decide."

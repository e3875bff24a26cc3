"""Passwords: hashed by Argon2id, and checked in the same time whether or not there is such a login."""

from __future__ import annotations

import secrets
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from stax_pipeline.domain.errors import WrongUse

SHORTEST, LONGEST = 12, 256
_hasher = PasswordHasher()


def parse_password(text: str) -> str:
    """The text itself when it can be a password. Raises WrongUse, which does not repeat it."""
    if not SHORTEST <= len(text) <= LONGEST or not text.isprintable():
        raise WrongUse(f"A password has {SHORTEST} to {LONGEST} printable characters. Nothing was changed.")
    return text


def hashed(password: str) -> str:
    """What is kept of a password."""
    return _hasher.hash(password)


def is_right(password: str, kept: str | None) -> bool:
    """Whether it is the password that `kept` was made of; False, and just as slow, where nothing is kept."""
    try:
        return _hasher.verify(kept or _nobodys(), password[: LONGEST + 1]) and bool(kept)
    except (VerificationError, InvalidHashError):
        return False


@cache
def _nobodys() -> str:
    return hashed(secrets.token_urlsafe())

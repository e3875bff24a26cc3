"""A person at the app, and the three roles."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from stax_pipeline.domain.errors import WrongUse

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._@+-]{0,126}[a-z0-9])?")


class Role(StrEnum):
    """Operators reach everything, Dagster too; analysts the figures of all tenants; tenants their own figures."""

    OPERATOR = "operator"
    ANALYST = "analyst"
    TENANT = "tenant"


class Person(NamedTuple):
    """Who asks; `tenant_id` is the tenant of a person of role tenant, None of the others."""

    name: str
    role: Role
    tenant_id: UUID | None = None

    @property
    def is_operator(self) -> bool:
        return self.role is Role.OPERATOR


AT_THIS_MACHINE = Person("this machine", Role.OPERATOR)
"""Whoever reaches an app on loopback that asks for no login."""


def parse_name(text: str) -> str:
    """The name of a login in its one spelling, small letters. Raises WrongUse where it can be none."""
    name = text.strip().lower()
    if _NAME.fullmatch(name) is None:
        raise WrongUse(
            f"{ascii(text[:40])} is not a valid name for a login: use 1 to 128 letters a-z, digits and . _ @ + -, such "
            "as anna or anna@example.com."
        )
    return name

"""Column kinds of the warehouse: the one place where a type, its constraints and its Parquet copy are decided."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, UUID

SCHEMA = "stax"
metadata = sa.MetaData(
    schema=SCHEMA,
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "uq": "%(table_name)s_%(column_0_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s_check",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
    },
)


def text(name: str, comment: str, *, null: bool = False, key: bool = False, **more: Any) -> sa.Column[Any]:
    return sa.Column(name, sa.Text, nullable=null, primary_key=key, comment=comment, **more)


def day(name: str, comment: str, *, null: bool = False, key: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Date, nullable=null, primary_key=key, comment=comment)


def instant(name: str, comment: str, *, null: bool = False, key: bool = False, **more: Any) -> sa.Column[Any]:
    return sa.Column(
        name,
        sa.DateTime(timezone=True),
        nullable=null,
        primary_key=key,
        comment=comment,
        **more,
    )


def count(name: str, comment: str, *, null: bool = False, key: bool = False) -> sa.Column[Any]:
    return sa.Column(
        name,
        sa.BigInteger,
        nullable=null,
        primary_key=key,
        comment=comment,
        autoincrement=False,
    )


def number(name: str, comment: str, *, null: bool = False, **more: Any) -> sa.Column[Any]:
    """An exact decimal; every table guards each of these against NaN, infinities and more than 18 decimals."""
    return sa.Column(name, sa.Numeric, nullable=null, comment=comment, **more)


def identity(name: str, comment: str, *, key: bool = False, **more: Any) -> sa.Column[Any]:
    return sa.Column(
        name,
        UUID(as_uuid=True),
        nullable=False,
        primary_key=key,
        comment=comment,
        **more,
    )


def json(name: str, comment: str) -> sa.Column[Any]:
    return sa.Column(name, JSONB, nullable=False, server_default="{}", comment=comment)


def flag(name: str, comment: str, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, sa.Boolean, nullable=False, comment=comment, **options)


def binary(name: str, comment: str) -> sa.Column[Any]:
    return sa.Column(name, sa.LargeBinary, nullable=False, comment=comment)


def table(name: str, comment: str, *parts: Any, apart: Sequence[str] = ()) -> sa.Table:
    """A table of schema `stax` whose decimals cannot hold what `numeric` would silently accept: NaN, infinities, more
    than 18 decimals, or more than the 20 whole digits that Parquet's decimal128(38, 18) has room for.

    `apart` names the dimensions that tell the rows of a tenant's day apart, where the key is a number instead: loading
    (`line_numbers`) and a check see to it that no two rows agree in all of them.
    """
    guards = [
        sa.CheckConstraint(
            f"abs({c.name}) < 1e20 AND scale({c.name}) <= 18",
            name=c.name,
        )
        for c in parts
        if isinstance(c, sa.Column) and isinstance(c.type, sa.Numeric)
    ]
    return sa.Table(name, metadata, *parts, *guards, comment=comment, info={"apart": tuple(apart)})


def tenant() -> sa.Column[Any]:
    return identity("tenant_id", "The tenant, by its random internal id", key=True)


def usage_date() -> sa.Column[Any]:
    return day("usage_date", "The UTC day the use happened on", key=True)

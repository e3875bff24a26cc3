"""This version as if it had one migration more than it has."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from stax_pipeline.warehouse import migrate

OLDER, NEWER = "0001", "0002"
_NEXT = f"""
from alembic import op

revision = "{NEWER}"
down_revision = "{OLDER}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("alter table stax.list_prices add column is_old boolean")
    op.execute("alter table stax.list_prices no force row level security")  # the owner sees no row otherwise
    op.execute("update stax.list_prices set is_old = recorded_at < now()")
    op.execute("alter table stax.list_prices force row level security")
    op.execute("alter table stax.list_prices alter column is_old set not null")
"""


def add_a_migration(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the newest schema is `NEWER`, whose migration fills a column of `list_prices` from its rows."""
    shutil.copytree(migrate.MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    assert migrate.known_revisions() == [OLDER]
    (folder / "versions" / f"{NEWER}_next.py").write_text(_NEXT)
    monkeypatch.setattr(migrate, "MIGRATIONS", folder)
    assert migrate.known_revisions() == [NEWER, OLDER]

"""What a view consists of, how it is made, and the columns that mean the same in every view."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import sqlalchemy as sa

ALIASES = """(values
    ('claude-opus-4-5', 'claude-opus-4-5-20251101'), ('claude-opus-4-1', 'claude-opus-4-1-20250805'),
    ('claude-opus-4-0', 'claude-opus-4-20250514'), ('claude-sonnet-4-5', 'claude-sonnet-4-5-20250929'),
    ('claude-sonnet-4-0', 'claude-sonnet-4-20250514'), ('claude-haiku-4-5', 'claude-haiku-4-5-20251001'),
    ('claude-3-7-sonnet-latest', 'claude-3-7-sonnet-20250219'),
    ('claude-3-5-haiku-latest', 'claude-3-5-haiku-20241022'),
    ('claude-3-5-sonnet-latest', 'claude-3-5-sonnet-20241022'),
    ('claude-3-opus-latest', 'claude-3-opus-20240229'))"""
"""The ids that aliases stand for: prices and price accuracy are kept by dated id."""


def days_of(table: str) -> str:
    """Every day that `table` spans. Joined to it, a view by month still reads days and tenants through its key."""
    return f"""(
    select d::date as usage_date, date_trunc('month', d)::date as month
    from (select min(usage_date)::timestamp as first, max(usage_date)::timestamp as last from stax.{table}) span
    cross join lateral generate_series(span.first, span.last, interval '1 day') as d)"""


COLUMNS = {
    "tenant": "The tenant's name in commands",
    "tenant_id": "The tenant, by its random internal id",
    "usage_date": "The UTC day the use happened on",
    "month": "First day of the calendar month, UTC",
    "workspace_id": "Workspace id; 'default' is the default workspace; NULL where none applies",
    "workspace_name": "Workspace name, of archived ones too; NULL where the organisation never listed it",
    "model": "Model id; NULL where none applies",
    "cost_type": "tokens, web_search, code_execution, session_usage, …",
    "token_type": "Token type under the cost report's names; NULL where none applies",
    "service_tier": "standard, batch, priority, … as the source names it; NULL where none applies",
    "context_window": "0-200k or 200k-1M; NULL where none applies",
    "inference_geo": "global, us or not_available; NULL where none applies",
    "speed": "standard, fast, mixed where a spend line holds both; NULL where the source refused to tell",
    "cost_source": "reported, priority-reconstructed, unbilled, usage-estimated, unpriced or commitment-unused",
    "cost_usd": "USD; NULL when nothing in the group has a price",
    "effective_cost_usd": "USD after spreading a recorded commitment; equals cost_usd without one",
    "list_cost_usd": "USD at list price",
    "tokens": "Tokens; NULL where the source tells none",
}


@dataclass(frozen=True, slots=True)
class View:
    """A view by name; `columns` are the comments of those that `COLUMNS` does not say, or says otherwise here."""

    name: str
    comment: str
    query: str
    columns: dict[str, str] = field(default_factory=dict)

    def comment_of(self, column: str) -> str:
        return self.columns.get(column) or COLUMNS[column]

    def create(self, owner: sa.Connection, readers: Iterable[str]) -> None:
        """Make the view, which runs with its reader's rights, commented, and let `readers` (quoted roles) select."""
        owner.exec_driver_sql(f"create view stax.{self.name} with (security_invoker = true) as {_verbatim(self.query)}")
        owner.exec_driver_sql(f"grant select on stax.{self.name} to {', '.join(readers)}")
        _comment(owner, f"view stax.{self.name}", self.comment)
        for column in sa.inspect(owner).get_columns(self.name, schema="stax"):
            name = column["name"]
            _comment(owner, f'column stax.{self.name}."{name}"', self.comment_of(name))


def _comment(owner: sa.Connection, on: str, words: str) -> None:
    owner.exec_driver_sql(_verbatim(f"comment on {on} is $c${words}$c$"))


def _verbatim(statement: str) -> str:
    """For a driver that takes `%` for a parameter."""
    return statement.replace("%", "%%")

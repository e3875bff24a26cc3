"""What an operator reads on an asset and on a run: column schemas from the warehouse's tables, counts, failures."""

from collections.abc import Mapping
from typing import Any

import dagster as dg
import sqlalchemy as sa

from stax_pipeline.resources.warehouse.columns import SCHEMA
from stax_pipeline.steps.isolation import Outcome

OWNERS = ["team:data-platform"]
_KINDS: tuple[tuple[type[sa.types.TypeEngine[Any]], str], ...] = (
    (sa.Numeric, "numeric (exact)"),
    (sa.BigInteger, "bigint"),
    (sa.DateTime, "timestamptz"),
    (sa.Date, "date"),
    (sa.Boolean, "boolean"),
    (sa.UUID, "uuid"),
)


def table_metadata(table: sa.Table) -> dict[str, Any]:
    """Definition metadata of an asset that is one table."""
    return {
        "dagster/table_name": f"{SCHEMA}.{table.name}",
        "dagster/column_schema": dg.TableSchema(
            columns=[
                dg.TableColumn(
                    name=c.name,
                    type=_kind(c),
                    description=c.comment,
                    constraints=dg.TableColumnConstraints(nullable=bool(c.nullable)),
                )
                for c in table.columns
            ]
        ),
    }


def lineage(columns: Mapping[str, Mapping[str, list[str]]]) -> dg.TableColumnLineage:
    """Which upstream columns each column comes from: {column: {asset: [columns]}}."""
    return dg.TableColumnLineage(
        {
            name: [
                dg.TableColumnDep(asset_key=dg.AssetKey([asset]), column_name=column)
                for asset, names in sources.items()
                for column in names
            ]
            for name, sources in columns.items()
        }
    )


def outcome_metadata(outcome: Outcome) -> dict[str, Any]:
    """Tenants that succeeded and failed, rows, requests sent again, and a table of who failed for which reason."""
    told: dict[str, Any] = {
        "tenants_ok": outcome.succeeded,
        "tenants_failed": len(outcome.failures),
        "dagster/row_count": outcome.rows,
    }
    if outcome.retries:
        told["requests_repeated"] = outcome.retries
    if outcome.failures:
        told["failures"] = text_table(["tenant", "reason"], sorted(outcome.failures.items()))
    found = [(slug, words) for slug, findings in sorted(outcome.findings.items()) for words in findings]
    if found:
        told["findings"] = text_table(["tenant", "finding"], found)
    return told


def text_table(names: list[str], rows: list[Any]) -> dg.TableMetadataValue:
    """A table of at most 50 rows, everything as text: decimals keep every digit."""
    records = [
        dg.TableRecord({name: "" if value is None else str(value) for name, value in zip(names, row, strict=True)})
        for row in rows[:50]
    ]
    schema = dg.TableSchema(columns=[dg.TableColumn(name=name, type="string") for name in names])
    return dg.MetadataValue.table(records=records, schema=schema)


def _kind(column: sa.Column[Any]) -> str:
    return next((name for kind, name in _KINDS if isinstance(column.type, kind)), "text")

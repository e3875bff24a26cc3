"""What an operator reads on an asset and on a run: column schemas from the warehouse's tables, counts, failures."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import dagster as dg
import sqlalchemy as sa

from stax_pipeline.assets.links import page_of
from stax_pipeline.dagster_instance.internals import tag_run
from stax_pipeline.domain.event_privacy import without_figures
from stax_pipeline.pipeline.isolation import Outcome
from stax_pipeline.resources.scope import Scope
from stax_pipeline.warehouse.columns import SCHEMA

FAILED_TENANTS = "stax/failed_tenants"
TAGGED = 20  # names in the tag of a run: Dagster indexes it
OWNERS = ["team:data-platform"]
_KINDS: tuple[tuple[type[sa.types.TypeEngine[Any]], str], ...] = (
    (sa.Numeric, "numeric (exact)"),
    (sa.BigInteger, "bigint"),
    (sa.DateTime, "timestamptz"),
    (sa.Date, "date"),
    (sa.Boolean, "boolean"),
    (sa.UUID, "uuid"),
)


Origins = Mapping[str, Mapping[str, Sequence[str]]]
"""Which upstream columns a column comes from: {column: {asset: [columns]}}."""


def table_metadata(table: sa.Table, origins: Origins | None = None) -> dict[str, Any]:
    """Definition metadata of an asset that is one table, with what is known of where its columns come from."""
    told: dict[str, Any] = {
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
    if origins:
        told["dagster/column_lineage"] = _lineage(origins)
    return told


def _lineage(origins: Origins) -> dg.TableColumnLineage:
    return dg.TableColumnLineage(
        {
            name: [
                dg.TableColumnDep(asset_key=dg.AssetKey([asset]), column_name=column)
                for asset, names in sources.items()
                for column in names
            ]
            for name, sources in origins.items()
        }
    )


def outcome_metadata(outcome: Outcome, scope: Scope, asset: str | None = None) -> dict[str, Any]:
    """Tenants that the asset has and lacks after this run, rows, requests sent again, and who is lacking for which
    reason, as tables and as a tag of the run. `asset` is needed where a step makes several.
    """
    context = dg.AssetExecutionContext.get()
    key = dg.AssetKey(asset) if asset else context.asset_key
    upstream = (before.to_user_string() for before in context.assets_def.asset_deps[key])
    inherited = scope.note(key.to_user_string(), upstream, outcome.failures)
    reported: dict[str, Any] = {
        "tenants_ok": max(outcome.succeeded - len(inherited), 0),
        "tenants_failed": len(outcome.failures) + len(inherited),
        "dagster/row_count": outcome.rows,
        **page_of({*outcome.failures, *inherited} or scope.named or ()),
    }
    if outcome.retries:
        reported["requests_repeated"] = outcome.retries
    if outcome.failures:
        _tag_run(context, outcome.failures)
        failed = [(slug, without_figures(why)) for slug, why in sorted(outcome.failures.items())]
        reported["failures"] = text_table(["tenant", "reason"], failed)
    if inherited:
        reported["failed_upstream"] = text_table(
            ["tenant", "asset", "reason"],
            [(slug, asset, without_figures(why)) for slug, (asset, why) in sorted(inherited.items())],
        )
    found = [
        (slug, without_figures(words)) for slug, findings in sorted(outcome.findings.items()) for words in findings
    ]
    if found:
        reported["findings"] = text_table(["tenant", "finding"], found)
    return reported


def _tag_run(context: dg.AssetExecutionContext, slugs: Collection[str]) -> None:
    """Name failed tenants where runs are listed: a run that succeeded for the others is green."""
    run = context.instance.get_run_by_id(context.run.run_id)
    before = run.tags.get(FAILED_TENANTS, "").split(", ") if run else []
    names = sorted({*before, *slugs} - {""})
    shown = [*names[:TAGGED], *(["…"] if len(names) > TAGGED else [])]
    tag_run(context.instance, context.run.run_id, {FAILED_TENANTS: ", ".join(shown)})


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

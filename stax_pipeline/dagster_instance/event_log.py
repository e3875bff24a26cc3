"""Dagster's event log and run storage on Postgres, with a statement where Dagster's own take several.

Dagster's own look into the catalogue for a column or a table around each event of an asset, announce every event to
listeners that no longer exist, and plan a check once for each day of the run, though no check is of a day: those plans
are never fulfilled. All of it was four fifths of a small run's statements (`benchmarks`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

import sqlalchemy as sa
from dagster import AssetKey, DagsterEventType, DagsterRunStatus, EventLogEntry
from dagster_postgres.event_log import PostgresEventLogStorage
from dagster_postgres.run_storage import PostgresRunStorage

from stax_pipeline.dagster_instance.internals import ASSET_EVENTS, PLANNED, CheckRuns, Events, Runs, planned_days

MATERIALIZATION = DagsterEventType.ASSET_MATERIALIZATION.value


def remembered(ask: Callable[..., bool]) -> Callable[..., bool]:
    """A question about the schema whose yes holds for as long as the storage lives; a no is asked again."""

    @wraps(ask)
    def asked(self: Any, *given: Any) -> bool:
        key = ask.__name__, *(word for word in given if isinstance(word, str))
        known: set[tuple[str, ...]] = vars(self).setdefault("_remembered", set())
        if key in known:
            return True
        if found := ask(self, *given):
            known.add(key)
        return found

    return asked


def _but_for_day(event: EventLogEntry) -> tuple[Any, ...] | None:
    """What a materialisation of a day tells beside day and instant; None of any other event."""
    found = event.dagster_event
    if found is None or found.event_type_value != MATERIALIZATION:
        return None
    made = found.step_materialization_data
    told = made.materialization
    if told.partition is None:
        return None
    return (
        event.run_id, event.level, event.user_message, event.error_info, found._replace(event_specific_data=None),
        made.asset_lineage, told.asset_key, told.description, told.metadata, told.tags,
    )  # fmt: skip


class EventLog(PostgresEventLogStorage):
    """What Dagster reads and writes of events, in the same rows but for checks that are planned."""

    has_table = remembered(PostgresEventLogStorage.has_table)
    _has_asset_key_col_on_connection = remembered(PostgresEventLogStorage._has_asset_key_col_on_connection)

    def store_event(self, event: EventLogEntry) -> None:
        """Keep an event, and what of it is kept by asset and by check."""
        self.store_event_batch([event])

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """The same for several, in their order."""
        if not events:
            return
        rows = self._rows(events)
        with self._connect() as connection:
            insert = Events.insert().returning(Events.c.id, sort_by_parameter_order=True)
            ids = list(connection.execute(insert, rows).scalars())
        self._keep_by_asset(list(zip(events, ids, strict=True)))
        plans = []
        for event, row, event_id in zip(events, rows, ids, strict=True):
            kind = event.dagster_event_type
            if kind is DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED:
                plans.append(_plan(event, row, event_id))
            elif kind is DagsterEventType.ASSET_CHECK_EVALUATION:
                self.store_asset_check_event(event, event_id)
        if plans:
            with self.index_connection() as connection:
                connection.execute(CheckRuns.insert(), plans)

    def _rows(self, events: Sequence[EventLogEntry]) -> list[dict[str, Any]]:
        """Rows of the log. Materialisations of a backfill differ in day and instant alone: the first and the last are
        written out, and the others in the words of the first where that would have made the last.
        """
        told = _but_for_day(events[0]) if len(events) > 2 else None
        if told is not None and all(_but_for_day(event) == told for event in events):
            first, last = self._event_to_row(events[0]), self._event_to_row(events[-1])
            if self._in_words_of(events[0], first, events[-1]) == last:
                return [self._in_words_of(events[0], first, event) for event in events]
        return [self._event_to_row(event) for event in events]

    def _in_words_of(self, first: EventLogEntry, row: dict[str, Any], event: EventLogEntry) -> dict[str, Any]:
        words = row["event"]
        day = event.get_dagster_event().partition
        for name, before, after in (
            ("partition", first.get_dagster_event().partition, day),
            ("timestamp", first.timestamp, event.timestamp),
        ):
            words = words.replace(f'"{name}": {json.dumps(before)}', f'"{name}": {json.dumps(after)}')
        instant = self._event_insert_timestamp(event)  # type: ignore[no-untyped-call]
        return {**row, "event": words, "partition": day, "timestamp": instant}

    def get_latest_asset_partition_materialization_attempts_without_materializations(
        self, asset_key: AssetKey, after_storage_id: int | None = None
    ) -> Mapping[str, tuple[str, int]]:
        """The days that a run planned last and did not materialise, with the run and the event: they failed with it, or
        are in progress. Dagster's own finds days that were planned one by one, this those of a run together as well.
        """
        attempts = dict(
            super().get_latest_asset_partition_materialization_attempts_without_materializations(
                asset_key, after_storage_id
            )
        )
        made: Mapping[str, int] | None = None
        for run_id, event_id, event in self._planned_together(asset_key, after_storage_id or 0):
            if made is None:
                kind = DagsterEventType.ASSET_MATERIALIZATION
                made = self.get_latest_storage_id_by_partition(asset_key, kind)
            for day in planned_days(event):
                if event_id > max(made.get(day, 0), attempts.get(day, ("", 0))[1]):
                    attempts[day] = run_id, event_id
        return attempts

    def _planned_together(self, asset_key: AssetKey, after: int) -> list[tuple[str, int, str]]:
        """Plans over several days, the oldest first, of runs that have not succeeded."""
        kind = DagsterEventType.ASSET_MATERIALIZATION_PLANNED.value
        query = (
            sa.select(Events.c.run_id, Events.c.id, Events.c.event)
            .join(Runs, Runs.c.run_id == Events.c.run_id)
            .where(Events.c.asset_key == asset_key.to_string(), Events.c.dagster_event_type == kind)
            .where(Events.c.partition.is_(None), Events.c.id > after)
            .where(Runs.c.status != DagsterRunStatus.SUCCESS.value)
            .order_by(Events.c.id)
        )
        with self.index_connection() as connection:
            return [(run_id, event_id, event) for run_id, event_id, event in connection.execute(query)]

    def _keep_by_asset(self, stored: Sequence[tuple[EventLogEntry, int]]) -> None:
        """Tags of every event of an asset, and of each kind of event what the last one says of the asset."""
        found = [
            (event, event_id)
            for event, event_id in stored
            if event.dagster_event_type in ASSET_EVENTS and event.get_dagster_event().asset_key
        ]
        if not found:
            return
        last = {(event.dagster_event_type, event.get_dagster_event().asset_key): (event, n) for event, n in found}
        with self.index_transaction() as connection:
            self._store_asset_event_tags(connection, *zip(*found, strict=True))
            for event, event_id in last.values():
                self._store_asset_event(connection, event, event_id)


def _plan(event: EventLogEntry, row: dict[str, Any], event_id: int) -> dict[str, Any]:
    """A check that a run intends to execute, which its result fulfils."""
    planned = event.get_dagster_event().asset_check_planned_data
    return {
        "asset_key": planned.asset_key.to_string(), "check_name": planned.check_name, "run_id": event.run_id,
        "execution_status": PLANNED, "evaluation_event": row["event"],
        "evaluation_event_timestamp": row["timestamp"], "evaluation_event_storage_id": event_id,
    }  # fmt: skip


class RunLog(PostgresRunStorage):
    """Runs as Dagster keeps them."""

    has_run_stats_index_cols = remembered(PostgresRunStorage.has_run_stats_index_cols)
    has_backfill_id_column = remembered(PostgresRunStorage.has_backfill_id_column)

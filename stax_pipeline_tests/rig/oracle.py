"""One oracle: a run without faults leaves content X; a run with any fault, then one without, leaves X as well.

Content is every row of Postgres and of the Parquet files, less ids made at random, times and run ids. Raw pages differ
from run to run by their times: of them it is proved that they are whole and that the warehouse names every one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from datetime import timedelta

import pyarrow as pa
import pyarrow.parquet as pq

from stax_pipeline.domain.errors import StaxError
from stax_pipeline.domain.extraction import Window
from stax_pipeline.lake.parquet import rebuild
from stax_pipeline.lake.parquet_names import NAMES, path_of
from stax_pipeline.lake.raw import OBJECT, REFUSAL, prove_whole, read_raw
from stax_pipeline.pipeline.isolation import no_progress
from stax_pipeline.pipeline.replay_from_lake import restore_extractions
from stax_pipeline.simulator import Organization, realistic_organization
from stax_pipeline.warehouse.tables import DAILY
from stax_pipeline.warehouse.tenants import all_tenants
from stax_pipeline_tests.conftest import Installation
from stax_pipeline_tests.pipeline.support import DAYS, LEFT_OUT, Ran, content, query, sync

Content = dict[str, list[str]]
OF_NAMES = {path_of(table) for table in NAMES}  # only whole runs write them
Fault = Callable[[Installation], AbstractContextManager[object]]


def tiny_organizations() -> tuple[Organization, Organization]:
    """`acme` and `globex` with every kind of use and as few rows as that allows."""
    return (
        realistic_organization("acme", daily_tokens=2_000_000, shared_workspaces=0, priority_share=0.25),
        realistic_organization("globex", daily_tokens=1_000_000, shared_workspaces=0, priority_share=0.1),
    )


def run(made: Installation, window: Window = DAYS, *slugs: str) -> Ran:
    """Every step of job `sync`, the Parquet files included."""
    ran = sync(made, window, *slugs)
    write_files(made, window)
    return ran


def write_files(made: Installation, window: Window = DAYS) -> None:
    for table in DAILY:
        rebuild(made.engine, made.lake, table, window)


def run_if_it_can(made: Installation) -> None:
    """A run that a fault may stop, but only in words."""
    with suppress(StaxError, OSError):
        run(made)


def everything(made: Installation) -> Content:
    """Postgres and Parquet; along the way it is proved that the lake holds whole objects and nothing else."""
    assert unfinished(made) == []
    assert unnamed_raw(made) == []
    return {**content(made), **parquet_content(made)}


def unfinished(made: Installation) -> list[str]:
    return [file.name for file in made.lake.scratch().iterdir()]


def sweep(made: Installation) -> None:
    """What the nightly sweep does a day later."""
    made.lake.sweep(timedelta(seconds=-1))


def parquet_content(made: Installation) -> Content:
    """Every row of every daily file as text, by table and day; a page that is not its checksum is an error."""
    slugs = {str(row.tenant_id): row.slug for row in query(made, "select tenant_id, slug from stax.tenants")}
    found: Content = {}
    for path in made.lake.paths(""):
        if path.startswith(("raw/", ".tmp/")) or path in OF_NAMES:
            continue
        assert path.endswith("/part-0.parquet"), path
        table = pq.ParquetFile(pa.BufferReader(made.lake.get(path)), page_checksum_verification=True).read()
        kept = [f.name for f in table.schema if f.name not in LEFT_OUT and not pa.types.is_timestamp(f.type)]
        rows = zip(table.column("tenant_id").to_pylist(), table.select(kept).to_pylist(), strict=True)
        day = path.partition("/bucket=")[0]  # which bucket a tenant is in follows from its random id
        found[day] = sorted(found.get(day, []) + [repr((slugs[tenant_id], *row.values())) for tenant_id, row in rows])
    return found


def unnamed_raw(made: Installation) -> list[str]:
    """Raw objects that the warehouse does not name. Every object, named or not, is proved whole on the way."""
    named = {row.raw_uri: row for row in query(made, "select * from stax.extractions where raw_uri is not null")}
    paths = [path for path in made.lake.paths("raw") if not path.endswith(REFUSAL)]
    for path in paths:
        assert path.endswith(OBJECT), path
        digest = hashlib.sha256(made.lake.get(path)).hexdigest()
        header, pages = read_raw(made.lake, path, named[path].sha256 if path in named else digest)
        prove_whole(path, header, list(pages))
    assert set(named) <= set(paths), "the warehouse names objects that are gone"
    return sorted(set(paths) - set(named))


def adopt(made: Installation) -> None:
    """What `stax replay --from-lake` does first: a whole object that nothing names is an extraction like any other."""
    with made.engine.connect() as connection:
        tenants = all_tenants(connection)
    assert restore_extractions(made.engine, made.lake, tenants, no_progress).failures == {}
    assert unnamed_raw(made) == []


def recovers(made: Installation, fault: Fault, expected: Content, *, orphans: int = 0) -> Content:
    """Run under `fault`, then without: everything must be `expected`. Returns what people saw in between.

    At most `orphans` raw objects may be there that nothing names: a commit whose outcome is unknown keeps its pages.
    """
    with fault(made):
        run_if_it_can(made)
        between = content(made)
    sweep(made)
    assert len(unnamed_raw(made)) <= orphans
    adopt(made)
    run(made)
    assert everything(made) == expected
    return between

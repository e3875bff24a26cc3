"""Whether Dagster's history and the logs name what belonged to one tenant: its workspaces, keys, models and figures.

Its slug in runs' tags and configuration is the one thing that stays. Stays out: what a purge removes (`disconnect`).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

import sqlalchemy as sa

from stax_pipeline.domain.tenant import Tenant
from stax_pipeline.embedded_postgres.layout import write_private
from stax_pipeline.warehouse.engine import connect_engine, plain_faults

MOST = 100  # marks of one kind, the largest figures first: each is looked for in every event
DIGITS = 5  # significant ones that make a figure worth looking for
BARE_DIGITS = 8  # of a whole number without separators: shorter ones are process ids and ports too
_IDS = """
(select workspace_id from stax.workspaces where tenant_id = :id and length(workspace_id) > 8 order by 1 limit :most)
union (select anthropic_id from stax.workspaces where tenant_id = :id and length(anthropic_id) > 8
       order by 1 limit :most)
union (select api_key_id from stax.api_keys where tenant_id = :id and length(api_key_id) > 8 order by 1 limit :most)
"""
_NAMES = """
with named as (select tenant_id, name from stax.workspaces where not is_default
               union select tenant_id, name from stax.api_keys),
models as (select distinct tenant_id, model as name from stax.spend s
           where length(model) > 8 and not exists (select 1 from stax.list_prices p where p.model = s.model))
(select name from named n where tenant_id = :id and length(name) >= 6 and name <> :slug
 and not exists (select 1 from named o where o.name = n.name and o.tenant_id <> :id) order by 1 limit :most)
union (select name from models m where tenant_id = :id
       and not exists (select 1 from models o where o.name = m.name and o.tenant_id <> :id) order by 1 limit :most)
"""
_FIGURES = """
with figures as (select 'spend' as kind, abs(cost_usd) as figure from stax.spend where tenant_id = :id
                 union select 'cents', abs(cost_usd) * 100 from stax.spend where tenant_id = :id
                 union select 'invoice', abs(amount_usd) from stax.invoices where tenant_id = :id
                 union select 'tokens', quantity from stax.spend where tenant_id = :id),
ranked as (select figure, row_number() over (partition by kind order by figure desc) as place from figures
           where length(trim(both '0' from replace(figure::text, '.', ''))) >= :digits)
select distinct trim_scale(figure)::text from ranked where place <= :most
"""
_COLUMNS = """
select c.relname, a.attname, a.atttypid = 'bytea'::regtype from pg_class c
join pg_namespace n on n.oid = c.relnamespace join pg_attribute a on a.attrelid = c.oid
where n.nspname = 'dagster' and c.relkind in ('r', 'p') and a.attnum > 0 and not a.attisdropped
  and a.atttypid in ('text'::regtype, 'varchar'::regtype, 'json'::regtype, 'jsonb'::regtype, 'bytea'::regtype)
"""
_HELD = 'select {shown} from dagster."{table}" where "{column}" is not null'
_BEGINS = r"(?:(?<![\w.-])|(?<=[\s\"'=:(\[$]-)|(?<=\\[nrt]))"
_NUMBER = re.compile(rf"{_BEGINS}(?<!\d:)(?:\d{{1,3}}(?:,\d{{3}})+|\d+)(?:\.\d+)?(?!\w|-\d)")


@dataclass(slots=True)
class Marks:
    """Texts that name one tenant's data: ids anywhere, names as whole words, figures in any formatting."""

    ids: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    figures: set[str] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self.ids) + len(self.names) + len(self.figures)

    def __or__(self, other: Self) -> Marks:
        return Marks(self.ids | other.ids, self.names | other.names, self.figures | other.figures)

    def within(self, text: str) -> int:
        """How many of them `text` holds."""
        return (
            sum(mark in text for mark in self.ids)
            + sum(_holds_word(text, name) for name in self.names)
            + len(self.figures.intersection(_figures(text)))
        )


def _holds_word(text: str, name: str) -> bool:
    spelt = {name, json.dumps(name)[1:-1]}
    return any(one in text and re.search(rf"{_BEGINS}{re.escape(one)}(?![\w-])", text) for one in spelt)


def _figures(text: str) -> Iterator[str]:
    """Every number in `text` without separators and closing zeros."""
    for token in _NUMBER.findall(text):
        if "," in token or "." in token or len(token) >= BARE_DIGITS:
            whole, _, decimals = token.replace(",", "").partition(".")
            yield f"{whole}.{decimals}".rstrip("0").rstrip(".") if decimals else whole


def marks_of(engine: sa.Engine, tenant: Tenant) -> Marks:
    """What names this tenant's data and nobody else's, as far as the warehouse still holds it."""
    known = {"id": tenant.tenant_id, "slug": tenant.slug, "most": MOST, "digits": DIGITS}
    with plain_faults(f"tenant {tenant.slug}: looking for what names it"), engine.connect() as connection:
        return Marks(*(set(connection.execute(sa.text(query), known).scalars()) for query in (_IDS, _NAMES, _FIGURES)))


def keep(home: Path, slug: str, marks: Marks) -> None:
    """Keep the marks for a purge that is run again: by then the warehouse no longer tells them."""
    file = _file(home, slug)
    file.parent.mkdir(mode=0o700, exist_ok=True)
    write_private(file, json.dumps({kind: sorted(texts) for kind, texts in asdict(marks).items()}))


def kept(home: Path, slug: str) -> Marks | None:
    """What an earlier purge that did not end kept."""
    try:
        return Marks(**{kind: set(texts) for kind, texts in json.loads(_file(home, slug).read_text()).items()})
    except FileNotFoundError:
        return None


def forget(home: Path, slug: str) -> None:
    _file(home, slug).unlink(missing_ok=True)


def _file(home: Path, slug: str) -> Path:
    return home / "purges" / f"{slug}.json"


def in_history(dagster_url: str, marks: Marks) -> dict[str, int]:
    """Values in Dagster's storage that hold a mark, by table."""
    engine = connect_engine(dagster_url)
    counts: Counter[str] = Counter()
    try:
        with plain_faults("looking through Dagster's history"), engine.connect() as connection:
            for table, column, is_binary in connection.execute(sa.text(_COLUMNS)).all():
                shown = f"encode(\"{column}\", 'escape')" if is_binary else f'"{column}"::text'
                query = _HELD.format(shown=shown, table=table, column=column)
                with connection.execution_options(yield_per=1000).execute(sa.text(query)) as rows:
                    counts[f"Dagster's {table}"] += sum(marks.within(text) > 0 for text in rows.scalars())
    finally:
        engine.dispose()
    return {place: count for place, count in counts.items() if count}


def in_files(home: Path, marks: Marks) -> dict[str, int]:
    """Marks in the logs of this home: Dagster's, ours and the embedded server's, by file."""
    found: dict[str, int] = {}
    for file in _logs(home):
        try:
            found[str(file)] = marks.within(file.read_bytes().decode(errors="replace"))
        except FileNotFoundError:  # rotated or removed meanwhile
            continue
    return {place: count for place, count in found.items() if count}


def _logs(home: Path) -> Iterator[Path]:
    files = [*(home / "dagster").rglob("*"), *home.glob("*.log*"), *(home / "postgres").glob("*.log*")]
    return (file for file in files if file.is_file())

"""`/tenants/{slug}`: a tenant's month, its days by model, and the state of its sync."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stax_pipeline.app import figures, wording
from stax_pipeline.app.charts import KINDS, Column, Mark, stacked_bars
from stax_pipeline.app.people.access import person_of
from stax_pipeline.app.rendering import page
from stax_pipeline.domain.money import ZERO

DAYS = 30
SERIES = 6  # models by name; the rest is one series
OTHER, NO_MODEL = "Other", "No model"
_KIND = {"reported": KINDS[0], "priority-reconstructed": KINDS[1], "usage-estimated": KINDS[2]}


class Line(NamedTuple):
    """A row of the table below the chart: a day, its dollars by series in USD, and why it is not complete."""

    day: date
    usd: tuple[Decimal, ...]
    total_usd: Decimal
    note: str


def tenant(request: Request) -> Response:
    """404 for a tenant that there is not, and for one that the reader may not see, in the same words."""
    person, now = person_of(request.scope), request.app.state.now()
    assert person is not None
    first, last = figures.window(now.date(), DAYS)
    with request.app.state.database.reading(person) as connection:
        found = figures.months(connection, now.date(), request.path_params["slug"])
        if not found:
            raise HTTPException(404)
        spent = figures.spent_by_day(connection, found[0], first, last)
        days = figures.states(connection, found[0], first, last)
        run = figures.last_run(connection, found[0])
    names = series_of(spent)
    columns = columns_of(spent, days, names)
    return page(
        request,
        "tenant.html",
        month=found[0],
        reach=wording.data_through(found[0].usage_data_through, found[0].cost_data_through, now),
        today=now.date(),
        run=run,
        chart=stacked_bars("spend", "Dollars per day and model", columns, names),
        names=names,
        lines=[_line(day, column, len(names)) for day, column in zip(days, columns, strict=True)][::-1],
        total_usd=sum((column.usd for column in columns), ZERO),
    )


def series_of(spent: Sequence[figures.DaySpend]) -> list[str]:
    """Models by their dollars, the largest first, and one name for all beyond `SERIES`."""
    by_model: dict[str, Decimal] = defaultdict(Decimal)
    for one in spent:
        by_model[one.model or NO_MODEL] += abs(one.usd)
    ranked = sorted(by_model, key=lambda name: (-by_model[name], name))
    return ranked if len(ranked) <= SERIES else [*ranked[:SERIES], OTHER]


def columns_of(
    spent: Sequence[figures.DaySpend], days: Sequence[figures.DayState], names: Sequence[str]
) -> list[Column]:
    """One column a day; every dollar is in exactly one mark."""
    place = {name: at for at, name in enumerate(names)}
    by_day: dict[date, dict[tuple[int, str], Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for one in spent:
        series = place.get(one.model or NO_MODEL, len(names) - 1)
        by_day[one.usage_date][series, _KIND[one.cost_source]] += one.usd
    return [
        Column(
            wording.day(day.usage_date),
            [Mark(series, kind, usd) for (series, kind), usd in by_day[day.usage_date].items() if usd],
            _note(day),
        )
        for day in days
    ]


def _note(day: figures.DayState) -> str:
    if day.cost_state is None and day.usage_state is None:
        return "not read"
    return "" if day.cost_state == day.usage_state == "complete" else "not complete yet"


def _line(day: figures.DayState, column: Column, series: int) -> Line:
    usd = [ZERO] * series
    for mark in column.marks:
        usd[mark.series] += mark.usd
    return Line(day.usage_date, tuple(usd), column.usd, column.note)


ROUTES = [Route("/tenants/{slug}", tenant)]

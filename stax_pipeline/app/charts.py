"""Charts as inline SVG, made on the server: stacked bars by day.

Every mark says in a `<title>` what it is and holds its exact figure in `data-usd`; a day's bars are one stop of the
keyboard; kinds of dollars differ by pattern, not by colour alone. Nothing is styled here but by classes (`app.css`).
Stays out: which figures are drawn, and the table of them that stands below each chart (`pages`, `templates`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import NamedTuple

from markupsafe import Markup

from stax_pipeline.app.wording import dollars

WIDTH, HEIGHT = 960, 300
LEFT, RIGHT, TOP, BOTTOM = 72, 8, 12, 32
BAR = Decimal("0.7")  # of a day's width
TICKS = 6  # steps of the axis, at most one more
LABELS = 8  # days named below the axis, at most this many
_STEPS = (Decimal(1), Decimal(2), Decimal("2.5"), Decimal(5), Decimal(10))
KINDS = ("billed", "priority-reconstructed", "estimated")


class Mark(NamedTuple):
    """One bar's part: `series` is its place in the legend, `kind` one of `KINDS`."""

    series: int
    kind: str
    usd: Decimal


@dataclass(frozen=True, slots=True)
class Column:
    """One day. `note` says in words why it is not complete, '' where it is."""

    label: str
    marks: Sequence[Mark]
    note: str = ""

    @property
    def usd(self) -> Decimal:
        return sum((mark.usd for mark in self.marks), Decimal(0))


class Scale(NamedTuple):
    """Dollars to heights: `low` and `high` are the ends of the axis, in steps of `step`."""

    low: Decimal
    high: Decimal
    step: Decimal

    def y(self, usd: Decimal) -> Decimal:
        return TOP + (self.high - usd) * (HEIGHT - TOP - BOTTOM) / (self.high - self.low)

    @property
    def ticks(self) -> Iterator[Decimal]:
        usd = self.low
        while usd <= self.high:
            yield usd
            usd += self.step


def stacked_bars(ident: str, title: str, columns: Sequence[Column], names: Sequence[str]) -> Markup:
    """The chart and its legend.

    Args:
        ident: what its ids begin with; one a page.
        title: what it shows, for those who hear it.
        columns: the days, from left to right; USD.
        names: of the series, in the order of the legend.
    """
    scale = _scale(columns)
    return Markup("").join(
        [
            Markup(
                '<svg class="bars" viewBox="0 0 {} {}" role="group" aria-labelledby="{}-title">'
                '<title id="{}-title">{}</title>'
            ).format(WIDTH, HEIGHT, ident, ident, title),
            _patterns(ident, len(names)),
            *(_tick(scale, usd) for usd in scale.ticks),
            *(_column(ident, scale, place, column, len(columns), names) for place, column in enumerate(columns)),
            Markup("</svg>"),
            _legend(ident, columns, names),
        ]
    )


def _scale(columns: Sequence[Column]) -> Scale:
    """Both ends on a whole step, 0 among them."""
    highest = max((sum((m.usd for m in c.marks if m.usd > 0), Decimal(0)) for c in columns), default=Decimal(0))
    lowest = min((sum((m.usd for m in c.marks if m.usd < 0), Decimal(0)) for c in columns), default=Decimal(0))
    rough = (highest - lowest) / TICKS or Decimal(1)
    power = Decimal(1).scaleb(rough.adjusted())
    step = next(power * one for one in _STEPS if power * one >= rough)
    low = (lowest / step).to_integral_value(ROUND_FLOOR) * step
    high = (highest / step).to_integral_value(ROUND_CEILING) * step
    return Scale(low, max(high, low + step), step)


def _patterns(ident: str, series: int) -> Markup:
    hatch = Markup(
        '<pattern id="{0}-r{1}" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
        '<rect class="paper" width="6" height="6"/><rect class="s{1}" width="3" height="6"/></pattern>'
        '<pattern id="{0}-e{1}" width="6" height="6" patternUnits="userSpaceOnUse">'
        '<rect class="paper" width="6" height="6"/><circle class="s{1}" cx="3" cy="3" r="1.8"/></pattern>'
    )
    return Markup("<defs>{}</defs>").format(Markup("").join(hatch.format(ident, one) for one in range(series)))


def _tick(scale: Scale, usd: Decimal) -> Markup:
    y = _at(scale.y(usd))
    line = Markup('<line class="{}" x1="{}" x2="{}" y1="{}" y2="{}"/>')
    name = Markup('<text class="tick" x="{}" y="{}">{}</text>')
    drawn = line.format("zero" if usd == 0 else "grid", LEFT, WIDTH - RIGHT, y, y)
    return drawn + name.format(LEFT - 8, y + 4, dollars(usd, short=True))


def _column(ident: str, scale: Scale, place: int, column: Column, of: int, names: Sequence[str]) -> Markup:
    step = Decimal(WIDTH - LEFT - RIGHT) / of
    x = LEFT + step * place
    said = f"{column.label}: {dollars(column.usd)}" + (f", {column.note}" if column.note else "")
    parts = [Markup('<g class="day" tabindex="0" role="img" aria-label="{}">').format(said)]
    back = Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>')
    shade = "unfinished" if column.note else "back"
    parts.append(back.format(shade, _at(x), TOP, _at(step), HEIGHT - TOP - BOTTOM, said))
    parts += _bars(ident, scale, column, x + step * (1 - BAR) / 2, step * BAR, names)
    every = -(-of // LABELS)
    if (of - 1 - place) % every == 0:
        name = Markup('<text class="name" x="{}" y="{}">{}</text>')
        parts.append(name.format(_at(x + step / 2), HEIGHT - 10, column.label))
    return Markup("").join([*parts, Markup("</g>")])


def _bars(
    ident: str, scale: Scale, column: Column, x: Decimal, width: Decimal, names: Sequence[str]
) -> Iterator[Markup]:
    """Above the axis what was spent, below it what was credited; billed first, then the others."""
    bar = Markup('<rect {} data-usd="{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>')
    up = down = Decimal(0)
    for mark in sorted(column.marks, key=lambda one: (KINDS.index(one.kind), one.series)):
        low = up if mark.usd > 0 else down + mark.usd
        up, down = up + max(mark.usd, Decimal(0)), down + min(mark.usd, Decimal(0))
        top, bottom = scale.y(low + abs(mark.usd)), scale.y(low)
        told = f"{column.label} · {names[mark.series]} · {mark.kind} · {dollars(mark.usd)}"
        yield bar.format(
            _fill(ident, mark.series, mark.kind), mark.usd, _at(x), _at(top), _at(width), _at(bottom - top), told
        )


def _fill(ident: str, series: int, kind: str) -> Markup:
    if kind == "billed":
        return Markup('class="mark s{}"').format(series)
    return Markup('class="mark" fill="url(#{}-{}{})"').format(ident, "r" if kind == KINDS[1] else "e", series)


def _legend(ident: str, columns: Sequence[Column], names: Sequence[str]) -> Markup:
    """Every series and, below it, every kind of dollars that is drawn."""
    drawn = {mark.kind for column in columns for mark in column.marks}
    swatch = Markup(
        '<li><svg class="swatch" viewBox="0 0 14 14" aria-hidden="true"><rect {} width="14" height="14"/></svg>{}</li>'
    )
    entries = [swatch.format(_fill(ident, place, "billed"), name) for place, name in enumerate(names)]
    kinds = [swatch.format(_fill(ident, 0, kind), kind) for kind in KINDS if kind in drawn]
    kinds += [swatch.format(Markup('class="unfinished"'), "day not complete")] if any(c.note for c in columns) else []
    return Markup('<ul class="legend">{}</ul><ul class="legend kinds">{}</ul>').format(
        Markup("").join(entries), Markup("").join(kinds)
    )


def _at(length: Decimal) -> Decimal:
    """A length in the picture, to a hundredth."""
    return length.quantize(Decimal("0.01"))

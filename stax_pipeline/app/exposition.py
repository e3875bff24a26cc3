"""Prometheus's text format, version 0.0.4: families of samples as lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Sample(NamedTuple):
    """One value of a family, and the labels that tell it from the others."""

    labels: Mapping[str, str]
    value: int | float


class Family(NamedTuple):
    """What is measured. `kind` is `gauge` or `counter`."""

    name: str
    kind: str
    help: str
    samples: tuple[Sample, ...]


def exposed(families: Iterable[Family]) -> str:
    """The families in the order given; each is declared, one without samples too."""
    return "".join(line + "\n" for family in families for line in _lines(family))


def _lines(family: Family) -> Iterable[str]:
    yield f"# HELP {family.name} {_escaped(family.help)}"
    yield f"# TYPE {family.name} {family.kind}"
    for sample in family.samples:
        labels = ",".join(f'{name}="{_escaped(value, quoted=True)}"' for name, value in sample.labels.items())
        yield f"{family.name}{{{labels}}} {sample.value}" if labels else f"{family.name} {sample.value}"


def _escaped(text: str, *, quoted: bool = False) -> str:
    plain = text.replace("\\", r"\\").replace("\n", r"\n")
    return plain.replace('"', r"\"") if quoted else plain

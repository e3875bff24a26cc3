"""A sum of known terms, each with a factor that is found by least squares and never below zero."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Fit(NamedTuple):
    """A factor per term, in the order in which the terms were given."""

    factors: tuple[float, ...]

    def at(self, terms: Sequence[float]) -> float:
        """What the fit says of these terms."""
        return sum(factor * term for factor, term in zip(self.factors, terms, strict=True))


def fitted(measured: Sequence[tuple[Sequence[float], float]]) -> Fit:
    """The fit to measured values (above zero), each with its terms: the least sum of squared relative errors.

    A term whose factor would be negative is left out, the most negative first. Raises ZeroDivisionError where the terms
    cannot be told apart.
    """
    used = list(range(len(measured[0][0])))
    while True:
        rows = [[terms[n] / value for n in used] for terms, value in measured]
        factors = dict(zip(used, _solved(rows), strict=True))
        worst = min(factors, key=lambda n: factors[n])
        if factors[worst] >= 0:
            return Fit(tuple(factors.get(n, 0.0) for n in range(len(measured[0][0]))))
        used.remove(worst)


def _solved(rows: Sequence[Sequence[float]]) -> list[float]:
    """Factors that bring each row's sum as near to 1 as can be: the normal equations, by elimination."""
    size = len(rows[0])
    table = [[sum(row[i] * row[j] for row in rows) for j in range(size)] + [sum(row[i] for row in rows)]
             for i in range(size)]  # fmt: skip
    for i in range(size):
        best = max(range(i, size), key=lambda n: abs(table[n][i]))
        table[i], table[best] = table[best], table[i]
        table[i] = [value / table[i][i] for value in table[i]]
        for n in range(size):
            if n != i:
                table[n] = [value - table[n][i] * above for value, above in zip(table[n], table[i], strict=True)]
    return [row[-1] for row in table]

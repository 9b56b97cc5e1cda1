"""How many labels a start saves: where one curve of score against labelled rows reaches what another reaches.

Between two numbers of rows the score is taken to rise evenly with the logarithm of the rows. A score that is reached
with the fewest rows already, or with none that there are, is said as a bound, never extrapolated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Needed:
    """Rows a curve needs for a score: `rows`, exactly "at", "at most" the fewest, or "more than" the most measured."""

    rows: float
    bound: str = "at"


def needed(sizes: Sequence[int], scores: Sequence[float], target: float) -> Needed:
    """The first number of rows with which the curve reaches `target`; sizes rise."""
    if scores[0] >= target:
        return Needed(float(sizes[0]), "at most")
    for (a, low), (b, high) in zip(
        zip(sizes, scores, strict=True), zip(sizes[1:], scores[1:], strict=True), strict=False
    ):
        if high >= target:
            share = (target - low) / (high - low)
            return Needed(math.exp(math.log(a) + share * (math.log(b) - math.log(a))))
    return Needed(float(sizes[-1]), "more than")


def spread_words(found: Sequence[Needed]) -> str:
    """Median and range over seeds, in words: "about 420 rows [310–more than 1,000]"."""
    ranked = sorted(found, key=lambda n: (n.bound == "more than", n.rows, n.bound == "at"))
    low, middle, high = ranked[0], ranked[(len(ranked) - 1) // 2], ranked[-1]
    start = "about " if middle.bound == "at" else ""
    several = f" [{_one(low)}–{_one(high)}]" if len(ranked) > 1 else ""
    return f"{start}{_one(middle)}{several} rows"


def _one(n: Needed) -> str:
    number = f"{n.rows:,.0f}" if n.rows < 1000 else f"{float(f'{n.rows:.3g}'):,.0f}"
    return number if n.bound == "at" else f"{n.bound} {number}"

"""What a difference of scores is worth: medians and ranges over seeds, paired tests over rows.

Sources: McNemar's exact test on the rows where two systems disagree; the paired bootstrap over rows, and the two-level
one that draws seeds and rows together (Koehn 2004; the Multi-Bootstrap of Sellam et al. 2022); the expected best of k
tries (Dodge et al. 2019), which says what a maximum over seeds hides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unmask.randomness import generator


@dataclass(frozen=True)
class Spread:
    """Scores of several seeds: median, lowest, highest, and all of them."""

    median: float
    low: float
    high: float
    seeds: tuple[float, ...]


def spread(scores: Sequence[float]) -> Spread:
    """The spread of at least one score. Raises ValueError for none."""
    if not scores:
        raise ValueError("a spread needs at least one score")
    return Spread(
        float(np.median(scores)), float(min(scores)), float(max(scores)), tuple(float(x) for x in scores)
    )


def mcnemar(only_first: int, only_second: int) -> float:
    """The exact two-sided p that as many or more rows of those where one system alone is right fall to one side."""
    from scipy.stats import binomtest

    n = only_first + only_second
    return 1.0 if n == 0 else float(binomtest(min(only_first, only_second), n, 0.5).pvalue)


def expected_best(scores: Sequence[float], k: int) -> float:
    """The expected maximum of k draws, with replacement, from these scores."""
    values = np.sort(np.asarray(scores, np.float64))
    ranks = np.arange(len(values) + 1) / len(values)
    return float((values * np.diff(ranks**k)).sum())


def standard_error(share: float, n: int) -> float:
    """The standard error of a share (0 to 1) measured on n rows."""
    return float((share * (1 - share) / n) ** 0.5)


@dataclass(frozen=True)
class Difference:
    """Second minus first: the observed difference, its interval, and how often the draws fall to 0 or below."""

    difference: float
    low: float
    high: float
    not_above: float


def bootstrap(
    first: np.ndarray, second: np.ndarray, *, seed: int = 0, draws: int = 2000, level: float = 0.95
) -> Difference:
    """Paired bootstrap of the difference of means of per-row scores, second − first.

    first, second: [rows], or [seeds, rows] with the same rows; then seeds (each side its own) and rows are drawn
    at once. The interval holds `level` of the draws.
    """
    a, b = np.atleast_2d(np.asarray(first, np.float64)), np.atleast_2d(np.asarray(second, np.float64))
    if a.shape[1] != b.shape[1] or not a.size:
        raise ValueError(f"{a.shape[1]} and {b.shape[1]} rows: a paired comparison needs the same ones")
    rng = generator(seed, "bootstrap", 0)
    found = np.empty(draws)
    for n in range(draws):
        rows = rng.integers(a.shape[1], size=a.shape[1])
        mine = a[rng.integers(len(a), size=len(a))] if len(a) > 1 else a
        other = b[rng.integers(len(b), size=len(b))] if len(b) > 1 else b
        found[n] = other[:, rows].mean() - mine[:, rows].mean()
    tail = 50 * (1 - level)
    low, high = np.percentile(found, [tail, 100 - tail])
    return Difference(float(b.mean() - a.mean()), float(low), float(high), float((found <= 0).mean()))

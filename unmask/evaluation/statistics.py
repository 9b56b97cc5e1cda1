"""What a difference of scores is worth: medians and ranges over seeds, paired tests over rows.

Sources: McNemar's exact test on the rows where two systems disagree; the paired bootstrap over rows, and the two-level
one that draws seeds and rows together (Koehn 2004; the Multi-Bootstrap of Sellam et al. 2022); the expected best of k
tries (Dodge et al. 2019), which says what a maximum over seeds hides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unmask.evaluation.measures import Measure
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
    """Second minus first: the observed difference, its interval, and the shares of draws at 0 or below, 0 or above."""

    difference: float
    low: float
    high: float
    not_above: float
    not_below: float

    def p(self, draws: int = 2000) -> float:
        """Two-sided, from the share of draws on the other side of 0; never below what so many draws can tell."""
        return min(1.0, 2 * max(min(self.not_above, self.not_below), 1 / (draws + 1)))


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
    return Difference(
        float(b.mean() - a.mean()),
        float(low),
        float(high),
        float((found <= 0).mean()),
        float((found >= 0).mean()),
    )


# -- of metrics that are no means of rows ------------------------------------------------------------------------


def weights(units: int, draws: int, seed: int = 0) -> np.ndarray:
    """How often each unit comes in each draw with replacement.  # [draws, units]"""
    return generator(seed, "bootstrap weights", units).multinomial(
        units, np.full(units, 1 / units), size=draws
    )


def interval(
    of: Sequence[Measure], *, seed: int = 0, draws: int = 2000, level: float = 0.95
) -> tuple[float, float]:
    """The percentile interval of the mean over seeds of a metric: seeds and rows are drawn at once."""
    tail = 50 * (1 - level)
    low, high = np.percentile(_drawn([of], seed, draws)[0], [tail, 100 - tail])
    return float(low), float(high)


def compare(
    first: Sequence[Measure],
    second: Sequence[Measure],
    *,
    seed: int = 0,
    draws: int = 2000,
    level: float = 0.95,
) -> Difference:
    """Two-level paired bootstrap of any metric, second − first: a measure a seed, all of the same rows.

    Rows are paired; seeds are drawn for each side by itself, for a fresh body and a pre-trained one share none of their
    randomness but the number (Sellam et al. 2022, the unpaired case).
    """
    if first[0].units != second[0].units:
        raise ValueError(
            f"{first[0].units} and {second[0].units} rows: a paired comparison needs the same ones"
        )
    a, b = _drawn([first, second], seed, draws)
    tail = 50 * (1 - level)
    low, high = np.percentile(b - a, [tail, 100 - tail])
    observed = float(np.mean([m.value for m in second]) - np.mean([m.value for m in first]))
    gaps = b - a
    return Difference(observed, float(low), float(high), float((gaps <= 0).mean()), float((gaps >= 0).mean()))


def _drawn(sides: Sequence[Sequence[Measure]], seed: int, draws: int) -> list[np.ndarray]:
    """The mean over drawn seeds of each side, the rows of a draw the same on all sides.  # [draws] each"""
    units = sides[0][0].units
    rng = generator(seed, "bootstrap seeds", 0)
    chosen = [rng.integers(len(side), size=(draws, len(side))) for side in sides]
    found = [np.empty(draws) for _ in sides]
    step = max(1, 20_000_000 // max(1, units))  # bounds the memory
    for block in range(0, draws, step):
        n = min(step, draws - block)
        w = weights(units, n, seed + block).astype(np.float64)
        for side, picks, out in zip(sides, chosen, found, strict=True):
            values = np.stack([m.of(w) for m in side])  # [seeds, n]
            out[block : block + n] = values[picks[block : block + n].T, np.arange(n)].mean(0)
    return found


def permutation(first: np.ndarray, second: np.ndarray, *, seed: int = 0, draws: int = 10_000) -> float:
    """The two-sided p that rows' two scores, swapped at random, differ in their mean by as much or more.

    Exact over all 2^n swaps up to 16 rows that differ; else `draws` random ones, counting the observed one.
    """
    gaps = np.asarray(second, np.float64) - np.asarray(first, np.float64)
    gaps = gaps[gaps != 0]
    if not len(gaps):
        return 1.0
    seen = abs(gaps.sum()) * (1 - 1e-12)
    if len(gaps) <= 16:
        signs = 1 - 2 * ((np.arange(2 ** len(gaps))[:, None] >> np.arange(len(gaps))) & 1)
        return float((abs(signs @ gaps) >= seen).mean())
    rng = generator(seed, "permutation", len(gaps))
    more = sum(abs((1 - 2 * rng.integers(2, size=len(gaps))) @ gaps) >= seen for _ in range(draws))
    return float((more + 1) / (draws + 1))


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment of several p values, in their order."""
    order = sorted(range(len(p)), key=lambda i: p[i])
    adjusted, highest = [0.0] * len(p), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p) - rank) * p[i]))
        adjusted[i] = highest
    return adjusted

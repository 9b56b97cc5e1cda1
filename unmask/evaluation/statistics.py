"""What a difference of scores is worth: medians and ranges over seeds, paired tests over rows.

Sources: McNemar's exact test on the rows where two systems disagree; the paired bootstrap over rows (Koehn 2004); the
expected best of k tries (Dodge et al. 2019), which says what a maximum over seeds hides.

The luck of seeds is drawn from Student's t of those that were seen, with Welch's degrees of freedom where two sides
differ, and not by drawing seeds with replacement as in the Multi-Bootstrap (Sellam et al. 2022): of three seeds that
holds two thirds of their variance and no doubt about it, and an interval of 95 % held the truth in 80 % of the cases.
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


# -- of metrics that are no means of rows ------------------------------------------------------------------------


def weights(units: int, draws: int, seed: int = 0) -> np.ndarray:
    """How often each unit comes in each draw with replacement.  # [draws, units]"""
    return generator(seed, "bootstrap weights", units).multinomial(
        units, np.full(units, 1 / units), size=draws
    )


def interval(
    of: Sequence[Measure], *, seed: int = 0, draws: int = 2000, level: float = 0.95
) -> tuple[float, float]:
    """The percentile interval of the mean over seeds of a metric: rows and the luck of seeds are drawn at once."""
    tail = 50 * (1 - level)
    drawn = _drawn([of], seed, draws)[0] + _luck([of], seed, draws)
    low, high = np.percentile(drawn, [tail, 100 - tail])
    return float(low), float(high)


def compare(
    first: Sequence[Measure],
    second: Sequence[Measure],
    *,
    seed: int = 0,
    draws: int = 2000,
    level: float = 0.95,
) -> Difference:
    """Paired bootstrap of any metric, second − first: a measure a seed, all of the same rows.

    Rows are paired; seeds count for each side by itself, for a fresh body and a pre-trained one share none of their
    randomness but the number. With one seed a side the luck of training is not in the interval.
    """
    if first[0].units != second[0].units:
        raise ValueError(
            f"{first[0].units} and {second[0].units} rows: a paired comparison needs the same ones"
        )
    a, b = _drawn([first, second], seed, draws)
    gaps = b - a + _luck([first, second], seed, draws)
    tail = 50 * (1 - level)
    low, high = np.percentile(gaps, [tail, 100 - tail])
    observed = float(np.mean([m.value for m in second]) - np.mean([m.value for m in first]))
    return Difference(observed, float(low), float(high), float((gaps <= 0).mean()), float((gaps >= 0).mean()))


def _drawn(sides: Sequence[Sequence[Measure]], seed: int, draws: int) -> list[np.ndarray]:
    """The mean over the seeds of each side on drawn rows, the rows of a draw the same on all sides.  # [draws] each"""
    units = sides[0][0].units
    found = [np.empty(draws) for _ in sides]
    step = max(1, 20_000_000 // max(1, units))  # bounds the memory
    for block in range(0, draws, step):
        n = min(step, draws - block)
        w = weights(units, n, seed + block).astype(np.float64)
        for side, out in zip(sides, found, strict=True):
            out[block : block + n] = np.mean([m.of(w) for m in side], 0)
    return found


def _luck(sides: Sequence[Sequence[Measure]], seed: int, draws: int) -> np.ndarray:
    """How far the mean over so many seeds may lie from that over all; of two sides, their difference.  # [draws]"""
    parts = [
        (float(np.var([m.value for m in side], ddof=1)) / len(side), len(side))
        for side in sides
        if len(side) > 1
    ]
    variance = sum(part for part, _ in parts)
    if not variance:
        return np.zeros(draws)
    freedom = variance**2 / sum(part**2 / (count - 1) for part, count in parts)  # Welch 1947
    return np.asarray(variance**0.5 * generator(seed, "bootstrap seeds", 0).standard_t(freedom, draws))


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

"""When a class of words is learnt: where its curve has half of its gain behind it, and how sure that is.

The rule. The gain of a class is its accuracy at the last snapshot minus that at the first. It is *learnt* where its
curve first reaches the first value plus half of the gain, between two snapshots interpolated in the logarithm of the
tokens; a class that gains less than `LEAST_GAIN` is not learnt. With several runs it is the median of the runs' places.
The band is a two-level bootstrap: runs and the words of the class are drawn together, 95 % of the draws. Of two or
three runs such a band is too narrow, as runs drawn from so few hold less than their luck.

The frequency control (ours; the original only lists mean ranks): beside each class stand the words of all *other*
classes at the same frequencies, as many from each frequency bin as the class has there. Where the class is learnt
later than its control, frequency alone does not explain it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from unmask.randomness import generator

LEAST_GAIN = 0.02
DRAWS = 400
FEW = 5  # words of a bin on either side, at least


@dataclass(frozen=True)
class Learnt:
    """Tokens at which half of the gain is there, with the band of the draws; None where the class is not learnt.

    `not_learnt`: the share of the draws in which it is not.
    """

    tokens: float | None
    low: float | None
    high: float | None
    not_learnt: float


def half(curve: np.ndarray, tokens: np.ndarray) -> float | None:
    """Where a curve [snapshots] reaches half of its gain, in tokens [snapshots] (rising, the first may be 0)."""
    gain = curve[-1] - curve[0]
    if gain < LEAST_GAIN:
        return None
    level = curve[0] + gain / 2
    at = int(np.argmax(curve >= level))
    low, high = max(float(tokens[at - 1]), 1.0), float(tokens[at])
    share = (level - curve[at - 1]) / (curve[at] - curve[at - 1])
    return float(low * (high / low) ** share)


def drawings(hits: Sequence[np.ndarray], seed: int, draws: int) -> Iterator[tuple[np.ndarray, list[int]]]:
    """Words and runs drawn with replacement, together: (weights [words], the runs' numbers) a draw."""
    rng = generator(seed, "embryo draws", 0)
    count = hits[0].shape[1]
    for _ in range(draws):
        weights = rng.multinomial(count, np.full(count, 1 / count)) / count
        yield weights, rng.integers(len(hits), size=len(hits)).tolist()


def learnt(
    hits: Sequence[np.ndarray], tokens: Sequence[np.ndarray], *, seed: int = 0, draws: int = DRAWS
) -> Learnt:
    """When a class is learnt: hits [snapshots, words] and tokens [snapshots] of each run, the words the same."""
    places = [half(h.mean(1), t) for h, t in zip(hits, tokens, strict=True)]
    known = [p for p in places if p is not None]
    middle = float(np.median(known)) if len(known) * 2 > len(places) else None
    found = []
    for weights, runs in drawings(hits, seed, draws):
        one = [p for p in (half(hits[r] @ weights, tokens[r]) for r in runs) if p is not None]
        found.append(float(np.median(one)) if len(one) * 2 > len(runs) else np.nan)
    drawn = np.array(found)
    missing = float(np.isnan(drawn).mean())
    if middle is None or missing == 1.0:
        return Learnt(None, None, None, missing)
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return Learnt(middle, float(low), float(high), missing)


def band(hits: Sequence[np.ndarray], *, seed: int = 0, draws: int = DRAWS) -> tuple[np.ndarray, np.ndarray]:
    """The 95 % band of the mean accuracy at each snapshot [snapshots]; the runs' snapshots must be the same ones."""
    found = [np.mean([hits[r] @ weights for r in runs], 0) for weights, runs in drawings(hits, seed, draws)]
    low, high = np.percentile(np.array(found), [2.5, 97.5], axis=0)
    return low, high


def bins(frequency: np.ndarray) -> np.ndarray:
    """The frequency bin of each word: doublings of the share; -1 for words that have none (0)."""
    found = np.full(len(frequency), -1)
    some = frequency > 0
    found[some] = np.floor(np.log2(frequency[some])).astype(int) + 64
    return found


@dataclass(frozen=True)
class Control:
    """A class of one-piece words beside other words of its frequencies: weights [words] of each, sum 1."""

    own: np.ndarray
    others: np.ndarray
    covered: float  # share of the class's one-piece words that have a counterpart


def control(classes: Mapping[str, Sequence[int]], name: str, where: np.ndarray) -> Control | None:
    """The weights by which a class and its control are averaged, by the words' bins; None without a counterpart."""
    mine = np.zeros(len(where), bool)
    mine[list(classes[name])] = True
    own, others, covered = np.zeros(len(where)), np.zeros(len(where)), 0
    for b in np.unique(where[mine & (where >= 0)]):
        here, there = np.flatnonzero(mine & (where == b)), np.flatnonzero(~mine & (where == b))
        if len(here) >= FEW and len(there) >= FEW:
            own[here] = 1.0
            others[there] = len(here) / len(there)
            covered += len(here)
    if not covered:
        return None
    return Control(own / own.sum(), others / others.sum(), covered / int((mine & (where >= 0)).sum()))

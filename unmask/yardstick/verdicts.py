"""Which sentence of a pair a model prefers, and what that makes for a paradigm, a phenomenon and the whole.

A pair counts 1 where the good sentence scores higher, ½ where both score the same, else 0; so a scorer that cannot
tell gets exactly 50.0, whatever the order of the sentences (the scorer of BabyLM 2025 gave it 100, taking the first of
equals). A phenomenon is the mean over its paradigms, the whole the mean over all paradigms, as BLiMP averages
(Warstadt et al. 2020, section 4). Intervals are of the pairs: a stratified normal approximation, ± 1.96 errors, each of
a share with four pairs more, half of them right (Agresti and Coull 1998), so that few pairs or none wrong are not taken
for certainty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from unmask.yardstick.pairs import Pairs

WIDE = 1.959964  # standard errors to either side of a 95 % interval


@dataclass(frozen=True)
class Score:
    """Accuracy × 100 with its 95 % interval, pairs, paradigms, and the share of ties × 100."""

    accuracy: float
    low: float
    high: float
    pairs: int
    paradigms: int
    ties: float


@dataclass(frozen=True)
class Scores:
    """One scoring of one model: the whole, the phenomena, and the paradigms of each."""

    whole: Score
    phenomena: dict[str, Score]
    paradigms: dict[str, Score]


def verdicts(good: np.ndarray, bad: np.ndarray) -> np.ndarray:
    """1, ½ or 0 for each pair: scores [pairs], [pairs] -> [pairs]."""
    return np.where(good > bad, 1.0, np.where(good == bad, 0.5, 0.0))


def judge(pairs: Pairs, numbers: Sequence[int], good: np.ndarray, bad: np.ndarray) -> Scores:
    """The scores of the pairs with these numbers, good and bad in their order; paradigms without one are left out."""
    found = verdicts(good, bad)
    rows: dict[str, list[int]] = {}
    for at, number in enumerate(numbers):
        rows.setdefault(pairs.items[number].paradigm, []).append(at)
    held = {name: found[at] for name, at in rows.items()}
    phenomena = {
        name: {p: held[p] for p in paradigms if p in held} for name, paradigms in pairs.phenomena().items()
    }
    return Scores(
        _score(held),
        {name: _score(own) for name, own in phenomena.items() if own},
        {name: _score({name: own}) for name, own in held.items()},
    )


def _score(paradigms: Mapping[str, np.ndarray]) -> Score:
    means = np.array([own.mean() for own in paradigms.values()])
    counts = np.array([len(own) for own in paradigms.values()])
    shares = (counts * means + WIDE**2 / 2) / (counts + WIDE**2)
    errors = shares * (1 - shares) / (counts + WIDE**2)
    accuracy, error = float(means.mean()), float(np.sqrt(errors.sum()) / len(means))
    every = np.concatenate(list(paradigms.values()))
    return Score(
        100 * accuracy,
        100 * max(0.0, accuracy - WIDE * error),
        100 * min(1.0, accuracy + WIDE * error),
        len(every),
        len(means),
        100 * float((every == 0.5).mean()),
    )

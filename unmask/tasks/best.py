"""The best span: an exact search over all pairs of start and end, windows pooled by characters of the passage.

The original SQuAD code (Devlin et al. 2019) keeps the 20 best starts and ends of each window and pairs those, which
can miss the best allowed pair. Here every pair with end ≥ start and a length up to the limit is scored.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from unmask.evaluation.reading import score_answers

Place = tuple[int, int]  # characters of the passage, end exclusive
FAR = 1e6  # beyond every margin of log-probabilities, and a number that JSON has


def top_spans(start: np.ndarray, end: np.ndarray, longest: int, n: int) -> list[tuple[float, int, int]]:
    """The `n` best (start + end, first, last), 1 ≤ last − first + 1 ≤ `longest`; exact, best first.

    start, end: scores of the same pieces [u]; −inf is never taken.
    """
    size = len(start)
    longest = min(longest, size)
    if not size or longest < 1:
        return []
    padded = np.concatenate([end, np.full(longest - 1, -np.inf)])
    pairs = start[:, None] + np.lib.stride_tricks.sliding_window_view(padded, longest)  # [u, longest]
    flat = pairs.ravel()
    n = min(n, len(flat))
    best = np.argpartition(-flat, n - 1)[:n]
    best = best[np.lexsort((best, -flat[best]))]
    return [
        (float(flat[i]), int(i // longest), int(i // longest + i % longest))
        for i in best
        if np.isfinite(flat[i])
    ]


def best_spans(
    windows: Iterable[tuple[np.ndarray, np.ndarray]], longest: int, n: int
) -> tuple[list[tuple[float, Place]], float]:
    """The best places of a passage over its windows, and the score of "no answer".

    windows: (log-probabilities [2, 1 + u] with [CLS] first, characters of the pieces [u, 2]). A place seen by
    several windows has its best score. "No answer" has the lowest [CLS] score of all windows: every one must agree.
    """
    pooled: dict[Place, float] = {}
    none = np.inf
    for scores, characters in windows:
        none = min(none, float(scores[0, 0] + scores[1, 0]))
        for score, first, last in top_spans(scores[0, 1:], scores[1, 1:], longest, n):
            place = (int(characters[first, 0]), int(characters[last, 1]))
            pooled[place] = max(score, pooled.get(place, -np.inf))
    ranked = sorted(((score, place) for place, score in pooled.items()), key=lambda x: (-x[0], x[1]))
    return ranked[:n], none


def choose_threshold(
    margins: Sequence[float], texts: Sequence[str], golds: Sequence[Sequence[str]], metric: str
) -> float:
    """The threshold of (no answer − best span) with the highest mean F1; "" is said above it.

    Sweeps the margins from the lowest to the highest; ties take the threshold nearest 0.
    """
    spoken = np.array([score_answers([g], [t], metric)["f1"] for g, t in zip(golds, texts, strict=True)])
    silent = np.array([float(not g) for g in golds])
    order = np.argsort(margins, kind="stable")
    sorted_margins = np.clip(margins, -FAR, FAR)[order]  # a passage without a word has an infinite one
    # With k questions answered, those of the k lowest margins: F1 = their spoken score + the others' silent score.
    totals = np.concatenate([[0.0], np.cumsum(spoken[order])]) + np.concatenate(
        [np.cumsum(silent[order][::-1])[::-1], [0.0]]
    )
    middle = (sorted_margins[1:] + sorted_margins[:-1]) / 2
    edges = np.concatenate([[sorted_margins[0] - 1.0], middle, [sorted_margins[-1] + 1.0]])
    # A threshold between equal margins cannot part them.
    valid = np.concatenate([[True], sorted_margins[1:] > sorted_margins[:-1], [True]])
    top = totals[valid].max()
    candidates = edges[valid & (totals >= top - 1e-12)]
    return float(candidates[np.argmin(np.abs(candidates))])

"""Texts longer than the model: windows that cover every piece, owners, and pairs cut longest first.

Windows go by a fixed step, the last one ends where the text ends; `overlap` is how many pieces two neighbours
share (the original BERT code calls the step ``doc_stride``, tokenizer libraries call the overlap ``stride``).
A piece in several windows belongs to the one where it has most context (Devlin et al. 2019, the "max context"
of the original SQuAD code): min(left, right) + 0.01 · window length, the first window on a tie.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Span = tuple[int, int]  # [start, stop)


def spans(n: int, room: int, overlap: int) -> list[Span]:
    """Windows of at most `room` pieces over `n`, neighbours sharing `overlap`; every piece is in one at least."""
    if room < 1:
        raise ValueError(f"room is {room}, at least one piece must fit")
    step = max(1, room - max(0, overlap))
    found: list[Span] = []
    start = 0
    while True:
        stop = min(start + room, n)
        found.append((start, stop))
        if stop >= n:
            return found
        start += step


def word_spans(lengths: Sequence[int], room: int, overlap: int) -> list[Span]:
    """Windows over words of `lengths` pieces that never divide a word; at least one word each, even one too long."""
    found: list[Span] = []
    start = 0
    while start < len(lengths):
        stop, used = start, 0
        while stop < len(lengths) and (stop == start or used + lengths[stop] <= room):
            used += lengths[stop]
            stop += 1
        found.append((start, stop))
        if stop == len(lengths):
            break
        back, shared = stop, 0
        while back - 1 > start and shared + lengths[back - 1] <= overlap:
            back -= 1
            shared += lengths[back]
        while shared and shared + lengths[stop] > room:  # or it would hold no new word
            shared -= lengths[back]
            back += 1
        start = back
    return found


def owners(n: int, windows: Sequence[Span]) -> np.ndarray:
    """The window each of `n` units belongs to.  # [n] int64"""
    best = np.full(n, -1.0)
    owner = np.zeros(n, np.int64)
    for number, (start, stop) in enumerate(windows):
        places = np.arange(start, stop)
        score = np.minimum(places - start, stop - 1 - places) + 0.01 * (stop - start)
        better = score > best[start:stop]
        owner[start:stop][better] = number
        best[start:stop][better] = score[better]
    return owner


def fit_pair(a: int, b: int, budget: int) -> tuple[int, int]:
    """Lengths after cutting one piece at a time from the end of the longer part, from `b` on a tie."""
    over = a + b - budget
    if over > 0:
        first = min(over, abs(a - b))  # the longer one comes down to the other before both shrink in turn
        a, b = (a - first, b) if a > b else (a, b - first)
        rest = over - first
        a, b = a - rest // 2, b - (rest + 1) // 2
    return max(a, 0), max(b, 0)

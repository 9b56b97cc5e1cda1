"""Which copies of a sentence a pseudo-log-likelihood asks for: what is masked in each, and which pieces are asked.

Sources: PLL, Salazar et al. 2020 (section 2: every piece asked alone); PLL-word-l2r and PLL-whole-word, Kauf and
Ivanova 2023 (section 3: the later pieces of the word masked too, or all of them). Differs from their code in the
work, never in the result: sentences of one length are masked together as arrays, and an input that occurs twice is
kept once. The two sentences of a pair are one input wherever the only word in which they differ is masked, whole words
are one input for all their pieces, and the three forms share the inputs of all words of one piece. NumPy alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from unmask.tokens import Vocab

Scoring = Literal["original", "within_word", "whole_word"]
SCORINGS: tuple[Scoring, ...] = ("original", "within_word", "whole_word")
COPIES = 2**15  # masked copies made at once: bounds the memory, about 30 MB


@dataclass(frozen=True)
class Sentence:
    """The pieces of a sentence [n], and the number of the word each belongs to [n], not falling."""

    ids: np.ndarray
    words: np.ndarray


@dataclass(frozen=True)
class Inputs:
    """Distinct inputs of one length, and what is asked of them.

    rows [B, T]; asked [P, 2]: row and place in it, distinct and sorted; of [Q]: which of `asked` holds the answer of
    question q; target [Q]: the piece; form [Q] and sentence [Q]: whose score it counts for. Q is at least P.
    """

    rows: np.ndarray
    asked: np.ndarray
    of: np.ndarray
    target: np.ndarray
    form: np.ndarray
    sentence: np.ndarray


def hidden(words: np.ndarray, scoring: Scoring) -> np.ndarray:
    """What is masked when piece t is asked: [S, n] word numbers -> [S, n (asked t), n (masked)] bool."""
    count = words.shape[1]
    if scoring == "original":
        return np.broadcast_to(np.eye(count, dtype=bool), (len(words), count, count))
    same: np.ndarray = words[:, :, None] == words[:, None, :]
    return same if scoring == "whole_word" else same & np.triu(np.ones((count, count), bool))


def inputs(sentences: Sequence[Sentence], vocab: Vocab, forms: Sequence[Scoring]) -> Iterator[Inputs]:
    """All inputs of some sentences, longest first, so that what needs most memory comes first."""
    order = sorted(range(len(sentences)), key=lambda n: (-len(sentences[n].ids), n))
    at = 0
    while at < len(order):
        count = len(sentences[order[at]].ids)
        most = max(1, COPIES // (count * len(forms)))
        group = [n for n in order[at : at + most] if len(sentences[n].ids) == count]
        at += len(group)
        yield _masked([sentences[n] for n in group], np.array(group), vocab, forms)


def _masked(group: list[Sentence], numbers: np.ndarray, vocab: Vocab, forms: Sequence[Scoring]) -> Inputs:
    ids = np.stack([s.ids for s in group]).astype(np.int64)  # [S, n]
    words = np.stack([s.words for s in group])
    several, count = ids.shape
    masked = np.stack([hidden(words, form) for form in forms])  # [forms, S, n, n]
    rows = np.empty((*masked.shape[:3], count + 2), np.int64)
    rows[..., 0], rows[..., -1] = vocab.cls, vocab.sep
    rows[..., 1:-1] = np.where(masked, vocab.mask, ids[None, :, None, :])
    rows = rows.reshape(-1, count + 2)
    row, distinct = _distinct(rows)
    place = np.tile(np.arange(1, count + 1), len(forms) * several)
    key, of = np.unique(row * (count + 2) + place, return_inverse=True)
    return Inputs(
        rows=distinct,
        asked=np.stack(np.divmod(key, count + 2), 1),
        of=of.reshape(-1),
        target=np.tile(ids.reshape(-1), len(forms)),
        form=np.repeat(np.arange(len(forms)), several * count),
        sentence=np.tile(np.repeat(numbers, count), len(forms)),
    )


def _distinct(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which distinct row each row is [B], and the distinct rows, in the order of their first occurrence."""
    weights = np.random.Generator(np.random.Philox(0)).integers(1, 2**63, rows.shape[1], dtype=np.uint64) | 1
    hashes = (rows.astype(np.uint64) * weights).sum(1)  # modulo 2**64
    _, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    inverse = inverse.reshape(-1)
    if not (rows[first[inverse]] == rows).all():  # two rows of one hash
        _, first, inverse = np.unique(rows, axis=0, return_index=True, return_inverse=True)
        inverse = inverse.reshape(-1)
    rank = np.argsort(np.argsort(first))
    return rank[inverse], rows[np.sort(first)]

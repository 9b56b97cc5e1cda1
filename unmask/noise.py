"""Noise: which tokens of a row are chosen, and what the model sees in their place.

Sources, paper and original code: single tokens (BERT 3.1, `create_pretraining_data`), whole words (BERT's
`do_whole_word_mask`, Chinese BERT-wwm), spans (SpanBERT 3.1, `masking`), n-grams of words (ALBERT 3.2) and the
number of tokens (BERT, RoBERTa's `mask_tokens_dataset`, SpanBERT).
Differs: a word is what the tokenizer's word starts say, in any script, and never runs over a special token; a
replacement takes one uniform draw where BERT's code takes two (the law is the same). ALBERT's n is drawn
from the row's own generator, where the original uses a global one.
Everything is pure NumPy: the generator is an argument, and the same generator gives the same arrays.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from unmask.tokens import Vocab

Ids = NDArray[Any]
Flags = NDArray[np.bool_]
Positions = NDArray[np.int64]

# SpanBERT: geometric with p = 0.2, cut at 10 words and renormalised; the mean is 3.797 words.
SPAN_LENGTHS = 0.2 * 0.8 ** np.arange(10) / (1 - 0.8**10)
_SPAN_EDGES = np.cumsum(SPAN_LENGTHS)[:-1]


# ---- how many ------------------------------------------------------------------------------------------------


def exact_count(tokens: int, rate: float) -> int:
    """BERT's number of chosen tokens: rounded half to even, and never none. `tokens` includes the specials."""
    return max(1, round(tokens * rate))


def rounded_count(tokens: int, rate: float, rng: np.random.Generator) -> int:
    """RoBERTa's number: rounded up with the probability of its fraction, so a short row may have none."""
    return int(rate * tokens + rng.random())


def ceiling_count(tokens: int, rate: float) -> int:
    """SpanBERT's number: rounded up. `tokens` leaves the specials out."""
    return ceil(rate * tokens - 1e-9)  # 0.15 * 20 is 3.0000000000000004 in some orders of work, and means 3


# ---- which ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Words:
    """The words of a row: word `w` is `positions[bounds[w] : bounds[w + 1]]`."""

    positions: Positions  # [C] the tokens that may be chosen, in order
    bounds: NDArray[np.int64]  # [W + 1]

    def __len__(self) -> int:
        return len(self.bounds) - 1


def words_of(special: Flags, word_starts: Flags) -> Words:
    """Group the tokens [T] that are not special into words; a special token ends a word."""
    opens = word_starts.copy()
    opens[:1] = True
    opens[1:] |= special[:-1]
    positions = np.flatnonzero(~special)
    starts = np.flatnonzero(opens[positions])
    return Words(positions, np.append(starts, len(positions)))


def choose_tokens(candidates: Positions, count: int, rng: np.random.Generator) -> Positions:
    """`count` of the candidates (all of them if there are fewer) without replacement, sorted."""
    return np.sort(rng.permutation(candidates)[:count])


def choose_each(candidates: Positions, rate: float, rng: np.random.Generator) -> Positions:
    """Every candidate by its own coin (ModernBERT), so the number varies around `rate`."""
    return candidates[rng.random(len(candidates)) < rate]


def choose_words(words: Words, count: int, rng: np.random.Generator) -> Positions:
    """Whole words in random order; one that no longer fits into `count` tokens is skipped, and the next tried."""
    taken, room = [], count
    sizes = np.diff(words.bounds).tolist()
    for word in rng.permutation(len(words)).tolist():
        if sizes[word] <= room:
            taken.append(word)
            room -= sizes[word]
            if room == 0:
                break
    return _tokens_of(words, taken)


def _tokens_of(words: Words, taken: list[int]) -> Positions:
    chosen = np.zeros(len(words), dtype=bool)
    chosen[taken] = True
    tokens: Positions = words.positions[np.repeat(chosen, np.diff(words.bounds))]
    return tokens


def choose_spans(words: Words, count: int, rng: np.random.Generator) -> Positions:
    """Spans of 1 to 10 words until `count` tokens are covered (SpanBERT); the last span may cut a word."""
    return take_spans(_span_draws(len(words.positions), rng), words, count)


def _span_draws(tokens: int, rng: np.random.Generator) -> Iterator[tuple[int, int]]:
    while True:
        lengths = 1 + np.searchsorted(_SPAN_EDGES, rng.random(16), side="right")
        yield from zip(lengths.tolist(), rng.integers(tokens, size=16).tolist(), strict=True)


def take_spans(draws: Iterable[tuple[int, int]], words: Words, count: int) -> Positions:
    """What the draws (words of the span, anchor among the candidates) cover; the core of `choose_spans`.

    An anchor that is already covered costs its draw. A span starts where its anchor's word starts and stops after
    its words, before a special token or at `count` tokens; tokens covered before do not count again.
    """
    positions, bounds = words.positions, words.bounds.tolist()
    count = min(count, len(positions))
    if count == 0:
        return positions[:0]
    # Where each unbroken stretch of text ends among the candidates: a span does not jump a special token.
    breaks = [*(np.flatnonzero(np.diff(positions) != 1) + 1).tolist(), len(positions)]
    covered = bytearray(len(positions))  # plain Python: spans are a few tokens long
    view: Flags = np.frombuffer(covered, dtype=np.bool_)
    for length, anchor in draws:
        if covered[anchor]:
            continue
        first = bisect_right(bounds, anchor) - 1
        end = min(bounds[min(first + length, len(words))], breaks[bisect_right(breaks, anchor)])
        for token in range(bounds[first], end):
            if not covered[token]:
                covered[token] = 1
                count -= 1
                if count == 0:
                    return positions[view]
    return positions[view]


def choose_ngrams(words: Words, count: int, longest: int, rng: np.random.Generator) -> Positions:
    """N-grams of 1 to `longest` words with probability in proportion to 1/n (ALBERT), `count` tokens at most.

    One n-gram is tried at every word, in random order: made shorter while it does not fit, skipped if its last
    word does not fit or if any of its tokens is chosen already. As in the original, it may run over a [SEP].
    """
    share = 1 / np.arange(1, longest + 1)
    edges = np.cumsum(share / share.sum())[:-1]
    order = rng.permutation(len(words)).tolist()
    sizes = (1 + np.searchsorted(edges, rng.random(len(order)), side="right")).tolist()
    bounds, room = words.bounds.tolist(), count
    chosen = [False] * len(words)
    for first, size in zip(order, sizes, strict=True):
        last = min(first + size, len(words))
        while last > first and bounds[last] - bounds[first] > room:
            last -= 1
        if last == first or any(chosen[first:last]):
            continue
        chosen[first:last] = [True] * (last - first)
        room -= bounds[last] - bounds[first]
        if room == 0:
            break
    return _tokens_of(words, [word for word, is_chosen in enumerate(chosen) if is_chosen])


# ---- what replaces them --------------------------------------------------------------------------------------


def runs_of(positions: Positions) -> NDArray[np.int64]:
    """The number of each position's run of neighbours [P]: touching spans are one, as in SpanBERT."""
    return np.cumsum(np.diff(positions, prepend=positions[:1]) > 1)


def random_ids(count: int, size: int, never: Flags | None, rng: np.random.Generator) -> NDArray[np.int64]:
    """Ids drawn uniformly from the vocabulary [count], without those that `never` [V] forbids."""
    ids = rng.integers(size, size=count)
    if never is not None:
        while (refused := np.flatnonzero(never[ids])).size:
            ids[refused] = rng.integers(size, size=len(refused))
    return ids


def disturb(
    ids: Ids,
    positions: Positions,
    rng: np.random.Generator,
    vocab: Vocab,
    *,
    mask: float = 0.8,
    swap: float = 0.1,
    together: bool = False,
    never: Flags | None = None,
) -> Ids:
    """A copy of ids [T] as the model sees it: each position masked, swapped for a random token, or kept.

    `mask` and `swap` are shares of the chosen positions; the rest stays as it is and is still to be predicted.
    together: one fate for a whole run of neighbours (SpanBERT) instead of one a token. Random tokens are still
    drawn one by one, from all ids or, with `never` [V], from those it does not forbid; one may equal the original.
    """
    seen = ids.copy()
    if len(positions) == 0:
        return seen
    if together:
        runs = runs_of(positions)
        fate = rng.random(int(runs[-1]) + 1)[runs]
    else:
        fate = rng.random(len(positions))  # [P]
    seen[positions[fate < mask]] = vocab.mask
    swapped = positions[(fate >= mask) & (fate < mask + swap)]
    if len(swapped):
        seen[swapped] = random_ids(len(swapped), vocab.size, never, rng)
    return seen

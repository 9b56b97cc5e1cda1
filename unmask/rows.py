"""Rows: which tokens of a corpus are read together.

Three ways: windows filled with pieces of documents, full sentences (RoBERTa 4.1 and fairseq's
`token_block_utils`) and pairs of sentences (BERT 3.1, ALBERT 3.1 and their `create_pretraining_data`).
Row `n` is a pure function of (seed, n), and `n` counts on over the epochs: epoch `n // len(rows)` shows the same
windows in another order, and draws other pairs. Only where a row starts is held in memory, never its tokens.
Differs: the originals write the rows out once, ten times over with BERT; these are drawn as they are asked for.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from unmask.errors import UnmaskError
from unmask.randomness import generator, permutation_slice

if TYPE_CHECKING:
    from unmask.store import Store, Stored

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

SHORTEST_PIECE = (
    4  # tokens: a document is not cut so that a piece is shorter, for there is nothing to read in it
)
SHORTEST_ROW = 10  # tokens: room for two such pieces and their special tokens
_BLOCK = 4096  # rows whose order is worked out together


@dataclass(frozen=True)
class Row:
    """Tokens that lie in one row, special tokens included."""

    ids: Ints  # [T]
    special: Flags  # [T]
    word_starts: Flags  # [T]
    segments: Ints | None  # [T] 0 and 1, pairs only
    lengths: Ints  # [k] the isolated pieces, sum T: attention never crosses them
    label: int | None  # pairs only: 0 the second part is next (in order), 1 it is not


class Rows(Protocol):
    """The rows of a corpus; `len` is the number in one epoch."""

    def __len__(self) -> int: ...
    def __call__(self, n: int) -> Row: ...


@lru_cache(maxsize=8)
def _order(block: int, size: int, seed: int, purpose: str) -> Ints:
    return permutation_slice(block * _BLOCK, min((block + 1) * _BLOCK, size), size, seed, purpose)


def _shuffled(n: int, size: int, seed: int, purpose: str) -> int:
    return int(_order(n // _BLOCK, size, seed, purpose)[n % _BLOCK])


# ---- windows and full sentences ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Windows:
    """Every token of the corpus in exactly one row of an epoch. Made by `windows` and `full_sentences`."""

    store: Store
    seed: int
    isolate: bool
    documents: Ints  # [W + 1] window w reads from offsets[w] of documents[w] up to where w + 1 starts
    offsets: Ints  # [W + 1]

    def __len__(self) -> int:
        return len(self.documents) - 1

    def __call__(self, n: int) -> Row:
        epoch, place = divmod(n, len(self))
        return self.window(_shuffled(place, len(self), self.seed, f"windows {epoch}"))

    def window(self, w: int) -> Row:
        """Window number `w` in the order of the text."""
        first, last = int(self.documents[w]), int(self.documents[w + 1])
        begin, end = int(self.offsets[w]), int(self.offsets[w + 1])
        pieces = []
        for document in range(first, last + (end > 0)):
            stored = self.store.document(document)
            part = slice(begin if document == first else 0, end if document == last else None)
            if len(tokens := stored.tokens[part]):
                pieces.append((tokens, stored.word_starts[part]))
        return _laid_out(pieces, self.store, self.isolate)


def _laid_out(pieces: Sequence[tuple[NDArray[Any], Flags]], store: Store, isolate: bool) -> Row:
    """[CLS] piece [SEP] [CLS] piece [SEP] … if isolated, [CLS] piece [SEP] piece [SEP] … if not."""
    vocab = store.tokenizer.vocab
    gap = 2 if isolate else 1
    total = sum(len(tokens) for tokens, _ in pieces) + gap * len(pieces) + (2 - gap)
    ids = np.full(total, vocab.sep, dtype=np.int64)
    special, word_starts = np.ones(total, dtype=bool), np.ones(total, dtype=bool)
    ids[0] = vocab.cls
    at = 1
    for tokens, starts in pieces:
        if isolate:
            ids[at - 1] = vocab.cls
        end = at + len(tokens)
        ids[at:end], special[at:end], word_starts[at:end] = tokens, False, starts
        at = end + gap
    lengths = [len(tokens) + 2 for tokens, _ in pieces] if isolate else [total]
    return Row(ids, special, word_starts, None, np.array(lengths, dtype=np.int64), None)


Stop = Callable[[int, int, int, int], int]  # (document, begin, room, capacity) → end of the piece, or begin


def _cut(lengths: Ints, capacity: int, gap: int, stop: Stop) -> tuple[Ints, Ints]:
    """Fill windows greedily, in the order of the text; returns where each starts, and the end of the text."""
    documents, offsets = array("q"), array("q")
    room = 0
    blocks = (lengths[at : at + _BLOCK].tolist() for at in range(0, len(lengths), _BLOCK))
    for document, length in enumerate(chain.from_iterable(blocks)):  # never a list of all
        begin = 0
        while begin < length:
            end = stop(document, begin, room, capacity) if room > 0 else begin
            if end == begin:  # nothing more fits: the next window
                documents.append(document)
                offsets.append(begin)
                room = capacity
                continue
            room = room - (end - begin) - gap if end == length else 0
            begin = end
    documents.append(len(lengths))
    offsets.append(0)
    return np.array(documents, dtype=np.int64), np.array(offsets, dtype=np.int64)


def _checked(store: Store, length: int) -> None:
    if length < SHORTEST_ROW:
        raise UnmaskError(
            f"rows of {length} tokens — a row needs at least {SHORTEST_ROW}, special tokens included — "
            "choose a greater length."
        )
    if store.tokens == 0:
        raise UnmaskError(
            "the corpus has no tokens — rows need text — build it again from files that are not empty."
        )


def windows(store: Store, length: int, seed: int, *, isolate: bool = True) -> Windows:
    """Windows of `length` tokens, filled with document pieces end to end; each token is in one row of an epoch.

    isolate: every piece is `[CLS] piece [SEP]` and sees only itself (`Row.lengths`); else a window is one piece
    that runs over the documents, with a [SEP] between them.
    A document is cut where the window ends, but so that no piece of it is shorter than four tokens; a window is
    therefore up to five tokens short where that was not to be had, and the last one is as long as text is left.
    A document that is itself shorter than four tokens is a piece as it is.
    """
    _checked(store, length)
    sizes = store.lengths

    def stop(document: int, begin: int, room: int, capacity: int) -> int:
        left = int(sizes[document]) - begin
        if left <= room:
            return begin + left
        piece = min(room, left - SHORTEST_PIECE)
        return begin + piece if piece >= SHORTEST_PIECE or room == capacity else begin

    return Windows(store, seed, isolate, *_cut(store.lengths, length - 2, 2 if isolate else 1, stop))


def full_sentences(store: Store, length: int, seed: int) -> Windows:
    """RoBERTa's FULL-SENTENCES: whole sentences while they fit into `length`, over the ends of documents.

    `[CLS] sentences [SEP] sentences [SEP]`: a [SEP] between two documents, and one at the end. Attention sees the
    whole row. Differs from fairseq: a sentence longer than a row is split, where fairseq keeps it over-long and
    loses its end later; the separators are between documents, as the paper says, where its code ends every
    line of the text with one; a row does not start or end with the separator of a document it does not hold.
    """
    _checked(store, length)
    held: tuple[int, NDArray[Any]] = (-1, np.zeros(0, dtype=np.int64))

    def stop(document: int, begin: int, room: int, capacity: int) -> int:
        nonlocal held
        if held[0] != document:
            held = (document, store.document(document).sentence_ends)
        ends = held[1]
        fits = int(np.searchsorted(ends, begin + room, side="right"))
        if fits and ends[fits - 1] > begin:
            return int(ends[fits - 1])
        return begin + room if room == capacity else begin  # longer than a whole row: split

    return Windows(store, seed, False, *_cut(store.lengths, length - 2, 1, stop))


# ---- pairs of sentences --------------------------------------------------------------------------------------


class Pair(NamedTuple):
    """Sentences [begin, middle) and [middle, end) of one document, and what becomes of the second part.

    kept: as it is; swapped: shown first; other: taken from another document, and `end` says nothing.
    """

    begin: int
    middle: int
    end: int
    fate: Literal["kept", "swapped", "other"]


def pairs_of_document(
    ends: Sequence[int], target: int, kind: Literal["next", "order"], draws: Sequence[tuple[float, float]]
) -> list[Pair]:
    """All pairs of one document in one epoch; pure.

    ends: where its sentences end (exclusive), in tokens. target: tokens that fill a chunk. draws: for chunk
    number i two uniform numbers: where it is parted, and the coin (as many as there are sentences are enough).
    A chunk is whole sentences until `target`; A is 1 to all but one of them. One sentence: its second part comes
    from elsewhere, without a toss. "next": coin below 1/2, from elsewhere too, and the next chunk starts right
    after A, so nothing is lost. "order": coin below 1/2, swapped.
    """
    pairs: list[Pair] = []
    begin, count = 0, len(ends)
    while begin < count:
        goal = target + (ends[begin - 1] if begin else 0)
        end = min(bisect_left(ends, goal, begin) + 1, count)
        part, coin = draws[len(pairs)]
        if end - begin == 1:
            pairs.append(Pair(begin, end, end, "other"))
        else:
            middle = begin + 1 + int(part * (end - begin - 1))
            if kind == "order":
                pairs.append(Pair(begin, middle, end, "swapped" if coin < 0.5 else "kept"))
            elif coin < 0.5:
                pairs.append(Pair(begin, middle, middle, "other"))
                end = middle
            else:
                pairs.append(Pair(begin, middle, end, "kept"))
        begin = end
    return pairs


def truncated(first: int, second: int, most: int, draws: Sequence[float]) -> tuple[slice, slice]:
    """Which tokens of two parts stay so that together they are at most `most`; pure.

    One token at a time goes from the longer part (a tie: the second), its first if the draw is below 1/2, else
    its last. Needs first + second - most draws.
    """
    begins, ends = [0, 0], [first, second]
    for draw in draws[: max(0, first + second - most)]:
        longer = 0 if ends[0] - begins[0] > ends[1] - begins[1] else 1
        if draw < 0.5:
            begins[longer] += 1
        else:
            ends[longer] -= 1
    return slice(begins[0], ends[0]), slice(begins[1], ends[1])


class _Epoch(NamedTuple):
    """The pairs of one epoch: where each lies, and the target that its document drew."""

    documents: NDArray[np.int32]  # [C]
    sentences: NDArray[np.int32]  # [C, 3] begin, middle, end
    fates: NDArray[np.int8]  # [C] index into _FATES
    targets: NDArray[np.int32]  # [C]


_FATES: tuple[Literal["kept", "swapped", "other"], ...] = ("kept", "swapped", "other")


class SentencePairs:
    """`[CLS] A [SEP] B [SEP]` with segments 0 and 1. Made by `sentence_pairs`."""

    def __init__(
        self, store: Store, length: int, seed: int, kind: Literal["next", "order"], short: float
    ) -> None:
        self.store, self.most, self.seed, self.kind, self.short = store, length - 3, seed, kind, short
        self.documents = np.flatnonzero(store.lengths > 0)
        if len(self.documents) < 2:
            raise UnmaskError(
                f"{len(self.documents)} document with text — sentence pairs need a second one to take a wrong "
                "partner from — separate the documents by an empty line, or choose pairs none."
            )
        if all(len(store.document(document).sentence_ends) == 1 for document in self.documents.tolist()):
            raise UnmaskError(
                "every document is a single sentence — sentence pairs need documents of several — "
                "choose pairs none, or join the documents."
            )
        self._held: tuple[int, _Epoch] = (0, self._epoch(0))
        self._length = len(self._held[1].documents)

    def __len__(self) -> int:
        return self._length

    def _epoch(self, epoch: int) -> _Epoch:
        documents, targets = array("i"), array("i")
        sentences, fates = array("i"), array("b")
        rng = generator(
            self.seed, "pairs", epoch
        )  # one for all documents: an epoch is always drawn from its start
        for document in self.documents.tolist():
            ends = self.store.document(document).sentence_ends.tolist()
            lot, size = rng.random(2).tolist()
            target = 2 + int(size * (self.most - 1)) if lot < self.short else self.most
            for pair in pairs_of_document(ends, target, self.kind, rng.random((len(ends), 2)).tolist()):
                documents.append(document)
                targets.append(target)
                sentences.extend(pair[:3])
                fates.append(_FATES.index(pair.fate))
        return _Epoch(
            np.array(documents, dtype=np.int32),
            np.array(sentences, dtype=np.int32).reshape(-1, 3),
            np.array(fates, dtype=np.int8),
            np.array(targets, dtype=np.int32),
        )

    def __call__(self, n: int) -> Row:
        number, place = divmod(n, len(self))
        if self._held[0] != number:
            self._held = (number, self._epoch(number))
        epoch = self._held[1]
        lap, place = divmod(place, len(epoch.documents))
        chunk = _shuffled(place, len(epoch.documents), self.seed, f"pairs {number} {lap}")
        return self._row(epoch, chunk, generator(self.seed, "pair", n))

    def _row(self, epoch: _Epoch, chunk: int, rng: np.random.Generator) -> Row:
        document, fate = int(epoch.documents[chunk]), _FATES[epoch.fates[chunk]]
        stored = self.store.document(document)
        bounds = [0, *stored.sentence_ends[: epoch.sentences[chunk, 2]].tolist()]
        begin, middle, end = (bounds[s] for s in epoch.sentences[chunk].tolist())
        first = (stored.tokens[begin:middle], stored.word_starts[begin:middle])
        second = (stored.tokens[middle:end], stored.word_starts[middle:end])
        if fate == "other":
            second = self._elsewhere(document, int(epoch.targets[chunk]) - (middle - begin), rng)
        elif fate == "swapped":
            first, second = second, first
        excess = max(0, len(first[0]) + len(second[0]) - self.most)
        a, b = truncated(len(first[0]), len(second[0]), self.most, rng.random(excess).tolist())
        pieces = [(first[0][a], first[1][a]), (second[0][b], second[1][b])]
        row = _laid_out(pieces, self.store, isolate=False)
        segments = np.zeros(len(row.ids), dtype=np.int64)
        segments[len(pieces[0][0]) + 2 :] = 1
        return Row(row.ids, row.special, row.word_starts, segments, row.lengths, int(fate != "kept"))

    def _elsewhere(self, document: int, room: int, rng: np.random.Generator) -> tuple[NDArray[Any], Flags]:
        """Whole sentences of another document, from a random one on, until they fill `room` (at least one)."""
        own = int(np.searchsorted(self.documents, document))
        other = int(rng.integers(len(self.documents) - 1))
        stored: Stored = self.store.document(int(self.documents[other + (other >= own)]))
        ends = stored.sentence_ends
        start = int(rng.integers(len(ends)))
        begin = int(ends[start - 1]) if start else 0
        last = min(max(start, int(np.searchsorted(ends, begin + room))), len(ends) - 1)
        return stored.tokens[begin : ends[last]], stored.word_starts[begin : ends[last]]


def sentence_pairs(
    store: Store, length: int, seed: int, kind: Literal["next", "order"] = "next", short: float = 0.1
) -> SentencePairs:
    """Pairs of text parts: does the second follow (BERT), are they in order (ALBERT)? Label 0: yes.

    short: share of the documents that an epoch reads in chunks of a random shorter length. Parts that are too long
    together lose tokens at random ends (`truncated`), so an epoch does not show every token. A wrong partner
    comes from a different document (BERT accepts the same one after ten tries).
    `len` is the number of pairs in epoch 0. Later epochs draw a few more or fewer: then a random few of them are
    left out, or shown twice.
    Raises `UnmaskError` if there is one document alone, or if no document has two sentences.
    Takes a few microseconds a sentence at the start of each epoch, and 21 bytes of memory a pair.
    """
    _checked(store, length)
    if kind not in ("next", "order"):
        raise UnmaskError(f'sentence pairs "{kind}" — expected "next" or "order" — choose one of them.')
    if not 0 <= short <= 1:
        raise UnmaskError(f"short is {short} — it is a share — give a number between 0 and 1.")
    return SentencePairs(store, length, seed, kind, short)

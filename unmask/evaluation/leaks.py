"""Which texts share long stretches with other texts: 13 words in a row, or the whole of a shorter text.

The measure is that of Brown et al. 2020 (GPT-3), appendix C: 13-grams of words, without case and punctuation, and
for shorter texts the whole, down to 8 words. It differs in what a word is: where a script has no spaces (Chinese
characters, kana, Thai …) every character is one, so that 13 of them are less than 13 English words; in folding width
too (NFKC); and in that nothing is taken away: it is counted, and shown with samples.

Words and their n-grams are hashed with prefix sums of a polynomial modulo 2^64 (Karp and Rabin 1987), all places of a
million characters at once, and looked up in a sorted array of the n-grams that are looked for: memory grows with the
texts that are looked for, not with those that are searched. Two different n-grams share a 64-bit hash about once in
10^19 pairs; a hit is not compared again.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unmask.corpus.words import ALONE, HAN, LETTER, MARK, SPACE, UNSPACED, classes

GRAM, SHORTEST = 13, 8
BARRIER = "\x1e"  # between two texts that are searched together
CHUNK = 1 << 20  # characters at a time
OVERLAP = 4096  # characters that two pieces of a longer text share, so that no n-gram is cut
UNKNOWN = "\ufffd"  # a word that a tokenizer did not know says nothing
_BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2^64
_INVERSE = pow(_BASE, -1, 1 << 64)
_tables: list[NDArray[np.uint64]] = [np.ones(1, np.uint64), np.ones(1, np.uint64)]

Words = NDArray[np.uint64]


@dataclass(frozen=True)
class Units:
    """The words of a text, or of several with `BARRIER` between them."""

    text: str  # folded
    hashes: Words  # [U]
    begins: NDArray[np.int64]  # [U] characters of `text`
    ends: NDArray[np.int64]  # [U]
    owners: NDArray[np.int64]  # [U] how many barriers stand before


@dataclass(frozen=True)
class Shared:
    """What was found of one text. `grams` is 0 for a text too short to tell."""

    grams: int
    found: int
    passage: str  # the longest stretch that stands in the other texts, folded
    where: int  # number of the text searched in which its first n-gram was seen first; -1 for none

    @property
    def whole(self) -> bool:
        return self.grams > 0 and self.found == self.grams


def fold(text: str) -> str:
    """What counts as the same words: compatibility forms (width) and case."""
    if not text.isascii() and not unicodedata.is_normalized("NFKC", text):
        text = unicodedata.normalize("NFKC", text)
    return text.casefold()


class Looked:
    """Texts that are looked for in others: `search` as many as there are, then ask what was `found`."""

    def __init__(self, texts: Sequence[str], folded: bool = False) -> None:
        self._texts = [text.replace(BARRIER, " ") for text in texts]
        self._folded = folded  # these and those that are searched
        keys, owners, widths = [], [], set()
        for numbers, batch in _batches(self._texts, 0):
            found = units(batch, self._folded)
            widths.update(_widths(found))
            for key, owner in _wanted(found):
                keys.append(key)
                owners.append(numbers[owner])
        flat = np.concatenate(keys) if keys else np.zeros(0, np.uint64)
        self._owners = np.concatenate(owners) if owners else np.zeros(0, np.int64)
        self._keys, self._places = np.unique(flat, return_inverse=True)
        self._where: NDArray[np.int64] = np.full(len(self._keys), -1, np.int64)
        self._widths = sorted(widths)
        bits = min(25, max(16, int(len(self._keys) * 16).bit_length()))
        self._shift = np.uint64(64 - bits)
        self._sieve = np.zeros(1 << bits, np.bool_)
        self._sieve[self._keys >> self._shift] = True

    def search(self, texts: Iterable[str], first: int = 0) -> None:
        """Look through some texts, numbered from `first`."""
        for numbers, batch in _batches(texts, first):
            self.search_joined(batch, numbers)

    def search_joined(self, text: str, numbers: NDArray[np.int64]) -> None:
        """Look through texts joined by `BARRIER`, about `CHUNK` characters in all, with the number of each."""
        found = units(text, self._folded)
        for width in self._widths:
            hashes, inside = grams(found, width)
            at = np.flatnonzero(self._sieve[hashes >> self._shift] & inside)
            if not len(at):
                continue
            place = np.searchsorted(self._keys, hashes[at])
            place[place == len(self._keys)] = 0
            true = self._keys[place] == hashes[at]
            at, place = at[true][::-1], place[true][::-1]  # so that the first of equals is written last
            new = self._where[place] < 0
            self._where[place[new]] = numbers[found.owners[at[new]]]

    def counts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """N-grams of each text, and how many of them were found: [texts] both."""
        total = np.bincount(self._owners, minlength=len(self._texts))
        hit = self._owners[self._where[self._places] >= 0]
        return total, np.bincount(hit, minlength=len(self._texts))

    def shared(self, number: int) -> Shared:
        """What was found of one text, with its longest passage."""
        mine = self._places[self._owners == number]
        hits = self._where[mine] >= 0
        where = self._where[mine][hits]
        passage = self._passage(number) if hits.any() else ""
        return Shared(len(mine), int(hits.sum()), passage, int(where[0]) if len(where) else -1)

    def _passage(self, number: int) -> str:
        """The longest run of found n-grams as folded text."""
        best = ""
        for text in _pieces(self._texts[number]):
            own = units(text, self._folded)
            width = min(GRAM, len(own.hashes))
            hashes, _ = grams(own, width)
            place = np.minimum(np.searchsorted(self._keys, hashes), len(self._keys) - 1)
            hit = (self._keys[place] == hashes) & (self._where[place] >= 0)
            edges = np.flatnonzero(np.diff(hit.astype(np.int8), prepend=0, append=0))
            for begin, end in zip(edges[::2], edges[1::2], strict=True):
                found = own.text[own.begins[begin] : own.ends[end + width - 2]]
                best = max(best, found, key=len)
        return best


def units(text: str, folded: bool = False) -> Units:
    """The words of a text with their hashes; punctuation and white space are none."""
    text = text if folded else fold(text)
    kind = classes(text)
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    barrier = codes == ord(BARRIER)
    gap = (kind == SPACE) | (kind == ALONE) | barrier
    alone = (kind == HAN) | (kind == UNSPACED)
    before = np.ones(len(codes), np.bool_)  # whether no word goes on from the character before
    before[1:] = gap[:-1] | alone[:-1]
    starts = alone | (((kind == LETTER) | (kind == MARK)) & ~gap & before)
    if len(starts):
        starts[1:] &= ~((kind[1:] == MARK) & alone[:-1])  # a mark belongs to what it stands upon
    begins = np.flatnonzero(starts)
    stops = np.flatnonzero(gap)
    sums = np.zeros(len(codes) + 1, np.uint64)
    np.cumsum(_mixed(codes.astype(np.uint64)) * _powers(len(codes)), out=sums[1:])
    after = np.append(begins[1:], len(codes))
    gaps = np.append(stops, len(codes))
    ends = np.minimum(after, gaps[np.searchsorted(stops, begins)]) if len(begins) else begins
    hashes = _mixed((sums[ends] - sums[begins]) * _powers(len(codes), back=True)[begins])
    owners = np.cumsum(barrier)[begins] if len(begins) else begins
    return Units(text, hashes, begins, ends, owners)


def grams(found: Units, width: int) -> tuple[Words, NDArray[np.bool_]]:
    """The hash of every `width` words in a row, and whether they stand in one text: [U - width + 1] both."""
    count = len(found.hashes) - width + 1
    if count < 1:
        return np.zeros(0, np.uint64), np.zeros(0, np.bool_)
    sums = np.zeros(len(found.hashes) + 1, np.uint64)
    np.cumsum(found.hashes * _powers(len(found.hashes)), out=sums[1:])
    inside = (sums[width:] - sums[:-width]) * _powers(count, back=True)
    return _mixed(inside + np.uint64(width)), found.owners[width - 1 :] == found.owners[:count]


def _wanted(found: Units) -> Iterator[tuple[Words, NDArray[np.int64]]]:
    """The n-grams that are looked for, and the texts that they are of: 13 words, or a whole text of 8 to 12."""
    counts = np.bincount(found.owners) if len(found.owners) else np.zeros(0, np.int64)
    unknown = found.hashes == _unknown()
    for width in _widths(found):
        hashes, inside = grams(found, width)
        owners = found.owners[: len(hashes)]
        known = np.cumsum(np.append(0, unknown))
        inside = inside & (known[width:] == known[:-width])
        if width < GRAM:
            inside = inside & (counts[owners] == width)
        yield hashes[inside], owners[inside]


def _widths(found: Units) -> list[int]:
    """Which lengths of n-grams the texts ask for."""
    counts = np.bincount(found.owners) if len(found.owners) else np.zeros(0, np.int64)
    return sorted({min(int(n), GRAM) for n in np.unique(counts) if n >= SHORTEST})


def _unknown() -> np.uint64:
    code = np.array([ord(UNKNOWN)], np.uint64)
    return np.uint64(_mixed(_mixed(code))[0])


def _batches(texts: Iterable[str], first: int) -> Iterator[tuple[NDArray[np.int64], str]]:
    """Texts joined by barriers to about `CHUNK` characters, longer ones in pieces, and the number of each part."""
    batch: list[str] = []
    numbers: list[int] = []
    size = 0
    for number, text in enumerate(texts, first):
        for piece in _pieces(text.replace(BARRIER, " ")):
            if batch and size + len(piece) > CHUNK:
                yield np.array(numbers, np.int64), BARRIER.join(batch)
                batch, numbers, size = [], [], 0
            batch.append(piece)
            numbers.append(number)
            size += len(piece) + 1
    if batch:
        yield np.array(numbers, np.int64), BARRIER.join(batch)


def _pieces(text: str) -> Iterator[str]:
    """A text of more than `CHUNK` characters in pieces that overlap, so that no n-gram is cut."""
    step = CHUNK - OVERLAP
    for begin in range(0, max(1, len(text) - OVERLAP), step):
        yield text[begin : begin + CHUNK]


def _powers(count: int, back: bool = False) -> NDArray[np.uint64]:
    """Powers of the base, or of its inverse: [count]."""
    if len(_tables[back]) < count:
        size = 1 << max(20, (count - 1).bit_length())
        table = np.full(size, _INVERSE if back else _BASE, np.uint64)
        table[0] = 1
        _tables[back] = np.cumprod(table, dtype=np.uint64)
    return _tables[back][:count]


def _mixed(x: Words) -> Words:
    """Every bit of the result hangs on every bit of x (the finaliser of SplitMix64)."""
    x = x + np.uint64(_BASE)
    x ^= x >> np.uint64(30)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(27)
    x *= np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return x

"""Keeps texts out of a corpus: the development and test texts that a model will be judged on.

Texts are compared after folding (NFKC, case folded, without white space and what is never seen, such as a soft hyphen),
so that another line break, width or case is no hiding place. An excluded text of at least `SHORTEST` folded characters
is found anywhere, across lines too; a shorter one only where it is a whole line. The lines that it touches go, the rest
of the document stays.

Every window of `SHORTEST` characters of a document has a hash, and the few that equal the hash of an excluded
text's beginning are compared in full (Karp and Rabin 1987, "Efficient randomized pattern-matching algorithms"),
so the time depends little on how many texts are excluded, unless very many begin alike.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

SHORTEST = 16
_BITS = 22
_BASE = np.uint64(0x9E3779B97F4A7C15)


# Full-width forms, the bulk of what NFKC changes in Chinese: put right beforehand, they spare most of its work.
_WIDE = re.compile("[\uff01-\uff5e]+")
_UNSEEN = re.compile("[\u00ad\u034f\u180e\u200b-\u200f\u2060-\u2064\ufeff]+")
_NARROW = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}


def fold(text: str) -> str:
    """What counts as the same text: NFKC, case folded, without white space and what is never seen; twice is once."""
    if text.isascii():
        return "".join(text.casefold().split())
    text = _UNSEEN.sub("", _WIDE.sub(lambda match: match.group().translate(_NARROW), text))
    # A folded letter, or a mark behind a space that went, may be written in another way again.
    for _ in range(4):
        before, plain = text, unicodedata.normalize("NFKC", text)
        text = unicodedata.normalize("NFKC", "".join(plain.casefold().split()))
        if text == before:
            break
    return text


class Excluded:
    """A set of texts that must not be in the corpus; every line of each is one of them."""

    def __init__(self, texts: Iterable[str]) -> None:
        folded = {fold(piece) for text in texts for piece in (text, *text.split("\n"))} - {""}
        self._lines = folded
        self._starts: dict[int, list[str]] = {}
        for text in sorted(folded):
            if len(text) >= SHORTEST:
                self._starts.setdefault(int(_windows(text[:SHORTEST])[0]), []).append(text)
        self._sieve = np.zeros(1 << _BITS, np.bool_)
        if self._starts:
            keys = np.fromiter(self._starts, np.uint64)
            self._sieve[keys >> np.uint64(64 - _BITS)] = True

    def __len__(self) -> int:
        return len(self._lines)

    @property
    def digest(self) -> str:
        """16 hexadecimal digits of the set."""
        return hashlib.sha256("\n".join(sorted(self._lines)).encode()).hexdigest()[:16]

    def touched(self, documents: Sequence[list[str]]) -> list[set[int]]:
        """For each document, given as its lines, the numbers of the lines that hold an excluded text or a part of one.

        Many short documents at once cost little more than one long one.
        """
        found: list[set[int]] = [set() for _ in documents]
        if not self._lines:
            return found
        folded, places = [], []  # of every line; no folded text holds the "\n" that keeps two documents apart
        for number, lines in enumerate(documents):
            folded += [*map(fold, lines), "\n"]
            places += [(number, line) for line in range(len(lines) + 1)]
        for piece, (number, line) in zip(folded, places, strict=True):
            if piece in self._lines:
                found[number].add(line)
        whole = "".join(folded)
        if len(whole) < SHORTEST or not self._starts:
            return found
        ends = list(accumulate(map(len, folded)))
        windows = _windows(whole)
        for place in np.flatnonzero(self._sieve[windows >> np.uint64(64 - _BITS)]).tolist():
            for text in self._starts.get(int(windows[place]), ()):
                if whole.startswith(text, place):
                    first, last = bisect_right(ends, place), bisect_right(ends, place + len(text) - 1)
                    for number, line in places[first : last + 1]:
                        found[number].add(line)
        return found


def _windows(text: str) -> NDArray[np.uint64]:
    """A hash of every window of `SHORTEST` = 2⁴ characters, by doubling: `[len(text) - SHORTEST + 1]`."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    values = (codes + np.uint64(1)) * _BASE
    width, power = 1, _BASE
    with np.errstate(over="ignore"):
        while width < SHORTEST:
            values = values[:-width] * power + values[width:]
            values ^= values >> np.uint64(31)
            power = power * _BASE
            width *= 2
    return values

"""Which of many texts stand, word for word, inside other texts: the check between test rows and training text.

Exact after folding (compatibility forms, case and all white space do not count), for a text anywhere in a
document, not only where a document is split alike. A text is looked up by a rolling hash of its first 8 or 24
characters over every position of the documents (polynomial, modulo 2^64, as Karp and Rabin 1987), and every hit
is compared in full, so the answer is exact and 20 million characters take about two seconds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from unmask.corpus.exclude import fold

BASE = np.uint64(0x9E3779B97F4A7C15)  # odd, so that multiplying by it loses nothing modulo 2^64
LONG, SHORT = 24, 8
BATCH = 1 << 20


def _power(n: int) -> np.uint64:
    return np.uint64(pow(int(BASE), n, 1 << 64))


def _hashes(text: str, width: int) -> np.ndarray:
    """The hash of every window of `width` (8 or 24) characters: [n - width + 1] uint64."""
    h = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    one = 1
    eight = h
    while one < (16 if width == LONG else 8):
        if one == 8:
            eight = h
        h = h[:-one] * _power(one) + h[one:]
        one *= 2
    if width == LONG:
        h = h[: len(eight) - 16] * _power(8) + eight[16:]
    return h


def _keys(texts: Iterable[str], width: int) -> dict[int, list[str]]:
    keys: dict[int, list[str]] = defaultdict(list)
    for text in texts:
        keys[int(_hashes(text[:width], width)[0])].append(text)
    return keys


def found_in(texts: Iterable[str], documents: Iterable[str]) -> set[str]:
    """Those of `texts` that stand inside one of `documents` after folding.

    A text with fewer than 8 characters after folding proves nothing by standing somewhere: `ValueError`.
    """
    folded: dict[str, list[str]] = defaultdict(list)
    for text in texts:
        folded[fold(text)].append(text)
    if any(len(text) < SHORT for text in folded):
        raise ValueError(f"a text under {SHORT} characters cannot be checked")
    wanted = [
        (LONG, _keys((t for t in folded if len(t) >= LONG), LONG)),
        (SHORT, _keys((t for t in folded if len(t) < LONG), SHORT)),
    ]
    found: set[str] = set()
    batch: list[str] = []
    size = 0
    for document in documents:
        batch.append(fold(document))
        size += len(batch[-1])
        if size >= BATCH:
            found |= _search(wanted, "\n".join(batch))
            batch, size = [], 0
    found |= _search(wanted, "\n".join(batch))
    return {text for f in found for text in folded[f]}


def _search(wanted: list[tuple[int, dict[int, list[str]]]], text: str) -> set[str]:
    # A folded text has no white space, so the "\n" between two documents can be part of no match.
    found: set[str] = set()
    for width, keys in wanted:
        if not keys or len(text) < width:
            continue
        hashes = _hashes(text, width)
        known = np.array(sorted(keys), dtype=np.uint64)
        seen = np.zeros(1 << 20, dtype=bool)  # a first sieve on 20 bits, far cheaper than a search
        seen[(known >> np.uint64(44)).astype(np.int64)] = True
        at = np.flatnonzero(seen[(hashes >> np.uint64(44)).astype(np.int64)])
        at = at[np.isin(hashes[at], known)]
        for i in at.tolist():
            for candidate in keys[int(hashes[i])]:
                if candidate not in found and text.startswith(candidate, i):
                    found.add(candidate)
    return found

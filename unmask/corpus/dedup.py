"""Exact duplicates, found by 64-bit hashes in sorted runs.

A Python set of hashes takes 60 bytes and more an entry; here an entry takes 8. Hashes are kept in sorted arrays
whose sizes at least halve from one to the next (a log-structured merge), so a batch is looked up in a handful of
binary searches and every hash is merged a logarithmic number of times. With n different texts the chance that any
two are taken for one is below n² / 2⁶⁵: for a hundred million lines about 3 in 10,000.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray


def hashes(texts: Sequence[str]) -> NDArray[np.uint64]:
    """A 64-bit hash of every text: `[texts]`, the same in any process."""
    digests = b"".join(blake2b(text.encode(), digest_size=8).digest() for text in texts)
    return np.frombuffer(digests, "<u8").astype(np.uint64)


SHELVES = 16  # parts of the range of hashes; merging needs a second copy of one part alone
_EDGES = np.arange(1, SHELVES, dtype=np.uint64) << np.uint64(60)


class Seen:
    """The hashes that have come by."""

    def __init__(self) -> None:
        self._shelves: list[list[NDArray[np.uint64]]] = [[] for _ in range(SHELVES)]

    def __len__(self) -> int:
        return sum(len(run) for runs in self._shelves for run in runs)

    def first(self, batch: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """True where a hash comes by for the first time (`[batch]`); they are remembered."""
        fresh = np.zeros(len(batch), np.bool_)
        values, places = np.unique(batch, return_index=True)
        bounds = [0, *np.searchsorted(values, _EDGES).tolist(), len(values)]
        for runs, begin, end in zip(self._shelves, bounds[:-1], bounds[1:], strict=True):
            own = values[begin:end]
            unknown = np.ones(len(own), np.bool_)
            for run in runs:
                where = np.minimum(np.searchsorted(run, own), len(run) - 1)
                unknown &= run[where] != own
            fresh[places[begin:end][unknown]] = True
            _push(runs, own[unknown])
        return fresh


def _push(runs: list[NDArray[np.uint64]], values: NDArray[np.uint64]) -> None:
    """Add sorted values to sorted runs, each at least twice as long as the next."""
    if not len(values):
        return
    while runs and len(runs[-1]) < 2 * len(values):
        values = np.concatenate([runs.pop(), values])
        values.sort(kind="stable")
    runs.append(values)

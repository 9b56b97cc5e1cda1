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


class Seen:
    """The hashes that have come by."""

    def __init__(self) -> None:
        self._runs: list[NDArray[np.uint64]] = []  # sorted, each at least twice as long as the next

    def __len__(self) -> int:
        return sum(len(run) for run in self._runs)

    def first(self, batch: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """True where a hash comes by for the first time (`[batch]`); they are remembered."""
        fresh = np.zeros(len(batch), np.bool_)
        values, places = np.unique(batch, return_index=True)
        unknown = np.ones(len(values), np.bool_)
        for run in self._runs:
            where = np.minimum(np.searchsorted(run, values), len(run) - 1)
            unknown &= run[where] != values
        fresh[places[unknown]] = True
        self._push(values[unknown])
        return fresh

    def _push(self, values: NDArray[np.uint64]) -> None:
        if not len(values):
            return
        while self._runs and len(self._runs[-1]) < 2 * len(values):
            values = np.concatenate([self._runs.pop(), values])
            values.sort(kind="stable")
        self._runs.append(values)

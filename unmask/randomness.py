"""Randomness with coordinates: the draw is a function of (seed, purpose, n), and no state is ever saved.

`generator` is NumPy's Philox (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): a keyed
function of a counter. The key is a hash of seed and purpose, and `n` stands in the high half of the counter, so
two numbers `n` never share a draw. `permuted` is a Feistel network over the smallest power of four that holds
the range, walked along its cycle until it lands inside it (Black and Rogaway 2002, "Ciphers with arbitrary finite
domains"): any element of a shuffled range at once, in any process, without a table.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

_ROUNDS = 8
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def _hash(seed: int, purpose: str, words: int) -> NDArray[np.uint64]:
    digest = hashlib.blake2b(f"{int(seed)}\x00{purpose}".encode(), digest_size=8 * words).digest()
    return np.frombuffer(digest, "<u8").astype(np.uint64)


def generator(seed: int, purpose: str, n: int) -> np.random.Generator:
    """The generator of number `n >= 0` for one purpose; the same draws in any process and on any machine."""
    if not 0 <= n < 1 << 128:
        raise ValueError(f"n must be in [0, 2**128), not {n}")
    key = _hash(seed, purpose, 2)
    return np.random.Generator(np.random.Philox(key=key, counter=int(n) << 128))


def permuted(n: int, size: int, seed: int, purpose: str) -> int:
    """Element `n` of a pseudo-random permutation of `range(size)`; `0 <= n < size < 2**62`."""
    return int(permutation_slice(n, n + 1, size, seed, purpose)[0])


def permutation_slice(begin: int, end: int, size: int, seed: int, purpose: str) -> NDArray[np.int64]:
    """Elements `begin` to `end` of the permutation of `permuted`: `[end - begin]` int64."""
    if not 0 <= begin <= end <= size or size >= 1 << 62:
        raise ValueError(f"{begin}:{end} is not a part of range({size})")
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    keys = _hash(seed, purpose, _ROUNDS)
    values = _feistel(np.arange(begin, end, dtype=np.uint64), half, keys)
    while (outside := np.flatnonzero(values >= np.uint64(size))).size:  # on average less than three times
        values[outside] = _feistel(values[outside], half, keys)
    return values.astype(np.int64)


def _feistel(values: NDArray[np.uint64], half: int, keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A bijection of `range(4**half)`."""
    shift, low = np.uint64(half), np.uint64((1 << half) - 1)
    left, right = values >> shift, values & low
    for key in keys:
        left, right = right, left ^ (_mix(right, key) & low)
    return (left << shift) | right


def _mix(values: NDArray[np.uint64], key: np.uint64) -> NDArray[np.uint64]:
    """A 64-bit mixer (two rounds of multiply and shift); wraps around on purpose."""
    with np.errstate(over="ignore"):
        mixed = (values + key) * _MULTIPLIER
        mixed ^= mixed >> np.uint64(32)
        mixed *= _MULTIPLIER
        return mixed ^ (mixed >> np.uint64(29))

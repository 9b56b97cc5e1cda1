"""A uniform sample of a stream of texts, in bounded memory.

Every text draws a key in [0, 1); the texts with the smallest keys that fit into the stated bytes stay (bottom-k
sampling; with equal sizes this is the reservoir of Vitter 1985, "Random sampling with a reservoir"). The sample
is a function of the seed and the stream alone, and comes back in the order of the stream.
"""

from __future__ import annotations

import heapq

from unmask.randomness import generator

_BLOCK = 4096


class Sample:
    """Holds at most `limit` bytes of the texts that were added."""

    def __init__(self, limit: int, seed: int, purpose: str) -> None:
        self.limit, self.seed, self.purpose = limit, seed, purpose
        self.seen = 0
        self.bytes = 0
        self._bound = 1.0  # the smallest key that was ever turned away
        self._heap: list[tuple[float, int, str]] = []  # largest key first (negated)
        self._keys: list[float] = []

    def add(self, text: str) -> None:
        place = self.seen % _BLOCK
        if place == 0:
            draws = generator(self.seed, self.purpose, self.seen // _BLOCK).random(_BLOCK)
            self._keys = draws.tolist()
        key = self._keys[place]
        self.seen += 1
        if key >= self._bound or not text:
            return
        heapq.heappush(self._heap, (-key, self.seen, text))
        self.bytes += len(text.encode())
        while self.bytes > self.limit and len(self._heap) > 1:
            largest, _, dropped = heapq.heappop(self._heap)
            self.bytes -= len(dropped.encode())
            self._bound = -largest

    def texts(self) -> list[str]:
        """The sample, in the order in which it came."""
        return [text for _, _, text in sorted(self._heap, key=lambda entry: entry[1])]

"""Token ids to text, many at once: what the pieces spell, joined without the library's decoder.

A table of every piece's bytes turns ten million ids into text in a second, where decoding document by document takes
a minute. It is not `Tokenizer.decode`: a piece that opens a word gets a space before it (wordpiece), special tokens
become a blank, and an unknown piece becomes U+FFFD. What is done to the text (folding) is done to the pieces, once
each. That is enough for comparing texts that were spelt alike.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from unmask.tokens.tokenizer import Tokenizer, byte_letters

UNKNOWN = "\ufffd"
BARRIER = "\x1e"  # between two documents; in no spelt piece


class Spelling:
    """The spelling of a tokenizer's pieces, put through `fold`; `barrier` is the id that spells `BARRIER`."""

    def __init__(self, tokenizer: Tokenizer, fold: Callable[[str], str]) -> None:
        vocab = tokenizer.vocab
        letters, pieces = (
            byte_letters(),
            {i: tokenizer.token(i) for i in np.flatnonzero(~vocab.special).tolist()},
        )
        in_bytes = vocab.kind == "bpe" and all(
            letter in letters for piece in pieces.values() for letter in piece
        )
        self._fold = fold if in_bytes else None  # a piece may be half a character: folded when it is whole
        spelt = [b" "] * vocab.size
        for id_, piece in pieces.items():
            whole = (
                bytes(letters[x] for x in piece) if in_bytes else fold(_spaced(piece, vocab.kind)).encode()
            )
            spelt[id_] = whole.replace(b"\x1e", b" ")
        spelt[vocab.unk] = f" {UNKNOWN} ".encode()
        spelt.append(BARRIER.encode())
        self.barrier = vocab.size
        self._lengths = np.fromiter(map(len, spelt), np.int64, len(spelt))
        self._starts = np.cumsum(self._lengths) - self._lengths
        self._flat = np.frombuffer(b"".join(spelt), np.uint8)

    def text(self, ids: NDArray[np.integer]) -> str:
        """The folded text that some ids spell: [n] -> one string."""
        lengths = self._lengths[ids]
        before = np.cumsum(lengths) - lengths
        places = np.repeat(self._starts[ids] - before, lengths)
        places += np.arange(len(places))
        text = str(self._flat[places].tobytes(), "utf-8", "replace")
        return text if self._fold is None else self._fold(text)


def _spaced(piece: str, kind: str) -> str:
    if kind == "wordpiece":
        return piece[2:] if piece.startswith("##") else " " + piece
    return piece.replace("▁", " ")

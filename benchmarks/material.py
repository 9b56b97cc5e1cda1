"""Text for the benchmarks: lines of the shipped English text, or of a folder that is named, as rows of token ids.

Two kinds of rows. `full`: the text end to end, cut every 126 tokens, so that no row needs padding. `real`: a line of
the text a row, headings and paragraphs as they come, cut at 128 tokens: what a line-by-line script feeds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from unmask.rows import Row
from unmask.tokens import Tokenizer, Vocab

LENGTH = 128


def lines(data: Path | None, characters: int) -> list[str]:
    """Lines of text, about so many characters together: shipped, or of the text files in a folder."""
    kept, size = [], 0
    for line in _all(data):
        if len(line) >= 2:
            kept.append(line)
            size += len(line)
            if size >= characters:
                break
    return kept


def _all(data: Path | None) -> Iterator[str]:
    if data is None:
        from unmask.data import english

        for document in english.documents(0):
            yield from document.text.splitlines()
        return
    from unmask.corpus.ledger import Ledger
    from unmask.corpus.readers import judge_layout, read_documents
    from unmask.corpus.sources import find_sources

    sources = find_sources([data])
    for document in read_documents(sources, judge_layout(sources, "auto"), "text", Ledger().stage("read")):
        yield from document.text.splitlines()


@dataclass(frozen=True)
class TextRows:
    """Rows [CLS] piece [SEP] in a fixed order, counted on over the epochs."""

    pieces: list[np.ndarray]
    vocab: Vocab

    def __len__(self) -> int:
        return len(self.pieces)

    def __call__(self, n: int) -> Row:
        piece = self.pieces[n % len(self.pieces)]
        ids = np.concatenate(([self.vocab.cls], piece, [self.vocab.sep])).astype(np.int64)
        special = np.zeros(len(ids), bool)
        special[[0, -1]] = True
        return Row(ids, special, np.ones(len(ids), bool), None, np.array([len(ids)]), None)


def text_rows(texts: list[str], tokenizer: Tokenizer, kind: str, length: int = LENGTH) -> TextRows:
    """`kind`: full or real. The order is a fixed shuffle, so that a batch mixes the lengths of the whole text."""
    encoded = [np.asarray(e.ids) for e in tokenizer.encode_batch(texts)]
    room = length - 2
    if kind == "full":
        joined = np.concatenate(encoded)
        pieces = [joined[at : at + room] for at in range(0, len(joined) - room + 1, room)]
    else:
        pieces = [ids[:room] for ids in encoded if len(ids)]
    order = np.random.default_rng(0).permutation(len(pieces))
    return TextRows([pieces[i] for i in order], tokenizer.vocab)


def padding(rows: TextRows, batch: int) -> float:
    """The share of padding where each batch is padded to its longest row."""
    sizes = [len(piece) + 2 for piece in islice(rows.pieces, len(rows) // batch * batch)]
    groups = np.array(sizes).reshape(-1, batch)
    return 1.0 - groups.sum() / (groups.max(1) * batch).sum()

"""Documents to tokens, sentence ends and word starts: the work that processes share.

All lines of a batch go through the tokenizer at once; words and sentences are found in the characters of the whole
batch and laid over the tokens with array operations, so no Python loop sees a token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from unmask.bounded import portions
from unmask.corpus.sentences import split_sentences
from unmask.corpus.words import word_starts
from unmask.errors import UnmaskError
from unmask.store.write import Tokenised, joined
from unmask.tokens import Tokenizer, token_starts

# Characters that are worked out at once: some dozens of bytes each, which a process then keeps.
_TOGETHER = 1 << 18


@dataclass(frozen=True)
class Piece:
    """A batch of a gathered text file: what a worker is asked to encode."""

    file: str
    at: int  # the byte where it begins
    language: str


def encode_documents(
    ids: Sequence[str], texts: Sequence[str], tokenizer: Tokenizer, language: str
) -> Tokenised:
    """Tokenise documents whose paragraphs are separated by newlines."""
    parts: list[Tokenised] = []
    at = 0
    for some in list(portions(texts, len, _TOGETHER)) or [[]]:
        parts.append(_encode(ids[at : at + len(some)], some, tokenizer, language))
        at += len(some)
    return joined(parts)


def _encode(ids: Sequence[str], texts: Sequence[str], tokenizer: Tokenizer, language: str) -> Tokenised:
    ending = "\n" if tokenizer.keeps_newlines else ""
    lines: list[str] = []
    counts = np.zeros(len(texts), np.int64)  # [documents] lines of each
    for number, text in enumerate(texts):
        own = text.split("\n")
        counts[number] = len(own)
        lines.extend(line + ending for line in own[:-1])
        lines.append(own[-1])
    tokens, offsets, line_tokens = tokenizer.encode_flat(lines)  # [n], [n, 2], [lines]
    bare = [line.removesuffix("\n") for line in lines]
    line_begins = _bounds([len(line) + 1 for line in bare])[:-1]  # [lines] characters in the joined text
    offsets = offsets.astype(np.int64) + np.repeat(line_begins, line_tokens)[:, None]
    starts = token_starts(word_starts("\n".join(bare), language), offsets)

    # A token belongs to the sentence in which it begins; the white space between two sentences, and so a piece
    # that carries it, belongs to the second, the newline to the sentence before it.
    ends: list[int] = []
    for line, begin in zip(bare, line_begins.tolist(), strict=True):
        at = 0
        for piece in split_sentences(line, language)[:-1]:
            at += len(piece)
            bare_piece = piece.rstrip()
            ends.append(
                begin + (at - len(piece) + len(bare_piece) if bare_piece else len(line[:at].rstrip()))
            )
        ends.append(begin + len(line) + 1)
    token_ends = np.searchsorted(np.maximum.accumulate(offsets[:, 0]), np.array(ends, np.int64), "left")

    document_lines = _bounds(counts)
    line_bounds = _bounds(line_tokens)
    document_bounds = line_bounds[document_lines]  # [documents + 1] tokens
    kept, owners = _proper_ends(token_ends, document_bounds)
    return Tokenised(
        ids=list(ids),
        tokens=tokens.astype(np.uint16 if tokenizer.vocab.size <= 1 << 16 else np.uint32),
        lengths=np.diff(document_bounds),
        sentence_ends=(kept - document_bounds[owners]).astype(np.int32),
        sentences=np.bincount(owners, minlength=len(texts)).astype(np.int64),
        word_starts=starts,
    )


def _proper_ends(
    ends: NDArray[np.int64], bounds: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The ends of sentences that hold a token, and the document of each."""
    rising = np.empty(len(ends), np.bool_)
    rising[:1] = ends[:1] > 0
    rising[1:] = ends[1:] > ends[:-1]
    kept = ends[rising]
    return kept, np.searchsorted(bounds, kept, "left") - 1


def _bounds(counts: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)


def encode_piece(piece: Piece, tokenizer: Tokenizer) -> Tokenised:
    """Read a piece from its file and encode it."""
    return encode_documents(*read_piece(piece), tokenizer, piece.language)


def read_piece(piece: Piece) -> tuple[list[str], list[str]]:
    """The ids and the texts of a piece."""
    try:
        with pa.OSFile(piece.file, "rb") as stream:
            stream.seek(piece.at)
            batch = pa.ipc.open_stream(stream).read_next_batch()
            return batch.column("id").to_pylist(), batch.column("text").to_pylist()
    except (pa.ArrowException, OSError, StopIteration, KeyError) as error:
        raise UnmaskError(f"{piece.file} is damaged ({error}) — delete the folder and build again") from None

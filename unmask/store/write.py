"""Writes shards: batches of tokenised documents to Arrow IPC files, aside first, then under their name."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from unmask.store.read import sha256


@dataclass(frozen=True)
class Tokenised:
    """Some documents end to end, as a worker returns them."""

    ids: list[str]
    tokens: NDArray[Any]  # [n] uint16 or uint32
    lengths: NDArray[np.int64]  # [documents] tokens of each
    sentence_ends: NDArray[np.int32]  # [sentences] within their document, exclusive
    sentences: NDArray[np.int64]  # [documents] sentences of each
    word_starts: NDArray[np.bool_]  # [n]

    def only(self, chosen: NDArray[np.bool_]) -> Tokenised:
        """The documents where `chosen` `[documents]` is true."""
        tokens, sentences = np.repeat(chosen, self.lengths), np.repeat(chosen, self.sentences)
        return Tokenised(
            ids=[id_ for id_, kept in zip(self.ids, chosen, strict=True) if kept],
            tokens=self.tokens[tokens],
            lengths=self.lengths[chosen],
            sentence_ends=self.sentence_ends[sentences],
            sentences=self.sentences[chosen],
            word_starts=self.word_starts[tokens],
        )


def joined(parts: Sequence[Tokenised]) -> Tokenised:
    """The documents of all parts, end to end; there is at least one part."""
    if len(parts) == 1:
        return parts[0]
    ids = list(chain.from_iterable(part.ids for part in parts))
    arrays = {
        field.name: np.concatenate([getattr(part, field.name) for part in parts])
        for field in fields(Tokenised)
        if field.name != "ids"
    }
    return Tokenised(ids=ids, **arrays)


def schema(token_type: pa.DataType) -> pa.Schema:
    """The columns of a shard; `token_type` is uint16 or uint32."""
    return pa.schema(
        [
            ("id", pa.string()),
            ("tokens", pa.large_list(token_type)),
            ("sentence_ends", pa.list_(pa.int32())),
            ("word_starts", pa.large_list(pa.bool_())),
        ]
    )


class Shard:
    """Writes one shard, batch by batch, aside; without a batch there is no file."""

    def __init__(self, file: Path, token_type: pa.DataType) -> None:
        self.file = file
        self._columns = schema(token_type)
        self._aside = file.with_name(file.name + ".part")
        self._sink: Any = None
        self._writer: Any = None
        self._counts = dict.fromkeys(("documents", "tokens", "sentences"), 0)

    def add(self, batch: Tokenised) -> None:
        if self._writer is None:
            self._sink = pa.OSFile(str(self._aside), "wb")
            self._writer = pa.ipc.new_file(self._sink, self._columns)
        self._writer.write_batch(_record_batch(batch, self._columns))
        self._counts["documents"] += len(batch.ids)
        self._counts["tokens"] += len(batch.tokens)
        self._counts["sentences"] += len(batch.sentence_ends)

    def close(self) -> dict[str, Any] | None:
        """Sync it, give it its name and return its line of the manifest: file, counts, bytes, sha256."""
        if self._writer is None:
            return None
        self._writer.close()
        self._sink.close()
        _sync(self._aside)
        self._aside.replace(self.file)
        size = self.file.stat().st_size
        return {"file": self.file.name, **self._counts, "bytes": size, "sha256": sha256(self.file)}


def write_json(file: Path, value: Any) -> None:
    """Write JSON aside, sync it and rename it."""
    write_bytes(file, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def write_bytes(file: Path, content: bytes) -> None:
    """Write a small file aside, sync it and rename it."""
    aside = file.with_name(file.name + ".part")
    aside.unlink(missing_ok=True)  # it could be a link to somewhere else
    with aside.open("xb") as stream:
        stream.write(content)
    _sync(aside)
    aside.replace(file)


def _sync(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _record_batch(batch: Tokenised, columns: pa.Schema) -> pa.RecordBatch:
    bounds, ends = flat(_bounds(batch.lengths)), flat(_bounds(batch.sentences).astype(np.int32))
    token_type = columns.field("tokens").type.value_type
    bits = pa.py_buffer(np.packbits(batch.word_starts, bitorder="little"))
    words = pa.Array.from_buffers(pa.bool_(), len(batch.word_starts), [None, bits])
    arrays = [
        texts(batch.ids, pa.string()),
        pa.LargeListArray.from_arrays(
            bounds, flat(batch.tokens.astype(token_type.to_pandas_dtype(), copy=False))
        ),
        pa.ListArray.from_arrays(ends, flat(batch.sentence_ends.astype(np.int32, copy=False))),
        pa.LargeListArray.from_arrays(bounds, words),
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=columns)


# Arrays are made of their buffers: `pa.array` loads pandas, if it is there, to see what it was given (0.3 s).


def flat(array: NDArray[Any]) -> pa.Array:
    """Numbers as an Arrow array, not copied."""
    buffer = pa.py_buffer(np.ascontiguousarray(array))
    return pa.Array.from_buffers(pa.from_numpy_dtype(array.dtype), len(array), [None, buffer])


def texts(values: Sequence[str], kind: pa.DataType) -> pa.Array:
    """Strings as an Arrow array of `pa.string()` or `pa.large_string()`."""
    encoded = [value.encode() for value in values]
    width = np.int64 if kind == pa.large_string() else np.int32
    offsets = pa.py_buffer(_bounds(np.fromiter(map(len, encoded), np.int64, len(encoded))).astype(width))
    return pa.Array.from_buffers(kind, len(encoded), [None, offsets, pa.py_buffer(b"".join(encoded))])


def _bounds(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)

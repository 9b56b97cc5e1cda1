"""Reads a corpus folder: see `unmask/store/__init__.py` for what lies in it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from unmask.bounded import LARGEST_NUMBER, load_json
from unmask.errors import UnmaskError, nearest
from unmask.tokens import Tokenizer, load_tokenizer

FORMAT = 1
PARTS = ("train", "heldout")


@dataclass(frozen=True)
class Stored:
    """One document."""

    tokens: NDArray[Any]  # [n] uint16 or uint32, a view on the memory map
    sentence_ends: NDArray[np.int32]  # [s] exclusive, rising, the last is n; a view
    word_starts: NDArray[np.bool_]  # [n] the first token of a word


@dataclass(frozen=True)
class _Chunk:
    """The flat arrays of one record batch."""

    offsets: NDArray[np.int64]  # [documents + 1]
    tokens: NDArray[Any]
    end_offsets: NDArray[np.int32]  # [documents + 1]
    ends: NDArray[np.int32]
    bits: NDArray[np.uint8]  # word starts, least significant bit first
    ids: pa.Array


class Store:
    """One part of a corpus folder.

    Raises `UnmaskError` if the folder is not a finished corpus, or its shards are not those of its manifest
    (names and sizes here; `verify` compares the hashes).
    """

    def __init__(self, folder: str | Path, part: str = "train") -> None:
        self.folder = Path(folder)
        self.part = part
        self.manifest: dict[str, Any] = read_manifest(self.folder)
        if part not in PARTS:
            raise UnmaskError(f'unknown part "{part}" — expected train or heldout.{nearest(part, PARTS)}')
        shards = self.manifest["shards"][part]
        self._chunks = [chunk for shard in shards for chunk in _open_shard(self.folder, shard)]
        counts = [len(chunk.offsets) - 1 for chunk in self._chunks]
        self._bounds: NDArray[np.int64] = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(
            np.int64
        )
        self.documents = int(self._bounds[-1])
        self.tokens: int = sum(len(chunk.tokens) for chunk in self._chunks)
        told = self.manifest["parts"][part]
        if (self.documents, self.tokens) != (told["documents"], told["tokens"]):
            raise UnmaskError(
                f"{self.folder}: the {part} shards hold {self.documents} documents and {self.tokens} tokens, but"
                f" manifest.json says {told['documents']} and {told['tokens']} — build the corpus again"
            )

    def __reduce__(self) -> tuple[type[Store], tuple[Path, str]]:
        """Worker processes open the folder themselves."""
        return Store, (self.folder, self.part)

    def __len__(self) -> int:
        return self.documents

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that change with the text, the tokenizer or the settings."""
        return str(self.manifest["fingerprint"])

    @property
    def language(self) -> str:
        """The language of the corpus, given or detected."""
        return str(self.manifest["language"])

    @property
    def unigram_entropy(self) -> float:
        """The entropy of the training part's token frequencies, in nats: the loss of a model that knows no context."""
        return float(self.manifest["unigram_entropy"])

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer that made the ids. Raises `UnmaskError` if it has been exchanged."""
        tokenizer = load_tokenizer(self.folder / "tokenizer", self.language)
        if tokenizer.fingerprint != self.manifest["tokenizer"]["fingerprint"]:
            raise UnmaskError(
                f"{self.folder / 'tokenizer'} is not the tokenizer that made this corpus (fingerprint"
                f" {tokenizer.fingerprint}, expected {self.manifest['tokenizer']['fingerprint']})"
                " — put the right one back or build the corpus again"
            )
        return tokenizer

    @cached_property
    def _vocab(self) -> int:
        return self.tokenizer.vocab.size

    @cached_property
    def unigram(self) -> NDArray[np.int64]:
        """How often each id occurs in the training part: `[V]` int64."""
        file = self.folder / "unigram.npy"
        if not file.is_file():
            raise UnmaskError(f"{file} is missing — build the corpus again")
        return load_counts(file, self.tokenizer.vocab.size)

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each document: `[documents]` int64."""
        if not self._chunks:
            return np.zeros(0, np.int64)
        return np.concatenate([np.diff(chunk.offsets) for chunk in self._chunks])

    def document(self, i: int) -> Stored:
        """Document `i`: tokens and sentence ends are views, word starts are unpacked from their bits."""
        chunk, row = self._find(i)
        begin, end = int(chunk.offsets[row]), int(chunk.offsets[row + 1])
        first = begin // 8
        bits = np.unpackbits(chunk.bits[first : -(-end // 8)], bitorder="little")
        tokens = chunk.tokens[begin:end]
        ends = chunk.ends[chunk.end_offsets[row] : chunk.end_offsets[row + 1]]
        # A shard may be another's: an id beyond the vocabulary would be an index beyond a table.
        if end > begin and (
            int(tokens.max()) >= self._vocab
            or not len(ends)
            or int(ends[-1]) != end - begin
            or int(ends[0]) < 1
        ):
            raise UnmaskError(
                f"{self.folder}: document {i} of {self.part} holds ids beyond the {self._vocab} of the tokenizer, or"
                " ends of sentences that are not its own — the shard is damaged — build the corpus again"
            )
        return Stored(
            tokens=tokens,
            sentence_ends=ends,
            word_starts=bits[begin - 8 * first : end - 8 * first].view(np.bool_),
        )

    def id(self, i: int) -> str:
        """The id that document `i` had in its source."""
        chunk, row = self._find(i)
        try:
            chunk.ids.slice(row, 1).validate(full=True)
            return str(chunk.ids[row].as_py())
        except (pa.ArrowException, UnicodeDecodeError) as error:
            raise UnmaskError(
                f"{self.folder}: the id of document {i} of {self.part} is damaged ({error}) — build the corpus again"
            ) from None

    def text(self, i: int) -> str:
        """The tokens of document `i` as text again (what the tokenizer drops is lost)."""
        return self.tokenizer.decode(self.document(i).tokens.tolist())

    def _find(self, i: int) -> tuple[_Chunk, int]:
        if not 0 <= i < self.documents:
            raise IndexError(f"document {i} of {self.documents}")
        place = int(np.searchsorted(self._bounds, i, side="right")) - 1
        return self._chunks[place], i - int(self._bounds[place])

    def verify(self) -> None:
        """Read every file again and compare its hash. Raises `UnmaskError` at the first that differs."""
        for shard in [shard for part in PARTS for shard in self.manifest["shards"][part]]:
            check_hash(self.folder / shard["file"], shard["sha256"])
        check_hash(self.folder / "unigram.npy", self.manifest["unigram"]["sha256"])
        check_hash(self.folder / "ledger.json", self.manifest["ledger"]["sha256"])
        _ = self.tokenizer


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a finished corpus folder. Raises `UnmaskError` if there is none or it is not ours."""
    file = folder / "manifest.json"
    if not file.is_file():
        found = (
            "an unfinished corpus (no manifest.json)"
            if (folder / "building").is_dir()
            else "not a corpus folder"
        )
        raise UnmaskError(f"{folder} is {found} — expected a folder made by `unmask corpus`; run it (again)")
    manifest = load_json(file, "the manifest of a corpus", "build the corpus again")
    try:
        if manifest["format"] != FORMAT:
            raise UnmaskError(
                f"{file} has format {manifest['format']} — this version reads {FORMAT}; build it again"
            )
        wanted: dict[str, list[tuple[Any, type]]] = {
            "fingerprint, language": [(manifest["fingerprint"], str), (manifest["language"], str)],
            "unigram_entropy": [(manifest["unigram_entropy"], float)],
            "settings, tokenizer": [
                (manifest["settings"], dict),
                (manifest["tokenizer"]["fingerprint"], str),
            ],
            "text_sha256": [(manifest["text_sha256"], str)],
            "parts": [
                (manifest["parts"][part][unit], int) for part in PARTS for unit in ("documents", "tokens")
            ],
            "files": [(manifest[name]["sha256"], str) for name in ("unigram", "ledger")],
        }
        for part in PARTS:
            for shard in manifest["shards"][part]:
                wanted["shards"] = [(shard["file"], str), (shard["bytes"], int), (shard["sha256"], str)]
                wanted["shards"] += [(shard[unit], int) for unit in ("documents", "tokens", "sentences")]
                _expect(wanted, file)
        _expect(wanted, file)
    except (ValueError, KeyError, TypeError) as error:
        raise UnmaskError(f"{file} is damaged ({error!r:.200}) — build the corpus again") from None
    return dict(manifest)


def _expect(wanted: dict[str, list[tuple[Any, type]]], file: Path) -> None:
    """Raise `UnmaskError` where a value is not of its kind, or a count below zero."""
    for name, values in wanted.items():
        for value, kind in values:
            right = type(value) is kind or (kind is float and type(value) is int)
            if not right or (kind in (int, float) and not 0 <= value < LARGEST_NUMBER):
                raise UnmaskError(
                    f"{file} is damaged ({name}: {value!r:.60} where a {kind.__name__} was expected) — build the corpus"
                    " again"
                )


def sha256(file: Path) -> str:
    """The hash of a file, in hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def check_hash(file: Path, expected: str) -> None:
    """Raise `UnmaskError` unless the file is there and has this hash."""
    if not file.is_file():
        raise UnmaskError(f"{file} is missing, but manifest.json names it — build the corpus again")
    if (found := sha256(file)) != expected:
        raise UnmaskError(
            f"{file} has changed (sha256 {found[:16]}…, expected {expected[:16]}…) — build it again"
        )


def _open_shard(folder: Path, shard: dict[str, Any]) -> list[_Chunk]:
    file = folder / shard["file"]
    if Path(shard["file"]).name != shard["file"] or not file.is_file():
        raise UnmaskError(f"{file} is missing, but manifest.json names it — build the corpus again")
    if file.stat().st_size != shard["bytes"]:
        raise UnmaskError(
            f"{file} has {file.stat().st_size} bytes, but manifest.json says {shard['bytes']} — build the corpus again"
        )
    try:
        reader = pa.ipc.open_file(pa.memory_map(str(file)))
        for name, kinds in _COLUMNS.items():
            if reader.schema.field(name).type not in kinds:
                raise KeyError(f"{name} is {reader.schema.field(name).type}")
        return [_chunk(reader.get_batch(i)) for i in range(reader.num_record_batches)]
    except (pa.ArrowException, KeyError, ValueError, OSError, MemoryError) as error:
        raise UnmaskError(f"{file} is damaged ({error}) — build the corpus again") from None


_COLUMNS = {
    "id": (pa.string(),),
    "tokens": (pa.large_list(pa.uint16()), pa.large_list(pa.uint32())),
    "sentence_ends": (pa.list_(pa.int32()),),
    "word_starts": (pa.large_list(pa.bool_()),),
}


def _chunk(batch: pa.RecordBatch) -> _Chunk:
    """The arrays of a batch. Raises `ValueError` where its offsets lead out of them."""
    batch.validate()
    tokens, ends, words = (batch.column(name) for name in ("tokens", "sentence_ends", "word_starts"))
    chunk = _Chunk(
        offsets=numbers(tokens.offsets),
        tokens=numbers(tokens.values),
        end_offsets=numbers(ends.offsets),
        ends=numbers(ends.values),
        bits=np.frombuffer(words.values.buffers()[1] or b"", np.uint8),
        ids=batch.column("id"),
    )
    for name, offsets, values in (
        ("tokens", chunk.offsets, len(chunk.tokens)),
        ("sentence_ends", chunk.end_offsets, len(chunk.ends)),
    ):
        if len(offsets) and (offsets[0] != 0 or offsets[-1] != values or (np.diff(offsets) < 0).any()):
            raise ValueError(f"the offsets of {name} are not those of its values")
    if not np.array_equal(numbers(words.offsets), chunk.offsets) or 8 * len(chunk.bits) < len(chunk.tokens):
        raise ValueError("word starts are not those of the tokens")
    return chunk


def numbers(array: pa.Array) -> NDArray[Any]:
    """The values of an array of numbers, not copied. `to_numpy` does so too, but loads pandas if it is there (0.3 s).

    Raises `ValueError` for an array with nulls.
    """
    if array.null_count:
        raise ValueError(f"{array.null_count} of {len(array)} values are missing")
    kind = np.dtype(array.type.to_pandas_dtype())  # NumPy's
    return np.frombuffer(array.buffers()[1] or b"", kind, len(array), array.offset * kind.itemsize)


def load_counts(file: Path, size: int) -> NDArray[np.int64]:
    """Counts of every id, `[size]` int64. Raises `UnmaskError`, before it is read, unless the file holds just that."""
    try:
        with file.open("rb") as stream:
            version = np.lib.format.read_magic(stream)
            header = np.lib.format.read_array_header_1_0(stream) if version == (1, 0) else None
            right = header is not None and header[0] == (size,) and header[2] == np.dtype(np.int64)
            if not right or file.stat().st_size != stream.tell() + 8 * size:
                raise ValueError(f"it is not {size} counts")
        return np.asarray(np.load(file, allow_pickle=False), np.int64)
    except (ValueError, OSError, EOFError) as error:
        raise UnmaskError(f"{file} is damaged ({error!s:.200}) — build the corpus again") from None

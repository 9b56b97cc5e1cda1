"""The first pass: raw documents to clean, distinct ones, written aside in compressed pieces.

Duplicates can only be found in the order of the text, and a tokenizer needs a sample of all of it, so the text is
read once here and kept (compressed, a third of its size) until its shards are written. Memory holds one batch of
documents, 8 bytes for each distinct document and long line, and the samples. Whoever wants a batch as soon as it is
written is told where it lies: with a tokenizer at hand it can be encoded while the next one is gathered.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from unmask.allocator import REST, give_back
from unmask.corpus import Document
from unmask.corpus.clean import clean
from unmask.corpus.dedup import Seen, hashes
from unmask.corpus.exclude import Excluded
from unmask.corpus.ledger import Ledger
from unmask.store.write import texts
from unmask.tokens.sample import Sample

BATCH_BYTES = 1_000_000  # of text: what one worker is given at a time
BATCH_DOCUMENTS = 100_000  # so many that hold next to nothing
FILE_BYTES = 64_000_000  # of text: what becomes one shard

_SCHEMA = pa.schema([("id", pa.string()), ("text", pa.large_string())])


@dataclass(frozen=True)
class Gathered:
    """What the first pass wrote."""

    files: list[dict[str, Any]]  # name, batches (the byte where each begins), documents
    documents: int
    bytes: int
    text_sha256: str


@dataclass(frozen=True)
class Rules:
    """What is taken out of the text."""

    deduplicate: bool
    repeated_line_bytes: int
    excluded: Excluded


def gather(
    documents: Iterable[Document],
    folder: Path,
    rules: Rules,
    ledger: Ledger,
    samples: list[Sample],
    say: Callable[[str], None],
    written: Callable[[Path, int], None],
) -> Gathered:
    """Clean, deduplicate and write the documents; every line that stays goes to the samples, too.

    `written` is told of each batch: its file, and the byte where it begins.
    """
    seen_documents, seen_lines = Seen(), Seen()
    digest = hashlib.sha256()
    files = _Files(folder, written)
    batch: list[Document] = []
    held = batches = 0

    def flush() -> None:
        nonlocal batches
        batches += 1
        if batches % REST == 0:
            give_back()
        chosen = _distinct(_cleaned(batch, ledger), rules, seen_documents, seen_lines, ledger)
        ledger.check()
        for document in chosen:
            digest.update(document.text.encode() + b"\x00")
            for line in document.text.split("\n"):
                for sample in samples:
                    sample.add(line)
        if files.write(chosen):
            say(f"read {files.bytes / 1e6:,.0f} MB of text, {files.documents:,} documents")

    for document in documents:
        batch.append(document)
        held += len(document.text)
        if held >= BATCH_BYTES or len(batch) >= BATCH_DOCUMENTS:
            flush()
            batch, held = [], 0
    flush()
    files.close()
    return Gathered(files.listed, files.documents, files.bytes, digest.hexdigest())


def _cleaned(batch: list[Document], ledger: Ledger) -> list[Document]:
    stage, characters = ledger.stage("clean"), ledger.stage("clean characters", "characters")
    kept: list[Document] = []
    stage.take(len(batch))
    for document in batch:
        text, removed = clean(document.text)
        gone = Counter(removed).total()
        characters.take(len(text) + gone)
        characters.add("kept", count=len(text))
        for name, count in removed.items():
            characters.add("dropped", name, document.id, count)
        if not text:
            stage.add("dropped", "nothing left but control characters", document.id)
            continue
        stage.add(
            "cut" if gone else "kept", "control characters" if gone else "", document.id if gone else ""
        )
        kept.append(Document(text, document.id, document.source))
    return kept


def _distinct(
    batch: list[Document], rules: Rules, seen_documents: Seen, seen_lines: Seen, ledger: Ledger
) -> list[Document]:
    """Drop documents that came before, then the lines that are excluded or came before."""
    if rules.deduplicate:
        stage = ledger.stage("whole duplicates")
        fresh = seen_documents.first(hashes([document.text for document in batch]))
        stage.take(len(batch))
        for document, new in zip(batch, fresh, strict=True):
            stage.add(
                "kept" if new else "dropped", "" if new else "exact duplicate", "" if new else document.id
            )
        batch = [document for document, new in zip(batch, fresh, strict=True) if new]
    if not rules.deduplicate and not len(rules.excluded):
        return batch
    lines_stage, stage = ledger.stage("lines", "lines"), ledger.stage("documents after their lines")
    lines = [document.text.split("\n") for document in batch]
    gone: list[dict[int, str]] = [
        dict.fromkeys(numbers, "holds an excluded text") for numbers in rules.excluded.touched(lines)
    ]
    if rules.deduplicate:
        _repeated(lines, gone, rules.repeated_line_bytes, seen_lines)
    _closed_up(lines, gone, rules.excluded)
    kept: list[Document] = []
    for document, own, reasons in zip(batch, lines, gone, strict=True):
        lines_stage.take(len(own))
        lines_stage.add("kept", count=len(own) - len(reasons))
        for number, reason in sorted(reasons.items()):
            lines_stage.add("dropped", reason, own[number])
        stage.take()
        if not reasons:
            stage.add("kept")
        elif len(reasons) == len(own):
            stage.add("dropped", "no line is left", document.id)
            continue
        else:
            stage.add("cut", "lost lines", document.id)
            document = Document(
                "\n".join(line for number, line in enumerate(own) if number not in reasons),
                document.id,
                document.source,
            )
        kept.append(document)
    return kept


def _closed_up(lines: list[list[str]], gone: list[dict[int, str]], excluded: Excluded) -> None:
    """Mark what holds an excluded text only now that lines between its parts are gone."""
    todo = [number for number, reasons in enumerate(gone) if reasons] if len(excluded) else []
    while todo:
        left = [[at for at in range(len(lines[number])) if at not in gone[number]] for number in todo]
        found = excluded.touched(
            [[lines[number][at] for at in own] for number, own in zip(todo, left, strict=True)]
        )
        for number, own, hits in zip(todo, left, found, strict=True):
            gone[number].update((own[hit], "holds an excluded text") for hit in hits)
        todo = [number for number, hits in zip(todo, found, strict=True) if hits]


def _repeated(lines: list[list[str]], gone: list[dict[int, str]], least: int, seen: Seen) -> None:
    """Mark the lines of at least `least` bytes that came before."""
    places = [
        (document, number)
        for document, own in enumerate(lines)
        for number, line in enumerate(own)
        if 4 * len(line) >= least and len(line.encode()) >= least and number not in gone[document]
    ]
    fresh = seen.first(hashes([lines[document][number] for document, number in places]))
    for place in np.flatnonzero(~fresh).tolist():
        document, number = places[place]
        gone[document][number] = "repeated line"


class _Files:
    """Writes batches of documents to files of bounded size, each batch a compressed Arrow stream of its own.

    So a batch can be read before its file is whole.
    """

    def __init__(self, folder: Path, written: Callable[[Path, int], None]) -> None:
        self.folder, self._written = folder, written
        self.listed: list[dict[str, Any]] = []
        self.documents = self.bytes = 0
        self._sink: Any = None
        self._held = self._rows = 0
        self._batches: list[int] = []

    def write(self, documents: list[Document]) -> bool:
        """Write one batch; true if that filled a file."""
        if not documents:
            return False
        name = self.folder / f"text-{len(self.listed):05d}.arrow"
        if self._sink is None:
            self._sink = pa.OSFile(str(name), "wb")
        arrays = [
            texts([d.id for d in documents], _SCHEMA.field("id").type),
            texts([d.text for d in documents], _SCHEMA.field("text").type),
        ]
        begin = self._sink.tell()
        with pa.ipc.new_stream(
            self._sink, _SCHEMA, options=pa.ipc.IpcWriteOptions(compression="zstd")
        ) as writer:
            writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=_SCHEMA))
        self._written(name, begin)
        size = int(arrays[1].nbytes)
        self._held += size
        self._batches.append(begin)
        self._rows += len(documents)
        self.bytes += size
        self.documents += len(documents)
        if self._held >= FILE_BYTES:
            self.close()
            return True
        return False

    def close(self) -> None:
        if self._sink is not None:
            self._sink.close()
            name = f"text-{len(self.listed):05d}.arrow"
            self.listed.append({"file": name, "batches": self._batches, "documents": self._rows})
        self._sink, self._held, self._batches, self._rows = None, 0, [], 0

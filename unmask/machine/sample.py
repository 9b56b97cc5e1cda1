"""How much text there is, and a small corpus of it to time steps on.

Documents are read as ``unmask corpus`` reads them, for a bounded time and in a shuffled order of the files; a
uniform sample of some megabytes becomes a corpus folder aside, cleaned and tokenised the same way. Tokens of the
whole are the sample's tokens a byte times the bytes of the whole. A corpus folder needs none of that: its tokens
are counted.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from unmask.corpus import Document
from unmask.corpus.ledger import Ledger
from unmask.corpus.readers import judge_layout, read_documents
from unmask.corpus.sources import find_sources
from unmask.errors import UnmaskError
from unmask.randomness import generator
from unmask.store import Store
from unmask.store.build import build
from unmask.tokens.sample import Sample

LOOK = 20.0  # seconds of reading at most
SAMPLE = 4_000_000  # bytes that are tokenised
PACKED = {".gz": 3.0, ".zst": 3.0, ".xz": 3.5}  # text bytes a byte of file, where none was read to its end


@dataclass(frozen=True)
class Text:
    """How much there is. ``tokens`` of the part that is trained on; ``disk`` is the bytes of the corpus folder."""

    tokens: float
    disk: float
    exact: bool  # counted in a corpus folder, not estimated
    sampled: int  # bytes of text that the estimate rests on
    read: float  # share of the text that was read, 1 if all


def look(text: Path, aside: Path, vocab_size: int) -> tuple[Store, Text]:
    """A corpus to time steps on, and how much text there is. Raises UnmaskError if there is none."""
    if (text / "manifest.json").is_file():
        store = Store(text)
        size = sum(file.stat().st_size for file in text.rglob("*") if file.is_file())
        return store, Text(store.tokens, size, exact=True, sampled=0, read=1.0)
    sample, whole, share = measure(find_sources([text]))
    texts = sample.texts()
    if not texts:
        raise UnmaskError(f"{text} holds no text — a file or a folder of texts was expected — check the path")
    documents = [Document(line, str(number), str(text)) for number, line in enumerate(texts)]
    store = build(documents=documents, out=aside / "corpus", vocab_size=vocab_size, processes=1)
    scale = whole / sample.bytes
    shards = sum(file.stat().st_size for file in (aside / "corpus").glob("*.arrow"))
    return store, Text(store.tokens * scale, shards * scale, exact=False, sampled=sample.bytes, read=share)


def measure(sources: list[str], seconds: float = LOOK, limit: int = SAMPLE) -> tuple[Sample, float, float]:
    """(a sample, bytes of text in all, share of them that was read); the bytes are estimated if time runs out."""
    layout = judge_layout(sources, "auto")
    stage = Ledger().stage("read")
    sample = Sample(limit, 0, "plan")
    order = [sources[i] for i in generator(0, "plan", 0).permutation(len(sources))]
    began = time.monotonic()
    read = 0  # bytes of text so far
    whole: list[tuple[str, int, int]] = []  # files read to the end: name, bytes of text, bytes of file
    for at, source in enumerate(order):
        before = read
        for document in read_documents([source], layout, "text", stage):
            raw = document.text.encode("utf-8", "replace")  # a build drops half characters, and counts them
            sample.add(raw.decode("utf-8"))
            read += len(raw) + 1
            if time.monotonic() - began > seconds:
                rest = sum(_guess(name, whole) for name in order[at + 1 :])
                total = before + max(_guess(source, whole), read - before) + rest
                return sample, total, read / total
        whole.append((source, read - before, Path(source).stat().st_size))
    return sample, float(read), 1.0


def _guess(source: str, whole: list[tuple[str, int, int]]) -> float:
    """Bytes of text in a file that was not read to its end, by the files of its kind that were."""
    kind = Path(source).suffix
    alike = [(text, size) for name, text, size in whole if Path(name).suffix == kind]
    read, size = sum(text for text, _ in alike), sum(size for _, size in alike)
    ratio = read / size if size else PACKED.get(kind, 1.0)
    return ratio * Path(source).stat().st_size

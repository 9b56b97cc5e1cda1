"""The check for leaks of a fine-tuning: do its dev and test texts stand in train, or in the pre-training text?

Three things are counted for every file of rows: rows that are a training row once more (exact, after folding case,
width and white space), rows that share 13 words in a row with one, and rows that share them with the corpus that the
model was pre-trained on. What a model was made of is followed through `run.json`: a fine-tuned model to the
pre-trained one, a model that went on from another to that. A corpus that is not there, or has changed since, is not
silently passed over: the result says that it was not checked, and why.

The corpus is read as tokens and spelt from the tokenizer's pieces (`tokens/spelling.py`); the rows are looked for as
they are and put through the same tokenizer, so that what it drops (accents) is no difference. Ten million
tokens take seconds.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unmask.corpus.exclude import fold
from unmask.errors import UnmaskError
from unmask.evaluation import leaks as leak
from unmask.evaluation.leaks import GRAM, SHORTEST, Looked, Shared
from unmask.store import Store
from unmask.tasks.examples import Example, Examples
from unmask.tokens.spelling import Spelling

SAMPLES = 5  # rows that are shown
CHUNK = 1 << 17  # tokens at a time
OVERLAP = 1024  # tokens that two pieces of a longer document share
LONGEST = 300  # characters of a sample
BATCH = 4096  # texts that are put through the tokenizer together
STEPS = 16  # models that one model may stand on


@dataclass(frozen=True)
class Origin:
    """A pre-training corpus that a model saw, or why that is not known."""

    path: str
    store: Store | None
    why: str = ""


def leaks(
    files: dict[str, Examples], model: Path, *, words: bool = False, body: bool = True
) -> dict[str, Any]:
    """What evaluation/leaks.json holds.

    `files` are the rows by part: train, dev, perhaps test; `words` says that a row is a sentence of words, and not of
    texts. `body` is False where the body starts fresh, so that no
    pre-training text matters. Raises nothing for a corpus that cannot be read: that is part of the result.
    """
    started = time.perf_counter()
    sets = {name: distinct(examples, words) for name, examples in files.items()}
    parts = {name: own for name, own in sets.items() if name != "train"}
    train = sets["train"]
    known: dict[tuple[str, ...], str] = {}
    for item in files["train"].items:
        known.setdefault(tuple(map(fold, item.texts)), item.id)
    looked = Looked([text for own in parts.values() for text in own.texts])
    looked.search(train.texts)
    shared = each(looked, parts, lambda text: f"row {train.rows[train.first[text]].id}")
    report: dict[str, Any] = {}
    for name, own in parts.items():
        again = [(item, known.get(tuple(map(fold, item.texts)))) for item in own.rows]
        same = [(item, row) for item, row in again if row is not None]
        report[name] = {
            "rows": len(own.rows),
            "train": {
                "duplicates": len(same),
                "duplicate_samples": [
                    {"row": item.id, "text": short(text_of(item)), "where": f"row {row}"}
                    for item, row in same[:SAMPLES]
                ],
                **shared[name],
            },
        }
    corpora = [against(origin, parts) for origin in origins(model)] if body else []
    return {
        "gram": GRAM,
        "shortest": SHORTEST,
        "parts": report,
        "corpora": corpora,
        "seconds": round(time.perf_counter() - started, 2),
    }


def against(origin: Origin, parts: dict[str, Distinct]) -> dict[str, Any]:
    """What the rows share with one corpus."""
    if origin.store is None:
        return {"path": origin.path, "checked": False, "why": origin.why}
    store = origin.store
    spelling = Spelling(store.tokenizer, leak.fold)
    texts = [text for own in parts.values() for text in own.texts]
    looked = Either([spelt(texts, store, spelling), [leak.fold(text) for text in texts]])
    for text, numbers in documents(store, spelling):
        looked.search_joined(text, numbers)
    return {
        "path": origin.path,
        "checked": True,
        "documents": store.documents,
        "tokens": store.tokens,
        "parts": each(looked, parts, lambda number: f"document {store.id(number)}"),
    }


class Either:
    """Texts in several spellings, looked for at once: each counts by the one of which most is found.

    As the tokenizer spells them what it drops is no difference; as they are, a word in capitals that it does not know.
    """

    def __init__(self, spellings: Sequence[Sequence[str]]) -> None:
        self._count = len(spellings[0])
        self._looked = Looked([text for spelling in spellings for text in spelling], folded=True)
        self.search_joined = self._looked.search_joined

    def _chosen(self) -> NDArray[np.int64]:  # [texts] places of the better spellings
        total, hit = (count.reshape(-1, self._count) for count in self._looked.counts())
        best: NDArray[np.int64] = np.argmax(hit + total / (1 + total.max(initial=0)), axis=0)
        return best * self._count + np.arange(self._count)

    def counts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """See `Looked.counts`."""
        chosen = self._chosen()
        total, hit = self._looked.counts()
        return total[chosen], hit[chosen]

    def shared(self, number: int) -> Shared:
        """See `Looked.shared`."""
        return self._looked.shared(int(self._chosen()[number]))


@dataclass(frozen=True)
class Distinct:
    """The different texts of a file: a passage with many questions is looked for once."""

    rows: tuple[Example, ...]
    texts: list[str]
    first: list[int]  # [texts] the first row with it
    owners: NDArray[np.int64]  # [n] rows
    held: NDArray[np.int64]  # [n] texts of those rows


def distinct(examples: Examples, words: bool) -> Distinct:
    """Different texts; `words`: the words of a row are one text."""
    numbers: dict[str, int] = {}
    first, owners, held = [], [], []
    for row, item in enumerate(examples.items):
        for text in [" ".join(item.texts)] if words else item.texts:
            if text not in numbers:
                numbers[text] = len(numbers)
                first.append(row)
            owners.append(row)
            held.append(numbers[text])
    return Distinct(
        examples.items, list(numbers), first, np.array(owners, np.int64), np.array(held, np.int64)
    )


def text_of(item: Example) -> str:
    """A row as one text."""
    return " ".join(item.texts)


def each(looked: Looked | Either, parts: dict[str, Distinct], place: Callable[[int], str]) -> dict[str, Any]:
    """`measured` for every file; their texts were looked for together, one file after another."""
    found, first = {}, 0
    for name, own in parts.items():
        found[name] = measured(looked, own, first, place)
        first += len(own.texts)
    return found


def measured(
    looked: Looked | Either, own: Distinct, first: int, place: Callable[[int], str]
) -> dict[str, Any]:
    """Counts over the rows of a file, and the rows that share most; `first` is the number of its first text."""
    total, hit = (
        np.bincount(own.owners, weights=count[first:][own.held], minlength=len(own.rows)).astype(np.int64)
        for count in looked.counts()
    )
    touched = np.flatnonzero(hit)
    order = touched[np.argsort(-hit[touched], kind="stable")][:SAMPLES]
    samples = []
    for row in order.tolist():
        shared = [looked.shared(first + text) for text in own.held[own.owners == row].tolist()]
        most = max(shared, key=lambda one: one.found)
        samples.append(
            {
                "row": own.rows[row].id,
                "text": short(text_of(own.rows[row])),
                "passage": short(most.passage),
                "share": round(int(hit[row]) / int(total[row]), 4),
                "where": place(most.where),
            }
        )
    return {
        "too_short": int((total == 0).sum()),
        "touched": len(touched),
        "whole": int(((hit == total) & (total > 0)).sum()),
        "samples": samples,
    }


def short(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def said(found: dict[str, Any]) -> list[str]:
    """The result in sentences, a part a line."""
    lines = []
    for name, part in found["parts"].items():
        train = part["train"]
        words = [
            f"{train['duplicates']} stand in train once more",
            f"{train['touched']} share {found['gram']} words in a row with it",
        ]
        for corpus in found["corpora"]:
            if corpus["checked"]:
                own = corpus["parts"][name]
                words.append(
                    f"{own['touched']} share them with the pre-training text ({own['whole']} from end to end)"
                )
        lines.append(f"leaks: of {part['rows']} rows of {name}, {', '.join(words)}")
    lines += [
        f"leaks: the pre-training text {corpus['path'] or ''} was not checked: {corpus['why']}".replace(
            "  ", " "
        )
        for corpus in found["corpora"]
        if not corpus["checked"]
    ]
    return lines


def spelt(texts: Sequence[str], store: Store, spelling: Spelling) -> list[str]:
    """Texts as the corpus would hold them."""
    found = []
    for begin in range(0, len(texts), BATCH):
        ids, _, counts = store.tokenizer.encode_flat(texts[begin : begin + BATCH])
        ends = np.cumsum(counts)
        found += [
            spelling.text(ids[end - n : end]) for end, n in zip(ends.tolist(), counts.tolist(), strict=True)
        ]
    return found


def documents(store: Store, spelling: Spelling) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """The corpus as spelt text, about `CHUNK` tokens at a time, and the numbers of the documents in it."""
    batch: list[NDArray[Any]] = []
    numbers: list[int] = []
    size = 0
    barrier = np.array([spelling.barrier], np.int64)
    for number in range(store.documents):
        tokens = store.document(number).tokens
        for begin in range(0, max(1, len(tokens) - OVERLAP), CHUNK - OVERLAP):
            piece = tokens[begin : begin + CHUNK]
            batch += [piece, barrier]
            numbers.append(number)
            size += len(piece)
            if size >= CHUNK:
                yield spelling.text(np.concatenate(batch)), np.array([*numbers, number], np.int64)
                batch, numbers, size = [], [], 0
    if batch:
        yield spelling.text(np.concatenate(batch)), np.array([*numbers, numbers[-1]], np.int64)


def origins(model: Path) -> list[Origin]:
    """The corpora that a model was pre-trained on, as its run folders tell; at least one entry, known or not."""
    found: list[Origin] = []
    here: Path | None = model
    for _ in range(STEPS):
        about = _about(here) if here is not None else None
        if here is None or about is None:
            if here is not None:
                found.append(Origin("", None, f"{here} does not say what it was pre-trained on"))
            return found
        settings = about.get("settings", {})
        if about.get("verb") == "finetune":
            here = _next(settings.get("model"))
            continue
        found.append(_corpus(about))
        here = _next(settings.get("source"))
        if here is None:
            return found
    return found


def _next(path: Any) -> Path | None:
    return Path(path) if isinstance(path, str) and path else None


def _about(folder: Path) -> dict[str, Any] | None:
    """run.json of a run folder, or of the run that a model/ lies in."""
    for path in (folder / "run.json", folder.parent / "run.json"):
        if path.is_file() and (path.parent == folder or folder.name == "model"):
            try:
                about = json.loads(path.read_text(encoding="utf-8"))
            except (ValueError, RecursionError):
                return None
            return about if isinstance(about, dict) else None
    return None


def _corpus(about: dict[str, Any]) -> Origin:
    told = about.get("corpus") or {}
    path = str(told.get("path", ""))
    if not path or not (Path(path) / "manifest.json").is_file():
        return Origin(path, None, "its folder is not there")
    try:
        store = Store(Path(path))
        _ = store.tokenizer
    except UnmaskError as error:
        return Origin(path, None, str(error))
    if store.fingerprint != told.get("fingerprint"):
        return Origin(path, None, "it has changed since the model was pre-trained")
    return Origin(path, store)

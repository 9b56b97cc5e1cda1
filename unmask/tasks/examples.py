"""What all tasks share: examples, labels, and the window rows that a model reads.

An *example* is one row of the labelled file. A *window* is one row for the model: all of an example or, where
the text is longer than the model, a part of it. Labels are learnt from the training file alone, live in the
saved model by name, and everything read later is checked against them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from unmask.errors import UnmaskError, nearest
from unmask.randomness import generator
from unmask.tokens import Vocab

ClassWeight = Literal["none", "balanced", "sqrt"]
LONGEST = 1000  # characters of a label
LARGEST = 1e30  # of a score: what it deviates by must be a number in fp32


@dataclass(frozen=True)
class Example:
    """One labelled row: `texts` as the task reads them, `gold` None where only a prediction is asked."""

    id: str
    line: int
    texts: tuple[str, ...]
    gold: Any
    group: str | None = None


@dataclass(frozen=True)
class Examples:
    """All rows of a file, with what the reader has to say about it (`notes`) and what was not a row (`skipped`)."""

    where: str
    items: tuple[Example, ...]
    notes: tuple[str, ...] = ()
    skipped: tuple[tuple[str, int], ...] = ()

    def __len__(self) -> int:
        return len(self.items)


@dataclass(frozen=True)
class Labels:
    """What can be said: `names` of classes or tags; `kind` "classes", "score", "tags" or "spans".

    `characters` says that every word of the training sentences is one character, as in Chinese files.
    `weights` has one number a name (mean 1 over the training rows); `scheme` is how tags mark entities;
    `centre` and `scale` are the mean and deviation of the training scores, and `threshold` how far "no answer"
    must lie above the best span to win.
    """

    kind: str
    names: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()
    scheme: str | None = None
    centre: float = 0.0
    scale: float = 1.0
    threshold: float | None = None
    characters: bool = False

    def index(self, name: str) -> int:
        return self.names.index(name)


@dataclass(frozen=True)
class Window:
    """One row for the model.

    `units` says what the asked `positions` stand for in the example (word numbers, or characters of pieces);
    `targets` and `weights` are the task's; `room` is set where a training window is still to be placed (answers).
    """

    example: int
    ids: np.ndarray  # [T] int64
    segments: np.ndarray | None  # [T] int64
    positions: np.ndarray  # [u] int64
    units: np.ndarray  # [u] int64, or [u, 2] characters
    targets: np.ndarray
    weights: np.ndarray
    room: int | None = None


@dataclass(frozen=True)
class Fate:
    """What became of one example on its way to the model: kept, split, cut or dropped, and why."""

    kind: str
    reason: str
    sample: str


@dataclass(frozen=True)
class Windows:
    """The rows of all examples and one fate each: in = kept + split + cut + dropped."""

    rows: list[Window]
    fates: list[Fate]


@dataclass(frozen=True)
class Frame:
    """How pieces are put into a row: [CLS] a [SEP] b [SEP]; RoBERTa's tokenizer has two [SEP] between, no segments."""

    vocab: Vocab
    segments: bool = True
    separators: int = 1

    def room(self, parts: int) -> int:
        """Tokens that are not text, for one or two parts."""
        return 2 if parts == 1 else 2 + self.separators

    def row(self, a: np.ndarray, b: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray | None]:
        """ids and segments.  # [T] int64 each"""
        first, second = len(a) + 2, 0 if b is None else len(b) + self.separators
        ids = np.full(first + second, self.vocab.sep, np.int64)
        ids[0], ids[1 : first - 1] = self.vocab.cls, a
        if b is not None:
            ids[first + self.separators - 1 : -1] = b
        segments = np.repeat(np.array([0, 1], np.int64), [first, second]) if self.segments else None
        return ids, segments


def class_weights(counts: Sequence[int], how: ClassWeight) -> tuple[float, ...]:
    """One weight a class: n/(k·count), or its square root; scaled so that the mean over the rows is 1."""
    if how == "none":
        return tuple(1.0 for _ in counts)
    n = sum(counts)
    raw = [n / (len(counts) * c) if c else 0.0 for c in counts]
    raw = [math.sqrt(w) for w in raw] if how == "sqrt" else raw
    mean = sum(w * c for w, c in zip(raw, counts, strict=True)) / n
    return tuple(w / mean for w in raw)


def learn_labels(values: Sequence[str], regression: bool, how: ClassWeight, where: str) -> tuple[Labels, str]:
    """Classes or scores, by how the labels are written, and the sentence that says which was chosen.

    Whole numbers and words are classes; if every label is a number and one has a decimal point, they are
    scores; `regression` asks for scores however they are written.
    """
    numbers = [_number(v) for v in values]
    decimal = all(x is not None for x in numbers) and any("." in v or "e" in v.lower() for v in values)
    if regression or decimal:
        for value, number in zip(values, numbers, strict=True):
            if number is None:
                raise UnmaskError(f'{where}: the label "{value}" is not a number — regression needs numbers')
        scores = np.array(numbers, np.float64)
        if abs(scores).max() > LARGEST:
            raise UnmaskError(
                f"{where}: a label is {abs(scores).max():g} — scores up to {LARGEST:g} can be learnt — use another unit"
            )
        why = "asked for" if regression else "the labels have a decimal point"
        labels = Labels(
            "score", ("score",), (1.0,), centre=float(scores.mean()), scale=float(scores.std()) or 1.0
        )
        return labels, f"{where}: scores from {scores.min():g} to {scores.max():g} (regression: {why})"
    for value in values:
        if len(value) > LONGEST:
            raise UnmaskError(
                f'{where}: a label has {len(value):,} characters ("{value[:20]}…") — a class was expected — '
                "is this the label column?"
            )
    counts = Counter(values)
    names = sorted(counts, key=lambda v: (0, int(v), v) if _whole(v) else (1, 0, v))
    if len(names) < 2:
        raise UnmaskError(f'{where}: every label is "{names[0]}" — a classifier needs two classes or more')
    if len(names) > 64 and len(names) > len(values) / 3:
        raise UnmaskError(
            f"{where}: {len(names)} different labels in {len(values)} rows, such as "
            f'"{names[0][:40]}" — is this the label column? Numbers to be predicted as such need regression'
        )
    shown = ", ".join(f"{n} ({counts[n]})" for n in names[:8]) + (", …" if len(names) > 8 else "")
    return Labels(
        "classes", tuple(names), class_weights([counts[n] for n in names], how)
    ), f"{where}: {len(names)} classes: {shown}"


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _whole(text: str) -> bool:
    return text.removeprefix("-").isascii() and text.removeprefix("-").isdigit()


def check_labels(examples: Examples, labels: Labels) -> None:
    """Raise `UnmaskError` if a row has a label that the training rows lack (which label, which line)."""
    known = set(labels.names)
    for item in examples.items:
        if isinstance(item.gold, str) and not item.gold.strip():
            raise UnmaskError(
                f"{examples.where}, line {item.line}: the label is empty — every row needs one — fill it in, or take "
                "the row out"
            )
        values = item.gold if isinstance(item.gold, tuple) else (item.gold,)
        for value in values:
            if labels.kind == "score":
                if _number(value) is None:
                    raise UnmaskError(
                        f'{examples.where}, line {item.line}: the label "{value}" is not a number'
                    )
            elif value not in known:
                raise UnmaskError(
                    f'{examples.where}, line {item.line}: the label "{value}" does not occur in the training rows — '
                    f"they have {', '.join(labels.names[:20])}.{nearest(value, labels.names)}"
                )


def hold_out(examples: Examples, seed: int, share: float = 0.1) -> tuple[Examples, Examples]:
    """Train and dev: a seeded `share` of the rows held out, whole documents together where they are known."""
    groups: dict[str, list[int]] = {}
    for number, item in enumerate(examples.items):
        groups.setdefault(item.group if item.group is not None else f"\0{number}", []).append(number)
    if len(groups) < 2:
        raise UnmaskError(
            f"{examples.where} has a single row or document — expected two or more, or a file of its own for dev"
        )
    names = list(groups)
    order = generator(seed, "hold out", 0).permutation(len(names))
    wanted = max(1, round(share * len(examples)))
    held: set[int] = set()
    for n in order[:-1]:  # one document stays for training, whatever its length
        if len(held) >= wanted:
            break
        held.update(groups[names[n]])
    dev = tuple(x for n, x in enumerate(examples.items) if n in held)
    train = tuple(x for n, x in enumerate(examples.items) if n not in held)
    whole = f" ({len(names)} documents, none divided)" if len(names) < len(examples) else ""
    note = f"{examples.where}: no dev file, {len(dev)} of {len(examples)} rows held out{whole}"
    return replace(examples, items=train, notes=(*examples.notes, note)), Examples(
        f"{examples.where} (held out)", dev
    )

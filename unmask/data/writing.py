"""Rows → files in the formats that every tool reads: TSV with a header, CoNLL, SQuAD 1.1 JSON.

A TSV has no quoting, so a tab or line end inside a text would break it: white space becomes one space.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from unmask.corpus.exclude import fold
from unmask.data import Rows, TaskFiles
from unmask.data.making import Asked, Blank, Pair
from unmask.errors import UnmaskError

PARTS = ("train", "dev", "test")
COLUMNS = {
    "classify": {"text": "text", "label": "label"},
    "pair": {"first": "first", "second": "second", "label": "label"},
    "tag": {},
    "answer": {},
}
SUFFIX = {"classify": "tsv", "pair": "tsv", "tag": "conll", "answer": "json"}

Labelled = tuple[str, str]  # a text and its label
Tagged = tuple[tuple[str, ...], tuple[str, ...]]  # tokens and their tags
Row = TypeVar("Row")


def tsv(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table without quoting."""
    lines = ["\t".join(header), *("\t".join(" ".join(cell.split()) for cell in row) for row in rows)]
    return "\n".join(lines) + "\n"


def classify_file(rows: Sequence[Blank | Labelled]) -> str:
    """`text` and `label`."""
    return tsv(("text", "label"), [(r.text, r.label) if isinstance(r, Blank) else r for r in rows])


def pair_file(rows: Sequence[Pair]) -> str:
    """`first`, `second` and `label`."""
    return tsv(("first", "second", "label"), [(r.first, r.second, r.label) for r in rows])


def tag_file(rows: Sequence[Tagged]) -> str:
    """A token and its tag a line, an empty line after each sentence."""
    return "".join(
        "".join(f"{w}\t{t}\n" for w, t in zip(words, tags, strict=True)) + "\n" for words, tags in rows
    )


def answer_file(rows: Sequence[Asked]) -> str:
    """SQuAD 1.1: a passage a question, every place of the name as an answer, the first of them first."""
    data = [
        {
            "title": str(i),
            "paragraphs": [
                {
                    "context": row.passage,
                    "qas": [
                        {
                            "id": str(i),
                            "question": row.question,
                            "answers": [{"text": row.answer, "answer_start": start} for start in row.starts],
                        }
                    ],
                }
            ],
        }
        for i, row in enumerate(rows)
    ]
    return json.dumps({"version": "1.1", "data": data}, ensure_ascii=False, indent=1) + "\n"


def write(
    folder: Path,
    name: str,
    shape: str,
    files: Mapping[str, str],
    *,
    labels: Iterable[str],
    metric: str,
    about: str,
    excluded: Iterable[str],
) -> TaskFiles:
    """Put the three files of a set under ``folder/name`` and describe them."""
    home = folder / name
    home.mkdir(parents=True, exist_ok=True)
    paths = {part: home / f"{part}.{SUFFIX[shape]}" for part in PARTS}
    for part, file in paths.items():
        file.write_text(files[part], encoding="utf-8", newline="\n")
    return TaskFiles(
        name=name,
        shape=shape,
        train=paths["train"],
        dev=paths["dev"],
        test=paths["test"],
        columns=COLUMNS[shape],
        labels=tuple(sorted(set(labels))),
        metric=metric,
        about=about,
        excluded=tuple(excluded),
    )


def enough(rows: Sequence[Row], wanted: int, what: str) -> list[Row]:
    """The first `wanted` rows; `UnmaskError` if there are fewer, so that no set is silently small."""
    if len(rows) < wanted:
        raise UnmaskError(f"{what} gives {len(rows)} rows — {wanted} were asked for — ask for fewer rows")
    return list(rows[:wanted])


def shuffled(rows: Sequence[Row], rng: np.random.Generator) -> list[Row]:
    """The rows in random order."""
    return [rows[i] for i in rng.permutation(len(rows)).tolist()]


def texts_of(bank: Mapping[str, Sequence[Row]], texts: Callable[[Row], Iterable[str]]) -> set[str]:
    """The texts of all development and test rows."""
    return {text for part in PARTS[1:] for row in bank[part] for text in texts(row)}


def kept(
    bank: Mapping[str, Sequence[Row]],
    texts: Callable[[Row], Iterable[str]],
    leaked: set[str],
    same: Callable[[Row], Iterable[str]] | None = None,
) -> dict[str, list[Row]]:
    """Rows without a text, folded, that an earlier row has; from dev and test also none with a text in `leaked`.

    same: the texts that no two rows may share, where these are not all of `texts` (two questions may lie in one
    passage). Test rows come first: what stands in two parts stays in the test set.
    """
    taken: set[str] = set()
    out: dict[str, list[Row]] = {}
    for part in reversed(PARTS):
        out[part] = []
        for row in bank[part]:
            folded = {fold(text) for text in (same or texts)(row)}
            if not taken & folded and (part == "train" or not leaked.intersection(texts(row))):
                taken |= folded
                out[part].append(row)
    return {part: out[part] for part in PARTS}


def asked_sentence(row: Asked) -> tuple[str, ...]:
    """The sentence of a question with its name in place."""
    return (row.sentence,)


def asked_texts(row: Asked) -> tuple[str, ...]:
    """The sentence of a question and the sides of its passage, save scraps that stand in any text."""
    return (row.sentence, *(side for side in row.around if len(fold(side)) >= 12))


def balanced(rows: Sequence[Labelled], labels: Sequence[str], count: int) -> list[Labelled]:
    """The first rows of each label, `count` together, as equal as `count` allows."""
    room = {label: count // len(labels) + (i < count % len(labels)) for i, label in enumerate(labels)}
    out = []
    for text, label in rows:
        if room.get(label, 0):
            room[label] -= 1
            out.append((text, label))
    return out


def sizes(rows: Rows) -> dict[str, int]:
    """Rows by part."""
    return {"train": rows.train, "dev": rows.dev, "test": rows.test}

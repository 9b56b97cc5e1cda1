"""A text and its class, or its score: [CLS] text [SEP] → a linear layer over the classes.

Sees: a text, whole or in overlapping windows. Says: one of the classes, or a number. Scored: cross-entropy over
the classes (weighted if asked), or squared error on standardised scores; accuracy, macro-F1 and Matthews, or
Pearson and Spearman. Source: Devlin et al. 2019, §4.1. Differs: a text longer than the model is not cut; its
windows' log-probabilities are averaged (scores: the mean), and in training each of its windows is a row of
weight 1/windows, so that a long text counts once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np

from unmask.errors import UnmaskError
from unmask.tasks.examples import (
    ClassWeight,
    Example,
    Examples,
    Frame,
    Labels,
    Window,
    Windows,
)
from unmask.tasks.label import ChooseBy, OneLabel, fate, labelled, target
from unmask.tasks.read import read_table
from unmask.tasks.windows import spans
from unmask.tokens import Tokenizer, Vocab

if TYPE_CHECKING:
    from torch import nn

    from unmask.models import Shape


@dataclass(frozen=True)
class Classify(OneLabel):
    """A text and its class (whole numbers and words) or its score (numbers with a decimal point)."""

    text: Annotated[str, "column of the text"] = "text"
    label: Annotated[str, "column of the label"] = "label"
    group: Annotated[str | None, "column of the document a row is from; dev never divides one"] = None
    regression: Annotated[bool, "predict a number, however the labels are written"] = False
    class_weight: Annotated[ClassWeight, "weigh rare classes up: none, balanced or sqrt"] = "none"
    head: Annotated[
        Literal["auto", "first", "mean", "layers", "mask"],
        "read [CLS], the row's mean (of the last layer, or of it and the embeddings), or the [MASK] that each text "
        "holds; auto: mean up to small, else [CLS]",
    ] = "auto"

    choose_by: Annotated[
        ChooseBy, "score that chooses checkpoint and seed; auto: accuracy, or Pearson of numbers"
    ] = "auto"

    NAME: ClassVar[str] = "classify"
    HEADS: ClassVar[str] = "classify"
    TERMS: ClassVar[dict[str, str]] = {"label": "labels"}

    def read(self, path: Path, *, labelled: bool = True) -> Examples:
        """The rows of a CSV, TSV or JSON lines file; with `labelled` the label column is needed."""
        wanted = [self.text, *([self.label] if labelled else []), *([self.group] if self.group else [])]
        return self.examples(read_table(path, wanted), str(path))

    def examples(self, records: Sequence[Any], where: str) -> Examples:
        """Examples from the rows of a table (`read.Record`)."""
        items = []
        for record in records:
            gold = record.cells.get(self.label)
            group = record.cells[self.group] if self.group else None
            items.append(Example(str(record.line), record.line, (record.cells[self.text],), gold, group))
        return Examples(where, tuple(items))

    def rows(
        self,
        examples: Examples,
        tokenizer: Tokenizer,
        labels: Labels,
        frame: Frame,
        *,
        length: int,
        overlap: int,
        training: bool,
    ) -> Windows:
        room = length - frame.room(1)
        rows, fates = [], []
        encoded = tokenizer.encode_batch([x.texts[0] for x in examples.items], specials=True)
        for number, (item, pieces) in enumerate(zip(examples.items, encoded, strict=True)):
            parts = spans(len(pieces.ids), room, overlap)
            if self.head == "mask":
                parts = self._around(
                    pieces.ids, parts, tokenizer.vocab, f"{examples.where}, line {item.line}"
                )
            targets, weights = target(item.gold, labels)
            for start, stop in parts:
                ids, segments = frame.row(pieces.ids[start:stop])
                asked = (
                    np.flatnonzero(ids == tokenizer.vocab.mask)[:1] if self.head == "mask" else np.array([0])
                )
                rows.append(
                    Window(
                        number,
                        ids,
                        segments,
                        asked,
                        np.array([0]),
                        targets,
                        weights / np.float32(len(parts)),
                    )
                )
            fates.append(fate(len(parts), f"{examples.where}, line {item.line}"))
        return Windows(rows, fates)

    def example(self, row: Window, vocab: Vocab, rng: np.random.Generator) -> dict[str, np.ndarray]:
        found = labelled(row)
        return {**found, "asked_positions": row.positions} if self.head == "mask" else found

    def _around(
        self, ids: np.ndarray, parts: Sequence[tuple[int, int]], vocab: Vocab, where: str
    ) -> list[tuple[int, int]]:
        """The windows that hold a [MASK]. Raises `UnmaskError` for a text without one."""
        holding = [(start, stop) for start, stop in parts if (ids[start:stop] == vocab.mask).any()]
        if not holding:
            raise UnmaskError(
                f"{where}: no [MASK] in the text — the head mask reads one — put it in, or use another --head"
            )
        return holding

    def network(self, shape: Shape, vocab: Vocab, labels: Labels) -> nn.Module:
        from unmask.tasks.networks import Reads, classifier, few

        auto: Reads = "mean" if few(shape) else "first"
        named: dict[str, Reads] = {"first": "first", "mean": "mean", "layers": "layers_mean", "mask": "asked"}
        return classifier(shape, outputs=len(labels.names), reads=named.get(self.head, auto))

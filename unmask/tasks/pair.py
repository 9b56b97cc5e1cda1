"""Two texts and their relation: [CLS] a [SEP] b [SEP] → classes or a score.

Sees: both texts in one row. Says: a class (does b follow from a?) or a number (how alike are they?). Scored: as
one text. Source: Devlin et al. 2019, §4.1; parts too long together are cut one piece at a time from the end of
the longer one (from b on a tie), as in its code, and every cut is counted. Differs: up to the size *small* the
head compares: the means u and v of the two parts' states → [u, v, |u − v|, u · v] → linear (Conneau et al. 2017,
InferSent, for two encoders). Small models of few steps do not bring the comparison into [CLS] by themselves;
larger ones keep [CLS] → linear.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np

from unmask.tasks.examples import (
    ClassWeight,
    Example,
    Examples,
    Fate,
    Frame,
    Labels,
    Window,
    Windows,
)
from unmask.tasks.label import ChooseBy, OneLabel, labelled, target
from unmask.tasks.read import read_table
from unmask.tasks.windows import fit_pair
from unmask.tokens import Tokenizer, Vocab

if TYPE_CHECKING:
    from torch import nn

    from unmask.models import Shape


@dataclass(frozen=True)
class Pair(OneLabel):
    """Two texts and their relation: a class (whole numbers and words) or a score (numbers with a decimal point)."""

    text_a: Annotated[str, "column of the first text"] = "text_a"
    text_b: Annotated[str, "column of the second text"] = "text_b"
    label: Annotated[str, "column of the label"] = "label"
    group: Annotated[str | None, "column of the document a row is from; dev never divides one"] = None
    regression: Annotated[bool, "predict a number, however the labels are written"] = False
    class_weight: Annotated[ClassWeight, "weigh rare classes up: none, balanced or sqrt"] = "none"
    head: Annotated[
        Literal["auto", "compare", "layers", "first"],
        "compare the two parts by the last layer, or by it and the embeddings; or read [CLS]; auto: compare up to "
        "small, else [CLS]",
    ] = "auto"

    choose_by: Annotated[
        ChooseBy, "score that chooses checkpoint and seed; auto: accuracy, or Pearson of numbers"
    ] = "auto"

    NAME: ClassVar[str] = "pair"
    HEADS: ClassVar[str] = "classify"
    TERMS: ClassVar[dict[str, str]] = {"label": "labels"}

    def read(self, path: Path, *, labelled: bool = True) -> Examples:
        """The rows of a CSV, TSV or JSON lines file; with `labelled` the label column is needed."""
        wanted = [
            self.text_a,
            self.text_b,
            *([self.label] if labelled else []),
            *([self.group] if self.group else []),
        ]
        return self.examples(read_table(path, wanted), str(path))

    def examples(self, records: Sequence[Any], where: str) -> Examples:
        """Examples from the rows of a table (`read.Record`)."""
        items = []
        for record in records:
            texts = (record.cells[self.text_a], record.cells[self.text_b])
            group = record.cells[self.group] if self.group else None
            items.append(Example(str(record.line), record.line, texts, record.cells.get(self.label), group))
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
        budget = length - frame.room(2)
        firsts = tokenizer.encode_batch([x.texts[0] for x in examples.items], specials=True)
        seconds = tokenizer.encode_batch([x.texts[1] for x in examples.items], specials=True)
        rows, fates = [], []
        for number, (item, a, b) in enumerate(zip(examples.items, firsts, seconds, strict=True)):
            n, m = fit_pair(len(a.ids), len(b.ids), budget)
            ids, segments = frame.row(a.ids[:n], b.ids[:m])
            targets, weights = target(item.gold, labels)
            # `positions` tells the two parts apart in families without segments: first piece of b's part.
            rows.append(Window(number, ids, segments, np.array([n + 2]), np.array([0]), targets, weights))
            where = f"{examples.where}, line {item.line}"
            lost = len(a.ids) + len(b.ids) - n - m
            fates.append(
                Fate("cut", "longer than the model: the longer part's end", where)
                if lost
                else Fate("kept", "in one row", where)
            )
        return Windows(rows, fates)

    def example(self, row: Window, vocab: Vocab, rng: np.random.Generator) -> dict[str, np.ndarray]:
        parts = (np.arange(len(row.ids)) >= row.positions[0]).astype(np.int64)
        return {**labelled(row), "parts": parts}

    def network(self, shape: Shape, vocab: Vocab, labels: Labels) -> nn.Module:
        from unmask.tasks.networks import Reads, classifier, few

        compares = self.head == "compare" or (self.head == "auto" and few(shape))
        reads: Reads = "layers_compare" if self.head == "layers" else "compare" if compares else "first"
        return classifier(shape, outputs=len(labels.names), reads=reads)

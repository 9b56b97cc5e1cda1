"""A text and its class, or its score: [CLS] text [SEP] → a linear layer over the classes.

Sees: a text, whole or in overlapping windows. Says: one of the classes, or a number. Scored: cross-entropy over
the classes (weighted if asked), or squared error on standardised scores; accuracy, macro-F1 and Matthews, or
Pearson and Spearman. Source: Devlin et al. 2019, §4.1. Differs: a text longer than the model is not cut; its
windows' log-probabilities are averaged (scores: the mean), and in training each of its windows is a row of
weight 1/windows, so that a long text counts once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np

from unmask.errors import UnmaskError
from unmask.evaluation import metrics
from unmask.tasks.examples import (
    ClassWeight,
    Example,
    Examples,
    Fate,
    Frame,
    Labels,
    Window,
    Windows,
    check_labels,
    learn_labels,
)
from unmask.tasks.read import read_table
from unmask.tasks.windows import spans
from unmask.tokens import Tokenizer, Vocab

if TYPE_CHECKING:
    from torch import Tensor, nn

    from unmask.models import Shape


ChooseBy = Literal["auto", "accuracy", "macro_f1", "matthews", "pearson", "spearman"]


@dataclass(frozen=True)
class Classify:
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

    def labels(self, train: Examples) -> tuple[Labels, str]:
        found = learn_labels([x.gold for x in train.items], self.regression, self.class_weight, train.where)
        leading_score(self.choose_by, found[0])  # raises before any training
        return found

    def check(self, examples: Examples, labels: Labels) -> None:
        """Raise `UnmaskError` for a label that the training rows lack."""
        check_labels(examples, labels)

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

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        from unmask.tasks.networks import label_loss

        return label_loss(model, batch)

    def predict(self, model: nn.Module, batch: dict[str, Tensor]) -> list[np.ndarray]:
        from unmask.tasks.networks import label_outputs

        return label_outputs(model, batch)

    def join(
        self, examples: Examples, windows: Sequence[Window], outputs: Sequence[np.ndarray], labels: Labels
    ) -> list[dict[str, Any]]:
        return join_labels(len(examples), windows, outputs, labels)

    def score(
        self, predictions: Sequence[dict[str, Any]], examples: Examples, labels: Labels
    ) -> dict[str, float]:
        return score_labels(predictions, examples, labels)

    def majority(self, train: Examples, examples: Examples, labels: Labels) -> dict[str, float]:
        return majority_labels(train, examples, labels)

    def leading(self, labels: Labels) -> str:
        return leading_score(self.choose_by, labels)

    def settle(
        self, predictions: Sequence[dict[str, Any]], examples: Examples, labels: Labels
    ) -> tuple[Sequence[dict[str, Any]], Labels]:
        """What dev decides beyond the checkpoint: nothing here."""
        return predictions, labels


# -- what one text and two texts share -------------------------------------------------------------------------


def target(gold: str | None, labels: Labels) -> tuple[np.ndarray, np.ndarray]:
    """The class number, or the standardised score, and its weight.  # [1] each"""
    if gold is None:
        return np.array([0]), np.ones(1, np.float32)
    if labels.kind == "score":
        return np.array([(float(gold) - labels.centre) / labels.scale], np.float32), np.ones(1, np.float32)
    number = labels.index(gold)
    return np.array([number]), np.array([labels.weights[number]], np.float32)


def labelled(row: Window) -> dict[str, np.ndarray]:
    """The arrays of a row with one label."""
    arrays = {"ids": row.ids, "labels": row.targets, "label_weights": row.weights}
    return arrays if row.segments is None else {**arrays, "segments": row.segments}


def fate(parts: int, sample: str) -> Fate:
    """Kept in one row, or split into several, of a text that no window cuts."""
    return (
        Fate("kept", "in one row", sample)
        if parts == 1
        else Fate("split", "longer than the model: overlapping windows", sample)
    )


def join_labels(
    n: int, windows: Sequence[Window], outputs: Sequence[np.ndarray], labels: Labels
) -> list[dict[str, Any]]:
    """The mean over an example's windows: of log-probabilities, or of scores (then in the label's own unit)."""
    sums = np.zeros((n, len(labels.names)))
    counts = np.zeros((n, 1))
    for window, output in zip(windows, outputs, strict=True):
        sums[window.example] += output
        counts[window.example] += 1
    means = sums / counts
    if labels.kind == "score":
        return [{"score": float(x[0]) * labels.scale + labels.centre} for x in means]
    shares = np.exp(means - means.max(-1, keepdims=True))
    shares /= shares.sum(-1, keepdims=True)
    return [
        {
            "label": labels.names[int(p.argmax())],
            "probabilities": {name: float(x) for name, x in zip(labels.names, p, strict=True)},
        }
        for p in shares
    ]


def score_labels(
    predictions: Sequence[dict[str, Any]], examples: Examples, labels: Labels
) -> dict[str, float]:
    """Accuracy, macro-F1 and Matthews, or Pearson and Spearman; × 100."""
    if labels.kind == "score":
        gold = [float(x.gold) for x in examples.items]
        said = [p["score"] for p in predictions]
        found = {"pearson": metrics.pearson(gold, said), "spearman": metrics.spearman(gold, said)}
    else:
        names = [x.gold for x in examples.items]
        answers = [p["label"] for p in predictions]
        found = {
            "accuracy": metrics.accuracy(names, answers),
            "macro_f1": metrics.macro_f1(names, answers, labels.names),
            "matthews": metrics.matthews(names, answers),
        }
    return {name: 100 * value for name, value in found.items()}


def leading_score(choose_by: ChooseBy, labels: Labels) -> str:
    """The score to choose by. Raises `UnmaskError` for one that these labels do not have."""
    known = ("accuracy", "macro_f1", "matthews") if labels.kind == "classes" else ("pearson", "spearman")
    if choose_by == "auto":
        return known[0]
    if choose_by not in known:
        what = "classes" if labels.kind == "classes" else "numbers"
        raise UnmaskError(
            f"choose_by is {choose_by} — {what} are scored by {', '.join(known)} — name one of these"
        )
    return choose_by


def majority_labels(train: Examples, examples: Examples, labels: Labels) -> dict[str, float]:
    """The scores of always saying the most frequent training label (or the mean score)."""
    if labels.kind == "score":
        said: dict[str, Any] = {"score": float(np.mean([float(x.gold) for x in train.items]))}
    else:
        counts = Counter(x.gold for x in train.items)
        said = {"label": max(labels.names, key=lambda name: counts[name])}
    return score_labels([said] * len(examples), examples, labels)

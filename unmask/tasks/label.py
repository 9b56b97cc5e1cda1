"""What one text and two texts share: a class or a score a row, from the file's labels to the metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from unmask.errors import UnmaskError
from unmask.evaluation import metrics
from unmask.tasks.examples import ClassWeight, Examples, Fate, Labels, Window, check_labels, learn_labels

if TYPE_CHECKING:
    from torch import Tensor, nn

ChooseBy = Literal["auto", "accuracy", "macro_f1", "matthews", "pearson", "spearman"]


class OneLabel:
    """What the tasks with one class or score a row share; their fields are those of the dataclass that inherits."""

    regression: bool
    class_weight: ClassWeight
    choose_by: ChooseBy

    def labels(self, train: Examples) -> tuple[Labels, str]:
        found = learn_labels([x.gold for x in train.items], self.regression, self.class_weight, train.where)
        self.leading(found[0])  # raises before any training
        return found

    def check(self, examples: Examples, labels: Labels) -> None:
        """Raise `UnmaskError` for a label that the training rows lack."""
        check_labels(examples, labels)

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        from unmask.tasks.networks import label_loss

        return label_loss(model, batch)

    def predict(self, model: nn.Module, batch: dict[str, Tensor]) -> list[np.ndarray]:
        from unmask.tasks.networks import label_outputs

        return label_outputs(model, batch)

    def join(
        self, examples: Examples, windows: Sequence[Window], outputs: Sequence[np.ndarray], labels: Labels
    ) -> list[dict[str, Any]]:
        """The mean over an example's windows: of log-probabilities, or of scores (then in the label's own unit)."""
        sums = np.zeros((len(examples), len(labels.names)))
        counts = np.zeros((len(examples), 1))
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

    def score(
        self, predictions: Sequence[dict[str, Any]], examples: Examples, labels: Labels
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

    def majority(self, train: Examples, examples: Examples, labels: Labels) -> dict[str, float]:
        """The scores of always saying the most frequent training label (or the mean score)."""
        if labels.kind == "score":
            said: dict[str, Any] = {"score": float(np.mean([float(x.gold) for x in train.items]))}
        else:
            counts = Counter(x.gold for x in train.items)
            said = {"label": max(labels.names, key=lambda name: counts[name])}
        return self.score([said] * len(examples), examples, labels)

    def leading(self, labels: Labels) -> str:
        """The score to choose by. Raises `UnmaskError` for one that these labels do not have."""
        known = ("accuracy", "macro_f1", "matthews") if labels.kind == "classes" else ("pearson", "spearman")
        if self.choose_by == "auto":
            return known[0]
        if self.choose_by not in known:
            what = "classes" if labels.kind == "classes" else "numbers"
            raise UnmaskError(
                f"choose_by is {self.choose_by} — {what} are scored by {', '.join(known)} — name one of these"
            )
        return self.choose_by

    def settle(
        self, predictions: Sequence[dict[str, Any]], examples: Examples, labels: Labels
    ) -> tuple[Sequence[dict[str, Any]], Labels]:
        """What dev decides beyond the checkpoint: nothing here."""
        return predictions, labels


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

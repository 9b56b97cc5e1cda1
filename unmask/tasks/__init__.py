"""The four shapes of a task: a text and its class, words and their tags, two texts, a question and its passage.

A task is a recipe whose rows come from a labelled file. It reads the file, frames windows for the model, says
what the loss is, and turns what the model says about windows back into one prediction an example and scores.
Shapes after Devlin et al. 2019, §4; what differs is said in each file. Nothing here imports torch before a
network is asked for, so the flags of a task can be shown at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from unmask.tasks.answer import Answer
from unmask.tasks.classify import Classify
from unmask.tasks.examples import (
    Example,
    Examples,
    Fate,
    Frame,
    Labels,
    Window,
    Windows,
    check_labels,
    hold_out,
)
from unmask.tasks.pair import Pair
from unmask.tasks.tag import Tag
from unmask.tokens import Tokenizer, Vocab

if TYPE_CHECKING:
    from torch import Tensor, nn

    from unmask.models import Shape

__all__ = [
    "TASKS", "Answer", "Classify", "Example", "Examples", "Fate", "Frame", "Labels", "Pair", "Tag", "Task", "Window",
    "Windows", "check_labels", "hold_out",
]  # fmt: skip


class Task(Protocol):
    """What `unmask.jobs.finetune` asks of a task. Frozen dataclasses: fields = settings = flags = JSON."""

    NAME: ClassVar[str]
    HEADS: ClassVar[str]  # which heads `models.weights` writes and reads
    TERMS: ClassVar[dict[str, str]]  # loss term → the array whose entries it is averaged over

    def read(self, path: Path, *, labelled: bool = True) -> Examples: ...

    def labels(self, train: Examples) -> tuple[Labels, str]:
        """What the training rows can say, and the sentence that tells the user so."""

    def check(self, examples: Examples, labels: Labels) -> None:
        """Raise `UnmaskError` for a label that the training rows lack."""

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
    ) -> Windows: ...

    def example(self, row: Window, vocab: Vocab, rng: np.random.Generator) -> dict[str, np.ndarray]: ...

    def network(self, shape: Shape, vocab: Vocab, labels: Labels) -> nn.Module: ...

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]: ...

    def predict(self, model: nn.Module, batch: dict[str, Tensor]) -> list[Any]:
        """One value a window row: arrays of log-probabilities (or scores) over the labels or the pieces."""

    def join(
        self, examples: Examples, windows: Sequence[Window], outputs: Sequence[Any], labels: Labels
    ) -> list[dict[str, Any]]:
        """One plain prediction an example, with probabilities."""

    def score(
        self, predictions: Sequence[dict[str, Any]], examples: Examples, labels: Labels
    ) -> dict[str, float]:
        """Metrics × 100."""

    def settle(
        self, predictions: Sequence[dict[str, Any]], examples: Examples, labels: Labels
    ) -> tuple[Sequence[dict[str, Any]], Labels]:
        """What dev decides beyond the checkpoint (the threshold of "no answer")."""

    def majority(self, train: Examples, examples: Examples, labels: Labels) -> dict[str, float]:
        """The same metrics for the answer that needs no text."""

    def leading(self, labels: Labels) -> str:
        """The leading metric: it stops training early, chooses the checkpoint and the seed."""


TASKS: dict[str, type[Classify] | type[Tag] | type[Pair] | type[Answer]] = {
    "classify": Classify,
    "tag": Tag,
    "pair": Pair,
    "answer": Answer,
}

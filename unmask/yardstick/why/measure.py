"""Losses that compare: a fixed sample of rows, always in the same batches, in fp32 and without dropout.

The loss that training prints is of other rows at every step, with dropout, in the working precision; two starts cannot
be read against each other by it. Here curves, paths and surfaces are all measured by one function on the same batches,
so the ends of a path are the very numbers that the curve has there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from unmask.jobs.adapt import Part, Prepared, collated, micro_batches, outputs
from unmask.randomness import generator
from unmask.tasks import Examples, Labels, Task
from unmask.train import Batch
from unmask.yardstick.why.subsets import ordered, taken


@dataclass(frozen=True)
class Sample:
    """Rows that are measured: their batches for the loss, and the rows themselves for the score."""

    part: Part
    batches: tuple[Batch, ...]


def sample(p: Prepared, examples: Examples, size: int, seed: int, device: torch.device) -> Sample:
    """The first `size` rows of the seed's order, framed as training rows (so that every one has a target)."""
    chosen = taken(examples, ordered(examples, p.labels, seed)[:size].tolist())
    framed = [
        p.task.rows(
            chosen, p.tokenizer, p.labels, p.frame, length=p.length, overlap=p.overlap, training=training
        )
        for training in (True, False)
    ]
    rows = [
        p.task.example(row, p.tokenizer.vocab, generator(0, "measured window", n))
        for n, row in enumerate(framed[0].rows)
    ]
    rows.sort(key=lambda row: len(row["ids"]))
    return Sample(Part(chosen, framed[1]), tuple(collated(micro, device) for micro in micro_batches(rows)))


def loss_of(task: Task, model: nn.Module, batches: Sequence[Batch]) -> float:
    """The training objective of these rows, in nats (or squared deviations): the sum of its terms' means."""
    counts = {term: sum(len(batch[array]) for batch in batches) for term, array in task.TERMS.items()}
    sums = dict.fromkeys(task.TERMS, 0.0)
    was = model.training
    model.eval()
    with torch.no_grad():
        for batch in batches:
            for term, value in task.loss(model, batch).items():
                if term in sums:
                    sums[term] += float(value)
    model.train(was)
    return math.fsum(value / counts[term] for term, value in sums.items() if counts[term])


def answers_of(
    p: Prepared, model: nn.Module, part: Part, labels: Labels, device: torch.device
) -> list[dict[str, Any]]:
    """One prediction an example."""
    said = outputs(p.task, model, part.windows.rows, p.tokenizer.vocab, device)
    return p.task.join(part.examples, part.windows.rows, said, labels)


def score_of(
    p: Prepared, model: nn.Module, part: Part, device: torch.device
) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Scores × 100 of a part of dev, and the predictions."""
    found, labels = p.task.settle(answers_of(p, model, part, p.labels, device), part.examples, p.labels)
    return p.task.score(found, part.examples, labels), list(found)


def put(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy weights by name into a model."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in weights:
                parameter.copy_(weights[name])

"""One cell: a training of so many updates from a start, measured on the way; its weights after the last update.

The loop is that of fine-tuning (`unmask.jobs.adapt`). It differs in what is kept: the weights after the last update,
not the best of several looks at dev, so that all starts are compared at equal updates; and in that all measurements are
made by a second copy of the network in fp32, which leaves the draws of dropout alone.
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from unmask.jobs.adapt import Part, Prepared, batches, flat
from unmask.optim import Optimizer, rate
from unmask.run import write_json
from unmask.tasks import Windows
from unmask.tasks.networks import TaskModel
from unmask.train import steps, working_precision
from unmask.yardstick.why.measure import Sample, answers_of, loss_of, put, sample, score_of
from unmask.yardstick.why.starts import begin, moving
from unmask.yardstick.why.study import Cell, Study, places
from unmask.yardstick.why.subsets import ordered, taken, windows_of

Emit = Callable[[dict[str, Any]], None]
Weights = dict[str, Tensor]
DONE, WEIGHTS, SCORE = "cell.json", "weights.safetensors", "score.json"


@dataclass(frozen=True)
class Bench:
    """What all cells share: prepared rows ("train", "dev" chooses, "test" is reported), settings, number of updates.

    `out`: where the cells lie; `reported`: what the rows of "test" are, in words.
    """

    p: Prepared
    study: Study
    steps: int
    out: Path
    reported: str = "test"

    @property
    def device(self) -> torch.device:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def folder(self, cell: Cell) -> Path:
        return self.out / "cells" / cell.name

    def samples(self, cell: Cell) -> tuple[Sample, Sample]:
        """Training rows of the cell's own subset, and rows of dev that are the same for every cell."""
        p, size = self.p, self.study.sample
        train, dev = p.parts["train"].examples, p.parts["dev"].examples
        return (
            sample(p, train, min(size, cell.rows), cell.seed, self.device),
            sample(p, dev, size, self.study.seed, self.device),
        )


def limited(p: Prepared, rows: int, seed: int) -> Prepared:
    """The same with `rows` of the training examples."""
    part = p.parts["train"]
    chosen = ordered(part.examples, p.labels, seed)[:rows].tolist()
    kept = windows_of(part.windows.rows, chosen)
    few = Part(taken(part.examples, chosen), Windows(kept, [part.windows.fates[n] for n in chosen]))
    return replace(p, parts={**p.parts, "train": few})


def train(
    bench: Bench, cell: Cell, emit: Emit, keep: Callable[[int, Weights], None] | None = None
) -> tuple[dict[str, Any], Weights]:
    """Train a cell: what cell.json holds, and the fp32 weights that moved, by name.

    `keep` is given the moving weights at every measurement, the first before any update.
    """
    p, study, device = limited(bench.p, cell.rows, cell.seed), bench.study, bench.device
    model = begin(p, cell.start, cell.seed).to(device).train()
    twin = copy.deepcopy(model).eval()
    working = working_precision(study.precision, device)
    optimizer = Optimizer(
        model.named_parameters(), weight_decay=study.weight_decay, beta2=0.999, working=working
    )
    for parameter in model.parameters():
        if not parameter.requires_grad:  # which the optimizer leaves as it is
            parameter.data = parameter.data.to(working)
    train_sample, dev_sample = bench.samples(cell)
    leading = p.task.leading(p.labels)
    curve: list[dict[str, Any]] = []

    def look(step: int) -> None:
        put(twin, optimizer.weights())
        if keep is not None:
            keep(step, {name: value.detach().clone() for name, value in optimizer.weights().items()})
        scores, _ = score_of(p, twin, dev_sample.part, device)
        curve.append(
            {
                "step": step,
                "train": _finite(loss_of(p.task, twin, train_sample.batches)),
                "dev": _finite(loss_of(p.task, twin, dev_sample.batches)),
                "score": scores[leading],
            }
        )

    look(0)
    wanted, total, skipped, spent = set(places(bench.steps)), bench.steps, 0, 0.0
    began = tick = time.perf_counter()
    training_steps = steps(
        lambda batch: p.task.loss(model, batch),
        batches(p, cell.seed, device),
        terms=p.task.TERMS,
        optimizer=optimizer,
        rate=lambda n: cell.rate * rate("linear", (n - 0.5) / total, warmup=study.warmup, decay=0.0),
        clip=study.clip,
    )
    for step in training_steps:
        skipped += not step.finite
        if step.number in wanted:
            loss = step.loss()  # waits for the device
            spent += time.perf_counter() - tick
            look(step.number)
            seconds = time.perf_counter() - began
            emit(
                {
                    "event": "step",
                    "step": step.number,
                    "steps": total,
                    "seconds": seconds,
                    "loss": loss,
                    "text": cell.name,
                }
            )
            tick = time.perf_counter()
        if step.number >= total:
            break
    training_steps.close()  # type: ignore[attr-defined]
    scores, said = score_of(p, twin, p.parts["dev"], device)
    result = {
        "start": cell.start,
        "rate": cell.rate,
        "rows": cell.rows,
        "seed": cell.seed,
        "steps": total,
        "curve": curve,
        "dev": scores,
        "flat": flat(said, p.parts["dev"].examples),
        "skipped": skipped,
        "moved": sum(value.numel() for value in moving(model).values()),
        "seconds": time.perf_counter() - began,
        "step_seconds": spent / total,
        "threads": torch.get_num_threads(),
    }
    return result, {name: value.detach().cpu().clone() for name, value in optimizer.weights().items()}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def do_train(bench: Bench, cell: Cell, emit: Emit) -> None:
    """Train a cell into its folder; cell.json is written last, and says that it is whole."""
    result, weights = train(bench, cell, emit)
    folder = bench.folder(cell)
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in weights.items()}, folder / WEIGHTS)
    write_json(folder / DONE, result)


def end_of(bench: Bench, cell: Cell, emit: Emit) -> tuple[TaskModel, Weights]:
    """The trained network in fp32 and its moving weights: read, or trained again where they were dropped."""
    folder = bench.folder(cell)
    if not (folder / DONE).is_file() or not (folder / WEIGHTS).is_file():
        do_train(bench, cell, emit)
    model = begin(bench.p, cell.start, cell.seed).to(bench.device).eval()
    weights = load_file(folder / WEIGHTS)
    put(model, weights)
    return model, weights


def do_score(bench: Bench, cell: Cell, emit: Emit) -> None:
    """Read the rows that are reported, once, with a cell that was chosen before; score.json holds the answers."""
    model, _ = end_of(bench, cell, emit)
    p, labels = bench.p, bench.p.labels
    if labels.threshold is not None:  # when to leave a question unanswered is decided on dev
        _, labels = p.task.settle(
            answers_of(p, model, p.parts["dev"], labels, bench.device), p.parts["dev"].examples, labels
        )
    found = answers_of(p, model, p.parts["test"], labels, bench.device)
    scores = p.task.score(found, p.parts["test"].examples, labels)
    answers = [x.get("tags", x.get("label", x.get("score", x.get("answer")))) for x in found]
    constant = flat(found, p.parts["test"].examples)
    write_json(bench.folder(cell) / SCORE, {"scores": scores, "answers": answers, "flat": constant})


def read_cell(path: Path) -> dict[str, Any]:
    found = json.loads(path.read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found

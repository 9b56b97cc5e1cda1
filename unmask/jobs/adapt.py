"""One seed of a fine-tuning: rows prepared once, a model trained, chosen on dev, scored on test.

Source: Devlin et al. 2019, §4 and appendix A.3, with what later work found to matter (Mosbach et al. 2021: bias
correction, warm-up; Dodge et al. 2020: several seeds, stop early). The checkpoint with the best dev score is
kept, and the test rows are read by that one alone, once.

Run as a module this file is a worker: a job as JSON on standard input, events as JSON lines on standard output.
So seeds run beside each other without an object crossing between processes.
"""

from __future__ import annotations

import json
import math
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from unmask.batch import collate
from unmask.bounded import portions
from unmask.errors import UnmaskError
from unmask.evaluation.metrics import constant
from unmask.jobs.crew import emit
from unmask.jobs.source import model_folder as model_folder
from unmask.jobs.source import open_source
from unmask.jobs.tuned import FineTuning, default_rate, save_task
from unmask.models import Shape
from unmask.models.heads import SpanHead
from unmask.models.weights import load_pretrained, save_pretrained
from unmask.optim import Optimizer, rate
from unmask.randomness import generator
from unmask.settings import from_json
from unmask.tasks import TASKS, Examples, Frame, Labels, Task, Window, Windows, hold_out
from unmask.tasks.networks import TaskModel
from unmask.tokens import Tokenizer, Vocab
from unmask.train import Batch, steps, working_precision

Emit = Callable[[dict[str, Any]], None]
BODY = ("encoder", "pooler", "tokens")  # parts of a source that a task starts from
SKIPS = 10  # updates in a row whose loss or gradient may be not finite: they move nothing; then it ends
TOKENS = 4096  # of a micro-batch: bounds the memory of long rows, and changes nothing else


@dataclass(frozen=True)
class Part:
    """A file that has been read and framed."""

    examples: Examples
    windows: Windows


@dataclass(frozen=True)
class Prepared:
    """Everything that the seeds share."""

    task: Task
    training: FineTuning
    source: Path
    from_scratch: bool
    family: str
    shape: Shape
    tokenizer: Tokenizer
    frame: Frame
    labels: Labels
    length: int
    overlap: int
    parts: dict[str, Part]  # train, dev, perhaps test
    majority: dict[str, dict[str, float]]
    notes: tuple[str, ...]

    @property
    def learning_rate(self) -> float:
        return self.training.learning_rate or default_rate(self.shape)

    @property
    def steps(self) -> int:
        rows = len(self.parts["train"].windows.rows)
        return self.training.steps or max(1, math.ceil(self.training.epochs * rows / self.training.batch))


def prepare(
    task: Task,
    *,
    model: Path,
    train: Path,
    dev: Path | None,
    test: Path | None,
    training: FineTuning,
    from_scratch: bool,
) -> Prepared:
    """Read and check everything, before any training. Raises `UnmaskError` for whatever is wrong with the input."""
    model_folder(model)  # one that is not there is said before a large file is read
    read: dict[str, Examples] = {"train": task.read(train)}
    # Before rows are held out: a rare label may lie among those alone.
    labels, said = task.labels(read["train"])
    notes = [said]
    if dev is not None:
        read["dev"] = task.read(dev)
    else:
        read["train"], read["dev"] = hold_out(read["train"], training.seed)
        notes.append(read["train"].notes[-1])
    if test is not None:
        read["test"] = task.read(test)
    return framed(task, read, labels, model=model, training=training, from_scratch=from_scratch, notes=notes)


def framed(
    task: Task,
    read: dict[str, Examples],
    labels: Labels,
    *,
    model: Path,
    training: FineTuning,
    from_scratch: bool = False,
    notes: Sequence[str] = (),
) -> Prepared:
    """Rows of a task that were read already ("train", "dev", perhaps "test"), checked and cut into windows."""
    source = open_source(model)
    shape, tokenizer, frame = source.loaded.shape, source.tokenizer, source.frame
    length = min(512 if training.length is None else training.length, shape.positions)
    if length < 16:
        raise UnmaskError(f"length is {length} — at least 16 tokens are needed — give more")
    overlap = training.overlap if training.overlap is not None else length // 3
    if not 0 <= overlap < length - frame.room(1):
        raise UnmaskError(f"overlap is {overlap} for rows of {length} tokens — it must be smaller — lower it")
    parts, majority = {}, {}
    for name, examples in read.items():
        task.check(examples, labels)
        windows = task.rows(
            examples, tokenizer, labels, frame, length=length, overlap=overlap, training=name == "train"
        )
        parts[name] = Part(examples, windows)
        majority[name] = task.majority(read["train"], examples, labels)
    if not parts["train"].windows.rows:
        raise UnmaskError(
            f"{read['train'].where}: no row is left to learn from — see the ledger: every one was dropped"
        )
    return Prepared(
        task, training, source.folder, from_scratch, source.loaded.family, shape, tokenizer, frame, labels,
        length, overlap, parts, majority, tuple(notes),
    )  # fmt: skip


# -- one seed ----------------------------------------------------------------------------------------------------


def fresh(p: Prepared, seed: int) -> TaskModel:
    """The network of one seed: head and order by the seed; body loaded, or drawn too (the control)."""
    torch.manual_seed(seed)

    def make(shape: Shape) -> nn.Module:
        return p.task.network(shape, p.tokenizer.vocab, p.labels)

    if p.from_scratch:
        model = make(p.shape)
    else:
        loaded = load_pretrained(p.source)
        # Another task's head stays out.
        body = {name: value for name, value in loaded.state.items() if name.partition(".")[0] in BODY}
        model, _ = replace(loaded, state=body).around(make)
    assert isinstance(model, TaskModel)
    model.encoder.dropout = p.training.dropout
    if not isinstance(model.head, SpanHead):  # which has none, as in BERT's code
        model.head.dropout = p.training.dropout
    return model


def orders(p: Prepared, seed: int) -> Iterator[list[int]]:
    """The windows of every step: all of them in a new order each epoch."""
    count, size = len(p.parts["train"].windows.rows), p.training.batch
    order: np.ndarray = np.zeros(0, np.int64)
    epoch = 0
    while True:
        while len(order) < size:
            order = np.concatenate([order, generator(seed, "order", epoch).permutation(count)])
            epoch += 1
        yield order[:size].tolist()
        order = order[size:]


def batches(p: Prepared, seed: int, device: torch.device) -> Iterator[list[Batch]]:
    """The micro-batches of every step: rows by `orders`, the window of visit n drawn by (seed, n)."""
    rows, visit = p.parts["train"].windows.rows, 0
    for chosen in orders(p, seed):
        drawn = []
        for n in chosen:
            drawn.append(p.task.example(rows[n], p.tokenizer.vocab, generator(seed, "window", visit)))
            visit += 1
        yield [collated(micro, device) for micro in micro_batches(drawn)]


def micro_batches(drawn: Sequence[dict[str, np.ndarray]]) -> Iterator[list[dict[str, np.ndarray]]]:
    """Neighbours of at most `TOKENS` tokens together."""
    return portions(drawn, lambda example: len(example["ids"]), TOKENS)


def collated(examples: Sequence[dict[str, np.ndarray]], device: torch.device) -> Batch:
    return {k: v if k == "lengths" else v.to(device) for k, v in collate(examples).items()}


def outputs(
    task: Task, model: nn.Module, windows: Sequence[Window], vocab: Vocab, device: torch.device
) -> list[Any]:
    """What the model says of every window, in their order; computed in batches of like length."""
    order = sorted(range(len(windows)), key=lambda n: len(windows[n].ids))
    unused = generator(0, "window", 0)  # only a window to learn from is drawn
    examples = [task.example(windows[n], vocab, unused) for n in order]
    found: list[Any] = []
    was = model.training
    model.eval()
    with torch.no_grad():
        for portion in micro_batches(examples):
            found += task.predict(model, collated(portion, device))
    model.train(was)
    return [found[place] for place in np.argsort(order)]


def predictions(
    p: Prepared, model: nn.Module, part: str, labels: Labels, device: torch.device
) -> list[dict[str, Any]]:
    held = p.parts[part]
    said = outputs(p.task, model, held.windows.rows, p.tokenizer.vocab, device)
    return p.task.join(held.examples, held.windows.rows, said, labels)


def finetune_one(p: Prepared, seed: int, folder: Path | None, emit: Emit) -> dict[str, Any]:
    """Train one seed and return {"seed", "step", "dev", "test", "flat", "skipped"}; its model goes to `folder`, if any.

    `flat` says that all test (or dev) predictions are one and the same, `skipped` counts the updates that were left
    out because their loss or gradient was not finite. Raises `UnmaskError` after `SKIPS` of them in a row.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    training, leading = p.training, p.task.leading(p.labels)
    model = fresh(p, seed).to(device).train()
    optimizer = Optimizer(
        model.named_parameters(),
        weight_decay=training.weight_decay,
        beta2=0.999,
        working=working_precision(training.precision, device),
    )
    total = p.steps
    every = training.evaluate_every or max(1, math.ceil(total / 4))
    line_every = max(
        1, min(total // 40, 50)
    )  # the same steps for every seed and start, so that curves compare
    started = time.perf_counter()
    best: dict[str, Tensor] = {}
    result: dict[str, Any] = {"seed": seed, "step": 0, "dev": {}}
    labels, waited, sums, counts = p.labels, 0, 0.0, 0
    skipped = in_a_row = told = 0
    training_steps = steps(
        lambda batch: p.task.loss(model, batch),
        batches(p, seed, device),
        terms=p.task.TERMS,
        optimizer=optimizer,
        rate=lambda n: p.learning_rate * rate("linear", (n - 0.5) / total, warmup=training.warmup, decay=0.0),
        clip=training.clip,
    )
    for step in training_steps:
        last = step.number >= total
        if step.finite:
            sums, counts, in_a_row = sums + step.loss(), counts + 1, 0
        else:
            skipped, in_a_row = skipped + 1, in_a_row + 1
        if in_a_row >= min(SKIPS, total):
            raise gone_wrong(p, seed, step.number, in_a_row)
        if step.number % line_every == 0 or last or step.number == 1:
            seconds = time.perf_counter() - started
            line = {"seed": seed, "step": step.number, "seconds": seconds}
            line |= {"loss": sums / counts} if counts else {}
            line |= {"skipped": skipped - told} if skipped > told else {}
            emit({"event": "step", **line, "steps": total})
            sums, counts, told = 0.0, 0, skipped
        if step.number % every == 0 or last:
            said = predictions(p, model, "dev", p.labels, device)
            settled, chosen = p.task.settle(said, p.parts["dev"].examples, p.labels)
            scores = p.task.score(settled, p.parts["dev"].examples, chosen)
            emit({"event": "dev", "seed": seed, "step": step.number, "dev": scores})
            gain = not best or scores[leading] > result["dev"][leading]
            if gain or scores[leading] == result["dev"][leading]:  # of equals the later one, at a lower rate
                best = {name: value.clone() for name, value in optimizer.weights().items()}
                result |= {"step": step.number, "dev": scores, "flat": flat(settled, p.parts["dev"].examples)}
                labels = chosen
            waited = 0 if gain else waited + 1
            if training.patience is not None and waited >= training.patience:
                break
        if last:
            break
    training_steps.close()  # type: ignore[attr-defined]
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.data.copy_(best[name])
    if "test" in p.parts:
        said = predictions(p, model, "test", labels, device)
        test = p.parts["test"].examples
        result |= {"test": p.task.score(said, test, labels), "flat": flat(said, test)}
    if folder is not None:
        export(p, model, best, labels, folder)
    return {**result, "skipped": skipped, "seconds": time.perf_counter() - started}


def gone_wrong(p: Prepared, seed: int, step: int, count: int) -> UnmaskError:
    """What to say of `count` updates up to `step` that were not finite; the lines or questions that they read."""
    read, rows = p.parts["train"], p.parts["train"].windows.rows
    windows = [n for chosen in list(islice(orders(p, seed), step))[-count:] for n in chosen]
    items = [read.examples.items[rows[n].example] for n in windows]
    unit = "lines" if all(item.line for item in items) else "questions"
    named = sorted({item.line for item in items} if unit == "lines" else {item.id for item in items})
    shown = ", ".join(map(str, named[:20])) + (f" and {len(named) - 20} more" if len(named) > 20 else "")
    return UnmaskError(
        f"seed {seed}: the loss or the gradient was not finite in the {count} updates up to step {step} ({unit} "
        f"{shown} of {read.examples.where}) — a training whose loss is a number was expected; no weight was moved by "
        "them — lower --learning-rate, use --precision fp32, or look at those rows"
    )


def flat(said: Sequence[dict[str, Any]], examples: Examples) -> bool:
    """Whether all predictions (all tags of all words) are the same where the truth is not: a constant was learnt."""
    values: list[Any] = []
    truth: list[Any] = []
    for row, item in zip(said, examples.items, strict=True):
        values += row["tags"] if "tags" in row else [row.get("label", row.get("score", row.get("answer")))]
        truth += item.gold if "tags" in row else [item.gold]
    return len(values) > 1 and constant(values) and not all(gold == truth[0] for gold in truth)


def export(p: Prepared, model: TaskModel, best: dict[str, Tensor], labels: Labels, folder: Path) -> None:
    """Write the chosen weights in fp32, gain and the scores' unit folded in, with what predicting needs beside them."""
    for name, parameter in model.named_parameters():
        parameter.data = best[name].cpu()
    if labels.kind == "score":
        model.fold(labels.scale, labels.centre)
        labels = replace(labels, centre=0.0, scale=1.0)
    else:
        model.fold()
    shutil.rmtree(folder, ignore_errors=True)
    names = list(labels.names) or None
    try:
        save_pretrained(folder, p.family, model, p.shape, p.tokenizer, heads=p.task.HEADS, labels=names)
        save_task(folder, p.task, labels, p.length, p.overlap)
    except (OSError, SafetensorError) as error:  # in a process of its own nobody else would say it
        raise UnmaskError(
            f"{folder} could not be written ({error}) — a model was to lie there — make room and run the same command "
            "again; seeds that are finished are kept"
        ) from error


# -- several seeds, one after another --------------------------------------------------------------------------


def seeds_in_turn(p: Prepared, seeds: Sequence[int], out: Path, emit: Emit) -> None:
    """Train the seeds; the model of the best on dev so far is kept in out/seeds/SEED. Emits a "done" each."""
    leading = p.task.leading(p.labels)
    kept: tuple[float, Path] | None = None
    for seed in seeds:
        folder = out / "seeds" / str(seed)
        result = finetune_one(p, seed, folder, emit)
        score = result["dev"][leading]
        if kept is None or score > kept[0]:
            if kept is not None:
                shutil.rmtree(kept[1])
            kept = (score, folder)
        else:
            shutil.rmtree(folder)
        emit({"event": "done", **result})


def worker() -> None:
    """Jobs from standard input, one a line: train its seeds, write events to standard output."""
    for line in sys.stdin:
        job = json.loads(line)
        torch.set_num_threads(job["threads"])
        try:
            p = prepare(
                from_json(TASKS[job["task"]], job["settings"], "the task"),
                model=Path(job["model"]),
                train=Path(job["train"]),
                dev=Path(job["dev"]) if job["dev"] else None,
                test=Path(job["test"]) if job["test"] else None,
                training=from_json(FineTuning, job["training"], "the training"),
                from_scratch=job["from_scratch"],
            )
            seeds_in_turn(p, job["seeds"], Path(job["out"]), emit)
        except UnmaskError as error:
            return emit({"event": "error", "text": str(error)})
        emit({"event": "job"})


if __name__ == "__main__":
    worker()

"""Real steps of pre-training, timed: the recipe's rows, noise, network, loss and optimiser, as ``pretrain`` runs them.

Nothing is modelled: what is reported was done on this machine a moment ago. The first steps are left out, since
they pay for memory and threads that later ones find ready.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from unmask.jobs.feed import ahead, to, updates
from unmask.jobs.pretrain import resolved
from unmask.machine.flops import flops
from unmask.models import Shape
from unmask.optim import Optimizer
from unmask.processes import device
from unmask.recipes import Recipe
from unmask.store import Store
from unmask.train import Batch, Training, steps, working_precision

STEPS = 20
WARM = 2  # steps that are not counted
LEAST = 3  # steps that are timed however long they take
ROWS = 16  # rows of a timed micro-batch at most


@dataclass(frozen=True)
class Timing:
    """The steps of one size. ``body``: see `count`."""

    size: str
    parameters: int
    body: int
    batch: int  # rows of an update, the recipe's
    rows: int  # rows of a timed step: an update is batch / rows of them
    length: int
    seconds: tuple[float, ...]  # of each timed step
    tokens: float  # a timed step, on average
    memory: int  # bytes, the peak of this process (of the GPU if there is one)
    flops: float  # operations of a timed step, on average (`flops.py`)
    snapshots: int = 0  # bytes a parameter of all that a run keeps


def count(recipe: Recipe, store: Store, size: str, length: int) -> tuple[int, int]:
    """(parameters, those of the layers) of a size, without allocating them.

    A shared layer counts as often as it works.
    """
    vocab = store.tokenizer.vocab
    shape = recipe.shape(size, vocab, length)
    with torch.device("meta"):
        model = recipe.network(shape, vocab)
    named = [(name, p.numel()) for name, p in model.named_parameters()]
    layers = sum(n for name, n in named if ".layers." in f".{name}")
    return sum(n for _, n in named), layers * (shape.layers if shape.shared else 1)


def time_steps(
    recipe: Recipe, store: Store, size: str, *, length: int | None, limit: float, rows: int | None = None
) -> Timing:
    """About twenty steps of a size, fewer if they would take more than ``limit`` seconds, a third of it to warm up.

    ``rows`` of a step: without it the recipe's batch, 16 at most.
    """
    training = resolved(recipe, size, Training(length=length, steps=WARM + STEPS))
    assert training.length and training.batch and training.learning_rate is not None
    rows = rows or min(training.batch, ROWS)
    vocab, where = store.tokenizer.vocab, device()
    shape = recipe.shape(size, vocab, training.length)
    parameters, body = count(recipe, store, size, training.length)
    model = recipe.network(shape, vocab).to(where).eval()
    working = working_precision(training.precision, where)
    optimizer = Optimizer(model.named_parameters(), kind=training.optimizer or "adamw", working=working)
    source = updates(
        recipe, recipe.rows(store, training.length, 0), vocab, batch=rows, accumulate=1, seed=0, start=0
    )
    peak = training.learning_rate
    taken: list[float] = []
    tokens: list[int] = []
    given: list[list[Batch]] = []  # of every step that was begun
    warming = True  # oneDNN prepares a product for its very shape: on AMX that takes longer than the product

    def prepared_batches(source: Iterator[list[Batch]]) -> Iterator[list[Batch]]:
        for update in source:
            given.append(update)
            yield [to(batch, where) for batch in update]

    began = time.perf_counter()
    with ahead(source) as prepared:
        before = began
        for step in steps(
            lambda batch: recipe.loss(model, batch),
            prepared_batches(prepared),
            terms=recipe.TERMS,
            optimizer=optimizer,
            rate=lambda number: peak * min(1.0, number / STEPS),
            clip=training.clip if training.clip is not None else 1.0,
        ):
            if where.type == "cuda":
                torch.cuda.synchronize(where)
            now = time.perf_counter()
            if warming:
                warming = step.number < WARM or (step.number < STEPS and now - began < limit / 3)
            else:
                taken.append(now - before)
                tokens.append(step.tokens)
            before = now
            if len(taken) >= STEPS or (len(taken) >= LEAST and now - began > limit):
                break
    timed = given[step.number - len(taken) : step.number]
    return Timing(
        size=size,
        parameters=parameters,
        body=body,
        batch=training.batch,
        rows=rows,
        length=training.length,
        seconds=tuple(taken),
        tokens=sum(tokens) / len(tokens),
        memory=_peak(where),
        flops=sum(work(shape, batch, where, working) for update in timed for batch in update) / len(timed),
        snapshots=training.snapshots * working.itemsize,
    )


def work(shape: Shape, batch: Batch, where: torch.device, working: torch.dtype) -> float:
    """Operations of a training step on a batch, whose products are in `working`."""
    asked = len(batch["positions"])
    kept = asked + len(batch.get("first_positions", ()))
    return flops(
        shape, tokens=len(batch["ids"]), targets=asked, lengths=batch["lengths"], kept=kept,
        ragged=where.type == "cuda" and working != torch.float32,
    )  # fmt: skip


def _peak(where: torch.device) -> int:
    if where.type == "cuda":
        return int(torch.cuda.max_memory_allocated(where))
    with suppress(OSError, StopIteration):  # Linux: what getrusage says began with the size of the parent
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM:")).split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak  # the BSDs count in KiB

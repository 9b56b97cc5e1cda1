"""Our side of the benchmarks: any recipe, shape and settings through the ordinary loop, looked at along the way.

Rows, noise, the thread that prepares, the loop and the optimiser are those of `unmask pretrain`; only the folder is
missing. Time is wall-clock, or processor time (`processor=True`), which a neighbour on the machine does not change
much; then one thread is meant. Looks at the loss stop the clock.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from benchmarks.variants import VARIANTS, stack
from unmask.jobs.feed import ahead, updates
from unmask.models import Shape
from unmask.optim import Optimizer, rate
from unmask.recipes import Recipe
from unmask.recipes.network import Network
from unmask.rows import Rows
from unmask.settings import to_json
from unmask.store import Store
from unmask.tokens import Vocab
from unmask.train import Step, Training, steps, working_precision


@dataclass(frozen=True)
class Phase:
    """A part of a run: until which share of it, with which recipe's noise, on how many rows of what length.

    layers: how many the network has meanwhile; before the next part they are stacked. 0 for all.
    """

    until: float
    recipe: Recipe
    length: int
    batch: int
    layers: int = 0


def going(
    recipe: Recipe,
    model: nn.Module,
    rows: Rows,
    vocab: Vocab,
    optimizer: Optimizer,
    learning_rate: Callable[[int], float],
    *,
    batch: int,
    start: int = 0,
    accumulate: int = 1,
    seed: int = 0,
    clip: float = 1.0,
) -> Generator[Step, None, None]:
    """The steps of the ordinary loop, rows prepared in a thread ahead; the thread ends with the iterator.

    `start` steps were made before.
    """
    source = updates(recipe, rows, vocab, batch=batch, accumulate=accumulate, seed=seed, start=start)
    with ahead(source) as ready:
        yield from steps(
            lambda one: recipe.loss(model, one), ready,
            terms=recipe.TERMS, optimizer=optimizer, rate=learning_rate, clip=clip, start=start,
        )  # fmt: skip


def train_for(
    recipe: Recipe,
    shape: Shape,
    training: Training,
    store: Store,
    look: Callable[[nn.Module], float],
    *,
    looks: int = 1,
    processor: bool = False,
    before: Sequence[Phase] = (),
    variant: str = "",
) -> dict[str, Any]:
    """Train for `training.budget` seconds, or `training.steps` updates, and look `looks` times, the last at the end.

    `training` is resolved. `before` are parts of the run that differ in rows and noise, each until its share of the
    run. `variant`: a key of `benchmarks.variants.VARIANTS`. Returns steps, tokens, seconds, the curve of (seconds,
    look) and the settings.
    """
    assert training.batch and training.length and training.learning_rate and training.schedule
    vocab = store.tokenizer.vocab
    torch.manual_seed(training.seed)

    def made(layers: int, weights: dict[str, torch.Tensor] | None = None) -> tuple[nn.Module, Optimizer]:
        network = recipe.network(replace(shape, layers=layers or shape.layers), vocab)
        network.eval()
        assert isinstance(network, Network)
        VARIANTS[variant](network)
        if weights is not None:
            stack(network, weights)
        optimizer = Optimizer(
            network.named_parameters(),
            kind=training.optimizer or "adamw",
            weight_decay=training.weight_decay or 0.0,
            beta1=training.beta1 or 0.9,
            beta2=training.beta2 or 0.98,
            working=working_precision(training.precision, torch.device("cpu")),
        )
        return network, optimizer

    phases = (*before, Phase(math.inf, recipe, training.length, training.batch))
    depth = phases[0].layers
    model, optimizer = made(depth)
    now = time.process_time if processor else time.perf_counter
    started, paused, here, number, tokens, looked = now(), 0.0, 0.0, 0, 0, 0.0
    curve: list[tuple[float, float]] = []

    def seconds() -> float:
        return now() - started - paused

    def place(update: int) -> float:
        if training.steps is not None:
            return (update - 0.5) / training.steps
        assert training.budget is not None
        return min(1.0, seconds() / training.budget)

    def learning_rate(update: int) -> float:
        nonlocal here
        here = place(update)
        assert training.learning_rate and training.schedule
        return training.learning_rate * rate(
            training.schedule, here, warmup=training.warmup or 0.0, decay=training.decay or 0.0
        )

    def over() -> bool:
        return (
            number >= training.steps if training.steps is not None else seconds() >= (training.budget or 0.0)
        )

    for phase in phases:
        if phase.layers != depth:
            depth = phase.layers
            model, optimizer = made(depth, optimizer.weights())
        taken = going(
            phase.recipe, model, phase.recipe.rows(store, phase.length, training.seed), vocab, optimizer,
            learning_rate, start=number, batch=phase.batch, accumulate=training.accumulate, seed=training.seed,
            clip=training.clip or 0.0,
        )  # fmt: skip
        with closing(taken):
            while not over() and here < phase.until:
                step = next(taken)
                number, tokens = step.number, tokens + step.tokens
                if here >= looked + 1 / looks and looks > 1:
                    looked, at, began = here, seconds(), now()
                    curve.append((at, look(model)))
                    paused += now() - began
        ended = seconds()
    curve.append((ended, look(model)))
    return {
        "steps": number, "tokens": tokens, "seconds": ended, "loss": curve[-1][1], "curve": curve,
        "training": to_json(training), "recipe": to_json(recipe),
    }  # fmt: skip

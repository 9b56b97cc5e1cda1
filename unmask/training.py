"""The training settings: how long, how fast and how exactly, as one frozen value that needs no torch.

A field that is None takes the recipe's value for the size (`resolved`), so what a recipe's paper says stands in the
recipe, and what a person says stands above it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Literal

from unmask.errors import UnmaskError
from unmask.models import check_size

if TYPE_CHECKING:
    from unmask.recipes import Recipe

Kind = Literal["adamw", "muon"]
Schedule = Literal["linear", "cosine", "trapezoid", "constant"]
Precision = Literal["auto", "bf16", "fp32"]
Log = Literal["tensorboard", "trackio"]

LONG = 1800.0  # seconds of a run that says no end


@dataclass(frozen=True)
class Training:
    """How long, how fast and how exactly to train. A field that is None takes the recipe's value for the size."""

    steps: Annotated[int | None, "updates; the schedule ends with them"] = None
    budget: Annotated[float | None, "seconds of training (5m, 8h); the schedule ends when they do"] = None
    batch: Annotated[int | None, "rows an update, over all processes"] = None
    length: Annotated[int | None, "tokens of the longest row"] = None
    learning_rate: Annotated[float | None, "peak of the schedule"] = None
    optimizer: Annotated[Kind | None, "adamw, or muon for the matrices of the layers"] = None
    schedule: Annotated[Schedule | None, "linear, cosine, trapezoid or constant"] = None
    warmup: Annotated[float | None, "share of the run over which the rate rises"] = None
    decay: Annotated[float | None, "share of the run over which a trapezoid falls"] = None
    weight_decay: Annotated[float | None, "of matrices and tables"] = None
    beta1: Annotated[float | None, "AdamW's first moment"] = None
    beta2: Annotated[float | None, "AdamW's second moment"] = None
    clip: Annotated[float | None, "largest global gradient norm; 0 is off"] = None
    accumulate: Annotated[int, "micro-batches an update; the result is that of the whole batch"] = 1
    precision: Annotated[Precision, "bf16 weights with fp32 masters, or fp32; auto asks the processor"] = (
        "auto"
    )
    shard: Annotated[bool, "shard weights, gradients and moments over the processes (FSDP2)"] = False
    checkpoint_every: Annotated[float, "seconds between checkpoints"] = 300.0
    log: Annotated[tuple[Log, ...], "where metrics go too: tensorboard, trackio (each an extra)"] = ()
    snapshots: Annotated[
        int,
        "times the weights are kept for `unmask embryo`, log-spaced, 2 to 4 bytes a parameter each; 0: none",
    ] = 24
    skips: Annotated[
        int, "updates in a row that are left out (loss or gradient not finite) before the run goes back"
    ] = 10
    rollbacks: Annotated[
        int, "times a run goes back, and past the rows that did it, before it ends with an error"
    ] = 3
    seed: Annotated[int, "of weights, order, masks and partners"] = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "log", tuple(self.log))  # JSON knows lists only
        if self.steps is not None and self.budget is not None:
            raise UnmaskError("both steps and budget are given — a run ends by one of them — leave one out")
        if self.steps is not None and self.steps < 1:
            raise UnmaskError(f"steps is {self.steps} — at least 1 update is needed — give more")
        if self.budget is not None and not 0 < self.budget < math.inf:  # nan is in no range
            raise UnmaskError(
                f"budget is {self.budget} s — more than 0 is needed — give some time, such as 5m"
            )
        if self.snapshots < 0 or self.snapshots == 1:
            raise UnmaskError(
                f"snapshots is {self.snapshots} — the first state and the last are two — give 2 or more, or 0 for none"
            )
        if self.skips < 1:
            raise UnmaskError(f"skips is {self.skips} — at least 1 update must be bad to go back — give more")
        if self.rollbacks < 0:
            raise UnmaskError(f"rollbacks is {self.rollbacks} — 0 or more is needed — 0 ends the run at once")
        for name in ("learning_rate", "weight_decay", "clip"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:  # nan is in no range
                raise UnmaskError(f"{name} is {value} — 0 or more is needed — give a number such as 1e-3")
        for name in ("beta1", "beta2"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise UnmaskError(
                    f"{name} is {value} — a share of 0 to below 1 is needed — give one such as 0.9"
                )
        if not 0 <= self.seed < 2**32:
            raise UnmaskError(
                f"seed is {self.seed} — a whole number from 0 to {2**32 - 1} is needed — give another"
            )
        for name in ("warmup", "decay"):
            share = getattr(self, name)
            if share is not None and not 0 <= share <= 1:
                raise UnmaskError(f"{name} is {share} — it is a share, between 0 and 1")
        if self.accumulate < 1 or (self.batch is not None and self.batch < self.accumulate):
            raise UnmaskError(
                f"accumulate is {self.accumulate} and batch {self.batch} — each micro-batch needs a row — "
                "lower accumulate"
            )


def resolved(recipe: Recipe, size: str, training: Training) -> Training:
    """The settings with the recipe's values for the size in place of None, and 30 minutes if no end is given.

    Raises `UnmaskError` for a size that there is not.
    """
    check_size(size)
    defaults = {k: v for k, v in recipe.training(size).items() if getattr(training, k) is None}
    training = replace(training, **defaults)
    if training.steps is None and training.budget is None:
        training = replace(training, budget=LONG)
    return training

"""How a suite is run: tasks, seeds, starts, rates, and how long. The flags of the verbs are its fields. No torch.

Two protocols. The careful one: rate and number of epochs are chosen on one half of dev, the scores are of the other.
The published one (Devlin et al. 2019, A.3; Turc et al. 2019 for small models): a grid of four rates, batch 32, 3 or 4
epochs, the last weights, chosen *and* reported on the same whole dev set; it flatters small sets by about a standard
error, and is here to be compared with tables that were made so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from unmask.errors import UnmaskError, nearest
from unmask.jobs.tuned import default_rate
from unmask.settings import numbers

if TYPE_CHECKING:
    from unmask.models import Shape

LEAST_STEPS = (
    2000  # of a careful fine-tuning, where the epochs cap allows (Mosbach et al. 2021: small sets need more)
)
MOST_EPOCHS = 20.0
LEAST_EPOCHS = 3.0
SMALL_RATES = (3e-4, 1e-4, 5e-5, 3e-5)  # Turc et al. 2019
LARGE_RATES = (5e-5, 4e-5, 3e-5, 2e-5)  # Devlin et al. 2019
HEADS = ("auto", "first", "layers")


@dataclass(frozen=True)
class Point:
    """What is chosen for a task and start: peak rate, epochs and, where the task has several, the head."""

    rate: float
    epochs: float
    head: str = "auto"


@dataclass(frozen=True)
class Setting:
    """How to run the tasks of a suite. Lists are written with commas."""

    tasks: Annotated[str | None, "tasks to run, with commas; all whose files are there if not given"] = None
    seeds: Annotated[int, "fine-tunings a task and start, at the chosen rate"] = 3
    from_scratch: Annotated[bool, "beside each task the same with a fresh body: the control"] = True
    published: Annotated[
        bool, "the published grid, chosen and reported on the same whole dev set; else one half each"
    ] = False
    rates: Annotated[str | None, "peak learning rates to choose from, with commas; by default by size"] = None
    heads: Annotated[
        str | None,
        "what a class, pair or score is read from, to choose from, with commas: auto, first, layers (as in "
        "fine-tuning); by default auto",
    ] = None
    epochs: Annotated[
        str | None, "epochs to choose from, with commas; by default 3, or more for small sets up to 20"
    ] = None
    steps: Annotated[int | None, "updates of every fine-tuning, instead of epochs"] = None
    batch: Annotated[int, "rows an update"] = 32
    limit_train: Annotated[int | None, "training rows of a task, at most; drawn by a seed, nested"] = None
    length: Annotated[int | None, "tokens of the longest row; by default the model's, up to 512"] = None
    precision: Annotated[Literal["auto", "bf16", "fp32"], "as in fine-tuning"] = "auto"
    workers: Annotated[int | None, "fine-tunings beside each other; by default by size and cores"] = None
    keep_models: Annotated[bool, "keep the weights of every fine-tuning"] = False

    def __post_init__(self) -> None:
        for name in ("seeds", "steps", "batch", "limit_train", "workers"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UnmaskError(f"{name} is {value} — at least 1 is needed — give more")
        if self.steps is not None and self.epochs:
            raise UnmaskError("both steps and epochs are given — one of them says how long — leave one out")
        numbers(self.rates, "rates")
        numbers(self.epochs, "epochs")
        for head in self.heads_named():
            if head not in HEADS:
                raise UnmaskError(
                    f'heads holds "{head}" — expected some of {", ".join(HEADS)} — choose some.{nearest(head, HEADS)}'
                )

    def heads_named(self) -> tuple[str, ...]:
        """The heads to choose from."""
        return tuple(head.strip() for head in (self.heads or HEADS[0]).split(","))

    def grid(self, shape: Shape, rows: int, *, heads: bool) -> tuple[Point, ...]:
        """What to choose from, for a body of this shape, so many training rows, and a task with heads or not."""
        large = 12 * shape.layers * shape.width**2 >= 40e6
        if self.published:
            rates = numbers(self.rates, "rates") or (LARGE_RATES if large else SMALL_RATES)
            epochs = numbers(self.epochs, "epochs") or ((3.0,) if large else (4.0,))
        else:
            usual = default_rate(shape)
            rates = numbers(self.rates, "rates") or (usual, float(f"{usual / 3:.1g}"))
            enough = min(MOST_EPOCHS, max(LEAST_EPOCHS, math.ceil(LEAST_STEPS * self.batch / rows)))
            epochs = numbers(self.epochs, "epochs") or (enough,)
        if self.steps is not None:
            epochs = epochs[:1]
        named = self.heads_named() if heads else HEADS[:1]
        return tuple(Point(rate, e, head) for rate in rates for e in epochs for head in named)

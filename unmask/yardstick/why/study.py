"""What is compared and how: the settings of a study, its cells, and the grid of rates. Imports no torch.

A cell is one training: a start, a rate, a number of labelled rows and a seed. All cells take the same number of
updates; what a cell is does not depend on what else is asked, so a folder of cells can be added to.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from unmask.errors import UnmaskError
from unmask.jobs.tuned import FineTuning, default_rate
from unmask.settings import numbers

if TYPE_CHECKING:
    from unmask.models import Shape

STARTS = ("pretrained", "scratch", "frozen", "embeddings")
PATHS = ("pretrained", "scratch")  # the starts whose way through the weights is drawn
LOOKS = 12  # measurements of a training, after the one before it

Plane = Literal["filter", "bend"]


@dataclass(frozen=True)
class Study:
    """How a study is run; lists are written with commas."""

    steps: Annotated[
        int | None, "updates of every training, whatever its rows; by default 3 epochs of all rows"
    ] = None
    rows: Annotated[str, "numbers of labelled rows to learn from, such as 50,200,1000,all"] = "all"
    seeds: Annotated[int, "trainings of each start, with other draws of head, order and subset"] = 3
    rates: Annotated[
        str,
        "peak learning rates to choose from on dev, such as 3e-4,1e-3; one: no choice; by default by size",
    ] = ""
    head_rates: Annotated[str, "the same for the frozen body, whose head is trained alone"] = ""
    tune: Annotated[
        Literal["once", "each"], "choose rates once, with the most rows, or for each number of rows"
    ] = "once"
    sample: Annotated[
        int, "rows of training and of dev that every curve, path and surface is measured on"
    ] = 128
    surface: Annotated[bool, "the loss over a plane around the way of two starts too"] = False
    plane: Annotated[
        Plane, "its second direction: random and filter-normalised, or where the way bends most"
    ] = "filter"
    batch: Annotated[int, "rows an update"] = 16
    warmup: Annotated[float, "share of the steps over which the rate rises; then it falls straight to 0"] = (
        0.1
    )
    dropout: Annotated[float, "of body and head; a frozen body has none"] = 0.1
    weight_decay: Annotated[float, "of matrices and tables"] = 0.01
    clip: Annotated[float, "largest global gradient norm; 0 is off"] = 1.0
    precision: Annotated[Literal["auto", "bf16", "fp32"], "of training; measurements are in fp32"] = "auto"
    length: Annotated[int | None, "tokens of the longest row; by default the model's, up to 512"] = None
    overlap: Annotated[
        int | None, "tokens that neighbouring windows share; by default a third of the length"
    ] = None
    workers: Annotated[int | None, "trainings beside each other; by default by size and cores"] = None
    seed: Annotated[int, "of the first training of a start; the others count on from it"] = 0

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise UnmaskError(f"seeds is {self.seeds} — at least 1 is needed — give more")
        if self.sample < 8:
            raise UnmaskError(f"sample is {self.sample} — at least 8 rows are needed — give more")
        self.training(None, self.steps)  # whose own checks are those of the other fields
        numbers(self.rates, "rates")
        numbers(self.head_rates, "head_rates")
        self.sizes(1 << 62)

    def training(self, rate: float | None, steps: int | None) -> FineTuning:
        """The same as settings of a fine-tuning."""
        return FineTuning(
            steps=steps, batch=self.batch, learning_rate=rate, warmup=self.warmup, dropout=self.dropout,
            weight_decay=self.weight_decay, clip=self.clip, precision=self.precision, length=self.length,
            overlap=self.overlap, workers=self.workers, seed=self.seed,
        )  # fmt: skip

    def grid(self, start: str, shape: Shape) -> tuple[float, ...]:
        """The rates that a start may choose from.

        By default a third, one and three times the usual rate of the size; a head that is trained alone bears and needs
        more: one, three, ten and thirty times.
        """
        usual = default_rate(shape)
        if start == "frozen":
            return tuple(sorted(numbers(self.head_rates, "head_rates"))) or _times(usual, (1, 3, 10, 30))
        return tuple(sorted(numbers(self.rates, "rates"))) or _times(usual, (1 / 3, 1, 3))

    def sizes(self, there: int) -> tuple[int, ...]:
        """The numbers of rows that are asked for, rising, of `there` that there are. Raises `UnmaskError`."""
        found: set[int] = set()
        for word in (w.strip() for w in self.rows.split(",")):
            if word == "all":
                found.add(there)
            elif word.isascii() and word.isdigit() and int(word) > 0:
                if int(word) > there:
                    raise UnmaskError(
                        f"rows asks for {int(word):,} and there are {there:,} to learn from — give fewer, or all"
                    )
                found.add(int(word))
            else:
                raise UnmaskError(
                    f'rows: "{word}" — numbers and the word all were expected — write it such as 50,200,all'
                )
        return tuple(sorted(found))

    def seeds_of(self) -> range:
        return range(self.seed, self.seed + self.seeds)


def _times(rate: float, factors: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(float(f"{rate * factor:.1g}") for factor in factors)


@dataclass(frozen=True)
class Cell:
    """One training."""

    start: str
    rate: float
    rows: int
    seed: int

    @property
    def name(self) -> str:
        return f"{self.start}-rows{self.rows}-rate{self.rate:g}-seed{self.seed}"


def places(steps: int) -> tuple[int, ...]:
    """The updates after which a training is measured: 0, then closer at the beginning, where curves part."""
    return tuple(sorted({0, *(math.ceil(steps * (n / LOOKS) ** 2) for n in range(1, LOOKS + 1))}))

"""Settings of a fine-tuning, and the note beside a fine-tuned model that says how to ask it. Imports no torch."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from unmask.bounded import load_json
from unmask.errors import UnmaskError
from unmask.models import Shape
from unmask.settings import from_json, to_json
from unmask.tasks import TASKS, Labels, Task

NOTE = "task.json"
MOST = 65_536  # rows of an update
LONGEST_ROW = 2**18  # tokens
MOST_LABELS = 100_000


@dataclass(frozen=True)
class FineTuning:
    """How to fine-tune; the same for every task. A field that is None takes the value its help names."""

    steps: Annotated[int | None, "updates; by default epochs decide"] = None
    epochs: Annotated[float, "passes over the training rows, where steps are not given"] = 3.0
    batch: Annotated[int, "rows an update"] = 16
    learning_rate: Annotated[
        float | None, "peak of the schedule; by default 1e-3 (tiny, mini) down to 2e-5 (large)"
    ] = None
    warmup: Annotated[float, "share of the steps over which the rate rises; then it falls straight to 0"] = (
        0.1
    )
    dropout: Annotated[float, "of body and head"] = 0.1
    weight_decay: Annotated[float, "of matrices and tables"] = 0.01
    clip: Annotated[float, "largest global gradient norm; 0 is off"] = 1.0
    evaluate_every: Annotated[int | None, "steps between looks at dev; by default four looks a run"] = None
    patience: Annotated[
        int | None, "looks at dev without a gain after which to stop; by default train to the end"
    ] = None
    precision: Annotated[
        Literal["auto", "bf16", "fp32"], "bf16 weights with fp32 masters, or fp32; auto asks the processor"
    ] = "auto"
    length: Annotated[int | None, "tokens of the longest row; by default the model's, up to 512"] = None
    overlap: Annotated[
        int | None, "tokens that neighbouring windows share; by default a third of the length"
    ] = None
    workers: Annotated[int | None, "processes that share the seeds; by default by size and cores"] = None
    seed: Annotated[int, "of the first run; the others count on from it"] = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "evaluate_every", "patience", "workers"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UnmaskError(f"{name} is {value} — at least 1 is needed — give more")
        if self.batch > MOST:
            raise UnmaskError(f"batch is {self.batch} — at most {MOST:,} rows are taken — give fewer")
        if not 0 < self.epochs < math.inf:  # nan is in no range
            raise UnmaskError(f"epochs is {self.epochs} — a number above 0 is needed — give one such as 3")
        if self.learning_rate is not None and not 0 < self.learning_rate < math.inf:
            raise UnmaskError(
                f"learning_rate is {self.learning_rate} — a number above 0 is needed — give one such as 5e-5"
            )
        for name in ("warmup", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise UnmaskError(f"{name} is {getattr(self, name)} — a share is needed — give 0 to below 1")
        for name in ("weight_decay", "clip"):
            if not 0 <= getattr(self, name) < math.inf:
                raise UnmaskError(
                    f"{name} is {getattr(self, name)} — 0 or more is needed — give 0 to switch it off"
                )
        if not 0 <= self.seed < 2**32:
            raise UnmaskError(
                f"seed is {self.seed} — a whole number from 0 to {2**32 - 1} is needed — give another"
            )


def default_rate(shape: Shape) -> float:
    """The peak rate for a size, by the parameters of its layers.

    5e-5 and 2e-5 are the upper and lower end of BERT's grid (Devlin et al. 2019, A.3), for base and large; the small
    ones need more (Turc et al. 2019 go up to 3e-4; at 1e-3 tiny and mini gain most in few steps, by our own runs).
    """
    weights = 12 * shape.layers * shape.width**2
    for bound, value in ((5e6, 1e-3), (15e6, 5e-4), (40e6, 2e-4), (150e6, 5e-5)):
        if weights < bound:
            return value
    return 2e-5


@dataclass(frozen=True)
class Note:
    """What stands in task.json: the task, what it can say, and how long its rows are."""

    task: Task
    labels: Labels
    length: int
    overlap: int


def save_task(folder: Path, task: Task, labels: Labels, length: int, overlap: int) -> None:
    """Write task.json beside the weights."""
    note = {
        "task": task.NAME,
        "settings": to_json(task),
        "labels": to_json(labels),
        "length": length,
        "overlap": overlap,
    }
    (folder / NOTE).write_text(json.dumps(note, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def load_task(folder: Path) -> Note:
    """Read task.json. Raises `UnmaskError` if the model was not fine-tuned here."""
    path = folder / NOTE
    if not path.is_file():
        raise UnmaskError(
            f"{folder} has no {NOTE} — expected a model made by `unmask finetune` — fine-tune one first"
        )
    try:
        data: dict[str, Any] = load_json(
            path, "the note of a fine-tuning", "restore it from the run that wrote it"
        )
        task = from_json(TASKS[data["task"]], data["settings"], str(path))
        labels = from_json(Labels, data["labels"], str(path))
        length, overlap = (from_json(int, data[name], f"{path}: {name}") for name in ("length", "overlap"))
        if (
            not 16 <= length <= LONGEST_ROW
            or not 0 <= overlap < length - 2  # as in training: [CLS] and [SEP]
            or len(labels.names) > MOST_LABELS
        ):
            raise ValueError(f"rows of {length} tokens that overlap by {overlap}, {len(labels.names)} labels")
        return Note(task, labels, length, overlap)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UnmaskError(f"{path} is damaged ({error!r}) — restore it from the run that wrote it") from None

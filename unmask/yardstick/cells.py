"""One fine-tuning of a task: a folder with its run and its predictions; several run beside each other.

A cell is (task, start, rate, epochs, seed). Its folder is an ordinary one of `unmask finetune`, and predictions.json
beside it says what the model answers for every row of each part, so that all scores, tests and figures are made
afterwards without a model. A cell with predictions is finished and is not repeated. Run as a module this file is a
worker: cells as JSON lines on standard input, events as JSON lines on standard output.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unmask.errors import UnmaskError
from unmask.jobs.crew import Event, beside, cores, emit
from unmask.jobs.tuned import FineTuning
from unmask.run import read_json, write_json
from unmask.settings import from_json, to_json
from unmask.tasks import TASKS, Task

PREDICTIONS = "predictions.json"


def digest(paths: Sequence[Path]) -> str:
    whole = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()[:16]


@dataclass(frozen=True)
class Cell:
    """A fine-tuning to do: all that a worker needs, as JSON. `parts` are files to answer, by name."""

    name: str
    folder: Path
    model: Path
    task: str
    settings: dict[str, Any]
    training: dict[str, Any]
    from_scratch: bool
    train: Path
    select: Path
    parts: dict[str, Path]
    positive: str | None = None  # a label whose share is wanted too
    keep: bool = False

    @property
    def finished(self) -> bool:
        """Whether its predictions are there (and its model, where that is to be kept)."""
        return (self.folder / PREDICTIONS).is_file() and (not self.keep or (self.folder / "model").is_dir())


def answers(said: Sequence[dict[str, Any]], positive: str | None) -> list[Any]:
    """What a prediction says, plainly: a label, a number, tags, an answer; [label, share of `positive`] if asked."""
    if positive is not None:
        return [[x["label"], x["probabilities"][positive]] for x in said]
    return [x.get("tags", x.get("label", x.get("score", x.get("answer")))) for x in said]


def run_cell(cell: Cell, watch: Callable[[Event], None]) -> None:
    """Fine-tune, answer every part, and drop the model unless it is kept."""
    from unmask.jobs.finetune import finetune
    from unmask.jobs.predict import Tuned

    task: Task = from_json(TASKS[cell.task], cell.settings, f"the task of {cell.name}")
    if cell.keep and not (cell.folder / "model").is_dir():
        shutil.rmtree(cell.folder, ignore_errors=True)  # finished before, without its model
    run = finetune(
        task, model=cell.model, train=cell.train, dev=cell.select, out=cell.folder, seeds=1,
        training=from_json(FineTuning, cell.training, f"the training of {cell.name}"),
        from_scratch=cell.from_scratch, watch=watch,
    )  # fmt: skip
    if not (run.folder / "model").is_dir():  # stopped between the two
        shutil.rmtree(cell.folder)
        return run_cell(cell, watch)
    tuned = Tuned(run.folder)
    said = {name: answers(tuned.say(task.read(path)), cell.positive) for name, path in cell.parts.items()}
    write_json(cell.folder / PREDICTIONS, said)
    if not cell.keep:
        shutil.rmtree(cell.folder / "model")


def run_cells(cells: Sequence[Cell], workers: int, watch: Callable[[Event], None]) -> None:
    """Run all cells that are not finished yet, and say how many are left and for how long."""
    import time

    from unmask.settings import show_seconds

    todo = [cell for cell in cells if not cell.finished]
    if len(cells) > len(todo):
        watch(
            {
                "event": "say",
                "text": f"{len(cells) - len(todo)} of {len(cells)} fine-tunings were finished before",
            }
        )
    workers = max(1, min(workers, len(todo)))
    began, done = time.perf_counter(), 0

    def ended(name: str) -> None:
        nonlocal done
        done += 1
        left = (time.perf_counter() - began) / done * (len(todo) - done)
        rest = f", about {show_seconds(left)} left" if done < len(todo) else ""
        watch({"event": "say", "text": f"{name}: {done} of {len(todo)} fine-tunings{rest}"})

    if workers == 1:
        for cell in todo:
            run_cell(cell, shown(cell.name, watch))
            ended(cell.name)
        return
    jobs = [to_json(cell) for cell in todo]
    for event in beside("unmask.yardstick.cells", jobs, workers, max(1, cores() // workers), over="cell"):
        if event["event"] == "cell":
            ended(event["name"])
        else:
            watch(event)


def shown(name: str, watch: Callable[[Event], None]) -> Callable[[Event], None]:
    """Passes on the steps of a cell, under its name; what a fine-tuning says of itself is said once for all."""
    return lambda event: watch({**event, "text": name}) if event["event"] == "step" else None


def predictions(cell: Cell) -> dict[str, list[Any]]:
    """What a finished cell answers, by part."""
    found: dict[str, list[Any]] = read_json(cell.folder / PREDICTIONS)
    return found


def worker() -> None:
    """Cells from standard input, one a line; each ends with an event "cell"."""
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))

    for line in sys.stdin:
        cell: Cell = from_json(Cell, json.loads(line), "the cell")

        try:
            run_cell(cell, shown(cell.name, emit))
        except UnmaskError as error:
            return emit({"event": "error", "text": f"{cell.name}: {error}"})
        emit({"event": "cell", "name": cell.name})


if __name__ == "__main__":
    worker()

"""The jobs of a study: told as JSON lines, done in this process or in workers (`jobs.crew`).

Run as a module this file is a worker.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from unmask.errors import UnmaskError
from unmask.jobs.crew import Event, beside, emit
from unmask.settings import from_json, to_json
from unmask.tasks import TASKS, Task, hold_out
from unmask.yardstick.why.study import Cell, Study

if TYPE_CHECKING:
    from unmask.yardstick.why.train import Bench

Watch = Callable[[Event], None]


def words_of(task: Task, study: Study, files: dict[str, Path | None], out: Path) -> Event:
    """What a worker is told first: all that it needs to prepare the rows as this process did."""
    return {
        "task": task.NAME,
        "settings": to_json(task),
        "study": to_json(study),
        "files": {name: str(path) if path else None for name, path in files.items()},
        "out": str(out),
    }


def bench_of(words: Event) -> Bench:
    """Rows read, checked and framed. Raises `UnmaskError` for whatever is wrong with them.

    Without rows to report on, dev is halved, whole documents together: one half chooses, the other is reported.
    """
    from dataclasses import replace

    from unmask.jobs.adapt import Part, prepare
    from unmask.yardstick.why.train import Bench

    task: Task = from_json(TASKS[words["task"]], words["settings"], "the task")
    study: Study = from_json(Study, words["study"], "the study")
    files = {name: Path(path) if path else None for name, path in words["files"].items()}
    assert files["model"] is not None and files["train"] is not None
    p = prepare(
        task, model=files["model"], train=files["train"], dev=files["dev"], test=files["test"],
        training=study.training(None, study.steps), from_scratch=False,
    )  # fmt: skip
    reported = "test"
    if "test" not in p.parts:
        reported = "half of dev"
        halves = hold_out(p.parts["dev"].examples, study.seed, 0.5)
        parts = {
            name: Part(
                half,
                task.rows(
                    half, p.tokenizer, p.labels, p.frame, length=p.length, overlap=p.overlap, training=False
                ),
            )
            for name, half in zip(("dev", "test"), halves, strict=True)
        }
        majority = {
            name: task.majority(p.parts["train"].examples, part.examples, p.labels)
            for name, part in parts.items()
        }
        note = f"no test rows: {len(halves[0])} rows of dev choose the rates, the other {len(halves[1])} are reported"
        p = replace(
            p, parts={**p.parts, **parts}, majority={**p.majority, **majority}, notes=(*p.notes, note)
        )
    return Bench(p, study, p.steps, Path(words["out"]), reported)


def do(bench: Bench, job: Event, emit: Watch) -> None:
    """One job: {"do": "train" | "score" | "walk", "cell": …}."""
    from unmask.yardstick.why.train import do_score, do_train
    from unmask.yardstick.why.walk import do_walk

    cell: Cell = from_json(Cell, job["cell"], "the cell")
    {"train": do_train, "score": do_score, "walk": do_walk}[job["do"]](bench, cell, emit)


def run(bench: Bench, words: Event, jobs: Sequence[Event], workers: int, threads: int, watch: Watch) -> None:
    """Do all jobs, `workers` at a time; each ends with the event "job"."""
    if workers <= 1:
        for job in jobs:
            do(bench, job, watch)
            watch({"event": "job", **job})
        return
    for event in beside("unmask.yardstick.why.crew", jobs, workers, threads, first=words):
        watch(event)


def worker() -> None:
    """The shared words, then a job a line, from standard input; events to standard output."""
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))

    try:
        bench = bench_of(json.loads(sys.stdin.readline()))
        for line in sys.stdin:
            job = json.loads(line)
            do(bench, job, emit)
            emit({"event": "job", **job})
    except UnmaskError as error:
        emit({"event": "error", "text": str(error)})


if __name__ == "__main__":
    worker()

"""A task's score at some of the snapshots: each fine-tuned with several seeds, as `unmask finetune` does it.

Source: Chiang et al. 2020, section 6 (GLUE over steps). Differs: several seeds always, for one cannot rank
neighbouring snapshots; the first snapshot is a body that has learnt nothing, and the most frequent answer is drawn.
A fine-tuning that is finished is not repeated.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unmask.errors import UnmaskError
from unmask.jobs.finetune import finetune
from unmask.jobs.snapshots import Snapshot
from unmask.jobs.tuned import FineTuning
from unmask.models.weights import save_pretrained
from unmask.settings import show_seconds
from unmask.tasks import Task
from unmask.yardstick.embryo.bodies import Body
from unmask.yardstick.why.suite import of_suite

Json = dict[str, Any]


@dataclass(frozen=True)
class TaskAsked:
    """What is to be fine-tuned: the task, its files, at which snapshots, how often, how long."""

    name: str
    task: Task
    files: dict[str, Path | None]
    snapshots: tuple[int, ...]
    seeds: int
    training: FineTuning
    out: Path


def prepared(
    body: Body, named: str | None, data: str | Path | None, count: int, seeds: int, steps: int | None
) -> TaskAsked | None:
    """The task, read and checked; None without one."""
    if named is None:
        return None
    if data is None:
        raise UnmaskError(
            f"task is {named} and data is not given — the folder of its files is needed — give --data"
        )
    if count < 2 or seeds < 1:
        raise UnmaskError(
            f"{count} snapshots and {seeds} seeds of the task — at least 2 and 1 are needed — give more"
        )
    out = body.run.folder / "yardstick" / "embryo"
    name, task, files, _ = of_suite(named, Path(data), out)
    there = len(body.snapshots)
    chosen = np.unique(np.linspace(0, there - 1, min(count, there)).round().astype(int))
    return TaskAsked(name, task, files, tuple(int(n) for n in chosen), seeds, FineTuning(steps=steps), out)


def task_scores(
    body: Body, asked: TaskAsked, say: Callable[[str], None], watch: Callable[[Json], None]
) -> Json:
    """Fine-tune from each chosen snapshot; scores × 100 of every seed on the rows that are reported."""
    train, dev = asked.files["train"], asked.files["dev"]
    assert train is not None
    whole, done, begun = len(asked.snapshots), [], time.perf_counter()
    say(f"{asked.name}: {whole} snapshots × {asked.seeds} seeds of fine-tuning")
    for at, n in enumerate(asked.snapshots, 1):
        snapshot = body.snapshots[n]
        model = asked.out / "models" / f"step-{snapshot.step:08d}"
        _write(body, snapshot, model)
        run = finetune(
            asked.task, model=model, train=train, dev=dev, test=asked.files["test"],
            out=asked.out / asked.name / f"step-{snapshot.step:08d}", training=asked.training, seeds=asked.seeds,
            watch=lambda event: watch(event) if event["event"] == "step" else None,
        )  # fmt: skip
        found = run.evaluations()["finetune"]
        metric, part = found["metric"], next(reversed(found["scores"]))
        done.append({"snapshot": n, **found["scores"][part][metric]})
        shutil.rmtree(model)
        shutil.rmtree(run.folder / "model", ignore_errors=True)
        left = (time.perf_counter() - begun) / at * (whole - at)
        say(
            f"{asked.name} at step {snapshot.step:,}: {metric} {done[-1]['median']:.1f}"
            + (f"; about {show_seconds(left)} left" if at < whole else "")
        )
    return {
        "name": asked.name,
        "metric": metric,
        "part": part,
        "rows": found["rows"],
        "majority": found["majority"][metric],
        "seeds": asked.seeds,
        "steps": found["steps"],
        "scores": done,
    }


def _write(body: Body, snapshot: Snapshot, folder: Path) -> None:
    """A snapshot as a model folder."""
    network = body.recipe.network(body.shape, body.source.tokenizer.vocab)
    network.load_state_dict(snapshot.weights())
    save_pretrained(folder, body.recipe.FAMILY, network, body.shape, body.source.tokenizer, heads="tokens")

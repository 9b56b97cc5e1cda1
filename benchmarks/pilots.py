"""Which learning rate each start of the quickstart's tasks takes: pilot runs, judged on development rows alone.

    python -m benchmarks.pilots --language zh --folder runs/quickstart-zh

Takes the body of a finished quickstart and its labels, written anew aside. For each task, start and rate of one grid it
fine-tunes with seeds that the quickstart never uses and prints the dev scores; test rows are not opened. `--quick`
tries one task with two rates and few steps. The last line is a JSON object with every score.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

GRID = (5e-4, 1e-3, 2e-3, 4e-3)
PILOT_SEED = 1000  # the quickstart's seeds are 0, 1, 2


def pilot(
    folder: str, job: dict[str, Any], start: str, steps: int, rates: list[float], seeds: int, dropout: float
) -> list[dict[str, Any]]:
    """Dev scores of one task and start over the grid."""
    import torch

    from unmask.jobs.adapt import finetune_one, prepare
    from unmask.jobs.tuned import FineTuning
    from unmask.tasks import TASKS

    torch.set_num_threads(1)
    prepared = prepare(
        TASKS[job["shape"]](**job["columns"]),
        model=Path(folder) / "body",
        train=Path(job["train"]),
        dev=Path(job["dev"]),
        test=None,
        training=FineTuning(steps=steps),
        from_scratch=start == "scratch",
    )
    found = []
    for rate in rates:
        training = FineTuning(  # two looks, as the quickstart has
            steps=steps, learning_rate=rate, dropout=dropout, evaluate_every=-(-steps // 2)
        )
        trial = replace(prepared, training=training)
        for seed in range(PILOT_SEED, PILOT_SEED + seeds):
            began = time.perf_counter()
            result = finetune_one(trial, seed, None, lambda event: None)
            score = result["dev"][prepared.task.leading(prepared.labels)]
            took = time.perf_counter() - began
            found.append(
                {
                    "task": job["name"],
                    "start": start,
                    "rate": rate,
                    "seed": seed,
                    "dev": score,
                    "seconds": took,
                }
            )
            print(
                f"{job['name']:10s} {start:10s} rate {rate:g} steps {steps} dropout {dropout:g} seed {seed} "
                f"dev {score:5.1f}  {took:4.0f} s",
                file=sys.stderr,
                flush=True,
            )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--language", choices=("zh", "en"), default="zh")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--tasks", nargs="*")
    parser.add_argument("--rates", nargs="*", type=float, default=list(GRID))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    from unmask.quickstart import LANGUAGES, PLANS, STARTS, Plan, job_of
    from unmask.run import read_json

    folder = given.folder or Path("runs") / f"quickstart-{given.language}"
    plans, rates = PLANS[given.language], given.rates
    chosen = given.tasks or list(plans)
    if given.quick:
        chosen, rates, given.steps = chosen[:1], rates[:2], 20
    jobs: dict[str, dict[str, Any]] = {}
    seed = read_json(folder / "run.json")["settings"]["seed"]  # by which the labels left the body's text
    for files in LANGUAGES[given.language].write_tasks(folder / "pilots", seed):
        if files.name in chosen:
            job = job_of(files, plans.get(files.name, Plan(150, 1e-3, 1e-3)))
            jobs[files.name] = {
                "name": job.name,
                "shape": job.shape,
                "columns": job.columns,
                "train": str(job.train),
                "dev": str(job.dev),
                "steps": job.plan.steps,
            }
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        waiting = [
            pool.submit(
                pilot,
                str(folder),
                jobs[name],
                start,
                given.steps or jobs[name]["steps"],
                rates,
                given.seeds,
                given.dropout,
            )
            for name in chosen
            for start in STARTS
        ]
        found = [row for future in waiting for row in future.result()]
    print(json.dumps(found))


if __name__ == "__main__":
    main()

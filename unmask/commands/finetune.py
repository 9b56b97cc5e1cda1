"""``unmask finetune TASK``: a pre-trained model and labelled rows become a run folder with a fine-tuned model.

One sub-command a task, made from ``TASKS``: its fields are its options. The Python API is
``unmask.finetune(task, model=..., train=..., out=..., training=FineTuning(...))``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from unmask.commands.flags import Fields, expand
from unmask.commands.like import past_settings
from unmask.commands.pretrain import Changed
from unmask.commands.watch import Watch

HELP = "Adapt a model to a task: classify, tag, pair or answer."
TRAIN = {"classify": "reviews.tsv", "tag": "words.conll", "pair": "pairs.tsv", "answer": "questions.json"}


def make(words: Sequence[str]) -> App:
    """The verb with a sub-command a task; with ``--like``, another run's settings are the defaults."""
    from unmask.jobs.tuned import FineTuning
    from unmask.tasks import TASKS

    app = App(name="finetune", help=HELP)
    for name, task in TASKS.items():
        past = past_settings(words, "finetune", name, TASKS)
        given = {
            "task": Fields(task, f"The task: {name}", past, order=2),
            "training": Fields(FineTuning, "Training", past, order=3),
        }
        lines = (task.__doc__ or name).strip().splitlines()
        example = f"unmask finetune {name} --model runs/bert --train {TRAIN[name]} --out runs/{name}"
        text = f"{lines[0]}\n\nExample: {example}"
        app.command(expand(_verb(name), given, past), name=name, help=text)
    return app


def _verb(name: str) -> Any:
    where = Path(f"runs/{name}")

    def finetune(
        model: Annotated[Path, Parameter(help="a pre-training run, or a model folder")],
        train: Annotated[Path, Parameter(help="labelled rows")],
        *,
        dev: Annotated[
            Path | None, Parameter(help="rows to choose by; held out of the training rows if not given")
        ] = None,
        test: Annotated[Path | None, Parameter(help="rows to score at the end, and never before")] = None,
        out: Annotated[Path, Parameter(help="the run folder")] = where,
        seeds: Annotated[int, Parameter(help="how many times, with other draws")] = 3,
        from_scratch: Annotated[
            bool, Parameter(help="a fresh body of the same shape instead: the control", negative="")
        ] = False,
        allow_changed: Changed = (),
        like: Annotated[Path | None, Parameter(help="a run whose settings are the defaults here")] = None,
        task: Any,
        training: Any,
    ) -> None:
        from unmask.jobs.finetune import finetune as job

        with Watch() as watch:
            run = job(
                task,
                model=model,
                train=train,
                dev=dev,
                test=test,
                out=out,
                training=training,
                seeds=seeds,
                from_scratch=from_scratch,
                allow_changed=allow_changed,
                watch=watch,
            )
            asked = test or "FILE"
            watch.say(
                f"{run.folder} is finished; try: unmask evaluate {run.folder} {asked}, unmask predict {run.folder}"
                + (f", unmask report {model} {run.folder}" if (model / "run.json").is_file() else "")
            )

    return finetune

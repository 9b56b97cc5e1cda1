"""``unmask why``: why a task goes better, or worse, from a pre-trained body.

``unmask why RUN --task SUITE:NAME --data DIR`` takes a task of a suite; ``unmask why KIND RUN --train FILE`` one of the
four shapes of task with files of its own, whose columns are options as in ``unmask finetune KIND``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from unmask.commands.flags import Fields, expand
from unmask.commands.watch import Watch

HELP = """Why a task goes better, or worse, from a pre-trained body: four starts at equal updates.

Pre-trained, from scratch, the frozen body with its head alone, the embeddings alone; each at its own best rate of a
grid, over seeds. With --rows the score against the number of labelled rows; curves, and the way through the weights.

Example: unmask why runs/body --task glue:SST-2 --data glue_data --steps 300 --rows 200,2000,all
Example: unmask why classify runs/body --train reviews.tsv --text review --label stars
"""
Body = Annotated[Path, Parameter(help="a pre-training run, or a model folder")]
Out = Annotated[
    Path | None, Parameter(help="where the trainings go, and are found again; runs/why-NAME if not given")
]
Name = Annotated[str | None, Parameter(help="of the evaluation: RUN/evaluation/why.NAME.json")]


def make(words: Sequence[str]) -> App:
    """The verb: a task of a suite, or a sub-command a kind of task."""
    from unmask.tasks import TASKS
    from unmask.yardstick.why.study import Study

    app = App(name="why", help=HELP)
    study = Fields(Study, "Study", order=3)
    app.default(expand(of_suite, {"study": study}))
    for name, task in TASKS.items():
        given = {"task": Fields(task, f"The task: {name}", order=2), "study": study}
        lines = (task.__doc__ or name).strip().splitlines()
        text = f"Why, for rows of your own. {lines[0]}"
        app.command(expand(_of_files(name), given), name=name, help=text)
    return app


def of_suite(
    run: Body,
    /,
    *,
    task: Annotated[str, Parameter(help="SUITE:NAME, of a suite that ships or of a .toml file")],
    data: Annotated[Path, Parameter(help="the folder with the suite's files")],
    out: Out = None,
    study: Any,
) -> None:
    from unmask.yardstick.why.suite import of_suite as rows

    with Watch() as watch:
        name, shape, files, reported = rows(task, data, out)
        for note in reported:
            watch.say(note)
        _why(watch, shape, run, files, out or Path(f"runs/why-{name}"), name, study)


def _of_files(kind: str) -> Any:
    def why(
        run: Body,
        /,
        *,
        train: Annotated[Path, Parameter(help="labelled rows")],
        dev: Annotated[
            Path | None,
            Parameter(help="rows that choose the rates; held out of the training rows if not given"),
        ] = None,
        test: Annotated[
            Path | None, Parameter(help="rows that are reported; half of dev if not given")
        ] = None,
        out: Out = None,
        name: Name = None,
        task: Any,
        study: Any,
    ) -> None:
        called = name or train.name.split(".")[0] or kind
        files = {"train": train, "dev": dev, "test": test}
        with Watch() as watch:
            _why(watch, task, run, files, out or Path(f"runs/why-{called}"), called, study)

    return why


def _why(
    watch: Watch, task: Any, run: Path, files: dict[str, Path | None], out: Path, name: str, study: Any
) -> None:
    from unmask.yardstick.why.job import why as job
    from unmask.yardstick.why.words import table

    assert files["train"] is not None
    result = job(
        task,
        model=run,
        train=files["train"],
        dev=files["dev"],
        test=files["test"],
        out=out,
        name=name,
        study=study,
        watch=watch,
    )
    watch.close()
    sys.stdout.write(table(result))
    if (run / "run.json").is_file():
        watch.say(f"as a page: unmask report {run}")

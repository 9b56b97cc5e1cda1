"""``unmask glue``, ``unmask superglue``, ``unmask suite``: what a body is worth on a benchmark, beside from scratch."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from unmask.commands.flags import Fields, expand
from unmask.commands.watch import Watch

Body = Annotated[Path, Parameter(help="a pre-training run, or a model folder")]
Data = Annotated[Path, Parameter(help="the folder with the tasks' files")]
Out = Annotated[Path | None, Parameter(help="where the fine-tunings go; RUN/yardstick/… if not given")]
Send = Annotated[
    Path | None, Parameter(help="write the files that the benchmark's server takes to this folder")
]
Layout = Annotated[
    str | None,
    Parameter(help="a suite that ships, or a .toml file; by default the one whose files are there"),
]


def verbs() -> dict[str, Callable[..., Any]]:
    """The three verbs, with the fields of a setting as their options."""
    from unmask.yardstick.setting import Setting

    given = {"setting": Fields(Setting, "Setting", order=2)}
    return {
        name: expand(verb, given)
        for name, verb in (("glue", glue), ("superglue", superglue), ("suite", suite))
    }


def glue(
    run: Body,
    /,
    *,
    data: Data,
    out: Out = None,
    submission: Send = None,
    layout: Layout = None,
    setting: Any,
) -> None:
    """GLUE: nine tasks, pre-trained beside from scratch, with what the difference is worth.

    Example: unmask glue runs/body --data glue_data --tasks CoLA,RTE --seeds 3
    """
    _run(layout or _laid(data, "glue"), run, data, out, submission, setting, "glue")


def superglue(
    run: Body,
    /,
    *,
    data: Data,
    out: Out = None,
    submission: Send = None,
    layout: Layout = None,
    setting: Any,
) -> None:
    """SuperGLUE: eight tasks, pre-trained beside from scratch, with what the difference is worth.

    Example: unmask superglue runs/body --data superglue_data --tasks BoolQ,WiC
    """
    _run(layout or _laid(data, "superglue"), run, data, out, submission, setting, "superglue")


def suite(
    suite: Annotated[str, Parameter(help="a suite that ships (chinese), or a .toml file")],
    run: Body,
    /,
    *,
    data: Data,
    out: Out = None,
    submission: Send = None,
    setting: Any,
) -> None:
    """A suite of tasks, your own among them: pre-trained beside from scratch, with what the difference is worth.

    Example: unmask suite mine.toml runs/body --data rows
    """
    _run(suite, run, data, out, submission, setting, None)


def _laid(data: Path, name: str) -> str:
    """The shipped suite of this benchmark most of whose tasks, and then of whose training files, are in the folder."""
    from unmask.yardstick.suites import absent, load_suite

    def held(one: str) -> tuple[int, int]:
        there = [task for task in load_suite(one).counted if not absent(data, task)]
        return len(there), sum(len(task.train.names) for task in there if task.train)

    return max((name, f"{name}-data"), key=held)  # of equals the first: as distributed


def _run(
    suite: str,
    run: Path,
    data: Path,
    out: Path | None,
    submission: Path | None,
    setting: Any,
    name: str | None,
) -> None:
    from unmask.yardstick.runner import run_suite
    from unmask.yardstick.table import table

    with Watch() as watch:
        found = run_suite(
            suite, run, data=data, out=out, setting=setting, submission=submission, name=name, watch=watch
        )
        watch.close()
        sys.stdout.write(table(found) + "\n")
        if (run / "run.json").is_file():
            watch.say(f"as a page: unmask report {run}")

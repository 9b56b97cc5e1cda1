"""A task of a suite as the files of a study: its rows checked, dev divided, written as fine-tuning reads them."""

from __future__ import annotations

from pathlib import Path

from unmask.errors import UnmaskError
from unmask.tasks import Task
from unmask.yardstick.runner import prepare, slug, task_of
from unmask.yardstick.setting import Setting
from unmask.yardstick.suites import absent, chosen, load_suite


def of_suite(
    named: str, data: Path, out: Path | None
) -> tuple[str, Task, dict[str, Path | None], tuple[str, ...]]:
    """Name, task, files ("train", "dev", "test") and notes of "SUITE:TASK".

    The suite divides dev where it names no rows to report on. Raises `UnmaskError` for an unknown suite or task,
    and for whatever is wrong with the files.
    """
    suite_name, _, task_name = named.rpartition(":")
    if not suite_name or not task_name:
        raise UnmaskError(
            f'task is "{named}" — a suite and one of its tasks were expected, such as glue:RTE or mine.toml:stars — '
            "name both"
        )
    suite = load_suite(suite_name)
    (task,) = chosen(suite, task_name)
    if task.uses is not None:
        raise UnmaskError(
            f"{suite.name}:{task.name} has no training of its own — one that is trained was expected — name {task.uses}"
        )
    lacking = absent(data, task)
    if lacking:
        raise UnmaskError(
            f"{data} lacks {', '.join(lacking)} — the files of {task.name} were expected — check --data, or name a "
            "suite of another layout"
        )
    name = f"{slug(suite.name)}-{slug(task.name)}"
    ready = prepare(task, data, out or Path(f"runs/why-{name}"), Setting())
    reports = sorted(key for key in ready.files if key.startswith("report-"))
    notes = [*ready.train.notes]
    if len(reports) > 1:
        notes.append(f"{task.name} has {len(reports)} parts to report on: {ready.report[0].name} is taken")
    if not task.report:
        notes.append("one half of dev chooses the rates, the other is reported")
    files: dict[str, Path | None] = {
        "train": ready.files["train"],
        "dev": ready.files["select"],
        "test": ready.files["report-0"],
    }
    return name, task_of(task), files, tuple(notes)

"""A study from files to a reading: what it costs is said first, cells are trained, rates chosen, ways walked.

Each cell is a folder and a finished one is never trained again, so a study that was stopped goes on where it was, and
one that was finished can be given more seeds, rates or numbers of rows. Rates are chosen on dev alone; the rows that
are reported are read once, by the cells of the chosen rates.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from unmask.errors import UnmaskError
from unmask.settings import to_json
from unmask.tasks import Task
from unmask.yardstick.why.crew import bench_of, words_of
from unmask.yardstick.why.study import Study

Json = dict[str, Any]
Watch = Callable[[Json], None]
MORE = (
    "rows",
    "seeds",
    "rates",
    "head_rates",
    "tune",
    "surface",
    "plane",
    "workers",
)  # may differ from before


def why(
    task: Task,
    *,
    model: Path,
    train: Path,
    dev: Path | None = None,
    test: Path | None = None,
    out: Path,
    name: str,
    study: Study | None = None,
    watch: Watch | None = None,
) -> Json:
    """Compare the four starts on a task and write evaluation/why.NAME.json of the run `model` (and `out`/why.json).

    Scores × 100. Without `test`, half of dev is reported and the other half chooses; without `dev` too, a tenth of
    `train` is halved so. Raises `UnmaskError`, before any training, for whatever is wrong with files or settings.
    """
    from unmask.jobs.finetune import fingerprints, ledger_of
    from unmask.run import Run, write_json
    from unmask.yardstick.why.work import Work

    study, watch = study or Study(), watch or (lambda event: None)
    files: dict[str, Path | None] = {"model": model, "train": train, "dev": dev, "test": test}
    words = words_of(task, study, files, out)
    bench = bench_of(words)
    p = bench.p
    sizes = study.sizes(len(p.parts["train"].examples))
    for text in (*p.notes, *ledger_of(p).lines()):
        watch({"event": "say", "text": text})
    about = {
        "task": task.NAME,
        **to_json(task),
        "study": to_json(study),
        "files": words["files"],
        "name": name,
    }
    folder = Run.create(
        out, verb="why", settings=about, allow=tuple(f"study.{field}" for field in MORE),
        call=call_of(task, files, out, name, study),
        task=task.NAME,
    )  # fmt: skip
    prints = fingerprints(p, {"train": train, "dev": dev, "test": test})
    if folder.about.get("files", prints) != prints:
        raise UnmaskError(
            f"{out} holds trainings on other files or another model — the same were expected — give another --out"
        )
    folder.note(files=prints, settings=about)
    started = time.perf_counter()
    result = Work(bench, words, sizes, watch).all(name)
    result["seconds"] = time.perf_counter() - started
    write_json(out / "why.json", result)
    folder.save_evaluation(f"why.{name}", result)
    if (Path(model) / "run.json").is_file():
        Run.open(model).save_evaluation(f"why.{name}", result)
    folder.finish()
    return result


def call_of(task: Task, files: dict[str, Path | None], out: Path, name: str, study: Study) -> str:
    """The Python call that repeats the study."""
    given = ", ".join(f"{k}={str(v)!r}" for k, v in {**files, "out": out}.items() if v is not None)
    return f"unmask.yardstick.why.job.why({task!r}, {given}, name={name!r}, study={study!r})"

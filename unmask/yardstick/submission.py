"""The files that a benchmark's server takes: names, headers, indices and label strings exactly, one row a test row.

GLUE: NAME.tsv with `index<TAB>prediction`; SuperGLUE: NAME.jsonl with {"idx", "label"} a line, MultiRC nested. A server
refuses an archive in which a file is missing, so a task without a model gets a file of one constant answer, and the
result says which those are; an absent test file gives no file at all, for its rows are not known, and no archive then.
Formats after the benchmarks' own baselines.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unmask.errors import UnmaskError
from unmask.jobs.crew import Event
from unmask.settings import from_json
from unmask.tasks import TASKS, Task
from unmask.yardstick.cells import Cell, answers, run_cells
from unmask.yardstick.rows import Rows, read_part
from unmask.yardstick.split import write
from unmask.yardstick.suites import Submission, Suite, SuiteTask, found

if TYPE_CHECKING:
    from unmask.yardstick.runner import Ready

Json = dict[str, Any]


def submit(
    suite: Suite,
    ready: dict[str, Ready],
    data: Path,
    folder: Path,
    *,
    best_cell: Callable[[Ready], Cell],
    say: Callable[[Event], None],
) -> Json:
    """Write the files for every test part that is there, and the archive if none is missing.

    best_cell: the cell of a task whose model answers (kept, so that it is trained again if it was dropped).
    """
    folder.mkdir(parents=True, exist_ok=True)
    made: list[str] = []
    constant: list[str] = []
    lacking: list[str] = []
    models: dict[str, tuple[Any, Task]] = {}
    for task in suite.task:
        for one in task.submission:
            part = task.test[one.part]
            if found(data, part) is None:
                lacking.append(one.file)
                continue
            rows = read_part(task, part, data, labelled=False)
            source = ready.get(task.uses or task.name)
            if source is None:
                constant.append(one.file)
                said = [default(task)] * len(rows)
            else:
                name = source.task.name
                if name not in models:
                    models[name] = model_of(best_cell(source), say)
                tuned, asked = models[name]
                said = ask(task, rows, folder / f".{one.file}", tuned, asked, source.task)
            (folder / one.file).write_text(text_of(task, one, rows, said), encoding="utf-8")
            made.append(one.file)
    archive = None
    if suite.zip and made and not lacking:
        archive = folder / suite.zip
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
            for name in made:
                packed.write(folder / name, name)
    say({"event": "say", "text": told(folder, made, constant, lacking, archive)})
    return {
        "folder": str(folder),
        "files": made,
        "constant": constant,
        "lacking": lacking,
        "archive": archive.name if archive else None,
    }


def told(
    folder: Path, made: Sequence[str], constant: Sequence[str], lacking: Sequence[str], archive: Path | None
) -> str:
    words = [f"{folder}: {len(made)} files for the server"]
    if constant:
        words.append(f"{', '.join(constant)} hold one constant answer (no model of the task)")
    if lacking:
        words.append(
            f"{', '.join(lacking)} could not be made (no test file), so there is no archive: it would be refused"
        )
    return "; ".join([*words, *([f"all of them in {archive.name}"] if archive else [])])


def model_of(cell: Cell, say: Callable[[Event], None]) -> tuple[Any, Task]:
    """The model that answers, and its task."""
    from unmask.jobs.predict import Tuned

    run_cells([cell], 1, say)
    return Tuned(cell.folder), from_json(TASKS[cell.task], cell.settings, f"the task of {cell.name}")


def ask(task: SuiteTask, rows: Rows, path: Path, tuned: Any, asked: Task, source: SuiteTask) -> list[Any]:
    """What the model answers for each test row."""
    path = write(task, rows, path)
    try:
        examples = asked.read(path, labelled=False)
    finally:
        path.unlink(missing_ok=True)
    if len(examples) != len(rows):
        raise UnmaskError(
            f"{rows.where}: {len(examples)} of {len(rows)} rows could be read — all were expected"
        )
    return answers(tuned.say(examples), source.positive if task.reader == "record" else None)


def default(task: SuiteTask) -> Any:
    """The constant answer of a task without a model."""
    if task.kind == "score":
        return 0.0 if task.low is None else task.low
    first = task.labels[0] if task.labels else "0"
    return [first, 0.5] if task.reader == "record" else first


# -- the text of a file ----------------------------------------------------------------------------------------------


def text_of(task: SuiteTask, one: Submission, rows: Rows, said: Sequence[Any]) -> str:
    """The whole file."""
    if task.reader == "multirc":
        return "".join(json.dumps(line) + "\n" for line in nested(rows, said))
    if task.reader == "record":
        return "".join(
            json.dumps({"idx": i, "label": e}, ensure_ascii=False) + "\n" for i, e in entities(rows, said)
        )
    pairs = [(item.index, shown(task, one, x)) for item, x in zip(rows.items, said, strict=True)]
    if one.form == "jsonl":
        return "".join(json.dumps({"idx": i, "label": x}, ensure_ascii=False) + "\n" for i, x in pairs)
    return "index\tprediction\n" + "".join(f"{i}\t{x}\n" for i, x in pairs)


def shown(task: SuiteTask, one: Submission, said: Any) -> Any:
    """An answer as the server wants it: clipped scores, its own spelling of labels, whole numbers where it says so."""
    if task.kind == "score":
        low, high = task.bounds
        return f"{min(max(float(said), low), high):.3f}"
    label = one.labels.get(str(said), str(said))
    return int(label) if one.whole else label


def nested(rows: Rows, said: Sequence[Any]) -> list[Json]:
    """MultiRC: passages, their questions, their answers."""
    passages: dict[int, dict[int, list[Json]]] = {}
    for item, label in zip(rows.items, said, strict=True):
        p, q, a = item.index
        passages.setdefault(p, {}).setdefault(q, []).append({"idx": a, "label": int(label)})
    return [
        {"idx": p, "passage": {"questions": [{"idx": q, "answers": found} for q, found in questions.items()]}}
        for p, questions in passages.items()
    ]


def entities(rows: Rows, said: Sequence[Any]) -> list[tuple[Any, str]]:
    """ReCoRD: the most probable entity of each query."""
    best: dict[Any, tuple[float, str]] = {}
    for item, (_, share) in zip(rows.items, said, strict=True):
        if item.index not in best or share > best[item.index][0]:
            best[item.index] = (share, item.about[0])
    return [(index, name) for index, (_, name) in best.items()]

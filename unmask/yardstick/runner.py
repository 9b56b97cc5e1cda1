"""A suite on a body: every task fine-tuned from it and from scratch, chosen, scored, compared, written down.

Everything is read and checked before the first update: files, row counts, labels, the model. What is made lies under
`out`: data/ (the rows as the fine-tunings read them), cells/TASK/START/… (a fine-tuning each, finished ones are not
repeated), and NAME.json, which also goes to RUN/evaluation for the page.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from unmask.errors import UnmaskError, nearest
from unmask.jobs.crew import Event
from unmask.jobs.tuned import FineTuning
from unmask.run import read_json, write_json
from unmask.settings import to_json
from unmask.tasks import Answer, Classify, Pair, Tag, Task
from unmask.yardstick.cells import Cell, digest, predictions, run_cells
from unmask.yardstick.rows import Rows, read_part
from unmask.yardstick.score import STARTS, Arm, means, task_json, value_of, verdicts
from unmask.yardstick.setting import HEADS, Point, Setting
from unmask.yardstick.split import SEED, halves, limited, write
from unmask.yardstick.suites import Suite, SuiteTask, absent, chosen, load_suite

Json = dict[str, Any]
Say = Callable[[Event], None]
HEADED = ("classify", "pair", "score")  # kinds of task with several heads
NEVER = 10**9  # steps between looks at dev where only the last weights count

Name = TypeVar("Name")


@dataclass(frozen=True)
class Ready:
    """A task whose rows have been read, checked, divided and written."""

    task: SuiteTask
    train: Rows
    select: tuple[Rows, ...]
    report: tuple[Rows, ...]
    files: dict[str, Path]  # train, select (all its parts together), select-N, report-N

    @property
    def parts(self) -> dict[str, Path]:
        return {name: path for name, path in self.files.items() if name.startswith(("select-", "report-"))}


def run_suite(
    suite: str | Path | Suite,
    run: Path | str,
    *,
    data: Path | str,
    out: Path | str | None = None,
    setting: Setting | None = None,
    submission: Path | str | None = None,
    name: str | None = None,
    watch: Say | None = None,
) -> Json:
    """Fine-tune a body on the tasks of a suite and write NAME.json: values × 100, intervals, verdicts.

    suite: one that ships ("glue", "superglue", "chinese", …) or a TOML file. out: RUN/yardstick/NAME by default.
    name: of the JSON; "glue" and "superglue" for these two, suite.… by default.
    submission: a folder for the files of the benchmark's server. Raises `UnmaskError`, before any training, for
    whatever is wrong with files, labels, model or settings.
    """
    suite = suite if isinstance(suite, Suite) else load_suite(suite)
    setting, say = setting or Setting(), watch or (lambda event: None)
    run, data = Path(run), Path(data)
    name = name or f"suite.{slug(suite.name)}"
    out = Path(out) if out is not None else run / "yardstick" / name.removeprefix("suite.")
    tasks, missing = present(suite, setting, data)
    from unmask.jobs.source import open_source

    source = open_source(run)
    for task in missing:
        if task["files"]:
            say(
                {
                    "event": "say",
                    "text": f"{task['name']} is left out: {', '.join(task['files'])} not in {data}",
                }
            )
    ready = [prepare(task, data, out, setting) for task in tasks if task.uses is None]
    keep_to(out, suite, setting, run, ready)
    for r in ready:
        for note in (*r.train.notes, *(n for rows in (*r.select, *r.report) for n in rows.notes)):
            say({"event": "say", "text": f"{r.task.name}: {note}"})
    workers = how_many(setting, source.loaded.shape)
    starts = STARTS if setting.from_scratch else STARTS[:1]
    grids = {
        r.task.name: setting.grid(source.loaded.shape, len(r.train), heads=r.task.kind in HEADED)
        for r in ready
    }
    say({"event": "say", "text": cost(grids, len(starts), setting)})

    def cell(r: Ready, start: str, point: Point, seed: int, keep: bool = False) -> Cell:
        return make_cell(r, start, point, seed, model=source.folder, out=out, setting=setting, keep=keep)

    keep = setting.keep_models
    tried = [cell(r, s, point, 0, keep) for r in ready for s in starts for point in grids[r.task.name]]
    run_cells(tried, workers, say)
    best = {
        (r.task.name, start): best_of(r, {point: cell(r, start, point, 0) for point in grids[r.task.name]})
        for r in ready
        for start in starts
    }
    rest = [
        cell(r, start, best[r.task.name, start], seed, keep)
        for seed in range(1, setting.seeds)
        for r in ready
        for start in starts
    ]
    run_cells(rest, workers, say)
    results = []
    for r in ready:
        arms = {}
        for start in starts:
            point = best[r.task.name, start]
            cells = [cell(r, start, point, seed) for seed in range(setting.seeds)]
            arms[start] = arm(r, cells, point, len(grids[r.task.name]), setting)
        results.append(task_json(r.task, arms, r.train, r.report, sum(map(len, r.select))))
    verdicts(results)
    found: Json = {
        "suite": suite.name,
        "about": suite.about,
        "published": suite.published,
        "model": str(run),
        "shape": to_json(source.loaded.shape),
        "family": source.loaded.family,
        "protocol": protocol(setting),
        "setting": to_json(setting),
        "split_seed": SEED,
        "tasks": results,
        "missing": missing,
        "means": means(suite, results, [t["name"] for t in missing]),
    }

    def answering(r: Ready) -> Cell:
        point = best[r.task.name, "pretrained"]
        cells = [cell(r, "pretrained", point, seed) for seed in range(setting.seeds)]
        return replace(cells[best_of(r, dict(enumerate(cells)))], keep=True)

    if submission is not None:
        from unmask.yardstick.submission import submit

        by_name = {r.task.name: r for r in ready}
        found["submission"] = submit(suite, by_name, data, Path(submission), best_cell=answering, say=say)
    save(found, run, out, name)
    say({"event": "say", "text": f"{out / f'{name}.json'} is written"})
    return found


def slug(name: str) -> str:
    """A suite's name as that of a file."""
    return "".join(c if c.isalnum() or c == "-" else "-" for c in name.lower())


def present(suite: Suite, setting: Setting, data: Path) -> tuple[list[SuiteTask], list[Json]]:
    """The tasks whose files are there, and those left out. Raises where none is, or one that was named is not."""
    if not data.is_dir():
        beside = [p.name for p in data.parent.iterdir()] if data.parent.is_dir() else []
        raise UnmaskError(
            f"{data} is no folder — the folder of {suite.name}'s files was expected — say where they are with --data."
            + nearest(data.name, beside)
        )
    wanted = chosen(suite, setting.tasks)
    held: list[SuiteTask] = []
    missing: list[Json] = []
    for task in wanted:
        lacking = absent(data, task)
        if lacking and setting.tasks and task.uses is None:
            raise UnmaskError(
                f"{task.name}: {', '.join(lacking)} not in {data} — its files were expected — fetch them"
            )
        if lacking:
            missing.append({"name": task.name, "files": lacking})
        else:
            held.append(task)
    if setting.tasks:
        named = {t.name for t in wanted}
        missing += [{"name": t.name, "files": []} for t in suite.task if t.name not in named]
    if held and all(task.uses for task in held):
        raise UnmaskError(
            f"{held[0].name} has no training of its own — name {held[0].uses} too, whose model is asked"
        )
    if not held:
        raise UnmaskError(
            f"{data} holds no task of {suite.name} — expected files such as {missing[0]['files'][0]} — is this the "
            "right folder, or is it laid out as another suite is?"
        )
    return held, missing


def prepare(task: SuiteTask, data: Path, out: Path, setting: Setting) -> Ready:
    """Read, check, divide and write the rows of a task. Raises `UnmaskError` for whatever is wrong with them."""
    assert task.train is not None
    train = limited(read_part(task, task.train, data, labelled=True), setting.limit_train, task.kind)
    dev = [read_part(task, part, data, labelled=True) for part in task.dev]
    held = [read_part(task, part, data, labelled=True) for part in task.report]
    if task.kind in ("classify", "pair"):
        lacking = set(task.labels) - {x.gold for x in train.items}
        if lacking:
            raise UnmaskError(
                f"{train.where}: no row labelled {', '.join(sorted(lacking))} — {task.name} has "
                f"{', '.join(task.labels)} — is the file whole?"
            )
    if setting.published:
        select = report = tuple(dev)
    elif held:
        select, report = tuple(dev), tuple(held)
    else:
        pairs = [halves(rows, task.kind) for rows in dev]
        select, report = tuple(a for a, _ in pairs), tuple(b for _, b in pairs)
    folder = out / "data" / task.name
    files = {
        "train": write(task, train, folder / "train"),
        "select": write(task, together(select), folder / "select"),
    }
    for part, many in (("select", select), ("report", report)):
        for n, rows in enumerate(many):
            files[f"{part}-{n}"] = write(task, rows, folder / f"{part}-{n}")
    return Ready(task, train, select, report, files)


def together(parts: Sequence[Rows]) -> Rows:
    return replace(parts[0], items=tuple(item for rows in parts for item in rows.items))


def keep_to(out: Path, suite: Suite, setting: Setting, run: Path, ready: Sequence[Ready]) -> None:
    """Note what the folder's fine-tunings are made of, or raise `UnmaskError` where it is not the same as before."""
    from unmask.jobs.source import model_folder

    body = model_folder(run)
    now: Json = {
        "suite": suite.name,
        "model": digest(sorted(body.glob("*.safetensors"))),
        "tokenizer": digest(sorted(body.glob("tokenizer.json"))),
        "published": setting.published,
        "limit_train": setting.limit_train,
        "data": {r.task.name: {n: digest([p]) for n, p in r.files.items()} for r in ready},
        "tasks": {r.task.name: {**to_json(task_of(r.task)), "positive": r.task.positive} for r in ready},
    }
    path = out / "suite.json"
    if path.is_file():
        then = read_json(path)
        same = ("suite", "model", "published", "limit_train")
        changed = [key for key in same if then.get(key) != now[key]]
        changed += ["tokenizer"] * (then.get("tokenizer", now["tokenizer"]) != now["tokenizer"])
        for kind, word in (("data", "rows"), ("tasks", "settings")):
            changed += [f"{word} of {t}" for t, d in now[kind].items() if then.get(kind, {}).get(t, d) != d]
        if changed:
            raise UnmaskError(
                f"{out} holds fine-tunings of another {', '.join(changed)} — going on needs the same — "
                "give another --out"
            )
        now |= {kind: {**then.get(kind, {}), **now[kind]} for kind in ("data", "tasks")}
    write_json(path, now)


def make_cell(
    r: Ready,
    start: str,
    point: Point,
    seed: int,
    *,
    model: Path,
    out: Path,
    setting: Setting,
    keep: bool,
) -> Cell:
    """The fine-tuning of one seed at one setting."""
    task = task_of(r.task, point.head)
    training = FineTuning(
        steps=setting.steps, epochs=point.epochs, batch=setting.batch, learning_rate=point.rate, seed=seed, workers=1,
        length=r.task.length or setting.length, precision=setting.precision,
        evaluate_every=NEVER if setting.published else None,
    )  # fmt: skip
    how_long = f"steps-{setting.steps}" if setting.steps is not None else f"epochs-{point.epochs:g}"
    extra = "".join(
        f"_{key}-{value}"
        for key, value in (
            ("batch", None if setting.batch == 32 else setting.batch),
            ("head", point.head),
            ("length", training.length),
            ("precision", setting.precision),
        )
        if value not in (None, "auto")
    )
    place = f"rate-{point.rate:g}_{how_long}{extra}_seed-{seed}"
    return Cell(
        ", ".join([r.task.name, start, f"rate {point.rate:g}", *_named(point), f"seed {seed}"]),
        out / "cells" / r.task.name / start / place,
        model, task.NAME, to_json(task), to_json(training), start == "scratch",
        r.files["train"], r.files["select"], r.parts,
        positive=r.task.positive if r.task.reader == "record" else None, keep=keep,
    )  # fmt: skip


def _named(point: Point) -> list[str]:
    return [] if point.head == HEADS[0] else [f"head {point.head}"]


def task_of(task: SuiteTask, head: str = HEADS[0]) -> Task:
    """The task of `unmask finetune` that reads what `split.write` writes; `head` where it has several."""
    by = task.metrics[0] if task.metrics in (("matthews",), ("macro_f1",)) else "auto"
    if task.kind == "tag":
        return Tag()
    if task.kind == "answer":
        return Answer()
    two = task.text_b is not None or task.reader in ("boolq", "copa", "wic", "multirc", "record")
    if task.kind == "classify" or not two:
        return Classify(text="text_a", regression=task.kind == "score", choose_by=by, head=head)  # type: ignore[arg-type]
    return Pair(regression=task.kind == "score", choose_by=by, head=head)  # type: ignore[arg-type]


def how_many(setting: Setting, shape: Any) -> int:
    """Fine-tunings beside each other: one a core for small bodies without a GPU."""
    import torch

    from unmask.jobs.crew import cores
    from unmask.jobs.finetune import SMALL

    if setting.workers is not None:
        return setting.workers
    small = 12 * shape.layers * shape.width**2 <= SMALL
    return cores() if small and not torch.cuda.is_available() else 1


def cost(grids: dict[str, tuple[Point, ...]], starts: int, setting: Setting) -> str:
    """What is about to be done, in a sentence."""
    search = sum(len(grid) for grid in grids.values()) * starts
    more = len(grids) * starts * (setting.seeds - 1)
    what = "rate, head and epochs" if len(setting.heads_named()) > 1 else "rate and epochs"
    return (
        f"{len(grids)} tasks: {search} fine-tunings to choose {what} by one seed, then {more} of the other "
        f"seeds; {protocol(setting)}"
    )


def protocol(setting: Setting) -> str:
    """How things were chosen and reported, in words."""
    heads = ", head" if len(setting.heads_named()) > 1 else ""
    if setting.published:
        words = "the published protocol: the last weights, chosen and reported on the same whole dev set"
    else:
        words = (
            f"rate, epochs{heads} and checkpoint chosen on one half of dev, reported on the other (drawn by label, "
            f"seed {SEED}); where the suite names rows to report on, those"
        )
    limits = [f"at most {setting.limit_train:,} training rows a task"] if setting.limit_train else []
    limits += [f"{setting.steps:,} updates a fine-tuning"] if setting.steps else []
    return "; ".join([words, *limits])


def select_value(r: Ready, said: dict[str, list[Any]]) -> float:
    """A cell's value on the rows that choose."""
    return value_of(r.task, r.select, [said[f"select-{n}"] for n in range(len(r.select))]).value


def best_of(r: Ready, cells: Mapping[Name, Cell]) -> Name:
    """What the cell that is best on the rows that choose is called; of equals the first."""
    return max(cells, key=lambda name: select_value(r, predictions(cells[name])))


def arm(r: Ready, cells: Sequence[Cell], point: Point, tried: int, setting: Setting) -> Arm:
    said = [predictions(c) for c in cells]
    stored = [json.loads((c.folder / "evaluation/finetune.json").read_text(encoding="utf-8")) for c in cells]
    return Arm(
        rate=point.rate,
        epochs=None if setting.steps is not None else point.epochs,
        head=point.head,
        tried=tried,
        seeds=tuple(range(len(cells))),
        said=tuple(tuple(x[f"report-{n}"] for n in range(len(r.report))) for x in said),
        select=tuple(100 * select_value(r, x) for x in said),
        seconds=tuple(float(x["seconds"][0]) for x in stored),
        steps=int(stored[0]["steps"]),
    )


def save(found: Json, run: Path, out: Path, name: str) -> None:
    """To out/NAME.json, and where `run` is a run folder to its evaluations, which the page shows."""
    write_json(out / f"{name}.json", found)
    if (run / "run.json").is_file():
        from unmask.run import Run

        Run.open(run).save_evaluation(name, found)

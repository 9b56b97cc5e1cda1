"""The main job from end to end, in the order of the lecture: text, blanks, four small tools, and what it was worth.

A model reads raw text and learns to fill blanks. Then it is adapted four times with a few labelled rows, and each time
the same model with fresh weights gets the same head, rows and steps: the difference is what the reading was worth.
The verbs are called as a user would call them; every folder it leaves can be looked at, repeated and reported alone.

What is fixed here was fixed on development rows, in the pilot runs that docs/log.md records; test rows are read once.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unmask.data import TaskFiles, chinese, english
from unmask.errors import UnmaskError
from unmask.settings import show_seconds

STARTS = ("scratch", "pretrained")
SEEDS = 3
LANGUAGES = {"zh": chinese, "en": english}
TOKENIZERS = {"zh": "characters", "en": "wordpiece"}


@dataclass(frozen=True)
class Plan:
    """How one task is adapted: the same rows and steps for both starts, and for each the rate that dev chose."""

    steps: int
    scratch: float  # learning rates
    pretrained: float
    head: str | None = None  # where not the task's own choice


PLANS: dict[str, dict[str, Plan]] = {
    "zh": {
        "blank": Plan(150, 1e-3, 1e-3, head="mask"),
        "tag": Plan(120, 4e-3, 2e-3),
        "pair": Plan(150, 1e-3, 5e-4),
        "answer": Plan(100, 1e-3, 2e-3),
    },
    "en": {
        "blank": Plan(150, 1e-3, 1e-3, head="mask"),
        "tag": Plan(120, 2e-3, 2e-3),
        "pair": Plan(200, 1e-3, 1e-3),
        "answer": Plan(120, 1e-3, 2e-3),
    },
}
OWN = Plan(200, 1e-3, 1e-3)  # for a user's own rows: all of them, at the rates that won most often above


@dataclass(frozen=True)
class Job:
    """One labelled set to adapt to."""

    name: str
    shape: str
    train: Path
    dev: Path | None
    test: Path | None
    columns: dict[str, str]  # and other settings of the task, by field
    plan: Plan


def quickstart(
    *,
    language: str = "en",
    out: str | Path | None = None,
    budget: float = 300.0,
    steps: int | None = None,
    seed: int = 0,
    text: Sequence[str] | None = None,
    classify: str | Path | None = None,
    tag: str | Path | None = None,
    pair: str | Path | None = None,
    answer: str | Path | None = None,
    watch: Callable[[dict[str, Any]], None] = lambda event: None,
) -> str:
    """Do all of it and return the last screen. `steps` of pre-training in place of `budget` seconds make it exact.

    With `text` (any format of the readers) it runs on the user's own text and labelled files; shapes without a file are
    skipped, and said so. Raises UnmaskError before any training for whatever is wrong with the input.
    """
    from unmask.jobs.pretrain import pretrain
    from unmask.recipes.modern import Modern
    from unmask.report import report, results_table
    from unmask.run import Run, read_json, write_json
    from unmask.store.build import build
    from unmask.train import Training

    started = time.perf_counter()
    given = {"classify": classify, "tag": tag, "pair": pair, "answer": answer}
    own = {shape: Path(path) if path else None for shape, path in given.items()}
    if language not in LANGUAGES:
        raise UnmaskError(f'language is "{language}" — expected zh or en')
    if text is None and any(own.values()):
        raise UnmaskError("labelled files without --text — your rows need your text — give --text PATH too")
    out = (
        Path(out) if out else Path("runs") / (f"quickstart-{language}" if text is None else "quickstart-own")
    )

    def say(line: str) -> None:
        watch({"event": "say", "text": line})

    training = Training(steps=steps, budget=None if steps is not None else budget, seed=seed)
    found = own_jobs(own, say) if text is not None else None  # before the folder is begun: they may be wrong
    settings = {
        "language": language,
        "budget": None if steps is not None else budget,
        "steps": steps,
        "seed": seed,
        "text": [str(t) for t in text] if text else None,
        **{k: str(v) if v else None for k, v in own.items()},
    }
    run = Run.create(
        out,
        verb="quickstart",
        settings=settings,
        call=f"unmask.quickstart.quickstart({_call(settings)}, out={str(out)!r})",
    )

    say("1. Text: cleaned, deduplicated, cut into tokens")
    kind = TOKENIZERS[language]
    if text is None:
        source = LANGUAGES[language]
        files = source.write_tasks(out / "labels", seed)
        jobs = [job_of(f, PLANS[language][f.name]) for f in files if f.name in PLANS[language]]
        excluded = sorted({t for f in files for t in f.excluded})
        store = build(
            documents=source.documents(seed),
            out=out / "corpus",
            tokenizer=kind,
            language=language,
            exclude=excluded,
            say=say,
        )
    else:
        assert found is not None
        jobs, excluded = found
        store = build(list(text), out / "corpus", tokenizer=kind, language="auto", exclude=excluded, say=say)
    say(
        f"   {store.documents:,} documents, {store.tokens:,} tokens, {store.tokenizer.vocab.size:,} kinds of token"
    )

    say(f"2. Blanks: a model learns to fill them, for {f'{steps} steps' if steps else show_seconds(budget)}")
    body = pretrain(Modern(), out / "corpus", out=out / "body", size="mini", training=training, watch=watch)

    say(f"3. Four shapes of task, each {SEEDS} times from this model and {SEEDS} times from scratch")
    adapt(jobs, body.folder, out / "tasks", seed, say)

    results = {"tasks": [row_of(job, out / "tasks" / job.name) for job in jobs]}
    write_json(out / "results.json", results)
    run.note(seconds=time.perf_counter() - started)
    run.finish()
    page = report([out], out / "report.html")
    fills = read_json(body.folder / "evaluation" / "fills.json")
    return "\n".join(
        [
            "",
            results_table(results["tasks"]) if jobs else "No labelled rows were given, so no task was tried.",
            "",
            *blanks(fills),
            f"The page with all of it: {page}   ({show_seconds(time.perf_counter() - started)} in all)",
            "",
            "Next, on your own data:",
            "  unmask corpus texts/ --out corpus",
            "  unmask pretrain modern corpus --out runs/body --budget 30m",
            "  unmask finetune classify --model runs/body --train train.csv --text review --label stars",
        ]
    )


def job_of(files: TaskFiles, plan: Plan) -> Job:
    """A shipped labelled set as a job."""
    names = {"first": "text_a", "second": "text_b"}  # what the set calls them → what the task calls them
    columns = {names.get(k, k): v for k, v in files.columns.items()}
    if plan.head is not None:
        columns["head"] = plan.head
    return Job(files.name, files.shape, files.train, files.dev, files.test, columns, plan)


def own_jobs(own: dict[str, Path | None], say: Callable[[str], None]) -> tuple[list[Job], list[str]]:
    """The user's labelled files as jobs, and their texts, which must not be in the pre-training text."""
    from unmask.tasks import TASKS

    jobs, texts = [], []
    for shape, path in own.items():
        if path is None:
            say(f"   {shape}: skipped, no labelled rows were given (--{shape} FILE)")
            continue
        try:
            examples = TASKS[shape]().read(path)
        except UnmaskError as error:
            raise UnmaskError(
                f"{error} (quickstart knows columns by these names alone: rename them, or type the verbs one by one)"
            ) from None
        # Words are joined again: exclusion compares without white space, so it is right in every script.
        texts += [t for x in examples.items for t in ([" ".join(x.texts)] if shape == "tag" else x.texts)]
        jobs.append(Job(shape, shape, path, None, None, {}, OWN))
    return jobs, texts


def command(job: Job, body: Path, out: Path, start: str, seed: int) -> list[str]:
    """The words that adapt one start, as a user would type them after `unmask`."""
    plan = job.plan
    words = [
        "finetune",
        job.shape,
        "--model",
        str(body),
        "--train",
        str(job.train),
        "--out",
        str(out / job.name / start),
    ]
    for option, path in (("--dev", job.dev), ("--test", job.test)):
        words += [option, str(path)] if path else []
    for name, column in job.columns.items():
        words += [f"--{name.replace('_', '-')}", column]
    rate = plan.scratch if start == "scratch" else plan.pretrained
    words += [
        "--steps",
        str(plan.steps),
        "--learning-rate",
        str(rate),
        "--seeds",
        str(SEEDS),
        "--seed",
        str(seed),
    ]
    words += ["--workers", "1", "--evaluate-every", str(-(-plan.steps // 2))]
    return words + (["--from-scratch"] if start == "scratch" else [])


def adapt(jobs: Sequence[Job], body: Path, out: Path, seed: int, say: Callable[[str], None]) -> None:
    """Adapt every start of every task, a process a core: two of one thread beat one of two at this size."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    words = [(job, start, command(job, body, out, start, seed)) for job in jobs for start in STARTS]
    beside = max(1, min(cores, len(words)))
    environment = {**os.environ, "OMP_NUM_THREADS": str(max(1, cores // beside))}

    def work(item: tuple[Job, str, list[str]]) -> None:
        job, start, line = item
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "unmask", *line],
            env=environment,
            capture_output=True,
            text=True,
            encoding="utf-8",
        )
        if done.returncode:
            raise UnmaskError(f"`unmask {' '.join(line)}` failed:\n{done.stderr.strip()[-2000:]}")
        score = scores_of(out / job.name / start)
        took = show_seconds(time.perf_counter() - began)
        say(
            f"   {job.name}, {start}: {score['median']:.1f} [{score['low']:.1f}–{score['high']:.1f}] ({took})"
        )

    with ThreadPoolExecutor(beside) as pool:
        for _ in pool.map(work, words):
            pass


def scores_of(folder: Path) -> dict[str, Any]:
    """Median, low, high and seeds of the leading metric, on test rows where there are some."""
    from unmask.run import read_json

    found = read_json(folder / "evaluation" / "finetune.json")
    scores = found["scores"][part_of(found)]
    score: dict[str, Any] = scores[found["metric"]]
    return score


def part_of(found: dict[str, Any]) -> str:
    """The rows that are reported: test, or dev where there are no others."""
    return "test" if "test" in found["scores"] else "dev"


def row_of(job: Job, folder: Path) -> dict[str, Any]:
    """A task's row of results.json."""
    from unmask.run import read_json

    where = Path("evaluation") / "finetune.json"
    found = read_json(folder / "pretrained" / where)
    return {
        "task": job.name,
        "metric": found["metric"],
        "part": part_of(found),
        "rows": found["rows"],
        "majority": found["majority"].get(found["metric"]),
        "flat": [start for start in STARTS if read_json(folder / start / where).get("no_better")],
        **{start: scores_of(folder / start) for start in STARTS},
    }


def blanks(fills: Sequence[dict[str, Any]], how_many: int = 3) -> list[str]:
    """A few blanks as lines: the first guesses before and after."""

    def guesses(found: Sequence[dict[str, Any]]) -> str:
        return ", ".join(str(g["token"]) for g in found[:4])

    lines = ["Blanks, filled before and after:"] if fills else []
    for fill in fills[:how_many]:
        lines.append(f"  {fill['text']}   (it was: {fill['truth']})")
        lines.append(f"    before: {guesses(fill['before'])}   after: {guesses(fill.get('after', []))}")
    return [*lines, ""] if lines else []


def _call(settings: dict[str, Any]) -> str:
    return ", ".join(f"{k}={v!r}" for k, v in settings.items() if v is not None)

"""Fine-tuning: a task, a model and labelled files become a run folder with scores and the best seed's model.

Several seeds always, for one says little at this size (Dodge et al. 2020); the median and the range of each score
stand beside what the most frequent answer reaches, and a run that does no better is flagged. `from_scratch` is the
control: the same shape, tokenizer, head, rows and steps with a fresh body. Differs from common practice in that the
test file is scored once a seed, by the checkpoint that was chosen on dev.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unmask.corpus.ledger import Ledger
from unmask.errors import UnmaskError
from unmask.jobs.crew import beside, cores
from unmask.jobs.tuned import FineTuning, default_rate
from unmask.settings import to_json
from unmask.tasks import Task

if TYPE_CHECKING:
    from unmask.jobs.adapt import Prepared
    from unmask.run import Run

__all__ = ["FineTuning", "default_rate", "finetune"]

Watch = Callable[[dict[str, Any]], None]
SMALL = 15e6  # parameters of the layers up to which a process a core beats a process of many threads
Event = dict[str, Any]


def finetune(
    task: Task,
    *,
    model: Path,
    train: Path,
    dev: Path | None = None,
    test: Path | None = None,
    out: Path,
    training: FineTuning | None = None,
    seeds: int = 3,
    from_scratch: bool = False,
    allow_changed: Sequence[str] = (),
    watch: Watch | None = None,
    command: str = "",
) -> Run:
    """Fine-tune `seeds` times and write evaluation/finetune.json (scores × 100) and model/ of the best seed on dev.

    What dev and test share with train and with the pre-training text goes to evaluation/leaks.json, and is said.

    Without `dev` a seeded tenth of `train` is held out, whole documents together. Raises `UnmaskError`, before any
    training, for whatever is wrong with files, labels, tokenizer or settings.
    """
    from unmask.jobs.adapt import prepare, seeds_in_turn
    from unmask.jobs.leaks import leaks, said
    from unmask.run import Run, write_json

    training = training or FineTuning()
    watch = watch or (lambda event: None)
    if seeds < 1:
        raise UnmaskError(f"seeds is {seeds} — at least 1 is needed — give more")
    paths = {"model": model, "train": train, "dev": dev, "test": test, "out": out}
    model, train, out = Path(model), Path(train), Path(out)
    dev, test = Path(dev) if dev else None, Path(test) if test else None
    settings = {
        "task": task.NAME,
        **to_json(task),
        **to_json(training),
        **{name: str(path) if path else None for name, path in paths.items() if name != "out"},
        "seeds": seeds,
        "from_scratch": from_scratch,
    }
    p = prepare(
        task, model=model, train=train, dev=dev, test=test, training=training, from_scratch=from_scratch
    )
    ledger = ledger_of(p)
    for text in (*p.notes, *ledger.lines()):
        watch({"event": "say", "text": text})
    run = Run.create(
        out,
        verb="finetune",
        settings=settings,
        call=call_of(task, paths, training, seeds, from_scratch),
        command=command,
        allow=("workers",),
        allow_changed=allow_changed,
        fixed=("task",),
        task=task.NAME,
        start="scratch" if from_scratch else "pretrained",
    )
    files = fingerprints(p, {"train": train, "dev": dev, "test": test})
    if run.finished:
        changed = [name for name, value in run.about.get("files", files).items() if files.get(name) != value]
        if changed:
            raise UnmaskError(
                f"{out} is finished, and what it was made of has changed since: {', '.join(changed)} — the same was "
                "expected — give another --out"
            )
        watch({"event": "say", "text": f"{out} was finished before; nothing to do"})
        return run
    with run.alone():
        run.note(files=files)
        leaked = leaks(
            {name: part.examples for name, part in p.parts.items()},
            model,
            words=task.NAME == "tag",
            body=not from_scratch,
        )
        run.save_evaluation("leaks", leaked)
        for text in said(leaked):
            watch({"event": "say", "text": text})
        leading = p.task.leading(p.labels)
        basis = {"files": files, **{k: v for k, v in settings.items() if k not in ("workers", "seeds")}}
        numbers = [training.seed + n for n in range(seeds)]
        done = take_up(run, basis, numbers, leading)
        for line in done:
            watch({"event": "say", "text": f"seed {line['seed']}: finished before the run was stopped"})

        def see(event: Event) -> None:
            kind = event["event"]
            line = {k: v for k, v in event.items() if k not in ("event", "steps")}
            if kind == "step":
                run.log(line)
                watch({**event, "text": f"seed {event['seed']}"})
            elif kind == "dev":
                run.log(line)
            elif kind == "done":
                done.append(line)
                write_json(run.folder / "seeds" / f"{event['seed']}.json", {"basis": basis, "done": line})
                part = "test" if "test" in event else "dev"
                score = f"{leading} on {part} {event[part][leading]:.1f}"
                watch({"event": "say", "text": f"seed {event['seed']}: {score} after step {event['step']}"})

        numbers = [number for number in numbers if all(line["seed"] != number for line in done)]
        workers = how_many(p, len(numbers))
        if workers <= 1:
            seeds_in_turn(p, numbers, run.folder, see)
        else:
            job = {
                "task": task.NAME, "settings": to_json(task), "training": to_json(training),
                "from_scratch": from_scratch,
                **{name: str(path) if path else None for name, path in paths.items()},
                "threads": max(1, cores() // workers),
            }  # fmt: skip
            shares = [{**job, "seeds": numbers[n::workers]} for n in range(workers)]
            for event in beside("unmask.jobs.adapt", shares, workers, job["threads"]):
                see(event)
        done.sort(key=lambda x: int(x["seed"]))
        best = best_of(done, leading)
        (run.folder / "seeds" / str(best["seed"])).replace(run.folder / "model")
        shutil.rmtree(run.folder / "seeds")
        result = summary(p, done, best["seed"], ledger.to_json())
        run.save_evaluation("finetune", result)
        watch({"event": "say", "text": verdict(result)})
        run.finish()
        return run


def best_of(done: Sequence[Event], leading: str) -> Event:
    """The seed with the best score on dev; of equals the first."""
    return max(done, key=lambda x: (x["dev"][leading], -x["seed"]))


def take_up(run: Run, basis: Event, seeds: Sequence[int], leading: str) -> list[Event]:
    """What a stopped run got from seeds that it finished with the same files and settings; all else is cleared away."""
    from unmask.run import read_json

    folder, found = run.folder / "seeds", []
    for number in seeds:
        try:
            line = read_json(folder / f"{number}.json")
            if line["basis"] == basis and line["done"]["seed"] == number:
                found.append(line["done"])
        except (OSError, UnmaskError, KeyError, TypeError):  # not finished, or damaged
            continue
    while found and not (folder / str(best_of(found, leading)["seed"]) / "config.json").exists():
        found.remove(best_of(found, leading))  # stopped between its model and the next seed's
    kept = {line["seed"] for line in found}
    for entry in folder.glob("*"):
        if entry.stem not in map(str, kept):
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    shutil.rmtree(run.folder / "model", ignore_errors=True)
    run.keep_metrics(lambda line: line.get("seed") in kept)
    return found


def verdict(result: Event) -> str:
    """The outcome in a sentence or two, against the answer that needs no text."""
    leading, part = result["metric"], next(reversed(result["scores"]))
    found, floor = result["scores"][part][leading], result["majority"][leading]
    several = f" (median of {len(result['seeds'])} seeds, {found['low']:.1f} to {found['high']:.1f})"
    words = (
        f"{leading} on {part}: {found['median']:.1f}{several if len(result['seeds']) > 1 else ''}; "
        f"the most frequent answer scores {floor:.1f}"
    )
    if any(result["skipped"]):
        words += (
            f"; {sum(result['skipped'])} of {result['steps'] * len(result['seeds'])} updates were left out, as the "
            "loss or the gradient was not finite"
        )
    if result["no_better"]:
        words += (
            ". At least one seed gives all rows one answer or scores no more than the most frequent one: nothing shows "
            "that it has learnt from the text. More --epochs, more rows or a longer pre-training may help"
        )
    return words


def summary(p: Prepared, done: list[Event], best: int, ledger: Any) -> dict[str, Any]:
    """What evaluation/finetune.json holds; `done` has one entry a seed."""
    from unmask.evaluation.statistics import spread

    leading = p.task.leading(p.labels)
    held = [name for name in ("dev", "test") if name in p.parts]
    last = held[-1]
    return {
        "task": p.task.NAME,
        "metric": leading,
        "start": "scratch" if p.from_scratch else "pretrained",
        "shape": to_json(p.shape),
        "family": p.family,
        "rows": {name: len(part.examples) for name, part in p.parts.items()},
        "majority": p.majority[last],
        "majorities": {name: p.majority[name] for name in held},
        "scores": {
            part: {m: to_json(spread([x[part][m] for x in done])) for m in done[0][part]} for part in held
        },
        "no_better": any(x["flat"] or x[last][leading] <= p.majority[last][leading] + 1e-9 for x in done),
        "seeds": [x["seed"] for x in done],
        "steps": p.steps,
        "best_steps": [x["step"] for x in done],
        "best_seed": best,
        "skipped": [x["skipped"] for x in done],
        "seconds": [x["seconds"] for x in done],
        "learning_rate": p.learning_rate,
        "labels": list(p.labels.names),
        "scheme": p.labels.scheme,
        "ledger": ledger,
    }


def fingerprints(p: Prepared, paths: dict[str, Path | None]) -> dict[str, str]:
    """Hashes of the files of rows and of the model's weights, so that a finished run is not taken for another's."""
    files = {name: [path] for name, path in paths.items() if path is not None}
    found = {}
    for name, held in {**files, "model": sorted(p.source.glob("*.safetensors"))}.items():
        whole = hashlib.sha256()
        for path in held:
            with open(path, "rb") as file:
                whole.update(hashlib.file_digest(file, "sha256").digest())
        found[name] = whole.hexdigest()[:16]
    return found


# -- what became of the rows -----------------------------------------------------------------------------------


def ledger_of(p: Prepared) -> Ledger:
    """Two stages a file: what the reader passed over, and what became of every row. Raises if the sums do not hold."""
    ledger = Ledger()
    for name, part in p.parts.items():
        if part.examples.skipped:
            words = ledger.stage(f"{name}: words", "words")
            count = sum(len(x.texts) for x in part.examples.items)
            words.take(count + sum(n for _, n in part.examples.skipped))
            words.add("kept", count=count)
            for what, n in part.examples.skipped:
                words.add("dropped", what, count=n)
        rows = ledger.stage(f"{name}: rows", "rows")
        rows.take(len(part.examples))
        for fate in part.windows.fates:
            rows.add(fate.kind, fate.reason, fate.sample if fate.kind != "kept" else "")
    ledger.check()
    return ledger


# -- seeds beside each other -----------------------------------------------------------------------------------


def how_many(p: Prepared, seeds: int) -> int:
    """Processes for the seeds: one a core for small models and runs that are worth starting one."""
    import torch

    if p.training.workers is not None:
        return min(p.training.workers, seeds)
    small = 12 * p.shape.layers * p.shape.width**2 <= SMALL
    rows = p.steps * p.training.batch
    return min(seeds, cores()) if small and rows > 500 and not torch.cuda.is_available() else 1


def call_of(
    task: Task, paths: dict[str, Path | None], training: FineTuning, seeds: int, from_scratch: bool
) -> str:
    """The Python call that repeats the run."""
    files = ", ".join(f"{name}={str(path)!r}" for name, path in paths.items() if path is not None)
    rest = f"training={training!r}, seeds={seeds}, from_scratch={from_scratch}"
    return f"unmask.finetune({task!r}, {files}, {rest})"

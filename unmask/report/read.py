"""Run folders → plain values: the only file of the report that opens a run.

A folder may belong to a run that is still going on, was killed, or never started: whatever is there is read,
whatever is missing stays empty, and whatever had to be left out is said in `Run.notes`. Every string passes
`text.clean` on its way in. A quickstart folder expands to its parts: the body, the tasks, the corpus.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from unmask.bounded import check_regular, parse_json, read_bounded
from unmask.errors import UnmaskError
from unmask.report.text import clean

Json = dict[str, Any]
LARGEST = 64 << 20  # bytes of a file of a run that is read as a whole
LONGEST = 128 << 20  # bytes of metrics.jsonl, which is read line by line; the rest is left out, and said so
LONGEST_LINE = 64 * 1024  # bytes of a line of metrics.jsonl
_NUMBERS = ("seconds", "tokens", "tokens_per_second", "loss", "accuracy")  # of such a line, or null
VERBS = ("pretrain", "finetune", "quickstart")


@dataclass(frozen=True)
class Run:
    """One run folder. `train` and `heldout` hold the lines of metrics.jsonl, in order of seed and step."""

    folder: Path
    verb: str
    name: str
    about: Json  # run.json
    train: list[Json]
    heldout: list[
        Json
    ]  # pretrain: step, seconds, tokens, mlm, accuracy; finetune: seed, step, loss, metric …
    evaluations: dict[str, Any]  # evaluation/NAME.json
    ledger: list[Json]
    notes: list[str] = field(default_factory=list)

    @property
    def task(self) -> str:
        """What was learnt: in a quickstart the name of the labelled set, else the kind of task."""
        return str(self.about.get("task") or self.evaluations.get("finetune", {}).get("task") or self.name)

    @property
    def start(self) -> str:
        """ "pretrained" or "scratch"; the quickstart's folders are named so."""
        known = self.evaluations.get("finetune", {}).get("start") or self.about.get("start")
        return str(known or ("scratch" if self.folder.name == "scratch" else "pretrained"))


@dataclass(frozen=True)
class Material:
    """Everything a page is made of."""

    runs: list[Run]  # as given; a quickstart is one
    bodies: list[Run]
    tasks: list[Run]
    results: list[Json] | None  # the quickstart's own table, where there is one
    ledger: list[Json]
    fills: list[tuple[str, list[Json]]]  # (run, sentences)
    notes: list[str]


def gather(folders: Sequence[Path]) -> Material:
    """Reads run folders, and the parts of quickstart folders. A folder that is no run: UnmaskError."""
    if not folders:
        raise UnmaskError(
            "no run folder was given — expected at least one — name a folder, such as runs/bert"
        )
    given = [read_run(Path(folder)) for folder in folders]
    runs = _told_apart(
        given + [part for run in given if run.verb == "quickstart" for part in _parts(run.folder)]
    )
    given = runs[: len(given)]
    results: list[Json] | None = None
    ledger: list[Json] = []
    for run in runs:
        ledger += [stage for stage in run.ledger if stage not in ledger]
        if run.verb != "quickstart":
            continue
        ledger += [stage for stage in _ledger(run.folder / "corpus") if stage not in ledger]
        table = _json(run.folder / "results.json")
        if isinstance(table, dict) and isinstance(table.get("tasks"), list):
            results = (results or []) + [row for row in table["tasks"] if isinstance(row, dict)]
    fills = [(run.name, _fills(run.evaluations["fills"])) for run in runs if "fills" in run.evaluations]
    notes = [f"{run.name}: {note}" for run in runs for note in run.notes]
    return Material(
        given,
        [run for run in runs if run.verb == "pretrain"],
        [run for run in runs if run.verb == "finetune"],
        results,
        ledger,
        [(name, sentences) for name, sentences in fills if sentences],
        notes,
    )


def _told_apart(runs: Sequence[Run]) -> list[Run]:
    """Runs of one name get that of the folder above before it, and where that is the same, too, a number behind."""

    def renamed(runs: Sequence[Run], made: Callable[[Run, int], str]) -> list[Run]:
        names = [run.name for run in runs]
        return [
            replace(run, name=made(run, names[: i + 1].count(run.name))) if names.count(run.name) > 1 else run
            for i, run in enumerate(runs)
        ]

    above = renamed(runs, lambda run, n: f"{clean(run.folder.absolute().parent.name)}/{run.name}")
    return renamed(above, lambda run, n: f"{run.name} ({n})")


def read_run(folder: Path) -> Run:
    """One run folder. Errors: no folder, no run.json, a run.json that no verb wrote."""
    path = folder / "run.json"
    if not path.is_file():
        found = "has no run.json" if folder.is_dir() else "is no folder"
        raise UnmaskError(
            f"{folder} {found} — expected the folder of a run, as `unmask pretrain`, `unmask finetune` and "
            f"`unmask quickstart` write it — name such a folder"
        )
    about = _json(path)
    if not isinstance(about, dict) or about.get("verb") not in VERBS:
        raise UnmaskError(
            f'{path} names no verb — expected a JSON object with "verb": one of {", ".join(VERBS)} — '
            f"the file was not written by unmask, or was damaged: run the command again"
        )
    train, heldout, notes = _metrics(folder / "metrics.jsonl", str(about["verb"]))
    evaluations = {
        clean(file.stem): _json(file)
        for file in sorted((folder / "evaluation").glob("*.json"))
        if file.is_file()
    }
    evaluations = {name: value for name, value in evaluations.items() if value is not None}
    if not isinstance(evaluations.get("finetune", {}), dict):
        raise UnmaskError(
            f"{folder / 'evaluation/finetune.json'} holds no JSON object — evaluate the run again"
        )
    name = str(about.get("name") or clean(folder.name))
    return Run(folder, str(about["verb"]), name, about, train, heldout, evaluations, _ledger(folder), notes)


def _parts(folder: Path) -> list[Run]:
    """The runs inside a quickstart folder: the body, then each task's two starts."""
    tasks = sorted(path.parent for path in (folder / "tasks").glob("*/*/run.json"))
    body = folder / "body"
    runs = [read_run(body)] if (body / "run.json").is_file() else []
    for part in tasks:
        run, task = read_run(part), clean(part.parent.name)
        runs.append(replace(run, name=f"{task}, {run.start}", about={**run.about, "task": task}))
    return runs


def _json(path: Path) -> Any:
    """A JSON file made visible; None when it is not there."""
    if not path.is_file():
        return None
    try:
        text = read_bounded(path, "a file of a run", LARGEST).decode("utf-8")
        return clean(parse_json(text, constants=True, halves=True))
    except (ValueError, RecursionError) as error:
        raise UnmaskError(
            f"{path} is no JSON ({error}) — expected the file a run wrote — restore or remove it"
        ) from None


def _metrics(path: Path, verb: str) -> tuple[list[Json], list[Json], list[str]]:
    """The lines of metrics.jsonl: training, held-out, and what had to be left out.

    A resumed run repeats steps: the later line counts. A killed run may leave half a line.
    """
    if not path.is_file():
        return [], [], []
    train: dict[tuple[int, int], Json] = {}
    heldout: dict[tuple[int, int], Json] = {}
    broken = strange = 0
    notes: list[str] = []
    check_regular(path, "the lines of a run")
    with path.open("rb") as file:
        for raw in iter(lambda: file.readline(LONGEST_LINE), b""):
            if file.tell() > LONGEST:
                notes.append(
                    f"the curves end at {LONGEST >> 20} MiB of metrics.jsonl; what comes later is not shown"
                )
                break
            text = raw.decode("utf-8", "replace")
            try:
                line = clean(parse_json(text, constants=True, halves=True)) if text.strip() else None
            except (ValueError, RecursionError):
                broken += 1
                continue
            if not isinstance(line, dict) or not isinstance(line.get("step"), int) or not _numeric(line):
                broken += line is not None
                continue
            strange += "loss" in line and line["loss"] is None
            measured = line.get("heldout") if verb == "pretrain" else line.get("dev")
            seed = line["seed"] if isinstance(line.get("seed"), int) else 0
            if isinstance(measured, dict):
                rest = {key: item for key, item in line.items() if key not in ("heldout", "dev")}
                heldout[seed, line["step"]] = {**rest, **measured}
            elif "loss" in line:
                train[seed, line["step"]] = line
    if broken:
        notes.append(f"{broken} unreadable line{'s' * (broken > 1)} of metrics.jsonl left out")
    if strange:
        notes.append(f"the training loss was not a number at {strange} step{'s' * (strange > 1)}")
    return [train[key] for key in sorted(train)], [heldout[key] for key in sorted(heldout)], notes


def _numeric(line: Json) -> bool:
    return all(isinstance(line.get(name), int | float | None) for name in _NUMBERS)


def _fills(data: Any) -> list[Json]:
    """The sentences of fills.json: {text, before, after: [{token, probability}], truth}."""
    items = (
        [item for item in data if isinstance(item, dict) and item.get("text")]
        if isinstance(data, list)
        else []
    )
    return [
        {
            "text": str(item["text"]),
            "truth": None if item.get("truth") is None else str(item["truth"]),
            **{when: _guesses(item.get(when)) for when in ("before", "after")},
        }
        for item in items
    ]


def _guesses(data: Any) -> list[Json]:
    held = [guess for guess in data if isinstance(guess, dict)] if isinstance(data, list) else []
    return [
        {"token": str(guess.get("token", "")), "probability": guess.get("probability") or 0.0}
        for guess in held
        if isinstance(guess.get("probability") or 0.0, int | float)
    ]


def _ledger(folder: Path) -> list[Json]:
    """The stages of ledger.json, each {name, unit, in, kept, split, cut, dropped: [{reason, count, samples}]}."""
    data = _json(folder / "ledger.json")
    stages = data.get("stages", data) if isinstance(data, dict) else data
    if isinstance(stages, dict):
        stages = [{"name": name, **stage} for name, stage in stages.items() if isinstance(stage, dict)]
    return [_stage(stage) for stage in stages if isinstance(stage, dict)] if isinstance(stages, list) else []


def _stage(stage: Json) -> Json:
    """One stage in one form: what an outcome holds (a count, a list, a table of reasons) becomes a sum and reasons."""
    out: Json = {"name": str(stage.get("name", "stage")), "unit": str(stage.get("unit", "")), "reasons": []}
    for kind in ("kept", "split", "cut", "dropped"):
        held = stage.get(kind, 0)
        if isinstance(held, dict):
            held = [
                {"reason": reason, **(entry if isinstance(entry, dict) else {"count": entry})}
                for reason, entry in held.items()
            ]
        if isinstance(held, list):
            reasons = [
                {"reason": kind, "count": 0, "samples": [], **entry, "kind": kind}
                for entry in held
                if isinstance(entry, dict)
            ]
            out["reasons"] += [entry for entry in reasons if entry["reason"] or kind != "kept"]
            held = sum(entry["count"] for entry in reasons if isinstance(entry.get("count"), int))
        out[kind] = held if isinstance(held, int) else 0
    out["in"] = stage["in"] if isinstance(stage.get("in"), int) else None
    left = out["kept"] + out["split"] + out["cut"] + out["dropped"]
    out["balanced"] = out["in"] is None or out["in"] == left
    return out

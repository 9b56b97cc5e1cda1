"""A suite: labelled tasks, how their files are laid out, and what their scores are averaged to; a TOML file each.

Three ship beside this file: `glue` (Wang et al. 2019, files as the benchmark distributes them), `superglue` (Wang et
al. 2019b), `chinese`; and `glue-data`, `superglue-data` for folders of other layouts. A user writes one for tasks of
their own: every key is a field below, and a misspelt key is an error with the nearest right name. Formats, row counts
and human scores after the benchmarks' own converters and papers. Imports no torch.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from importlib.resources import files
from math import inf
from pathlib import Path
from typing import Any, Literal

from unmask.errors import UnmaskError, nearest
from unmask.evaluation.measures import METRICS
from unmask.settings import from_json

Kind = Literal["classify", "pair", "score", "tag", "answer"]
Reader = Literal["table", "boolq", "copa", "multirc", "record", "wic", "wsc"]
Column = int | str
PACKED = ("", ".xz", ".gz")  # a file is taken under its own name, or packed

METRICS_OF: dict[str, tuple[str, ...]] = {
    "classify": ("accuracy", "f1", "macro_f1", "matthews"),
    "pair": ("accuracy", "f1", "macro_f1", "matthews", "f1a", "em_group", "record_f1", "record_em"),
    "score": ("pearson", "spearman"),
    "tag": ("entity_f1", "accuracy"),
    "answer": ("em", "f1_answer"),
}


@dataclass(frozen=True)
class Part:
    """Files of one part of a task, below --data: one, or several that are put together.

    `rows` is the number they must hold together (as distributed, before rows are passed over); None is not checked.
    The columns, where they differ from the task's. A column is a name from the header, or a number from 0.
    """

    file: str | tuple[str, ...]
    rows: int | None = None
    name: str = ""  # of a dev or report part, where a task has several: m, mm
    text_a: Column | None = None
    text_b: Column | None = None
    label: Column | None = None
    index: Column | None = None
    header: bool | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return (self.file,) if isinstance(self.file, str) else self.file


@dataclass(frozen=True)
class Submission:
    """One file that the benchmark's server takes: its name, which test part it answers, and how labels are written.

    `form` "tsv": `index<TAB>prediction` under a header; "jsonl": {"idx", "label"} a line. `labels` renames labels.
    """

    file: str
    part: int = 0  # number of the test part
    form: Literal["tsv", "jsonl"] = "tsv"
    labels: dict[str, str] = field(default_factory=dict)
    whole: bool = False  # labels are whole numbers in JSON


@dataclass(frozen=True)
class SuiteTask:
    """One task. `metrics` are averaged to its value (first within a part, then over its dev parts); all × 100.

    `labels` are all that may occur, `positive` the one that F1 is of; `low` and `high` bound scores (and clip what is
    said, as the submission does). Rows whose label is in `skip` are passed over, and counted. `group` is a column whose
    rows are never divided between the halves of dev. `human` is the value the benchmark gives for people.
    """

    name: str
    kind: Kind
    metrics: tuple[str, ...]
    train: Part | None = None
    dev: tuple[Part, ...] = ()
    report: tuple[Part, ...] = ()  # labelled rows of their own to report on; else half of dev
    test: tuple[Part, ...] = ()
    reader: Reader = "table"
    text_a: Column = "text_a"
    text_b: Column | None = None
    label: Column = "label"
    index: Column | None = None
    group: Column | None = None
    header: bool = True
    labels: tuple[str, ...] = ()
    positive: str | None = None
    skip: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    short: Literal["error", "drop"] = "error"  # labelled rows with too few cells
    length: int | None = None  # tokens of the longest row
    human: tuple[float, ...] = ()  # one a metric (and part), × 100
    submission: tuple[Submission, ...] = ()
    uses: str | None = None  # a diagnostic: no training of its own, asked of this task's model
    note: str = ""

    @property
    def bounds(self) -> tuple[float, float]:
        """Lowest and highest score, infinite where the task names none."""
        return -inf if self.low is None else self.low, inf if self.high is None else self.high


@dataclass(frozen=True)
class Suite:
    """Tasks whose values are averaged. `score` names the mean where every task that counts is there."""

    name: str
    task: tuple[SuiteTask, ...]
    about: str = ""
    score: str = "mean"
    language: str = ""
    published: str = ""  # the table of published rows (unmask/report/published.json) to draw beside it
    zip: str = ""  # name of the submission archive

    @property
    def counted(self) -> tuple[SuiteTask, ...]:
        """The tasks that the mean is over: all but the diagnostics."""
        return tuple(t for t in self.task if t.uses is None)


def shipped() -> list[str]:
    """Names of the suites in the package."""
    return sorted(
        p.name.removesuffix(".toml") for p in files("unmask.yardstick").joinpath("suites").iterdir()
    )


def load_suite(name: str | Path) -> Suite:
    """A suite by the name of one that ships, or by the path of a TOML file.

    Raises `UnmaskError`: no such suite or file, no TOML, an unknown key, a metric that does not fit its task.
    """
    path = Path(name)
    if path.suffix == ".toml" or path.is_file():
        if not path.is_file():
            raise UnmaskError(f"there is no file {path} — a suite was expected — check the path")
        text, where = path.read_bytes(), str(path)
    else:
        if str(name) not in shipped():
            raise UnmaskError(
                f'there is no suite "{name}" — those that ship are {", ".join(shipped())} — name one, or a .toml file.'
                + nearest(str(name), shipped())
            )
        text, where = files("unmask.yardstick").joinpath(f"suites/{name}.toml").read_bytes(), f"suite {name}"
    try:
        data: Any = tomllib.loads(text.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UnmaskError(f"{where} is no TOML ({error}) — a suite file was expected — mend it") from None
    for entry in data.get("task", []) if isinstance(data.get("task"), list) else []:
        if isinstance(entry, dict):
            _one_is_many(entry)
    suite: Suite = from_json(Suite, data, where)
    check(suite, where)
    return suite


def _one_is_many(entry: dict[str, Any]) -> None:
    """`dev = "dev.tsv"`, `dev = {…}` and a single human score are written for lists of one."""
    for key in ("dev", "report", "test"):
        value = entry.get(key)
        if isinstance(value, str | dict):
            value = [value]
        if isinstance(value, list):
            entry[key] = [{"file": x} if isinstance(x, str) else x for x in value]
    if isinstance(entry.get("train"), str | list):
        entry["train"] = {"file": entry["train"]}
    if isinstance(entry.get("human"), int | float):
        entry["human"] = [entry["human"]]
    if isinstance(entry.get("metrics"), str):
        entry["metrics"] = [entry["metrics"]]
    if isinstance(entry.get("submission"), dict):
        entry["submission"] = [entry["submission"]]


def check(suite: Suite, where: str) -> None:
    """What the types cannot say. Raises `UnmaskError`."""
    names = [t.name for t in suite.task]
    if not names:
        raise UnmaskError(f"{where} has no [[task]] — at least one is needed — add it")
    for t in suite.task:
        place = f"{where}, task {t.name}"
        if names.count(t.name) > 1:
            raise UnmaskError(f"{place}: the name occurs twice — every task needs its own")
        if any(c in t.name for c in '/\\\0:"') or t.name.startswith(".") or not t.name:
            raise UnmaskError(f"{place}: a name that no folder can have — take letters, digits and dashes")
        for metric in t.metrics:
            if metric not in METRICS_OF[t.kind]:
                hint = nearest(metric, METRICS_OF[t.kind]) if metric not in METRICS else ""
                raise UnmaskError(
                    f'{place}: a task of kind "{t.kind}" has no metric "{metric}" — it can have '
                    f"{', '.join(METRICS_OF[t.kind])} — choose of these.{hint}"
                )
        if not t.metrics:
            raise UnmaskError(
                f"{place}: no metrics — at least one is needed, such as {METRICS_OF[t.kind][0]}"
            )
        if t.kind in ("classify", "pair") and not t.labels:
            raise UnmaskError(f'{place}: labels is missing — list all that may occur, such as ["0", "1"]')
        if {"f1", "f1a"} & set(t.metrics) and t.positive not in t.labels:
            raise UnmaskError(f"{place}: positive is {t.positive!r} — F1 is of one of the labels — say which")
        if t.uses is not None:
            if t.uses not in names or suite.task[names.index(t.uses)].uses is not None:
                raise UnmaskError(
                    f'{place}: uses = "{t.uses}" is no task with a training — name one.{nearest(t.uses, names)}'
                )
        elif t.train is None or not t.dev:
            raise UnmaskError(f"{place}: it needs a train part and a dev part — add them")
        columns = len(t.metrics) * len(t.report or t.dev)
        if len(t.human) not in (0, 1, columns) and t.uses is None:
            raise UnmaskError(
                f"{place}: {len(t.human)} human scores for {columns} numbers — give one value, or one a number"
            )
        if t.kind == "pair" and t.text_b is None and t.reader == "table":
            raise UnmaskError(f"{place}: text_b is missing — two texts were expected — name its column")


def chosen(suite: Suite, names: str | None) -> tuple[SuiteTask, ...]:
    """The tasks that a user names, with commas; all of them for none. Raises `UnmaskError` for an unknown name."""
    known = {t.name.lower(): t for t in suite.task}
    wanted = [name.strip() for name in (names or "").split(",") if name.strip()]
    for name in wanted:
        if name.lower() not in known:
            raise UnmaskError(
                f'{suite.name} has no task "{name}" — it has {", ".join(t.name for t in suite.task)} — name some of '
                f"these.{nearest(name, [t.name for t in suite.task])}"
            )
    return tuple(known[name.lower()] for name in wanted) if wanted else suite.task


def found(data: Path, part: Part) -> list[Path] | None:
    """The files of a part under `data`, packed ones too; None if one of them is absent."""
    there = []
    for name in part.names:
        path = next((p for end in PACKED if (p := data / f"{name}{end}").is_file()), None)
        if path is None:
            return None
        there.append(path)
    return there


def absent(data: Path, task: SuiteTask) -> list[str]:
    """Names of the files that a task cannot do without and that are not there."""
    needed = [*([task.train] if task.train else []), *task.dev, *task.report]
    if task.uses is not None:
        needed = [*task.report, *task.test][:1]
    return [name for part in needed for name in part.names if found(data, Part(name)) is None]

"""What the numbers say, in words: the rows of the results table and the sentence above it.

A verdict compares ranges over seeds and claims no more than they show: "every seed" only when the worst
pre-trained seed beats the best from-scratch seed, "ahead" for a higher median, no spread from one seed alone.
Every metric is better when higher. Medians, lowest and highest are read as they were evaluated, never computed anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from unmask.report.read import Json, Run
from unmask.report.text import flat

#: settings in which a pre-trained run and one from scratch may differ and still be compared
OWN = ("model", "from_scratch", "learning_rate", "seed", "seeds", "workers")


@dataclass(frozen=True)
class Score:
    median: float
    low: float
    high: float
    seeds: tuple[float, ...]  # a score a seed; empty when only their number is known
    count: int


@dataclass(frozen=True)
class Row:
    """One task under both starts."""

    task: str
    metric: str
    part: str  # "test" or "dev": what was scored
    rows: str  # how many rows trained and scored
    majority: float | None
    scratch: Score | None
    pretrained: Score | None
    flat: tuple[str, ...] = ()  # starts with a seed that shows nothing learnt

    @property
    def difference(self) -> float | None:
        """Median of the pre-trained seeds less median of those from scratch."""
        if self.scratch is None or self.pretrained is None:
            return None
        return self.pretrained.median - self.scratch.median

    @property
    def digits(self) -> int:
        """Decimals to show: one for scores of 0 to 100, three for scores of 0 to 1."""
        known = [s.high for s in (self.scratch, self.pretrained) if s] + [abs(self.majority or 0)]
        return 3 if max(known, default=0) <= 1 else 1


@dataclass(frozen=True)
class Verdict:
    kind: str  # clear, likely, none, worse, open
    words: str


def judge(row: Row) -> Verdict:
    """What a row shows about pre-training."""
    scratch, pretrained = row.scratch, row.pretrained
    if scratch is None or pretrained is None:
        missing = "from-scratch" if scratch is None else "pre-trained"
        return Verdict("open", f"no {missing} run to compare with")
    if row.majority is not None and max(scratch.high, pretrained.high) <= row.majority:
        return Verdict("none", "neither start beats answering the most frequent class")
    side = "above" if pretrained.median > scratch.median else "below"
    if pretrained.median == scratch.median:
        return Verdict("none", "no difference seen")
    if min(scratch.count, pretrained.count) < 2:
        return Verdict("open", f"{side} from scratch, but one seed shows no spread")
    if pretrained.low > scratch.high:
        return Verdict("clear", "helped: its worst seed beats the best from scratch")
    if pretrained.high < scratch.low:
        return Verdict("worse", "hurt: its best seed is below the worst from scratch")
    return Verdict(
        "likely" if side == "above" else "none", f"median {side} from scratch, but the seeds overlap"
    )


def headline(rows: Sequence[Row]) -> str | None:
    """The verdict over all compared tasks; None when nothing was compared."""
    compared = [row for row in rows if row.difference is not None]
    if not compared:
        return None
    verdicts = [judge(row) for row in compared]
    better = [row for row, verdict in zip(compared, verdicts, strict=True) if _above(row, verdict)]
    clear = sum(verdict.kind == "clear" for verdict in verdicts)
    worse = sum(verdict.kind == "worse" for verdict in verdicts)
    tasks = "task" if len(compared) == 1 else "tasks"
    first = f"Pre-training is ahead in {len(better)} of {len(compared)} {tasks}"
    many = min(min(s.count for s in (row.scratch, row.pretrained) if s) for row in compared) >= 2
    if not many:
        return f"{first}; some starts have one seed alone, which shows no spread"
    where = (
        "in it"
        if clear == len(better) == 1
        else "in each"
        if clear == len(better)
        else f"in {clear or 'none'}"
    )
    second = f"{where} the worst pre-trained seed beats the best from-scratch seed" if better else ""
    third = f"it clearly hurt in {worse}" if worse else ""
    return "; ".join(part for part in (first, second, third) if part)


def _above(row: Row, verdict: Verdict) -> bool:
    return verdict.kind in ("clear", "likely") or (verdict.kind == "open" and (row.difference or 0) > 0)


def stored(results: Sequence[Json]) -> list[Row]:
    """Rows of a quickstart's results.json."""
    return [
        Row(
            str(entry.get("task", "task")),
            str(entry.get("metric", "score")),
            str(entry.get("part", "test")),
            _rows(entry.get("rows"), str(entry.get("part", "test"))),
            _single(entry.get("majority"), str(entry.get("metric", ""))),
            score(entry.get("scratch")),
            score(entry.get("pretrained")),
            tuple(start for start in ("pretrained", "scratch") if start in _list(entry.get("flat"))),
        )
        for entry in results
    ]


def paired(runs: Sequence[Run]) -> list[Row]:
    """Rows from fine-tuned runs: each pre-trained run beside the from-scratch run of the same task and rows."""
    done = [run for run in runs if isinstance(run.evaluations.get("finetune"), dict)]
    fresh = [run for run in done if run.start == "scratch"]
    scratch = {same(run): run for run in reversed(fresh)}  # of several the first; the others stand alone
    started = [run for run in done if run.start != "scratch"]
    tasks = [same(run) for run in started]
    pairs = [(run, scratch.get(same(run))) for run in started]
    alone = [run for run in fresh if same(run) not in tasks or run is not scratch[same(run)]]
    kinds = [run.task for run in (*started, *alone)]  # rows of one kind are told apart by their runs
    out = [_row(run, other, named=kinds.count(run.task) > 1) for run, other in pairs]
    return out + [_row(None, run, named=kinds.count(run.task) > 1) for run in alone]


def same(run: Run) -> tuple[str, ...]:
    """What two runs must share to be compared: the task and its columns, its rows, how long and how, the network."""
    found = run.evaluations.get("finetune")
    about = found if isinstance(found, dict) else {}  # it may still run
    settings = run.about.get("settings")
    held = flat(settings if isinstance(settings, dict) else {})
    hashes = run.about.get("files")
    if isinstance(hashes, dict):  # one file may be named in several ways
        held |= {name: str(hashes.get(name)) for name in ("train", "dev", "test")}
    shared = [f"{name} {value}" for name, value in sorted(held.items()) if name.rpartition(".")[2] not in OWN]
    return run.task, *shared, *(str(about.get(name)) for name in ("metric", "rows", "family", "shape"))


def _row(pretrained: Run | None, scratch: Run | None, named: bool) -> Row:
    run = pretrained or scratch
    assert run is not None
    about: Json = run.evaluations["finetune"]
    metric = str(about.get("metric", "score"))
    parts: Any = about.get("scores") or {}
    part = "test" if parts.get("test") else "dev"
    scores = {
        start: score(((one.evaluations["finetune"].get("scores") or {}).get(part) or {}).get(metric))
        if one
        else None
        for start, one in (("pretrained", pretrained), ("scratch", scratch))
    }
    flat = tuple(
        start
        for start, one in (("pretrained", pretrained), ("scratch", scratch))
        if one and one.evaluations["finetune"].get("no_better")
    )
    return Row(
        f"{run.task} ({run.name})" if named else run.task,
        metric,
        part,
        _rows(about.get("rows"), part),
        _single(about.get("majority"), metric),
        scores["scratch"],
        scores["pretrained"],
        flat,
    )


def score(data: Any) -> Score | None:
    """{"median", "low", "high", "seeds"} as a Score; None when the data holds no median."""
    median = _single(data, "median")
    if median is None or not isinstance(data, dict):
        return None
    low, high = _single(data.get("low"), ""), _single(data.get("high"), "")
    low, high = median if low is None else low, median if high is None else high
    held = data.get("seeds")
    seeds = tuple(float(x) for x in held if _is_number(x)) if isinstance(held, list) else ()
    count = len(held) if isinstance(held, list) else held if isinstance(held, int) else 1
    # A list of seed numbers says how many there were; only a list of scores lies between lowest and highest.
    inside = all(low - 1e-9 <= x <= high + 1e-9 for x in seeds)
    return Score(median, low, high, seeds if inside else (), count)


def _is_number(x: Any) -> bool:
    return isinstance(x, int | float) and not isinstance(x, bool)


def _list(data: Any) -> list[Any]:
    return data if isinstance(data, list) else []


def _single(data: Any, key: str) -> float | None:
    value = data.get(key) if isinstance(data, dict) else data
    return float(value) if isinstance(value, int | float) and _is_number(value) else None


def _rows(data: Any, part: str = "test") -> str:
    if isinstance(data, dict):
        scored = data.get(part)
        words = [f"{data['train']:,}" if _is_number(data.get("train")) else "?"]
        return " / ".join(words + ([f"{scored:,}"] if _is_number(scored) else []))
    return f"{data:,}" if _is_number(data) else "–"

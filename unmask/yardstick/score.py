"""Predictions → values, failed runs, verdicts in words, and the means that a suite is read by.

A task's value is the mean of its metrics, over its parts (MNLI's m and mm) too; the suite's mean is over the values of
its tasks, as GLUE averages (Wang et al. 2019), and carries the suite's name only where none is missing. A fine-tuning
has *failed* if it says one and the same of every row, or does not beat the most frequent training answer by more than a
point. Two starts are compared by a paired bootstrap over rows and the luck of their seeds; over several tasks with
Holm's adjustment. Everything × 100.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unmask.evaluation.measures import Measure, joined, mean_of, measure
from unmask.evaluation.statistics import Difference, compare, holm, interval, spread
from unmask.settings import to_json
from unmask.yardstick.rows import Item, Rows
from unmask.yardstick.suites import Suite, SuiteTask

STARTS = ("pretrained", "scratch")
FAILED = 1.0  # points above the most frequent answer that a run must pass
LEVEL = 0.05
Json = dict[str, Any]


def value_of(task: SuiteTask, parts: Sequence[Rows], said: Sequence[Sequence[Any]]) -> Measure:
    """The task's value (a fraction) of predictions for its parts."""
    return joined(
        [mean_of(list(metrics_of(task, rows, x).values())) for rows, x in zip(parts, said, strict=True)]
    )


def metrics_of(task: SuiteTask, rows: Rows, said: Sequence[Any]) -> dict[str, Measure]:
    """Every metric of a task on one part."""
    items = rows.items
    if len(said) != len(items):
        raise ValueError(f"{task.name}: {len(said)} predictions for {len(items)} rows")
    grouped = task.kind != "score" and any(x.group for x in items)  # ranks are of rows
    groups = [x.group or f"\0{n}" for n, x in enumerate(items)] if grouped else None
    keys = [x.key or str(n) for n, x in enumerate(items)]
    found = {}
    for name in task.metrics:
        gold, answers = told(task, name, items, said)
        found[name] = measure(
            name,
            gold,
            answers,
            labels=task.labels,
            positive=task.positive,
            groups=groups,
            keys=keys,
        )
    return found


def told(
    task: SuiteTask, metric: str, items: Sequence[Item], said: Sequence[Any]
) -> tuple[list[Any], list[Any]]:
    """Gold and said as a metric takes them."""
    if metric.startswith("record"):
        return [x.about[1] for x in items], [(x.about[0], s[1]) for x, s in zip(items, said, strict=True)]
    if task.kind == "score":
        return [float(x.gold) for x in items], [float(np.clip(s, *task.bounds)) for s in said]
    if task.kind == "answer":
        return [[text for text, _ in x.gold] for x in items], list(said)
    plain = [s[0] if task.reader == "record" else s for s in said]
    return [list(x.gold) if task.kind == "tag" else x.gold for x in items], plain


def frequent(task: SuiteTask, train: Rows, rows: Rows) -> list[Any]:
    """The answers that need no text: the most frequent training label or tag, the mean score, no answer."""
    if task.kind == "score":
        return [float(np.mean([float(x.gold) for x in train.items]))] * len(rows)
    if task.kind == "answer":
        return [""] * len(rows)
    if task.kind == "tag":
        (tag, _), *_ = Counter(tag for x in train.items for tag in x.gold).most_common(1)
        return [[tag] * len(x.texts) for x in rows.items]
    counts = Counter(x.gold for x in train.items)
    label = max(sorted(counts), key=lambda name: counts[name])
    return [[label, 0.5]] * len(rows) if task.reader == "record" else [label] * len(rows)


def flat(said: Sequence[Any]) -> bool:
    """Whether every answer (or tag) is one and the same."""
    values = [tuple(x) if isinstance(x, list) and not _tagged(x) else x for x in said]
    if said and _tagged(said[0]):
        values = [tag for tags in said for tag in tags]
    return len(values) > 1 and len(set(map(str, values))) == 1


def _tagged(x: Any) -> bool:
    return isinstance(x, list) and all(isinstance(tag, str) for tag in x)


@dataclass(frozen=True)
class Arm:
    """One start of a task: what was chosen, and the predictions of every seed for the report parts."""

    rate: float
    epochs: float | None
    head: str
    tried: int  # settings that were compared, one seed each
    seeds: tuple[int, ...]
    said: tuple[tuple[list[Any], ...], ...]  # [seeds][parts]
    select: tuple[float, ...]  # value × 100 on the rows that chose, a seed
    seconds: tuple[float, ...]
    steps: int


def arm_json(task: SuiteTask, arm: Arm, parts: Sequence[Rows], floor: float, human: float | None) -> Json:
    """One start's numbers; `floor` is the value of the most frequent answer, × 100."""
    of = [value_of(task, parts, said) for said in arm.said]
    values = [100 * m.value for m in of]
    failed = [
        seed
        for seed, value, said in zip(arm.seeds, values, arm.said, strict=True)
        if value <= floor + FAILED or all(flat(x) for x in said)
    ]
    names = [f"{metric} {rows.name}".strip() for rows in parts for metric in task.metrics]
    each = [
        [
            100 * m.value
            for rows, x in zip(parts, said, strict=True)
            for m in metrics_of(task, rows, x).values()
        ]
        for said in arm.said
    ]
    low, high = interval(of)
    middle = spread(values)
    return {
        "value": to_json(middle),
        "interval": [100 * low, 100 * high],
        "metrics": {
            name: to_json(spread(column)) for name, column in zip(names, zip(*each, strict=True), strict=True)
        },
        "relation": middle.median / human if human else None,
        "failed": failed,
        "seeds": list(arm.seeds),
        "learning_rate": arm.rate,
        "epochs": arm.epochs,
        "head": arm.head,
        "steps": arm.steps,
        "tried": arm.tried,
        "select": list(arm.select),
        "seconds": list(arm.seconds),
    }


def human_of(task: SuiteTask) -> float | None:
    return float(np.mean(task.human)) if task.human else None


def task_json(task: SuiteTask, arms: dict[str, Arm], train: Rows, parts: Sequence[Rows], select: int) -> Json:
    """Everything about one task; the comparison of the two starts still without its words."""
    floor = 100 * value_of(task, parts, [frequent(task, train, rows) for rows in parts]).value
    human = human_of(task)
    found: Json = {
        "name": task.name,
        "kind": task.kind,
        "metrics": list(task.metrics),
        "rows": {"train": len(train), "select": select, "report": sum(map(len, parts))},
        "majority": floor,
        "human": human,
        "note": task.note,
        "starts": {
            start: arm_json(task, arms[start], parts, floor, human) for start in STARTS if start in arms
        },
    }
    if len(arms) == 2:
        first, second = (
            [value_of(task, parts, said) for said in arms[s].said] for s in ("scratch", "pretrained")
        )
        gap = compare(first, second)
        seeds = min(len(arm.seeds) for arm in arms.values())
        found["comparison"] = {**to_json(scaled(gap)), "p": gap.p(), "seeds": seeds}
    return found


def scaled(d: Difference) -> Difference:
    """× 100."""
    return Difference(100 * d.difference, 100 * d.low, 100 * d.high, d.not_above, d.not_below)


def verdicts(tasks: Sequence[Json]) -> None:
    """Puts Holm's p and the verdict in words into the comparisons."""
    compared = [t["comparison"] for t in tasks if "comparison" in t]
    for c, adjusted in zip(compared, holm([c["p"] for c in compared]), strict=True):
        c["holm"] = adjusted
    for t in tasks:
        if "comparison" in t:
            t["comparison"]["words"] = words(t)
            t["comparison"]["verdict"] = verdict(t["comparison"])


def verdict(c: Json) -> str:
    """better, worse, or open, which one seed always is: its interval holds nothing of the luck of training."""
    if c["seeds"] == 1 or c["holm"] > LEVEL or c["low"] <= 0 <= c["high"]:
        return "open"
    return "better" if c["difference"] > 0 else "worse"


def words(t: Json) -> str:
    """What the comparison of a task says."""
    c = t["comparison"]
    gap = f"{signed(c['difference'])}, {signed(c['low'])} to {signed(c['high'])}"
    kind = verdict(c)
    if c["seeds"] == 1:
        return f"one seed a start, which shows no luck of training ({gap} by the rows alone)"
    if kind == "open":
        return f"not distinguishable with {t['rows']['report']:,} rows ({gap})"
    return f"pre-training {'helps' if kind == 'better' else 'hurts'} ({gap})"


def signed(x: float) -> str:
    return f"{x:+.1f}".replace("-", "−")


def means(suite: Suite, tasks: Sequence[Json], missing: Sequence[str]) -> Json:
    """The mean over the tasks that count, for each start: of every seed's values, and their median."""
    counted = {t.name for t in suite.counted}
    held = [t for t in tasks if t["name"] in counted]
    complete = len(held) == len(counted)
    found: Json = {
        "complete": complete,
        "tasks": [t["name"] for t in held],
        "name": suite.score
        if complete
        else f"mean of {len(held)} of {len(counted)} tasks, which is no {suite.score}",
        "missing": list(missing),
        "starts": {},
    }
    for start in STARTS:
        arms = [t["starts"][start] for t in held if start in t["starts"]]
        if not arms or len(arms) < len(held):
            continue
        seeds = min(len(a["value"]["seeds"]) for a in arms)
        by_seed = [float(np.mean([a["value"]["seeds"][n] for a in arms])) for n in range(seeds)]
        middle = spread(by_seed)
        ratios = [a["relation"] for a in arms]
        humans = [t["human"] for t in held]
        known = all(r is not None for r in ratios)
        found["starts"][start] = {
            "mean": middle.median,
            "seeds": to_json(middle),
            "relation": float(np.mean(ratios)) if known else None,
            "ratio_of_means": middle.median / float(np.mean(humans)) if known else None,
            "failed": sum(len(a["failed"]) for a in arms),
            "runs": sum(len(a["seeds"]) for a in arms),
        }
    return found

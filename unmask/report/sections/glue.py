"""The section of `unmask glue`, `superglue` and `suite`: tasks in relation to people, both starts, what they are worth.

The chart of the lecture is the first figure of the SuperGLUE paper (Wang et al. 2019b): a model's value on each task
divided by the human one, a dot a task, and the mean over them. There are two means, and the published figure has the
mean of ratios; that is drawn, and over the same tasks for every model. Published values (`report/published.json`, with
their sources) are the server's on test rows, ours are of dev rows: they are drawn hollow, and said so.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import altair as alt

from unmask.report.figures import Spec, data_of, finish, ranges
from unmask.report.read import Run
from unmask.report.sections.form import Cell, Figure, Section, Table
from unmask.report.text import short
from unmask.report.verdict import Row, score

Json = dict[str, Any]
STARTS = {"scratch": "from scratch", "pretrained": "pre-trained"}
SHAPES = [
    "circle",
    "square",
    "triangle-up",
    "diamond",
    "cross",
    "triangle-down",
    "triangle-right",
    "triangle-left",
]
COLOURS = [f"var(--run{n})" for n in range(1, 7)]


@cache
def published() -> Json:
    """The packaged tables of published scores: {"glue": {tasks, rows: [{model, kind, cells, score, source}]}, …}."""
    found: Json = json.loads(files("unmask.report").joinpath("published.json").read_text(encoding="utf-8"))
    return found


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def ratios(row: Json, human: Json, tasks: list[str]) -> dict[str, float]:
    """A published row's task values (the mean of its metrics) over the human ones."""
    return {task: mean(row["cells"][task]) / mean(human["cells"][task]) for task in tasks}


def scored(value: Any) -> list[Json]:
    """The tasks of a stored evaluation; none for what is no such thing."""
    tasks = value.get("tasks") if isinstance(value, dict) else None
    return [t for t in tasks or [] if isinstance(t, dict) and isinstance(t.get("starts"), dict)]


def section(run: Run, value: Json) -> Section | None:
    """Figures, the table of tasks, and the means. None for what holds no tasks."""
    tasks = scored(value)
    if not tasks:
        return None
    name = str(value.get("suite") or "Suite")
    figures = []
    chart = relation([(run.name, value)])
    if chart is not None:
        figures.append(Figure(chart, _caption([value])))
    both = ranges([_row(t) for t in tasks])
    if both is not None:
        figures.append(
            Figure(
                both,
                "Value of every task under both starts: seeds, range, median; the tick is the most frequent answer",
            )
        )
    return Section(
        title=f"{name}: what {run.name} is worth",
        lead=_lead(value),
        figures=figures,
        tables=[_table(tasks)],
        notes=_notes(value, tasks),
    )


def _lead(value: Json) -> str:
    means = value.get("means") or {}
    words = []
    for start, said in STARTS.items():
        one = (means.get("starts") or {}).get(start)
        if isinstance(one, dict) and isinstance(one.get("mean"), int | float):
            share = f", {one['relation']:.2f} of the human score" if one.get("relation") is not None else ""
            words.append(f"{said} {one['mean']:.1f}{share}")
    name = str(means.get("name") or "mean")
    return f"{name[:1].upper()}{name[1:]}: {'; '.join(words)}." if words else name


# -- the chart of the lecture ----------------------------------------------------------------------------------------


def relation(runs: Sequence[tuple[str, Json]]) -> Spec | None:
    """The chart: published models and these runs on one axis, one dot a task. None where no human score is known.

    `runs`: names and what the same suite gave; the tasks are those that all of them have.
    """
    held = [{t["name"]: t for t in _of_people(value)} for _, value in runs]
    names = [name for name in held[0] if all(name in tasks for tasks in held)]
    if not names:
        return None
    points, means = _published(str(runs[0][1].get("published") or ""), names)
    for (run, _), tasks in zip(runs, held, strict=True):
        for start, said in STARTS.items():
            if any(start not in tasks[name]["starts"] for name in names):
                continue
            model, own = f"{short(run, 18)}, {said}", []
            for name in names:
                middle = tasks[name]["starts"][start]["value"]["median"]
                own.append(middle / tasks[name]["human"])
                points.append(_point(model, name, own[-1], middle, "this run, on dev rows", start))
            means.append({"model": model, "mean": round(mean(own), 4), "who": start})
    return _drawn(points, means, names)


def _of_people(value: Json) -> list[Json]:
    """The tasks that count in the mean and have a human score."""
    held = [t for t in scored(value) if isinstance(t.get("human"), int | float)]
    counted = (value.get("means") or {}).get("tasks") or [t["name"] for t in held]
    return [t for t in held if t["name"] in counted]


def beside(runs: Sequence[tuple[str, Json]]) -> Section | None:
    """Several runs of one suite in one chart. None for a single one, or where no human score is known to all."""
    chart = relation(runs) if len(runs) > 1 else None
    if chart is None:
        return None
    suite = str(runs[0][1].get("suite") or "Suite")
    return Section(
        title=f"{suite}: the runs beside each other",
        lead="The tasks that all of them have; each run's own table follows.",
        figures=[Figure(chart, _caption([value for _, value in runs]))],
    )


def _point(model: str, task: str, ratio: float, value: float, source: str, who: str) -> Json:
    return {
        "model": model, "task": task, "ratio": round(ratio, 4), "value": round(value, 2), "source": source, "who": who,
    }  # fmt: skip


def _published(table: str, names: list[str]) -> tuple[list[Json], list[Json]]:
    """Points and means of the published rows that are shown, over the tasks that this run has."""
    data = published().get(table)
    if data is None or not set(names) <= set(data["tasks"]):
        return [], []
    rows = {row["model"]: row for row in data["rows"]}
    human, points, means = rows["human"], [], []
    for model in data["shown"]:
        row = rows[model]
        found = ratios(row, human, names)
        points += [
            _point(model, task, ratio, mean(row["cells"][task]), row["source"], "published")
            for task, ratio in found.items()
        ]
        means.append({"model": model, "mean": round(mean(list(found.values())), 4), "who": "published"})
    return points, means


def _drawn(points: list[Json], means: list[Json], names: list[str]) -> Spec:
    models = [m["model"] for m in means]
    x = alt.X("model:N", sort=models, title=None, axis=alt.Axis(labelAngle=-40, labelLimit=170, grid=True))
    y = alt.Y(
        "ratio:Q", title="share of the human score", scale=alt.Scale(zero=False), axis=alt.Axis(format=".1f")
    )
    colour = alt.Color(
        "task:N",
        sort=names,
        scale=alt.Scale(domain=names, range=[COLOURS[n % len(COLOURS)] for n in range(len(names))]),
        legend=alt.Legend(
            title=None, orient="top", columns=9, labelColor="var(--soft)", symbolStrokeWidth=1.5
        ),
    )
    shape = alt.Shape(
        "task:N", scale=alt.Scale(domain=names, range=[SHAPES[n % len(SHAPES)] for n in range(len(names))])
    )
    told = [
        alt.Tooltip("model:N", title="Model"),
        alt.Tooltip("task:N", title="Task"),
        alt.Tooltip("ratio:Q", title="Share of the human score", format=".2f"),
        alt.Tooltip("value:Q", title="Value", format=".1f"),
        alt.Tooltip("source:N", title="Source"),
    ]
    dots = alt.Chart(data_of(points)).encode(x=x, y=y, color=colour, shape=shape, tooltip=told)
    lines = alt.Chart(data_of(means)).encode(x=x, y=alt.Y("mean:Q", title="share of the human score"))
    said = [
        alt.Tooltip("model:N", title="Model"),
        alt.Tooltip("mean:Q", title="Mean of the ratios", format=".3f"),
    ]
    human = alt.Chart(data_of([{"one": 1.0, "words": "people"}])).encode(y="one:Q")
    layers: list[Any] = [
        human.mark_rule(color="var(--ink)", strokeWidth=1),
        human.mark_text(align="right", dy=-6, color="var(--ink)", fontSize=11.5).encode(
            x=alt.value("width"), text="words:N"
        ),
        lines.transform_filter("datum.who == 'published'").mark_line(
            strokeDash=[5, 4], color="var(--soft)", strokeWidth=1.6
        ),
        lines.transform_filter("datum.who != 'published'").mark_line(color="var(--ink)", strokeWidth=1.8),
        lines.mark_tick(thickness=2.5, size=22, color="var(--ink)").encode(tooltip=said),
        dots.transform_filter("datum.who == 'published'").mark_point(
            filled=False, size=42, strokeWidth=1.4, opacity=0.85
        ),
        dots.transform_filter("datum.who != 'published'").mark_point(filled=True, size=62, opacity=0.95),
    ]
    return finish(alt.layer(*layers), "Every task in relation to the human score", height=330)


def _caption(values: list[Json]) -> str:
    held = [{t["name"] for t in _of_people(value)} for value in values]
    words = (
        f"A dot is a task's value over the human one ({len(set.intersection(*held))} tasks, the same for all models), "
        "the tick the mean of these ratios. "
    )
    if str(values[0].get("published") or "") in published():
        ours = "this run" if len(values) == 1 else "these runs"
        words += (
            f"Hollow, dashed: published, on test rows by the benchmark's server. Filled: {ours}, on dev rows."
        )
    return words


# -- tables ----------------------------------------------------------------------------------------------------------


def _row(t: Json) -> Row:
    scratch, pretrained = (score((t["starts"].get(start) or {}).get("value")) for start in STARTS)
    metrics = " + ".join(map(str, t.get("metrics") or []))
    return Row(str(t.get("name")), metrics, "dev", "", t.get("majority"), scratch, pretrained)


def _table(tasks: list[Json]) -> Table:
    head = [
        "task",
        "metric",
        "rows: train / scored",
        "most frequent",
        *STARTS.values(),
        "rate",
        "failed",
        "human",
        "verdict",
    ]
    return Table(
        head,
        [_line(t) for t in tasks],
        "Values × 100: the mean of a task's metrics; median [lowest–highest] of seeds",
    )


def _line(t: Json) -> list[Cell]:
    arms = [t["starts"].get(start) for start in STARTS]
    rows = t.get("rows") or {}
    failed = " + ".join(f"{len(a['failed'])} of {len(a['seeds'])}" for a in arms if a)
    rates = " / ".join(f"{a['learning_rate']:g}{_head(a)}" for a in arms if a)
    return [
        str(t.get("name")),
        " + ".join(map(str, t.get("metrics") or [])),
        f"{rows.get('train', 0):,} / {rows.get('report', 0):,}",
        t.get("majority"),
        *(_value(a) for a in arms),
        rates,
        failed,
        t.get("human"),
        str((t.get("comparison") or {}).get("words", "")),
    ]


def _head(arm: Json) -> str:
    head = arm.get("head", "auto")
    return "" if head == "auto" else f" {head}"


def _value(arm: Json | None) -> Cell:
    if not arm:
        return None
    v = arm["value"]
    return f"{v['median']:.1f} [{v['low']:.1f}–{v['high']:.1f}]"


def _notes(value: Json, tasks: list[Json]) -> list[str]:
    notes = [f"How: {value.get('protocol')}." if value.get("protocol") else ""]
    missing = (value.get("means") or {}).get("missing") or []
    if missing:
        notes.append(f"Left out, and not in the mean: {', '.join(map(str, missing))}.")
    notes += [f"{t['name']}: {t['note']}." for t in tasks if t.get("note")]
    if any((t.get("comparison")) for t in tasks):
        notes.append(
            "Verdicts: a bootstrap over rows (paired) and the luck of the seeds (Student's t), 95 %, with Holm's "
            "adjustment over the tasks; one seed a start is none. A "
            "run counts as failed if it says one thing of every row or does not pass the most frequent answer by a "
            "point."
        )
    if value.get("published") == "glue":
        notes.append(
            "On QQP published models pass 1: the human F1 is low (59.5) because the labels are noisy, not because "
            "models read better than people. Human scores are of untrained people on a sample."
        )
    return [note for note in notes if note]

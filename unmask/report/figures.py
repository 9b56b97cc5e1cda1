"""Charts as Vega-Lite specifications, made with Altair from plain values.

Colours are CSS custom properties (`var(--pretrained)`), so one drawing serves light, dark and print, with
scripts and without. Start and colour never stand alone: from scratch is a hollow orange diamond, pre-trained a
filled blue disc (Okabe and Ito's pair, told apart by every common kind of colour blindness).
"""

import math
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import altair as alt

from unmask.report.read import Json, Run
from unmask.report.text import number, short
from unmask.report.verdict import Row

Spec = dict[str, Any]
POINTS = 400  # of a curve, at most
STARTS = ("scratch", "pretrained")
WORDS = {"scratch": "from scratch", "pretrained": "pre-trained"}
FONT = (
    "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'Noto Sans CJK SC', 'PingFang SC', sans-serif"
)
_START_COLOURS = alt.Scale(domain=list(STARTS), range=["var(--scratch)", "var(--pretrained)"])
_START_SHAPES = alt.Scale(domain=list(STARTS), range=["diamond", "circle"])


def thin(points: Sequence[Json], limit: int = POINTS) -> list[Json]:
    """A long curve in at most `limit` points: the median of every number over equal stretches."""
    if len(points) <= limit:
        return list(points)
    edges = [i * len(points) // limit for i in range(limit + 1)]
    return [_middle(points[a:b]) for a, b in zip(edges, edges[1:], strict=False)]


def _middle(points: Sequence[Json]) -> Json:
    out: Json = {}
    for key, first in points[0].items():
        held = [p[key] for p in points if isinstance(p.get(key), int | float)]
        out[key] = median(held) if isinstance(first, int | float) and held else first
    return out


def ranges(rows: Sequence[Row]) -> Spec | None:
    """Every task's scores under both starts: seeds, range, median, and the most frequent class."""
    values, majorities = [], []
    marks: list[float] = []
    for row in rows:
        name = short(f"{row.task} · {row.metric}", 44)
        for start, score in zip(STARTS, (row.scratch, row.pretrained), strict=True):
            if score:
                marks += [score.low, score.high]
                words = (
                    f"{score.median:.{row.digits}f} [{score.low:.{row.digits}f}–{score.high:.{row.digits}f}]"
                )
                values.append(
                    {"task": name, "start": start, "Start": WORDS[start], "Median [range]": words}
                    | {
                        "low": score.low,
                        "high": score.high,
                        "median": score.median,
                        "seeds": list(score.seeds),
                    }
                )
        if row.majority is not None:
            marks.append(row.majority)
            majorities.append({"task": name, "majority": row.majority})
    if not values:
        return None
    names = list(dict.fromkeys(str(value["task"]) for value in values))
    y = alt.Y("task:N", sort=names, title=None, axis=alt.Axis(labelLimit=230, labelPadding=10, ticks=False))
    side = alt.YOffset("start:N", scale=alt.Scale(domain=list(STARTS), paddingOuter=0.9))
    domain = _roomy(min(marks), max(marks))
    x = alt.X("median:Q", title=None, axis=alt.Axis(tickCount=8), scale=alt.Scale(zero=False, domain=domain))
    colour = alt.Color("start:N", scale=_START_COLOURS, legend=None)
    base = alt.Chart(data_of(values)).encode(y=y, yOffset=side)
    told = [
        alt.Tooltip("task:N", title="Task"),
        alt.Tooltip("Start:N"),
        alt.Tooltip("Median \\[range\\]:N", title="Median [range]"),
    ]
    layers: list[Any] = [
        base.mark_rule(strokeWidth=2.5, strokeCap="round", opacity=0.55).encode(
            x=alt.X("low:Q", title=None), x2="high:Q", color=colour
        ),
        base.transform_flatten(["seeds"])
        .mark_point(filled=True, size=20, opacity=0.55)
        .encode(x=alt.X("seeds:Q", title=None), color=colour),
        base.mark_point(filled=True, size=110, opacity=1, stroke="var(--paper)", strokeWidth=1.5).encode(
            x=x, color=colour, shape=alt.Shape("start:N", scale=_START_SHAPES, legend=None), tooltip=told
        ),
    ]
    if majorities:
        ticks = alt.Chart(data_of(majorities)).mark_tick(color="var(--soft)", thickness=2, size=30)
        layers.insert(
            0,
            ticks.encode(
                x=alt.X("majority:Q", title=None),
                y=y,
                tooltip=[alt.Tooltip("majority:Q", title="Most frequent class")],
            ),
        )
    return finish(alt.layer(*layers), "Scores of every task under both starts", height=58 * len(names) + 12)


def _roomy(low: float, high: float) -> list[float]:
    """The ends of an axis with some room at both, and none below 0 for what is never below it."""
    room = 0.05 * ((high - low) or abs(high) or 1.0)
    return [low - room if low < 0 else max(0.0, low - room), high + room]


def loss(bodies: Sequence[Run], against: str, term: str = "mlm") -> Spec | None:
    """A loss term over "seconds" or "tokens": training thin, held-out thick, what guessing costs dashed."""
    return _curves(
        bodies,
        against,
        lambda line: _number(
            (line.get("terms") or {}).get(term), line.get("loss") if term == "mlm" else None
        ),
        lambda line: _number(line.get(term), line.get("loss") if term == "mlm" else None),
        "loss in nats",
        guesses(bodies) if term == "mlm" else _coin_toss(bodies) if term in ("next", "order") else [],
        f"{term} loss against {against}",
    )


def _coin_toss(bodies: Sequence[Run]) -> list[tuple[float, str]]:
    """What guessing costs in a loss of pairs, which is logged times its weight; nothing where weights differ."""
    weights = set()
    for run in bodies:
        settings = run.about.get("settings")
        recipe = settings.get("recipe") if isinstance(settings, dict) else None
        weights.add(_number(recipe.get("pair_weight")) if isinstance(recipe, dict) else None)
    weights.discard(None)  # of bodies without pairs, or of older ones
    if len(weights) > 1:
        return []
    weight = weights.pop() if weights else None
    if weight is None or weight == 1.0:
        return [(math.log(2), "coin toss: ln 2")]
    return [(weight * math.log(2), f"coin toss: {weight:g} ln 2")]


def accuracy(bodies: Sequence[Run], against: str = "tokens") -> Spec | None:
    """Share of masked tokens named right."""
    held: Callable[[Json], float | None] = lambda line: _number(line.get("accuracy"))  # noqa: E731
    return _curves(
        bodies, against, held, held, "masked tokens named right", [], "Masked accuracy", share=True
    )


def guesses(bodies: Sequence[Run]) -> list[tuple[float, str]]:
    """The two lines a model must get under: every token alike (ln V), and the tokens' frequencies alone."""
    words = {"uniform": "all tokens alike: ln V", "unigram": "frequencies alone"}
    found: dict[tuple[str, float], list[str]] = {}
    for run in bodies:
        for key in words:
            value = (run.about.get("lines") or {}).get(key)
            if isinstance(value, int | float):
                found.setdefault((key, round(value, 3)), []).append(run.name)
    alone = len(found) <= len(words)
    return [
        (value, f"{words[key]} = {value:.2f}" + ("" if alone else f" ({short(', '.join(names), 30)})"))
        for (key, value), names in found.items()
    ]


def _curves(
    bodies: Sequence[Run],
    against: str,
    train: Callable[[Json], float | None],
    heldout: Callable[[Json], float | None],
    title: str,
    lines: list[tuple[float, str]],
    description: str,
    share: bool = False,
) -> Spec | None:
    scale, unit = clock(bodies) if against == "seconds" else (1.0, "tokens")
    values = []
    for run in bodies:
        for kind, held, read in (("training", run.train, train), ("held-out", run.heldout, heldout)):
            pairs = [(_number(line.get(against)), read(line)) for line in held]
            points = [{"x": _round(x / scale), "y": y} for x, y in pairs if x is not None and y is not None]
            values += [
                {"x": p["x"], "y": _round(p["y"]), "run": run.name, "kind": kind} for p in thin(points)
            ]
    if not values:
        return None
    names = [run.name for run in bodies]
    colours = alt.Scale(domain=names, range=[f"var(--run{i % 6 + 1})" for i in range(len(names))])
    x = alt.X(
        "x:Q", title=unit, axis=alt.Axis(format="~s" if against == "tokens" else "", tickCount=5, grid=False)
    )
    y = alt.Y(
        "y:Q",
        title=title,
        scale=alt.Scale(zero=share),
        axis=alt.Axis(format="%" if share else "", tickCount=6),
    )
    base = alt.Chart(data_of(values)).encode(x=x, y=y, color=alt.Color("run:N", scale=colours, legend=None))
    told = [
        alt.Tooltip("run:N", title="Run"),
        alt.Tooltip("kind:N", title="Kind"),
        alt.Tooltip("x:Q", title=unit.capitalize(), format=",.4~r"),
    ]
    told.append(alt.Tooltip("y:Q", title=title.capitalize(), format=".1%" if share else ".3f"))
    kinds = {value["kind"] for value in values}
    layers: list[Any] = []
    if "training" in kinds:
        layers.append(
            base.transform_filter("datum.kind == 'training'").mark_line(strokeWidth=1.2, opacity=0.45)
        )
    if "held-out" in kinds:
        dots = alt.OverlayMarkDef(size=34, filled=True)
        layers.append(
            base.transform_filter("datum.kind == 'held-out'").mark_line(strokeWidth=2.2, point=dots)
        )
    layers.append(hover(base, told))
    if lines:
        data = data_of([{"y": value, "words": words} for value, words in lines])
        layers.insert(0, alt.Chart(data).mark_rule(strokeDash=[5, 4], color="var(--soft)").encode(y="y:Q"))
        layers.append(
            alt.Chart(data)
            .mark_text(align="right", dy=-7, color="var(--soft)", fontSize=11.5)
            .encode(x=alt.value("width"), y="y:Q", text="words:N")
        )
    return finish(alt.layer(*layers), description, height=260)


def learning(runs: Sequence[Run], what: str) -> Spec | None:
    """The lecture's figure for one task: a curve of both starts over the steps of fine-tuning, seeds behind it.

    `what`: "loss" (training), or a key of the held-out lines ("accuracy").
    """
    faint, middle = [], []
    for run in runs:
        held = run.train if what == "loss" else run.heldout
        seeds: dict[int, list[Json]] = {}
        for line in held:
            if (value := _number(line.get(what.removeprefix("dev ")))) is not None:
                seeds.setdefault(line.get("seed") or 0, []).append({"step": line["step"], "y": value})
        common: dict[float, list[float]] = {}
        for seed, points in seeds.items():
            for point in thin(points, 120):
                faint.append(
                    {
                        "step": point["step"],
                        "y": _round(point["y"]),
                        "start": run.start,
                        "curve": f"{run.name}/{run.start}/{seed}",
                    }
                )
                common.setdefault(point["step"], []).append(point["y"])
        full = [(step, ys) for step, ys in sorted(common.items()) if len(ys) == len(seeds)]
        middle += [
            {
                "step": step,
                "y": _round(median(ys)),
                "start": run.start,
                "Start": WORDS.get(run.start, run.start),
                "curve": f"{run.name}/{run.start}",
            }
            for step, ys in full
        ]
    if not faint:
        return None
    colour = alt.Color("start:N", scale=_START_COLOURS, legend=None)
    x = alt.X("step:Q", title="step", axis=alt.Axis(tickCount=5, grid=False))
    y = alt.Y("y:Q", title=None, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=5))
    seeds_drawn = (
        alt.Chart(data_of(faint))
        .mark_line(strokeWidth=1, opacity=0.28)
        .encode(x=x, y=y, color=colour, detail="curve:N")
    )
    told = [
        alt.Tooltip("Start:N"),
        alt.Tooltip("step:Q", title="Step", format=","),
        alt.Tooltip("y:Q", title=f"Median {what}", format=",.4~r"),
    ]
    medians = alt.Chart(data_of(middle)).encode(x=x, y=y, color=colour, detail="curve:N")
    layers = [seeds_drawn] + ([medians.mark_line(strokeWidth=2.4), hover(medians, told)] if middle else [])
    return finish(alt.layer(*layers), f"{what} while fine-tuning", height=190)


def hover(base: Any, told: list[alt.Tooltip]) -> Any:
    """Points that show, with their numbers, when the pointer is near."""
    near = alt.selection_point(name="near", nearest=True, on="pointermove", clear="pointerout", empty=False)
    seen = alt.condition(near, alt.value(1), alt.value(0))
    return base.mark_point(filled=True, size=60).encode(opacity=seen, tooltip=told).add_params(near)


def clock(bodies: Sequence[Run]) -> tuple[float, str]:
    """Seconds a unit, and the unit: what reads best for the longest run."""
    longest = max((line.get("seconds") or 0 for run in bodies for line in run.train + run.heldout), default=0)
    return (
        (3600.0, "hours") if longest > 3 * 3600 else (60.0, "minutes") if longest > 180 else (1.0, "seconds")
    )


def _number(*values: Any) -> float | None:
    return next((float(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool)), None)


def _round(x: float) -> float:
    """Five figures: finer than a screen, shorter than a float."""
    return float(f"{x:.5g}")


def data_of(values: list[Json]) -> alt.InlineData:
    """Points that Altair writes once a chart, under a name, however many layers share them."""
    return alt.InlineData(values=values)


def finish(chart: Any, description: str, height: int) -> Spec:
    axis = {
        "labelColor": "var(--soft)", "titleColor": "var(--soft)", "gridColor": "var(--hair)", "domain": False,
        "tickColor": "var(--hair)", "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal",
    }  # fmt: skip
    spec: Spec = chart.to_dict()
    spec |= {"width": "container", "height": height, "description": description, "background": None}
    spec["autosize"] = {"type": "fit-x", "contains": "padding"}
    spec["config"] = {
        "font": FONT, "view": {"stroke": None}, "axis": axis,
        "axisY": {"labelColor": "var(--ink)"} if "Scores" in description else {},
        "point": {"strokeWidth": 0},
    }  # fmt: skip
    spec.pop("$schema", None)
    return spec


__all__ = ["Spec", "accuracy", "guesses", "learning", "loss", "number", "ranges", "thin"]

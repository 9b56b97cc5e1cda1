"""The figures of `unmask embryo`: curves of the classes, their order, probes by layer, a task over the updates."""

from __future__ import annotations

from typing import Any

import altair as alt

from unmask.report.figures import Spec, data_of, finish, hover

Json = dict[str, Any]
COLOURS = [f"var(--run{n})" for n in range(1, 7)]
DASHES = ([1, 0], [6, 3], [2, 2])  # the colours are six: a dash tells the seventh class from the first


def curves(
    value: Json, named: dict[str, str], *, against: str, kind: str = "masked", rescaled: bool = False
) -> Spec:
    """Accuracy of every class (or of kind "surprisal" nats) over "tokens" or "seconds", a line a run."""
    nats = kind == "surprisal"
    points = []
    for name, words in named.items():
        for n, run in enumerate(value["runs"]):
            line = value["classes"][name][kind]["nats" if nats else "accuracy"][n]
            whole = line[-1] if rescaled else 1.0
            if whole > 0:
                points += [
                    {
                        "x": x,
                        "y": round(y / whole, 4),
                        "class": words,
                        "run": run["name"],
                        "line": f"{name}/{n}",
                    }
                    for x, y in zip(_places(run[against]), line, strict=True)
                ]
    x = _log(against)
    title = "nats" if nats else "share of its end" if rescaled else "words put back"
    y = alt.Y(
        "y:Q", title=title, axis=alt.Axis(format=".0f" if nats else "%"), scale=alt.Scale(zero=not nats)
    )
    base = alt.Chart(data_of(points)).encode(x=x, y=y, detail="line:N", **_looks(list(named.values())))
    told = [
        alt.Tooltip("class:N", title="Class"),
        alt.Tooltip("x:Q", title=against.capitalize(), format=",.3~s"),
        alt.Tooltip("y:Q", title="Nats" if nats else "Share", format=".2f" if nats else ".1%"),
    ]
    layers = [base.mark_line(strokeWidth=2), hover(base, told)]
    what = "surprisal of masked words" if nats else f"{kind} words put back"
    return _with_legend(alt.layer(*layers), f"{what} against {against}", height=280)


def _looks(names: list[str]) -> dict[str, Any]:
    legend = _legend()
    colours = [COLOURS[n % len(COLOURS)] for n in range(len(names))]
    dashes = [DASHES[n // len(COLOURS) % len(DASHES)] for n in range(len(names))]
    return {
        "color": alt.Color("class:N", scale=alt.Scale(domain=names, range=colours), legend=legend),
        "strokeDash": alt.StrokeDash("class:N", scale=alt.Scale(domain=names, range=dashes), legend=legend),
    }


def _with_legend(chart: Any, description: str, height: int) -> Spec:
    """`finish`, with the width that the strokes of the legend take over from the points under the pointer."""
    spec = finish(chart, description, height)
    return {**spec, "config": {**spec["config"], "point": {"strokeWidth": 2.5}}}


def _legend() -> alt.Legend:
    """Strokes that are seen although the layer of the pointer is not."""
    return alt.Legend(
        title=None,
        labelColor="var(--ink)",
        symbolType="stroke",
        symbolSize=260,
        symbolStrokeWidth=2.5,
        symbolOpacity=1,
    )


def _places(values: list[float]) -> list[float]:
    """Values of a log axis: what is 0 stands a step before the first that is not."""
    some = [v for v in values if v > 0]
    first = min(some) / 2 if some else 1.0
    return [v if v > 0 else first for v in values]


def _log(against: str) -> alt.X:
    title = "tokens read" if against == "tokens" else against
    return alt.X(
        "x:Q", title=title, scale=alt.Scale(type="log"), axis=alt.Axis(format="~s", tickCount=6, grid=False)
    )


def order(value: Json, named: dict[str, str]) -> Spec | None:
    """Where each class is learnt, with its band; a diamond for other words of its frequencies."""
    points = []
    for name, words in named.items():
        own, matched = value["classes"][name]["masked"]["learnt"], value["classes"][name]["matched"]
        other = matched["others_learnt"]["tokens"] if matched else None
        if own["tokens"] is not None:
            points.append(
                {"class": words, "x": own["tokens"], "low": own["low"], "high": own["high"]}
                | ({"other": other} if other else {})
            )
    if not points:
        return None
    y = alt.Y("class:N", sort=[p["class"] for p in points], title=None, axis=alt.Axis(ticks=False))
    base = alt.Chart(data_of(points)).encode(y=y)
    told = [
        alt.Tooltip("class:N", title="Class"),
        alt.Tooltip("x:Q", title="Learnt at, tokens", format=",.3~s"),
        alt.Tooltip("other:Q", title="Others of its frequencies", format=",.3~s"),
    ]
    untitled = alt.X("low:Q", title=None, scale=alt.Scale(type="log"))
    layers = [
        base.mark_rule(strokeWidth=2.5, opacity=0.5, color="var(--run1)").encode(x=untitled, x2="high:Q"),
        base.transform_filter("isValid(datum.other)")
        .mark_point(shape="diamond", size=70, color="var(--run2)")
        .encode(x=alt.X("other:Q", title=None)),
        base.mark_point(filled=True, size=90, opacity=1, color="var(--run1)").encode(
            x=_log("tokens"), tooltip=told
        ),
    ]
    return finish(alt.layer(*layers), "The order in which classes are learnt", height=26 * len(points) + 10)


def probe(value: Json, one: Json) -> Spec:
    """A probe's accuracy by layer over the tokens; the range of random encoders at each layer as a dashed line."""
    names = [f"layer {k}" for k in one["layers"]]
    points = [
        {"x": x, "y": round(y, 2), "class": names[k], "line": f"{k}/{n}"}
        for n, run in enumerate(value["runs"])
        for x, scores in zip(_places(run["tokens"]), one["accuracy"][n], strict=True)
        for k, y in enumerate(scores)
    ]
    drawn = [
        {"y": round(sum(draw[k] for draw in one["random"]) / len(one["random"]), 2), "class": names[k]}
        for k in range(len(names))
        if one["random"]
    ]
    y = alt.Y("y:Q", title="right, × 100", scale=alt.Scale(zero=False))
    legend = _legend()
    colour = alt.Color("class:N", scale=alt.Scale(domain=names, range=COLOURS[: len(names)]), legend=legend)
    base = alt.Chart(data_of(points)).encode(x=_log("tokens"), y=y, color=colour, detail="line:N")
    told = [
        alt.Tooltip("class:N", title="Layer"),
        alt.Tooltip("x:Q", title="Tokens", format=",.3~s"),
        alt.Tooltip("y:Q", title="Right × 100", format=".1f"),
    ]
    layers: list[Any] = [base.mark_line(strokeWidth=2), hover(base, told)]
    if drawn:
        lines = alt.Chart(data_of(drawn)).mark_rule(strokeDash=[5, 4], opacity=0.8)
        layers.insert(0, lines.encode(y="y:Q", color=colour))
    return _with_legend(alt.layer(*layers), "Probe over the tokens", height=240)


def task(value: Json) -> Spec:
    """A task's score over the updates of pre-training: seeds, their range and median, the most frequent answer."""
    found, run = value["task"], value["runs"][0]
    steps = _places(run["step"])
    points = [
        {"x": steps[one["snapshot"]], "y": one["median"], "low": one["low"], "high": one["high"]}
        for one in found["scores"]
    ]
    x = alt.X(
        "x:Q",
        title="updates of pre-training",
        scale=alt.Scale(type="log"),
        axis=alt.Axis(format="~s", grid=False),
    )
    y = alt.Y("y:Q", title=f"{found['metric']} × 100", scale=alt.Scale(zero=False))
    base = alt.Chart(data_of(points)).encode(x=x)
    told = [
        alt.Tooltip("x:Q", title="Updates", format=","),
        alt.Tooltip("y:Q", title="Median", format=".1f"),
        alt.Tooltip("low:Q", title="Lowest", format=".1f"),
        alt.Tooltip("high:Q", title="Highest", format=".1f"),
    ]
    majority = alt.Chart(data_of([{"y": found["majority"]}])).mark_rule(
        strokeDash=[5, 4], color="var(--soft)"
    )
    layers = [
        majority.encode(y="y:Q"),
        base.mark_rule(strokeWidth=2, opacity=0.5, color="var(--pretrained)").encode(
            y=alt.Y("low:Q", title=None), y2="high:Q"
        ),
        base.mark_line(strokeWidth=2, color="var(--pretrained)").encode(y=y),
        base.mark_point(filled=True, size=70, opacity=1, color="var(--pretrained)").encode(y=y, tooltip=told),
    ]
    return finish(alt.layer(*layers), "A task over the updates of pre-training", height=220)

"""`evaluation/why.NAME.json` on the page: scores of four starts, curves, labels saved, the way through the weights.

The figures are those of Hao et al. 2019 (curves of training and dev together; the loss on the straight way from
start to solution; the loss over a plane with the trajectory on it) and the score against the number of labelled
rows. All starts share scales; the surface's is logarithmic, as darkness, so that it reads in light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import Any

import altair as alt

from unmask.report.figures import Spec, data_of, finish, hover
from unmask.report.read import Json, Run
from unmask.report.sections.form import Cell, Figure, Section, Table
from unmask.report.text import number

STARTS = ("pretrained", "scratch", "frozen", "embeddings")
WORDS = {
    "pretrained": "pre-trained",
    "scratch": "from scratch",
    "frozen": "frozen body",
    "embeddings": "embeddings alone",
}
COLOURS = alt.Scale(
    domain=[WORDS[s] for s in STARTS],
    range=["var(--pretrained)", "var(--scratch)", "var(--run2)", "var(--run3)"],
)
SHAPES = alt.Scale(domain=[WORDS[s] for s in STARTS], range=["circle", "diamond", "square", "triangle-up"])
BANDS = 12  # shades of a surface


def section(run: Run, r: Json) -> Section | None:
    """The section of one study; None where it holds no start."""
    starts = {s: v for s in STARTS if isinstance(v := (r.get("starts") or {}).get(s), dict)}
    if not starts:
        return None
    seeds = len(r.get("seeds") or [])
    figures = [
        Figure(spec, caption)
        for spec, caption in (
            (
                curves(starts, ("train", "dev"), "loss"),
                f"Loss on fixed samples of {r.get('sample', 0)} rows, without dropout: training solid, dev dashed. "
                "Thick: median over seeds; thin: each seed",
            ),
            (curves(starts, ("score",), str(r.get("metric"))), f"{r.get('metric')} on the sample of dev"),
            (
                labelled(starts, r),
                f"{r.get('metric')} against the number of labelled rows; bands: lowest to highest seed",
            ),
            (
                ways(r.get("ways") or []),
                "Training loss on the straight way through the weights: 0 is the start, 1 where training ended; "
                "the points at both ends are the losses that training measured",
            ),
        )
        if spec is not None
    ]
    for way in surfaces(r.get("ways") or []):
        figures.append(way)
    return Section(
        title=f"Why {r.get('name')}: {run.name}",
        lead=f"{r.get('metric')} on {r.get('reported')} after {number(r.get('steps'))} updates of {r.get('batch')} "
        f"rows, {seeds} seed{'s' * (seeds != 1)}; the most frequent answer scores {_points(r.get('majority'))}",
        figures=figures,
        tables=[_scores(starts, r), *_grids(r)],
        notes=[str(text) for text in r.get("readings") or []],
    )


def _points(value: Any) -> str:
    return f"{value:.1f}" if isinstance(value, int | float) else "–"


def _scores(starts: dict[str, Json], r: Json) -> Table:
    sizes = [str(n) for n in r.get("sizes") or []]
    rows: list[list[Cell]] = []
    for start, own in starts.items():
        cells: list[Cell] = []
        for n in sizes:
            s = (own.get("scores") or {}).get(n)
            cells.append(
                f"{s['median']:.1f} [{s['low']:.1f}–{s['high']:.1f}]"
                if isinstance(s, dict)
                and all(isinstance(s.get(k), int | float) for k in ("median", "low", "high"))
                else None
            )
        rows.append([WORDS[start], own.get("rate"), *cells, own.get("moved"), own.get("failed")])
    head = ["start", "rate", *(f"{int(n):,} rows" for n in sizes), "weights that move", "did not learn"]
    return Table(head, rows, "Median [lowest–highest] over seeds")


def _grids(r: Json) -> list[Table]:
    rows: list[list[Cell]] = [
        [WORDS.get(start, start), x.get("rate"), _points((x.get("dev") or {}).get("median")),
         "chosen" if x.get("rate") == grid.get("chosen") else ""]
        for start, grid in (r.get("grids") or {}).items()
        if isinstance(grid, dict)
        for x in grid.get("rates") or []
    ]  # fmt: skip
    return [Table(["start", "rate", "dev, median", ""], rows, "Every rate that was tried")] if rows else []


# -- figures -----------------------------------------------------------------------------------------------------


def _colour() -> alt.Color:
    return alt.Color(
        "start:N", scale=COLOURS, legend=alt.Legend(title=None, orient="top", labelColor="var(--ink)")
    )


def curves(starts: dict[str, Json], kinds: Sequence[str], title: str) -> Spec | None:
    """Measurements over updates: the first kind solid, the second dashed."""
    faint: list[Json] = []
    middle: list[Json] = []
    for start, own in starts.items():
        held: dict[tuple[str, int], list[float]] = {}
        runs = [c for c in own.get("curves") or [] if isinstance(c, dict)]
        for run in runs:
            for point in run.get("points") or []:
                for kind in kinds:
                    if isinstance(point.get(kind), int | float):
                        value = float(f"{point[kind]:.5g}")
                        faint.append(
                            {"step": point["step"], "y": value, "start": WORDS[start], "kind": kind,
                             "curve": f"{start}/{kind}/{run.get('seed')}"}
                        )  # fmt: skip
                        held.setdefault((kind, point["step"]), []).append(value)
        middle += [
            {"step": step, "y": median(ys), "start": WORDS[start], "kind": kind, "curve": f"{start}/{kind}"}
            for (kind, step), ys in sorted(held.items())
            if len(ys) == len(runs)
        ]
    if not middle:
        return None
    x = alt.X("step:Q", title="updates", axis=alt.Axis(tickCount=6, grid=False))
    y = alt.Y("y:Q", title=title, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=6))
    dash = alt.StrokeDash(
        "kind:N", scale=alt.Scale(domain=list(kinds), range=[[1, 0], [5, 4]][: len(kinds)]), legend=None
    )
    thin = alt.Chart(data_of(faint)).mark_line(strokeWidth=1, opacity=0.25).encode(
        x=x, y=y, color=_colour(), strokeDash=dash, detail="curve:N"
    )  # fmt: skip
    base = alt.Chart(data_of(middle)).encode(x=x, y=y, color=_colour(), detail="curve:N")
    told = [
        alt.Tooltip("start:N", title="Start"),
        alt.Tooltip("kind:N", title="Rows"),
        alt.Tooltip("step:Q", title="Updates", format=","),
        alt.Tooltip("y:Q", title=title, format=".3f"),
    ]
    layers = [thin, base.mark_line(strokeWidth=2.4).encode(strokeDash=dash), hover(base, told)]
    return finish(alt.layer(*layers), f"{title} of the starts over updates", height=280)


def labelled(starts: dict[str, Json], r: Json) -> Spec | None:
    """Score against rows, on a logarithmic axis; None for one number of rows."""
    if len(r.get("sizes") or []) < 2:
        return None
    values = [
        {"rows": int(n), "start": WORDS[start], "median": s["median"], "low": s["low"], "high": s["high"]}
        for start, own in starts.items()
        for n, s in (own.get("scores") or {}).items()
        if isinstance(s, dict) and isinstance(s.get("median"), int | float)
    ]
    if not values:
        return None
    x = alt.X("rows:Q", title="labelled rows", scale=alt.Scale(type="log"),
              axis=alt.Axis(grid=False, format="~s", values=r["sizes"]))  # fmt: skip
    y = alt.Y("median:Q", title=str(r.get("metric")), scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=6))
    base = alt.Chart(data_of(values)).encode(x=x, color=_colour())
    told = [
        alt.Tooltip("start:N", title="Start"),
        alt.Tooltip("rows:Q", title="Rows", format=","),
        *(alt.Tooltip(f"{k}:Q", title=k.capitalize(), format=".1f") for k in ("median", "low", "high")),
    ]
    shape = alt.Shape("start:N", scale=SHAPES, legend=None)
    layers: list[Any] = [
        base.mark_area(opacity=0.14).encode(
            y=alt.Y("low:Q", title=str(r.get("metric")), scale=alt.Scale(zero=False)), y2="high:Q",
            fill=alt.Fill("start:N", scale=COLOURS, legend=None), color=alt.value("transparent"),
        ),
        base.mark_line(strokeWidth=2.2).encode(y=y),
        base.mark_point(filled=True, size=70, opacity=1).encode(y=y, shape=shape, tooltip=told),
    ]  # fmt: skip
    if isinstance(r.get("majority"), int | float):
        rule = alt.Chart(data_of([{"y": r["majority"]}])).mark_rule(strokeDash=[5, 4], color="var(--soft)")
        layers.insert(0, rule.encode(y=alt.Y("y:Q", title=str(r.get("metric")))))
    return finish(alt.layer(*layers), "Score against the number of labelled rows", height=280)


def ways(found: Sequence[Json]) -> Spec | None:
    """Loss on the straight way of each start, and what training measured at its ends."""
    lines, ends = [], []
    for way in found:
        start = WORDS.get(str(way.get("start")), str(way.get("start")))
        lines += [
            {"alpha": a, "loss": float(f"{y:.5g}"), "start": start}
            for a, y in zip(way.get("alphas") or [], way.get("losses") or [], strict=False)
            if isinstance(y, int | float)
        ]
        logged = way.get("logged") or {}
        ends += [
            {"alpha": a, "loss": logged[k], "start": start}
            for a, k in ((0.0, "start"), (1.0, "end"))
            if isinstance(logged.get(k), int | float)
        ]
    if not lines:
        return None
    x = alt.X(
        "alpha:Q",
        title="share of the way from start to end of training",
        axis=alt.Axis(tickCount=8, grid=False),
    )
    y = alt.Y("loss:Q", title="training loss", axis=alt.Axis(tickCount=6), scale=alt.Scale(zero=False))
    base = alt.Chart(data_of(lines)).encode(x=x, y=y, color=_colour())
    told = [alt.Tooltip("start:N", title="Start"), alt.Tooltip("alpha:Q", title="Share"),
            alt.Tooltip("loss:Q", title="Loss", format=".4f")]  # fmt: skip
    points = alt.Chart(data_of(ends)).mark_point(filled=True, size=80, opacity=1).encode(
        x=x, y=y, color=_colour(), shape=alt.Shape("start:N", scale=SHAPES, legend=None)
    )  # fmt: skip
    layers = [base.mark_line(strokeWidth=2.2), points, hover(base, told)]
    return finish(alt.layer(*layers), "Training loss on the way through the weights", height=260)


def surfaces(found: Sequence[Json]) -> list[Figure]:
    """A heat map a start, all with one logarithmic scale, the trajectory on it."""
    held = [way for way in found if isinstance(way.get("surface"), dict)]
    every = [
        y for way in held for row in way["surface"].get("losses") or [] for y in row
        if isinstance(y, int | float) and y > 0
    ]  # fmt: skip
    if not every:
        return []
    low, high = math.log(min(every)), math.log(max(every))
    return [Figure(_surface(way, low, high), _told(way["surface"], way, low, high)) for way in held]


def _told(s: Json, way: Json, low: float, high: float) -> str:
    inside = s.get("inside")
    second = (
        f"a random direction, filter-normalised to the weights where training ended (seed {s.get('seed')})"
        if s.get("plane") == "filter"
        else "the direction in which the trajectory bends most, as long as the way"
    )
    share = (
        f"; {100 * inside:.0f} % of the trajectory's squared length lies in this plane"
        if isinstance(inside, int | float)
        else ""
    )
    return (
        f"{WORDS.get(str(way.get('start')))}: training loss on {way.get('rows')} rows, from {math.exp(low):.3g} "
        f"(light) to {math.exp(high):.3g} (dark), logarithmic, the same for all starts. Across: the way (0 to 1); up: "
        f"{second}{share}. The line is the trajectory"
    )


def _surface(way: Json, low: float, high: float) -> Spec:
    s = way["surface"]
    across, up = s["across"], s["up"]
    half = ((across[1] - across[0]) / 2, (up[1] - up[0]) / 2)
    cells = [
        {"x": x - half[0], "x2": x + half[0], "y": y - half[1], "y2": y + half[1], "loss": float(f"{v:.5g}"),
         "dark": round((math.log(v) - low) / max(1e-9, high - low) * BANDS) / BANDS}
        for y, row in zip(up, s["losses"], strict=False)
        for x, v in zip(across, row, strict=False)
        if isinstance(v, int | float) and v > 0
    ]  # fmt: skip
    x = alt.X(
        "x:Q",
        title="the way: 0 start, 1 end",
        axis=alt.Axis(grid=False),
        scale=alt.Scale(nice=False, zero=False),
    )
    y = alt.Y(
        "y:Q", title="second direction", axis=alt.Axis(grid=False), scale=alt.Scale(nice=False, zero=False)
    )
    name = str(way.get("start"))
    tiles = alt.Chart(data_of(cells)).mark_rect(color="var(--ink)", strokeWidth=0).encode(
        x=x, x2="x2:Q", y=y, y2="y2:Q",
        fillOpacity=alt.FillOpacity("dark:Q", scale=alt.Scale(domain=[0, 1], range=[0.02, 0.85]), legend=None),
        tooltip=[alt.Tooltip("loss:Q", title="Loss", format=".4f")],
    )  # fmt: skip
    colour = "var(--scratch)" if name == "scratch" else "var(--pretrained)"
    steps = [p for p in s.get("trajectory") or [] if isinstance(p, dict)]
    path = alt.Chart(data_of(steps)).encode(x=x, y=y, order=alt.Order("step:Q"))
    layers = [
        tiles,
        path.mark_line(color=colour, strokeWidth=2.5),
        path.mark_point(filled=True, size=36, color=colour, opacity=1).encode(
            tooltip=[alt.Tooltip("step:Q", title="Updates", format=",")]
        ),
    ]
    return finish(alt.layer(*layers), f"Loss around the way, {WORDS.get(name, name)}", height=300)

"""The section of `unmask minimal-pairs`: a phenomenon a line, the untrained bodies' range and people beside the run."""

from __future__ import annotations

from typing import Any

import altair as alt

from unmask.report.figures import Spec, data_of, finish
from unmask.report.read import Run
from unmask.report.sections.form import Cell, Figure, Section, Table
from unmask.settings import show_count, show_seconds
from unmask.yardstick.published_pairs import LICENCE, PAPER, PHENOMENA, SMALL, TABLE

Json = dict[str, Any]
WORDS = {
    "original": "every piece alone",
    "within_word": "within word, left to right",
    "whole_word": "whole word",
}
NEAR = {name: n for n, name in enumerate(PHENOMENA)}


def section(run: Run, value: Json) -> Section | None:
    """The figure by phenomenon, the table, and for BLiMP the published baselines. None for what holds no scores."""
    scorings = value.get("scorings")
    if not isinstance(scorings, dict) or not scorings:
        return None
    pairs = value.get("pairs") or {}
    first = next(iter(scorings.values()))
    blimp = pairs.get("name") == "BLiMP"
    drawn = (value.get("untrained") or {}).get("scorings") or {}
    ranges = {
        name: _range(drawn.get(next(iter(scorings))) or [], name) for name in [*first["phenomena"], None]
    }
    tables = [_table(scorings, ranges, blimp)]
    if blimp:
        tables.append(_small(run, first["whole"], value))
    count = pairs.get("count") or 0
    return Section(
        title=f"Minimal pairs: what {run.name} prefers",
        lead=f"{count:,} pairs of {pairs.get('name')}: how often the acceptable sentence has the higher "
        f"pseudo-log-likelihood, × 100; chance is 50. {_cost(value)}",
        figures=[Figure(_figure(first, ranges, blimp), _caption(scorings, blimp, drawn))],
        tables=tables,
        notes=_notes(value, pairs, blimp),
    )


def _range(drawn: list[Json], name: str | None) -> tuple[float, float] | None:
    values = [
        (one["whole"] if name is None else one["phenomena"][name])["accuracy"]
        for one in drawn
        if name is None or name in one["phenomena"]
    ]
    return (min(values), max(values)) if values else None


def _cost(value: Json) -> str:
    seen = value.get("seen") or {}
    if not seen.get("tokens"):
        return "What the model has read is not known."
    words = f", about {show_count(seen['words'])} words" if seen.get("words") else ""
    return f"The run had read {show_count(seen['tokens'])} tokens{words} in {show_seconds(seen['seconds'])}."


def _caption(scorings: Json, blimp: bool, drawn: Json) -> str:
    how = WORDS.get(next(iter(scorings)), "")
    control = "; the bar is the range of untrained bodies" if drawn else ""
    people = "; the tick is a person (published)" if blimp else ""
    return f"By phenomenon, {how}: the dot with its 95 % interval{control}{people}"


def _figure(first: Json, ranges: dict[str | None, tuple[float, float] | None], blimp: bool) -> Spec:
    human = dict(zip(PHENOMENA, TABLE[-1].values, strict=True)) if blimp else {}
    points = [
        {
            "name": _plain(name),
            "accuracy": round(one["accuracy"], 2),
            "low": round(one["low"], 2),
            "high": round(one["high"], 2),
            "pairs": one["pairs"],
            **({"least": own[0], "most": own[1]} if (own := ranges.get(name)) else {}),
            **({"human": human[name]} if name in human else {}),
        }
        for name, one in first["phenomena"].items()
    ]
    points.sort(key=lambda point: -float(point["accuracy"]))
    y = alt.Y(
        "name:N", sort=[p["name"] for p in points], title=None, axis=alt.Axis(labelLimit=230, ticks=False)
    )
    x = alt.X(
        "accuracy:Q", title="acceptable sentence preferred, × 100", scale=alt.Scale(zero=False, padding=12)
    )
    base = alt.Chart(data_of(points)).encode(y=y)
    told = [
        alt.Tooltip("name:N", title="Phenomenon"),
        alt.Tooltip("accuracy:Q", title="Accuracy × 100", format=".1f"),
        alt.Tooltip("pairs:Q", title="Pairs", format=","),
    ]
    chance = alt.Chart(data_of([{"chance": 50}])).mark_rule(strokeDash=[5, 4], color="var(--soft)")
    layers: list[Any] = [chance.encode(x=alt.X("chance:Q", title=None))]
    if any("least" in p for p in points):
        layers.append(
            base.transform_filter("isValid(datum.least)")
            .mark_bar(height=12, opacity=0.22, color="var(--scratch)")
            .encode(x=alt.X("least:Q", title=None), x2="most:Q")
        )
    if human:
        ticks = base.transform_filter("isValid(datum.human)").mark_tick(
            thickness=2, size=16, color="var(--soft)"
        )
        layers.append(
            ticks.encode(
                x=alt.X("human:Q", title=None), tooltip=[alt.Tooltip("human:Q", title="A person (published)")]
            )
        )
    layers.append(
        base.mark_rule(strokeWidth=2, color="var(--run1)").encode(x=alt.X("low:Q", title=None), x2="high:Q")
    )
    layers.append(
        base.mark_point(filled=True, size=90, opacity=1, color="var(--run1)").encode(x=x, tooltip=told)
    )
    return finish(alt.layer(*layers), "Minimal pairs by phenomenon", height=26 * len(points) + 10)


def _table(scorings: Json, ranges: dict[str | None, tuple[float, float] | None], blimp: bool) -> Table:
    first = next(iter(scorings.values()))
    untrained = any(ranges.values())
    head = ["phenomenon", "pairs", *[WORDS.get(name, name) for name in scorings]]
    head += ["95 % interval"] + (["untrained"] if untrained else [])
    head += [f"{row.name} (published)" for row in TABLE] if blimp else []

    def row(name: str | None) -> list[Cell]:
        parts = [one["whole"] if name is None else one["phenomena"][name] for one in scorings.values()]
        cells: list[Cell] = ["mean over paradigms" if name is None else _plain(name), parts[0]["pairs"]]
        cells += [round(float(part["accuracy"]), 1) for part in parts]
        cells.append(f"{parts[0]['low']:.1f} – {parts[0]['high']:.1f}")
        own = ranges.get(name)
        cells += [f"{own[0]:.1f} – {own[1]:.1f}" if own else None] if untrained else []
        if blimp:
            cells += [
                one.whole if name is None else one.values[NEAR[name]] if name in NEAR else None
                for one in TABLE
            ]
        return cells

    return Table(head, [row(name) for name in [*first["phenomena"], None]], "By phenomenon, × 100")


def _small(run: Run, whole: Json, value: Json) -> Table:
    seen = value.get("seen") or {}
    words = show_count(seen["words"]) if seen.get("words") else None
    mine: list[Cell] = [run.name, run.about.get("parameters"), words, round(float(whole["accuracy"]), 1)]
    rows: list[list[Cell]] = [[*mine, "pseudo-log-likelihood", "here"]]
    rows += [
        [one.name, one.parameters, "10 M a pass", one.blimp, one.scoring, f"published: {one.source}"]
        for one in SMALL
    ]
    return Table(
        ["model", "parameters", "words read", "BLiMP", "scored by", "source"],
        rows,
        "Beside published baselines of 10 million words, which were scored on a filtered BLiMP",
    )


def _notes(value: Json, pairs: Json, blimp: bool) -> list[str]:
    scorings = value["scorings"]
    ties = next(iter(scorings.values()))["whole"]["ties"]
    equal = f" ({pairs['equal']} pairs are of equal sentences)" if pairs.get("equal") else ""
    notes = [
        f"Ties count half; {ties:.2f} % of the pairs tied{equal}. A scorer that cannot tell gets exactly 50.0."
    ]
    drawn = value.get("untrained") or {}
    if drawn.get("scorings"):
        notes.append(
            f"Untrained: the same network freshly drawn with {len(drawn['seeds'])} seeds, on {drawn['pairs']:,} pairs."
        )
    gate = value.get("precision") or {}
    if "verdicts_changed" in gate:
        notes.append(
            f"Computed in {gate['used']}: on {gate['sample']} pairs bf16 moved a score by at most "
            f"{gate['largest_difference']:.2f} nats and changed {gate['verdicts_changed']:.1f} % of the verdicts "
            f"(up to {gate['allowed']:.0f} % are allowed)."
        )
    return notes + ([f"By phenomenon, published: {PAPER}. {LICENCE}."] if blimp else [])


def _plain(name: str) -> str:
    return name.replace("_", " ")

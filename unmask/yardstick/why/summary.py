"""From cells to what is said: scores of every start, paired verdicts in words, labels saved, and readings.

Differences are of means over seeds, with an interval of the paired bootstrap over rows and the luck of the seeds
(`evaluation.statistics.compare`); nothing is called a difference whose interval holds 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

from unmask.evaluation.measures import Measure, measure
from unmask.evaluation.statistics import Difference, compare, spread
from unmask.settings import to_json
from unmask.tasks import Examples, Labels, Task
from unmask.yardstick.why.labels import Needed, needed, spread_words
from unmask.yardstick.why.study import STARTS, Cell, Study

if TYPE_CHECKING:
    from unmask.yardstick.why.train import Bench

Json = dict[str, Any]
WORDS = {
    "pretrained": "pre-trained",
    "scratch": "from scratch",
    "frozen": "the frozen body",
    "embeddings": "the embeddings alone",
}
PAIRS = (
    ("scratch", "pretrained"),
    ("embeddings", "pretrained"),
    ("frozen", "pretrained"),
    ("scratch", "embeddings"),
    ("scratch", "frozen"),
)


def measured(task: Task, labels: Labels, examples: Examples, answers: Sequence[Any]) -> Measure:
    """The leading metric of stored answers, as a function of how often each row counts; a fraction."""
    leading, gold = task.leading(labels), [x.gold for x in examples.items]
    if task.NAME == "tag":
        return measure("entity_f1" if leading == "f1" else leading, gold, answers)
    if task.NAME == "answer":
        return measure("f1_answer", [[text for text, _ in g] for g in gold], answers)
    if labels.kind == "score":
        return measure(leading, [float(g) for g in gold], answers)
    return measure(leading, gold, answers, labels=labels.names)


def verdict(d: Difference, first: str, second: str, rows: int, seeds: int) -> str:
    """What the paired bootstrap shows of second against first; numbers × 100."""
    low, high, gap = 100 * d.low, 100 * d.high, 100 * d.difference
    bounds = f"[{low:+.1f} to {high:+.1f}]"
    a, b = WORDS[first], WORDS[second]
    alone = " (one seed: the luck of a training is not in the interval)" if seeds == 1 else ""
    if d.low > 0:
        return f"{b} is above {a} by {gap:.1f} points {bounds}{alone}"
    if d.high < 0:
        return f"{b} is below {a} by {-gap:.1f} points {bounds}{alone}"
    return f"{b} and {a} are not distinguishable with {rows:,} rows and {seeds} seeds: {gap:+.1f} points {bounds}"


def summary(
    bench: Bench,
    name: str,
    sizes: Sequence[int],
    chosen: Mapping[tuple[str, int], float],
    grids: Mapping[str, Json],
    cells: Mapping[Cell, Json],
    scores: Mapping[Cell, Json],
    ways: Sequence[Json],
) -> Json:
    """What evaluation/why.NAME.json holds. `cells` and `scores`: of the chosen rates; `ways`: of `walk`."""
    p, study, task = bench.p, bench.study, bench.p.task
    leading, most, test = task.leading(p.labels), sizes[-1], p.parts["test"].examples
    seeds = list(study.seeds_of())

    def of(start: str, rows: int) -> list[Cell]:
        return [Cell(start, chosen[start, rows], rows, seed) for seed in seeds]

    floor = p.majority["test"][leading]
    found = {
        start: {
            "rate": chosen[start, most],
            "rates": {str(rows): chosen[start, rows] for rows in sizes},
            "scores": {
                str(rows): to_json(spread([scores[c]["scores"][leading] for c in of(start, rows)]))
                for rows in sizes
            },
            "all_scores": {
                metric: to_json(spread([scores[c]["scores"][metric] for c in of(start, most)]))
                for metric in scores[of(start, most)[0]]["scores"]
            },
            "failed": sum(
                scores[c]["flat"] or scores[c]["scores"][leading] <= floor + 1 for c in of(start, most)
            ),
            "moved": cells[of(start, most)[0]]["moved"],
            "step_seconds": median(cells[c]["step_seconds"] for c in of(start, most)),
            "curves": [{"seed": c.seed, "points": cells[c]["curve"]} for c in of(start, most)],
        }
        for start in STARTS
    }
    measures = {
        start: [measured(task, p.labels, test, scores[c]["answers"]) for c in of(start, most)]
        for start in STARTS
    }
    compared = []
    for first, second in PAIRS:
        d = compare(measures[first], measures[second])
        compared.append(
            {
                "first": first,
                "second": second,
                **{k: 100 * v for k, v in to_json(d).items() if k in ("difference", "low", "high")},
                "words": verdict(d, first, second, len(test), len(seeds)),
            }
        )
    result: Json = {
        "name": name,
        "task": task.NAME,
        "metric": leading,
        "rows": {part: len(held.examples) for part, held in p.parts.items()},
        "reported": bench.reported,
        "majority": floor,
        "steps": bench.steps,
        "batch": study.batch,
        "sample": study.sample,
        "seeds": seeds,
        "sizes": list(sizes),
        "grids": dict(grids),
        "starts": found,
        "compared": compared,
        "labels": saved(sizes, found) if len(sizes) > 1 else None,
        "ways": list(ways),
        "notes": list(p.notes),
    }
    return {**result, "readings": readings(result)}


def saved(sizes: Sequence[int], found: Mapping[str, Json]) -> Json:
    """Rows that each start needs for what from scratch reaches with all rows, and the other way round, seed by seed."""

    def curve(start: str, seed: int) -> list[float]:
        return [found[start]["scores"][str(rows)]["seeds"][seed] for rows in sizes]

    count = len(found["scratch"]["scores"][str(sizes[-1])]["seeds"])
    out: Json = {"against": sizes[-1], "starts": {}, "scratch_needs": {}}
    for start in STARTS:
        if start == "scratch":
            continue
        each = [needed(sizes, curve(start, s), curve("scratch", s)[-1]) for s in range(count)]
        out["starts"][start] = {"seeds": [to_json(n) for n in each], "words": spread_words(each)}
    for place, rows in enumerate(sizes):
        each = [needed(sizes, curve("scratch", s), curve("pretrained", s)[place]) for s in range(count)]
        out["scratch_needs"][str(rows)] = {
            "seeds": [to_json(n) for n in each],
            "words": spread_words(each),
        }
    return out


def readings(r: Json) -> list[str]:
    """What the numbers show, a sentence each."""
    starts, said = r["starts"], [c["words"] for c in r["compared"]]
    for start in ("frozen", "embeddings"):
        s = starts[start]["scores"][str(r["sizes"][-1])]
        if start == "frozen":
            gap = s["median"] - r["majority"]
            said.append(
                f"The head alone, on the frozen body, reaches {s['median']:.1f}: {gap:+.1f} against the most frequent "
                f"answer ({r['majority']:.1f})"
            )
    said += faster(starts)
    if r["labels"]:
        need = [Needed(**n) for n in r["labels"]["starts"]["pretrained"]["seeds"]]
        most = r["labels"]["against"]
        said.append(
            f"What from scratch reaches with {most:,} rows, pre-trained reaches with {spread_words(need)}"
            + (
                f": more than all the {most:,} rows that there are, so no label is saved"
                if sorted(n.bound == "more than" for n in need)[(len(need) - 1) // 2]
                else ""
            )
        )
    for start, grid in r["grids"].items():
        if grid["edge"]:
            said.append(
                f"The rate of {WORDS[start]} ({starts[start]['rate']:g}) lies at the edge of its grid: a wider grid "
                "may give more"
            )
    for start in STARTS:
        if starts[start]["failed"]:
            said.append(
                f"{starts[start]['failed']} of {len(r['seeds'])} trainings of {WORDS[start]} did not learn: no more "
                "than a point above the most frequent answer"
            )
    return said


def faster(starts: Mapping[str, Json]) -> list[str]:
    """Whether pre-trained is lower in training loss at the end, and when it passes where from scratch ends."""

    def middle(start: str) -> list[tuple[int, float]]:
        curves = [c["points"] for c in starts[start]["curves"]]
        return [
            (points[0]["step"], median(values))
            for points in zip(*curves, strict=True)
            if len(values := [x["train"] for x in points if x["train"] is not None]) == len(points)
        ]

    a, b = middle("pretrained"), middle("scratch")
    if not a or not b:
        return []
    end, last = b[-1][1], a[-1][0]
    passed = next((step for step, loss in a if loss <= end), None)
    side = "lower" if a[-1][1] < end else "level" if a[-1][1] == end else "higher"
    when = (
        f", and it is as low as from scratch ends after {passed:,} of {last:,} updates"
        if passed is not None and passed < last
        else ""
    )
    return [
        f"Training loss on a fixed sample, after {last:,} updates: pre-trained {a[-1][1]:.3f}, from scratch {end:.3f}: "
        f"pre-trained is {side}{when}"
    ]


def grid_of(study: Study, rates: Mapping[float, Sequence[float]], chosen: float) -> Json:
    """The grid of a start as it is reported: dev scores of every rate, the choice, and whether it is an end of it."""
    known = sorted(rates)
    return {
        "rates": [{"rate": rate, "dev": to_json(spread(rates[rate]))} for rate in known],
        "chosen": chosen,
        "edge": len(known) > 1 and chosen in (known[0], known[-1]),
    }

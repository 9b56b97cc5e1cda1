"""Metrics as functions of how often each row counts, so that a bootstrap of thousands of draws takes a second.

Every metric of the benchmarks is either a function of sums over rows (hits, entries of a confusion matrix, moments) or,
Spearman's, of ranks. `measure` makes it a function of weights [draws, units]: all ones is the score itself, the counts
of a draw with replacement are one bootstrap draw of it. A unit is what is drawn: a row, a sentence, or all rows of a
group (a passage of MultiRC, whose questions stand or fall together). Definitions after GLUE (Wang et al. 2019a) and
SuperGLUE (2019b); values are fractions, as in `metrics`, with which the tests compare them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unmask.evaluation.metrics import entities
from unmask.evaluation.reading import cmrc_em, cmrc_f1, script_metric, squad_em, squad_f1

Weights = np.ndarray  # [draws, units]
CHUNK = 2_000_000  # entries of a block of weights


@dataclass(frozen=True)
class Measure:
    """A metric of one set of predictions: `of(weights)` → one value a draw.  # [draws, units] → [draws]"""

    units: int
    of: Callable[[Weights], np.ndarray]

    @property
    def value(self) -> float:
        """The score itself: every unit once."""
        return float(self.of(np.ones((1, self.units)))[0])


def mean_of(measures: Sequence[Measure]) -> Measure:
    """The mean of several metrics of the same units."""
    if len({m.units for m in measures}) != 1:
        raise ValueError("metrics of different units have no common draw")
    return Measure(measures[0].units, lambda w: np.mean([m.of(w) for m in measures], axis=0))


def joined(measures: Sequence[Measure]) -> Measure:
    """The mean of metrics of different rows, such as MNLI's matched and mismatched: their units one after another."""
    ends = np.cumsum([0, *(m.units for m in measures)])
    return Measure(
        int(ends[-1]),
        lambda w: np.mean(
            [m.of(w[:, a:b]) for m, a, b in zip(measures, ends, ends[1:], strict=False)], axis=0
        ),
    )


def measure(
    metric: str,
    gold: Sequence[Any],
    said: Sequence[Any],
    *,
    labels: Sequence[str] = (),
    positive: str | None = None,
    groups: Sequence[str] | None = None,
    keys: Sequence[str] | None = None,
) -> Measure:
    """The metric of predictions for gold answers, as a function of weights.

    `groups` names the unit of each row (each row is its own without); `keys` the question of each row, for metrics
    over whole questions (em_group, record_*). Raises ValueError for lengths that differ.
    """
    if len(gold) != len(said):
        raise ValueError(f"{len(said)} predictions for {len(gold)} rows")
    if metric not in METRICS:
        raise ValueError(f"no metric {metric}")
    unit, count = _units(groups, len(gold))
    if metric == "spearman":
        return _spearman(np.asarray(gold, float), np.asarray(said, float))
    table, of = METRICS[metric](gold, said, tuple(labels), positive, keys)
    sums = np.zeros((count, table.shape[1]))
    np.add.at(sums, unit, table)
    return Measure(count, lambda w: of(w @ sums))


def _units(groups: Sequence[str] | None, n: int) -> tuple[np.ndarray, int]:
    if groups is None:
        return np.arange(n), n
    number = {name: i for i, name in enumerate(dict.fromkeys(groups))}
    return np.array([number[name] for name in groups], np.int64), len(number)


def _share(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """0 where the denominator is 0."""
    found: np.ndarray = np.divide(top, bottom, out=np.zeros_like(top, dtype=float), where=bottom != 0)
    return found


Made = tuple[
    np.ndarray, Callable[[np.ndarray], np.ndarray]
]  # sums a row [n, s], and their metric [draws, s] → [draws]
Maker = Callable[[Sequence[Any], Sequence[Any], tuple[str, ...], str | None, Sequence[str] | None], Made]


def _accuracy(gold: Any, said: Any, labels: Any, positive: Any, keys: Any) -> Made:
    if len(gold) and isinstance(gold[0], list | tuple):  # tags: a share of words
        table = np.array(
            [
                [sum(a == b for a, b in zip(g, s, strict=True)), len(g)]
                for g, s in zip(gold, said, strict=True)
            ]
        )
    else:
        table = np.array([[g == s, 1] for g, s in zip(gold, said, strict=True)])
    return table.reshape(-1, 2).astype(float), lambda s: _share(s[:, 0], s[:, 1])


def _f1(gold: Any, said: Any, labels: Any, positive: Any, keys: Any) -> Made:
    table = np.array(
        [
            [g == positive and s == positive, (g == positive) + (s == positive)]
            for g, s in zip(gold, said, strict=True)
        ]
    )
    return table.reshape(-1, 2).astype(float), lambda s: _share(2 * s[:, 0], s[:, 1])


def _confusion(gold: Any, said: Any, labels: tuple[str, ...]) -> tuple[np.ndarray, int]:
    names = labels or tuple(sorted({*gold, *said}))
    number, k = {name: i for i, name in enumerate(names)}, len(names)
    table = np.zeros((len(gold), k * k))
    for row, (g, s) in enumerate(zip(gold, said, strict=True)):
        table[row, number[g] * k + number[s]] = 1
    return table, k


def _macro_f1(gold: Any, said: Any, labels: tuple[str, ...], positive: Any, keys: Any) -> Made:
    """Unweighted over the labels that occur in a draw, in gold or answers, as `metrics.macro_f1` has it."""
    table, k = _confusion(gold, said, labels)

    def of(s: np.ndarray) -> np.ndarray:
        c = s.reshape(-1, k, k)
        hits = np.einsum("dii->di", c)
        there = c.sum(1) + c.sum(2)  # [draws, k]
        each: np.ndarray = _share(_share(2 * hits, there).sum(-1), (there > 0).sum(-1))
        return each

    return table, of


def _matthews(gold: Any, said: Any, labels: tuple[str, ...], positive: Any, keys: Any) -> Made:
    """Also of more than two classes (Gorodkin 2004); 0 where a factor of the denominator is."""
    table, k = _confusion(gold, said, labels)

    def of(s: np.ndarray) -> np.ndarray:
        c = s.reshape(-1, k, k)
        t, p, n = c.sum(2), c.sum(1), c.sum((1, 2))
        top = np.einsum("dii->d", c) * n - (t * p).sum(1)
        bottom = np.sqrt(np.maximum(n**2 - (p**2).sum(1), 0) * np.maximum(n**2 - (t**2).sum(1), 0))
        return _share(top, np.where(bottom < 1e-9 * np.maximum(n**2, 1), 0.0, bottom))

    return table, of


def _pearson(gold: Any, said: Any, labels: Any, positive: Any, keys: Any) -> Made:
    x, y = np.asarray(gold, float), np.asarray(said, float)
    x, y = x - x.mean(), y - y.mean()  # far from 0 the moments would cancel
    return np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], 1), _correlation


def _correlation(s: np.ndarray) -> np.ndarray:
    n, x, y, xx, yy, xy = (s[:, i] for i in range(6))
    a, b = n * xx - x * x, n * yy - y * y
    a, b = np.where(a < 1e-12 * n * xx, 0, a), np.where(b < 1e-12 * n * yy, 0, b)
    return _share(n * xy - x * y, np.sqrt(np.maximum(a, 0) * np.maximum(b, 0)))


def _spearman(gold: np.ndarray, said: np.ndarray) -> Measure:
    """Ranks within every draw, ties with their mean rank; then Pearson's."""
    sides = [_ranker(gold), _ranker(said)]

    def of(weights: Weights) -> np.ndarray:
        out = []
        step = max(1, CHUNK // max(1, weights.shape[1]))
        for at in range(0, len(weights), step):
            w = weights[at : at + step]
            x, y = (rank(w) for rank in sides)
            centre = w.sum(1, keepdims=True) / 2
            x, y = x - centre, y - centre
            out.append(
                _correlation(
                    np.stack([(w * v).sum(1) for v in (np.ones_like(x), x, y, x * x, y * y, x * y)], 1)
                )
            )
        return np.concatenate(out)

    return Measure(len(gold), of)


def _ranker(values: np.ndarray) -> Callable[[Weights], np.ndarray]:
    order = np.argsort(values, kind="stable")
    _, first, inverse = np.unique(values[order], return_index=True, return_inverse=True)
    back = np.empty_like(order)
    back[order] = inverse  # number of the tied block of every row

    def rank(w: Weights) -> np.ndarray:  # [draws, n] → mean ranks [draws, n]
        block = np.add.reduceat(w[:, order], first, axis=1)
        ends = np.cumsum(block, axis=1)
        middle: np.ndarray = (ends - block / 2)[:, back]
        return middle

    return rank


def _entity_f1(gold: Any, said: Any, labels: Any, positive: Any, keys: Any) -> Made:
    rows = []
    for g, s in zip(gold, said, strict=True):
        a, b = set(entities(g)), set(entities(s))
        rows.append([len(a & b), len(a) + len(b)])
    return np.array(rows, float).reshape(-1, 2), lambda s: _share(2 * s[:, 0], s[:, 1])


def _best(gold: Any, said: Any, score: Callable[[str, str], float]) -> Made:
    values = [
        (max(score(g, s) for g in golds) if s else 0.0) if golds else float(not s)
        for golds, s in zip(gold, said, strict=True)
    ]
    return np.array([[v, 1.0] for v in values]).reshape(-1, 2), lambda s: _share(s[:, 0], s[:, 1])


def _em(gold: Any, said: Any, labels: Any, positive: Any, keys: Any) -> Made:
    eastern = script_metric([t for golds in gold for t in golds]) == "cmrc"
    return _best(gold, said, cmrc_em if eastern else squad_em)


def _f1_answer(gold: Any, said: Any, labels: Any, positive: Any, keys: Any) -> Made:
    eastern = script_metric([t for golds in gold for t in golds]) == "cmrc"
    version = 2 if any(not golds for golds in gold) else 1
    return _best(gold, said, cmrc_f1 if eastern else lambda g, s: squad_f1(g, s, version))


def _em_group(gold: Any, said: Any, labels: Any, positive: Any, keys: Any) -> Made:
    """The share of questions all of whose rows are right (MultiRC's EM); counted at a question's last row."""
    right: dict[str, bool] = {}
    last: dict[str, int] = {}
    for row, (key, g, s) in enumerate(zip(keys or range(len(gold)), gold, said, strict=True)):
        right[key] = right.get(key, True) and g == s
        last[key] = row
    table = np.zeros((len(gold), 2))
    for key, row in last.items():
        table[row] = right[key], 1.0
    return table, lambda s: _share(s[:, 0], s[:, 1])


def _record(score: Callable[[str, str], float]) -> Maker:
    """`gold` the right entities of a row's question, `said` (entity, probability) of the row: the best one answers."""

    def made(gold: Any, said: Any, labels: Any, positive: Any, keys: Any) -> Made:
        best: dict[str, tuple[float, str, Any, int]] = {}
        for row, (key, golds, (text, share)) in enumerate(zip(keys, gold, said, strict=True)):
            if key not in best or share > best[key][0]:
                best[key] = (share, text, golds, row)
        table = np.zeros((len(gold), 2))
        for _, text, golds, row in best.values():
            table[row] = max((score(g, text) for g in golds), default=0.0), 1.0
        return table, lambda s: _share(s[:, 0], s[:, 1])

    return made


#: name in a suite → its maker; all of them are better when higher
METRICS: dict[str, Maker] = {
    "accuracy": _accuracy,
    "f1": _f1,
    "macro_f1": _macro_f1,
    "matthews": _matthews,
    "pearson": _pearson,
    "spearman": _pearson,  # of ranks, made by `_spearman`
    "entity_f1": _entity_f1,
    "em": _em,
    "f1_answer": _f1_answer,
    "f1a": _f1,  # over all answers of all questions
    "em_group": _em_group,
    "record_f1": _record(squad_f1),
    "record_em": _record(squad_em),
}

"""Metrics as functions of weights: worked vectors, the plain metrics as oracle, and a draw as the repeated rows."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from unmask.evaluation import metrics
from unmask.evaluation.measures import METRICS, Measure, joined, mean_of, measure
from unmask.evaluation.statistics import compare, holm, interval, permutation, weights

GOLD = list("11001011")
SAID = list("10011010")
SCORES = ([0, 2.5, 3, 3, 5, 1], [0.4, 2, 3.6, 2.9, 4.8, 1.6])


def test_worked_classes() -> None:
    def value(metric: str) -> float:
        return measure(metric, GOLD, SAID, labels=("0", "1"), positive="1").value

    assert value("accuracy") == 0.625
    assert value("f1") == pytest.approx(0.666667, abs=1e-6)
    assert value("matthews") == pytest.approx(0.258199, abs=1e-6)


def test_worked_scores() -> None:
    pearson, spearman = (measure(m, *SCORES) for m in ("pearson", "spearman"))
    assert pearson.value == pytest.approx(0.966934, abs=1e-6)
    assert spearman.value == pytest.approx(0.985611, abs=1e-6)
    assert mean_of([pearson, spearman]).value == pytest.approx(0.976272, abs=1e-6)


def test_constant_answers_are_worth_nothing() -> None:
    assert measure("matthews", GOLD, ["1"] * 8, labels=("0", "1")).value == 0
    assert measure("f1", GOLD, ["0"] * 8, positive="1").value == 0
    for metric in ("pearson", "spearman"):
        assert measure(metric, SCORES[0], [2.0] * 6).value == 0


def drawn(metric: str, n: int, rng: random.Random) -> tuple[list[Any], list[Any]]:
    if metric in ("pearson", "spearman"):
        return [float(rng.randint(0, 5)) for _ in range(n)], [
            rng.choice([rng.random() * 5, 2.0]) for _ in range(n)
        ]
    if metric == "entity_f1":
        tags = ["O", "B-PER", "I-PER", "B-LOC"]
        return [[rng.choice(tags) for _ in range(5)] for _ in range(n)], [
            [rng.choice(tags) for _ in range(5)] for _ in range(n)
        ]
    names = "abc"
    gold = [rng.choice(names) for _ in range(n)]
    return gold, [g if rng.random() < 0.6 else rng.choice(names) for g in gold]


@pytest.mark.parametrize(
    "metric", ["accuracy", "macro_f1", "matthews", "pearson", "spearman", "entity_f1", "f1"]
)
def test_a_draw_is_the_metric_of_the_repeated_rows(metric: str) -> None:
    gold, said = drawn(metric, 40, random.Random(metric))
    often = weights(40, 5, seed=3)
    found = measure(metric, gold, said, labels=("a", "b", "c"), positive="a").of(often.astype(float))
    for counts, value in zip(often, found, strict=True):
        rows = [n for n, c in enumerate(counts) for _ in range(c)]
        g, s = [gold[n] for n in rows], [said[n] for n in rows]
        assert value == pytest.approx(
            measure(metric, g, s, labels=("a", "b", "c"), positive="a").value, abs=1e-9
        )


def test_the_plain_metrics_agree() -> None:
    rng = random.Random(0)
    gold, said = drawn("accuracy", 60, rng)
    assert measure("accuracy", gold, said).value == pytest.approx(metrics.accuracy(gold, said))
    assert measure("macro_f1", gold, said, labels=tuple("abc")).value == pytest.approx(
        metrics.macro_f1(gold, said, "abc")
    )
    assert measure("matthews", gold, said, labels=tuple("abc")).value == pytest.approx(
        metrics.matthews(gold, said)
    )
    x, y = drawn("spearman", 60, rng)
    assert measure("spearman", x, y).value == pytest.approx(metrics.spearman(x, y))
    assert measure("pearson", x, y).value == pytest.approx(metrics.pearson(x, y))
    g, s = drawn("entity_f1", 60, rng)
    assert measure("entity_f1", g, s).value == pytest.approx(metrics.entity_f1(g, s)["f1"])


def test_multirc_worked() -> None:
    # two questions of two answers: one all right, one half right
    gold, said, keys = list("1011"), list("1010"), ["p/0", "p/0", "p/1", "p/1"]
    assert measure("em_group", gold, said, keys=keys).value == 0.5
    assert measure("f1a", gold, said, positive="1", keys=keys).value == pytest.approx(2 * 2 / (2 * 2 + 0 + 1))


def test_record_takes_the_most_probable_entity_and_the_best_gold() -> None:
    golds = [["U.S. Navy", "the Navy"]] * 3
    said = [("Army", 0.2), ("Navy", 0.7), ("Marines", 0.1)]
    assert measure("record_em", golds, said, keys=["q"] * 3).value == 1.0  # "the Navy" without its article
    said = [("Army", 0.8), ("Navy", 0.7), ("Marines", 0.1)]
    assert measure("record_em", golds, said, keys=["q"] * 3).value == 0.0
    assert measure("record_f1", [["New York City"]], [("New York", 1.0)], keys=["q"]).value == pytest.approx(
        0.8
    )


def test_answers_by_script() -> None:
    assert measure("em", [["Denver Broncos"]], ["the Denver Broncos!"]).value == 1.0
    assert measure("f1_answer", [["1995年以来"]], ["自1995年以来美国"]).value == pytest.approx(
        0.7273, abs=5e-5
    )
    assert measure("em", [[]], [""]).value == 1.0 and measure("em", [["Rome"]], [""]).value == 0.0


def test_groups_are_drawn_whole() -> None:
    m = measure("accuracy", list("1100"), list("1110"), groups=["a", "a", "b", "b"])
    assert m.units == 2
    np.testing.assert_allclose(m.of(np.array([[2.0, 0.0], [0.0, 2.0]])), [1.0, 0.5])


def test_joined_parts_are_a_plain_mean() -> None:
    m = joined([measure("accuracy", list("11"), list("11")), measure("accuracy", list("1111"), list("1000"))])
    assert m.units == 6 and m.value == pytest.approx((1 + 0.25) / 2)


def test_lengths_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="2 predictions for 3 rows"):
        measure("accuracy", list("110"), list("11"))
    with pytest.raises(ValueError, match="different units"):
        mean_of([Measure(2, lambda w: w[:, 0]), Measure(3, lambda w: w[:, 0])])


# -- the statistics over them ----------------------------------------------------------------------------------------


def right(n: int, hits: int) -> Measure:
    return measure("accuracy", ["1"] * n, ["1"] * hits + ["0"] * (n - hits))


def test_an_interval_is_that_of_a_share() -> None:
    low, high = interval([right(277, 188)])
    half = 1.96 * (188 / 277 * 89 / 277 / 277) ** 0.5  # 2.80 points a standard error, 5.5 either side
    assert low == pytest.approx(188 / 277 - half, abs=0.008) and high == pytest.approx(
        188 / 277 + half, abs=0.008
    )


def test_three_points_on_rte_are_no_difference_and_thirty_are() -> None:
    same = compare([right(277, 180)], [right(277, 180)])
    assert same.difference == 0 and same.p() == 1.0
    gold = ["1"] * 277  # 14 rows that one side alone gets right, and 6 of the other: the exact p is .115
    first = ["1"] * 188 + ["0"] * 14 + ["1"] * 6 + ["0"] * 69
    second = ["1"] * 188 + ["1"] * 14 + ["0"] * 6 + ["0"] * 69
    close = compare([measure("accuracy", gold, first)], [measure("accuracy", gold, second)])
    assert close.difference == pytest.approx(8 / 277)
    assert close.low < 0 < close.high and 0.03 < close.p() < 0.2
    far = compare([right(277, 150)], [right(277, 230)])
    assert far.low > 0 and far.p() < 0.01
    back = compare([right(277, 230)], [right(277, 150)])
    assert back.high < 0 and back.difference == -far.difference


def test_seeds_widen() -> None:
    steady = compare([right(300, 150)] * 3, [right(300, 165)] * 3)
    wild = compare([right(300, n) for n in (110, 150, 190)], [right(300, n) for n in (125, 165, 205)])
    assert wild.high - wild.low > 1.5 * (steady.high - steady.low)
    with pytest.raises(ValueError, match="same ones"):
        compare([right(10, 5)], [right(11, 5)])


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_the_interval_of_few_seeds_holds_the_truth_as_often_as_it_says(seeds: int) -> None:
    """Two sides of one distribution: an interval of 95 % leaves 0 out in 1 of 20 cases, whatever the seeds."""
    rng, cases, out = np.random.default_rng(0), 300, 0
    for case in range(cases):
        first, second = ([right(2000, int(hits)) for hits in rng.normal(1400, 60, seeds)] for _ in range(2))
        gap = compare(first, second, seed=case, draws=400)
        out += not gap.low <= 0 <= gap.high
    assert 0.005 <= out / cases <= 0.085  # drawn with replacement: 0.30, 0.20, 0.12


def test_an_interval_of_seeds_is_students() -> None:
    found = interval([right(100_000, n) for n in (60_000, 66_000, 72_000)], draws=20_000)
    half = 4.303 * 0.06 / 3**0.5  # t of 2 degrees of freedom
    assert found == pytest.approx((0.66 - half, 0.66 + half), abs=0.012)


def test_holm_worked() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0] and holm([]) == []


def test_permutation_is_exact_for_few_rows() -> None:
    assert permutation(np.zeros(5), np.ones(5)) == pytest.approx(2 / 32)
    assert permutation(np.ones(4), np.ones(4)) == 1.0
    assert permutation(np.array([1.0, 0, 0]), np.array([0.0, 1, 1])) == 1.0
    far = permutation(np.zeros(40), np.ones(40), draws=500)
    assert far == pytest.approx(1 / 501)


def test_every_metric_is_known_to_the_suites() -> None:
    from unmask.yardstick.suites import METRICS_OF

    assert {m for known in METRICS_OF.values() for m in known} == set(METRICS)


def test_a_label_that_never_occurs_is_no_class() -> None:
    """A perfect model is perfect in a draw, or a part, that lacks a rare class; as `metrics.macro_f1` has it."""
    found = measure("macro_f1", list("aabb"), list("aabb"), labels=tuple("abc"))
    assert found.value == pytest.approx(metrics.macro_f1(list("aabb"), list("aabb"), "abc"))
    assert found.of(np.array([[1.0, 1, 0, 0], [1, 1, 1, 1]])).tolist() == [found.value] * 2

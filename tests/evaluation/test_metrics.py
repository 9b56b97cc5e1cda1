"""Worked vectors, and agreement with the reference implementations."""

from __future__ import annotations

import random

import pytest
from scipy.stats import rankdata
from seqeval.metrics.sequence_labeling import get_entities

from unmask.evaluation import metrics


def test_classes_worked() -> None:
    gold, said = list("11001011"), list("10011010")
    assert metrics.accuracy(gold, said) == 0.625
    assert metrics.matthews(gold, said) == pytest.approx(0.258199, abs=1e-6)
    # class 1: 3 TP, 1 FP, 2 FN; class 0: 2 TP, 2 FP, 1 FN
    assert metrics.macro_f1(gold, said, ["0", "1"]) == pytest.approx((0.666667 + 4 / 7) / 2, abs=1e-6)


def test_scores_worked() -> None:
    gold, said = [0, 2.5, 3, 3, 5, 1], [0.4, 2, 3.6, 2.9, 4.8, 1.6]
    assert list(rankdata(gold)) == [1, 3, 4.5, 4.5, 6, 2]
    assert metrics.pearson(gold, said) == pytest.approx(0.966934, abs=1e-6)
    assert metrics.spearman(gold, said) == pytest.approx(0.985611, abs=1e-6)  # by position of ties: .942857


def test_constants_score_zero_and_are_flagged() -> None:
    assert metrics.pearson([1, 2, 3], [5, 5, 5]) == metrics.spearman([1, 2, 3], [5, 5, 5]) == 0.0
    assert metrics.matthews(list("0101"), list("1111")) == 0.0
    assert metrics.constant([5.0, 5.0]) and not metrics.constant([5.0, 4.0])


def test_macro_f1_counts_a_class_that_is_never_said() -> None:
    assert metrics.macro_f1(list("aaab"), list("aaaa"), list("abc")) == pytest.approx(6 / 7 / 2)


@pytest.mark.parametrize(
    ("tags", "scheme"),
    [
        (["O", "B-PER", "I-PER"], "BIO"),
        (["O", "I-PER", "I-LOC"], "BIO"),
        (["B", "M", "E", "S"], "BMES"),
        (["B-LOC", "M-LOC", "E-LOC", "S-LOC", "O"], "BMES"),
        (["B-LOC", "I-LOC", "E-LOC", "S-LOC", "O"], "BIOES"),
        (["B-LOC", "I-LOC", "L-LOC", "U-LOC", "O"], "BILOU"),
        (["NOUN", "VERB", "ADJ"], None),
        (["SYM", "INTJ", "X"], None),
        (["S", "NN"], None),
        (["O", "X"], None),
    ],
)
def test_scheme(tags: list[str], scheme: str | None) -> None:
    assert metrics.scheme(tags) == scheme


def test_entities_of_bare_marks() -> None:
    assert metrics.entities(["B", "M", "E", "S", "B", "E"]) == [("", 0, 3), ("", 3, 4), ("", 4, 6)]


@pytest.mark.parametrize("marks", ["BIO", "BIOES"])
def test_entities_are_those_of_seqeval_on_any_sequence(marks: str) -> None:
    draw = random.Random(marks)
    for _ in range(400):
        tags = [
            "O" if (m := draw.choice(marks)) == "O" else f"{m}-{draw.choice(['PER', 'LOC'])}"
            for _ in range(draw.randint(1, 12))
        ]
        assert metrics.entities(tags) == [(kind, a, b + 1) for kind, a, b in get_entities(tags)], tags


def test_bilou_and_bmes_are_read_as_bioes() -> None:
    draw = random.Random(7)
    for _ in range(100):
        tags = [draw.choice(["O", "B-X", "I-X", "E-X", "S-X"]) for _ in range(10)]
        table = {"bilou": str.maketrans("ES", "LU"), "bmes": str.maketrans("I", "M")}
        for turned in table.values():
            assert metrics.entities([t[:1].translate(turned) + t[1:] for t in tags]) == metrics.entities(tags)


def test_entity_f1_needs_exact_spans_and_types() -> None:
    gold = [["B-PER", "I-PER", "O", "B-LOC"], ["O", "B-LOC"]]
    said = [["B-PER", "O", "O", "B-LOC"], ["O", "B-PER"]]
    found = metrics.entity_f1(gold, said)
    assert found == pytest.approx({"precision": 1 / 3, "recall": 1 / 3, "f1": 1 / 3})
    assert metrics.entity_f1(gold, [["O"] * 4, ["O"] * 2])["f1"] == 0.0
    with pytest.raises(ValueError, match="1 predicted tags for 2 words"):
        metrics.entity_f1([["O", "O"]], [["O"]])

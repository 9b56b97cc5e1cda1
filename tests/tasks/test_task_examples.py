"""Labels by how they are written, class weights, and holding out whole documents."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from unmask.errors import UnmaskError
from unmask.tasks.examples import (
    Example,
    Examples,
    Frame,
    Labels,
    check_labels,
    class_weights,
    hold_out,
    learn_labels,
)


@pytest.mark.parametrize(
    ("values", "regression", "kind", "names"),
    [
        (["10", "2", "2", "-1"], False, "classes", ("-1", "2", "10")),
        (["neg", "pos", "neg"], False, "classes", ("neg", "pos")),
        (["1", "2.5", "3"], False, "score", ("score",)),
        (["1", "2", "3"], True, "score", ("score",)),
        (["1.0", "x"], False, "classes", ("1.0", "x")),
        (["3", "unknown", "1"], False, "classes", ("1", "3", "unknown")),
    ],
)
def test_kind_by_writing(values: list[str], regression: bool, kind: str, names: tuple[str, ...]) -> None:
    labels, said = learn_labels(values, regression, "none", "train.tsv")
    assert (labels.kind, labels.names) == (kind, names)
    assert ("regression" in said) == (kind == "score") and "train.tsv" in said


def test_scores_are_standardised() -> None:
    labels, _ = learn_labels(["1.0", "3.0", "5.0"], False, "none", "f")
    assert (labels.centre, labels.scale) == (3.0, pytest.approx(np.std([1, 3, 5])))
    constant, _ = learn_labels(["2.0", "2.0"], False, "none", "f")
    assert constant.scale == 1.0


@pytest.mark.parametrize(
    ("values", "regression", "said"),
    [
        (["a", "a"], False, 'every label is "a"'),
        (["1", "two"], True, '"two" is not a number'),
        ([str(n) for n in range(100)], False, "100 different labels"),
        (["nan", "1.0"], True, '"nan" is not a number'),
    ],
)
def test_bad_labels(values: list[str], regression: bool, said: str) -> None:
    with pytest.raises(UnmaskError, match=said):
        learn_labels(values, regression, "none", "f")


def test_class_weights_have_mean_one_over_the_rows() -> None:
    counts = [90, 9, 1]
    balanced, root = class_weights(counts, "balanced"), class_weights(counts, "sqrt")
    assert class_weights(counts, "none") == (1.0, 1.0, 1.0)
    assert balanced == pytest.approx([100 / 270, 100 / 27, 100 / 3])
    assert sum(w * c for w, c in zip(root, counts, strict=True)) == pytest.approx(100)
    assert root[2] / root[0] == pytest.approx((balanced[2] / balanced[0]) ** 0.5)


def test_unknown_labels_name_label_and_line() -> None:
    labels = Labels("classes", ("negative", "positive"))
    rows = Examples("dev.tsv", (Example("2", 2, ("x",), "positive"), Example("3", 3, ("y",), "postive")))
    with pytest.raises(UnmaskError, match='dev.tsv, line 3: the label "postive".*Did you mean "positive"'):
        check_labels(rows, labels)
    tags = Examples("dev.conll", (Example("7", 7, ("a", "b"), ("negative", "B-ORG")),))
    with pytest.raises(UnmaskError, match='line 7: the label "B-ORG"'):
        check_labels(tags, labels)


def test_hold_out_never_divides_a_document() -> None:
    rows = Examples("f", tuple(Example(str(n), n, (f"t{n}",), "a", f"d{n // 7}") for n in range(210)))
    train, dev = hold_out(rows, seed=1)
    assert not {x.group for x in train.items} & {x.group for x in dev.items}
    assert Counter(x.id for x in (*train.items, *dev.items)) == Counter(x.id for x in rows.items)
    assert 21 <= len(dev) <= 27
    assert hold_out(rows, seed=1) == (train, dev) and hold_out(rows, seed=2)[1] != dev
    assert "none divided" in train.notes[-1]


def test_hold_out_of_loose_rows_and_of_one_document() -> None:
    rows = Examples("f", tuple(Example(str(n), n, (f"t{n}",), "a") for n in range(50)))
    assert len(hold_out(rows, seed=0)[1]) == 5
    with pytest.raises(UnmaskError, match="single row or document"):
        hold_out(Examples("f", tuple(Example(str(n), n, ("t",), "a", "d") for n in range(9))), seed=0)


def test_frames(frame: Frame) -> None:
    v = frame.vocab
    ids, segments = frame.row(np.array([7, 8]), np.array([9]))
    assert segments is not None
    assert list(ids) == [v.cls, 7, 8, v.sep, 9, v.sep] and list(segments) == [0, 0, 0, 0, 1, 1]
    ids, none = Frame(v, segments=False, separators=2).row(np.array([7]), np.array([9]))
    assert list(ids) == [v.cls, 7, v.sep, v.sep, 9, v.sep] and none is None
    assert (frame.room(1), frame.room(2), Frame(v, separators=2).room(2)) == (2, 3, 4)

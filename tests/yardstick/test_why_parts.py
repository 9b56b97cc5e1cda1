"""Subsets, labels saved, directions and planes, verdicts: what a study is made of, without a training."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unmask.errors import UnmaskError
from unmask.evaluation.statistics import Difference
from unmask.models import Shape
from unmask.tasks import Classify, Example, Examples, Labels, Tag
from unmask.yardstick.why import landscape
from unmask.yardstick.why.labels import Needed, needed, spread_words
from unmask.yardstick.why.study import Cell, Study, places
from unmask.yardstick.why.subsets import ordered, taken, windows_of
from unmask.yardstick.why.summary import faster, measured, verdict

LABELS = Labels("classes", ("a", "b", "c"), (1.0, 1.0, 1.0))


def rows(counts: dict[str, int]) -> Examples:
    golds = [name for name, n in counts.items() for _ in range(n)]
    return Examples("here", tuple(Example(str(i), i, (f"t{i}",), g) for i, g in enumerate(golds)))


@pytest.mark.parametrize("seed", range(5))
def test_every_beginning_of_the_order_has_the_classes_in_proportion(seed: int) -> None:
    examples = rows({"a": 600, "b": 300, "c": 100})
    order = ordered(examples, LABELS, seed)
    assert sorted(order) == list(range(1000))
    for n in (10, 50, 200, 777):
        golds = [x.gold for x in taken(examples, order[:n].tolist()).items]
        for name, share in (("a", 0.6), ("b", 0.3), ("c", 0.1)):
            assert abs(golds.count(name) - share * n) <= 2


def test_orders_differ_by_seed_and_are_plain_permutations_without_classes() -> None:
    examples = rows({"a": 50, "b": 50})
    orders = [tuple(ordered(examples, LABELS, seed)) for seed in range(3)]
    assert len(set(orders)) == 3 and orders[0] == tuple(ordered(examples, LABELS, 0))
    assert sorted(ordered(examples, Labels("score"), 1)) == list(range(100))


def test_windows_of_keeps_all_windows_of_the_chosen() -> None:
    class Row:
        def __init__(self, example: int) -> None:
            self.example = example

    windows = [Row(n) for n in (0, 0, 1, 2, 2)]
    assert [w.example for w in windows_of(windows, [2, 0])] == [0, 0, 2, 2]  # type: ignore[arg-type]


def test_needed_interpolates_on_the_logarithm_and_never_extrapolates() -> None:
    sizes, scores = (100, 1000, 10000), (50.0, 60.0, 70.0)
    assert needed(sizes, scores, 55.0).rows == pytest.approx(100 * 10**0.5)
    assert needed(sizes, scores, 60.0) == Needed(pytest.approx(1000), "at")  # type: ignore[arg-type]
    assert needed(sizes, scores, 50.0) == Needed(100.0, "at most")
    assert needed(sizes, scores, 70.1) == Needed(10000.0, "more than")
    assert needed((10, 20, 40), (50.0, 70.0, 60.0), 65.0).rows < 20  # the first crossing counts


def test_a_spread_of_needed_rows_says_its_bounds() -> None:
    found = [Needed(420.0), Needed(1000.0, "more than"), Needed(310.0)]
    assert spread_words(found) == "about 420 [310–more than 1,000] rows"
    assert spread_words([Needed(50.0, "at most")]) == "at most 50 rows"


def test_filter_normalised_worked_vector() -> None:
    """Rows (3,4) (0,.5) (1,0) and a direction (1,1) (2,0) (0,−3), worked by hand."""
    w = {"m": torch.tensor([[3.0, 4.0], [0.0, 0.5], [1.0, 0.0]]), "bias": torch.tensor([1.0, 2.0])}
    d = {"m": torch.tensor([[1.0, 1.0], [2.0, 0.0], [0.0, -3.0]]), "bias": torch.tensor([5.0, 5.0])}
    out = landscape.filter_normalised(d, w)
    torch.testing.assert_close(
        out["m"], torch.tensor([[3.5355, 3.5355], [0.5, 0.0], [0.0, -1.0]]), atol=1e-4, rtol=0
    )
    assert not out["bias"].any()


def test_the_ends_of_the_way_are_the_weights_to_the_bit() -> None:
    torch.manual_seed(0)
    a, b = ({"w": torch.randn(999) * 10**k} for k in (0, 3))
    assert torch.equal(landscape.between(a, b, 0.0)["w"], a["w"])
    assert torch.equal(landscape.between(a, b, 1.0)["w"], b["w"])
    beyond = landscape.between(a, b, 1.5)["w"]
    torch.testing.assert_close(beyond, a["w"] + 1.5 * (b["w"] - a["w"]))
    assert {0.0, 1.0} <= set(landscape.ALPHAS) and {0.0, 1.0} <= set(landscape.ACROSS)


def test_projection_finds_points_of_the_plane_and_the_share_outside() -> None:
    torch.manual_seed(1)
    first, second, other = ({"w": torch.randn(50), "v": torch.randn(4, 5)} for _ in range(3))
    point = landscape.add(
        {k: 0.7 * v for k, v in first.items()}, second, -0.2
    )  # inside, though the two are not at right angles
    (place,), share = landscape.project(first, second, [point])
    assert place == pytest.approx((0.7, -0.2), abs=1e-5) and share == pytest.approx(1.0)
    _, share = landscape.project(first, second, [landscape.add(point, other, 3.0)])
    assert share < 0.7


def test_bend_is_where_way_points_leave_the_line() -> None:
    first = {"w": torch.tensor([2.0, 0.0, 0.0])}
    steps = [{"w": torch.tensor(x)} for x in ([0.5, 1.0, 0.1], [1.0, 1.5, -0.1], [2.0, 0.0, 0.0])]
    out = landscape.bend(first, steps)["w"]
    assert abs(float(out[0])) < 1e-6 and abs(float(out[1])) == pytest.approx(2.0, abs=0.05)
    assert not landscape.bend(first, [{"w": torch.tensor([1.0, 0.0, 0.0])}])[
        "w"
    ].any()  # a straight trajectory


def test_surface_rows_are_second_direction() -> None:
    start, end = {"w": torch.tensor([0.0, 0.0])}, {"w": torch.tensor([1.0, 0.0])}
    found = landscape.surface(
        lambda w: float(w["w"][0] + 10 * w["w"][1]), start, end, {"w": torch.tensor([0.0, 1.0])}, (0.0, 1.0), (0.0, 2.0)
    )  # fmt: skip
    assert found == [[0.0, 1.0], [20.0, 21.0]]


def test_measures_of_stored_answers_are_the_scores() -> None:
    examples = rows({"a": 3, "b": 2, "c": 1})
    answers = ["a", "a", "b", "b", "c", "c"]
    said = [{"label": x} for x in answers]
    for by in ("accuracy", "macro_f1", "matthews"):
        task = Classify(choose_by=by)  # type: ignore[arg-type]
        value = measured(task, LABELS, examples, answers).value
        assert 100 * value == pytest.approx(task.score(said, examples, LABELS)[by])
    tags = Examples("here", tuple(Example(str(i), i, ("x", "y"), ("B-P", "O")) for i in range(4)))
    told = [["B-P", "O"], ["O", "O"], ["B-P", "B-P"], ["B-P", "I-P"]]
    labels = Labels("tags", ("B-P", "I-P", "O"), (1.0, 1.0, 1.0), "BIO")
    expected = Tag().score([{"tags": t} for t in told], tags, labels)["f1"]
    assert 100 * measured(Tag(), labels, tags, told).value == pytest.approx(expected)


def test_verdicts_claim_only_what_the_interval_shows() -> None:
    def said(low: float, high: float, seeds: int = 3) -> str:
        return verdict(Difference((low + high) / 2, low, high, 0.0, 0.0), "scratch", "pretrained", 277, seeds)

    assert said(0.01, 0.05) == "pre-trained is above from scratch by 3.0 points [+1.0 to +5.0]"
    assert "below from scratch by 3.0" in said(-0.05, -0.01)
    assert "not distinguishable with 277 rows and 3 seeds" in said(-0.01, 0.05)
    assert "one seed" in said(0.01, 0.05, seeds=1)


def test_faster_names_the_update_that_passes_the_end_of_the_other() -> None:
    def own(losses: list[float]) -> dict[str, object]:
        return {
            "curves": [{"seed": 0, "points": [{"step": 10 * i, "train": y} for i, y in enumerate(losses)]}]
        }

    (text,) = faster({"pretrained": own([0.7, 0.4, 0.2]), "scratch": own([0.7, 0.6, 0.5])})
    assert "pre-trained is lower" in text and "after 10 of 20 updates" in text
    (text,) = faster({"pretrained": own([0.7, 0.65, 0.6]), "scratch": own([0.7, 0.6, 0.5])})
    assert "pre-trained is higher" in text and "as low as" not in text


def test_rows_and_rates_are_read_and_refused() -> None:
    assert Study(rows="50,all,10").sizes(200) == (10, 50, 200)
    shape = Shape(100, 256, 4, 4, 1024, 64)
    assert Study(rates="1e-3,3e-4").grid("scratch", shape) == (3e-4, 1e-3)
    assert Study().grid("pretrained", shape) == (3e-4, 1e-3, 3e-3)
    assert Study().grid("frozen", shape) == (1e-3, 3e-3, 1e-2, 3e-2)
    with pytest.raises(UnmaskError, match="asks for 500 and there are 200"):
        Study(rows="500").sizes(200)
    for wrong in (
        {"rows": "many"},
        {"rows": ""},
        {"rates": "fast"},
        {"rates": "-1"},
        {"seeds": 0},
        {"sample": 2},
    ):
        with pytest.raises(UnmaskError):
            Study(**wrong)  # type: ignore[arg-type]


def test_places_begin_at_0_lie_closer_early_and_end_at_the_last() -> None:
    found = places(1200)
    assert found[0] == 0 and found[-1] == 1200 and np.diff(found).min() == found[1]
    assert places(2) == (0, 1, 2)
    assert Cell("scratch", 3e-4, 50, 1).name == "scratch-rows50-rate0.0003-seed1"

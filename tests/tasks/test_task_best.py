"""The exact best span against brute force and the worked case; thresholds; placing of training windows."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from unmask.evaluation.reading import score_answers
from unmask.randomness import generator
from unmask.tasks.answer import place_window
from unmask.tasks.best import best_spans, choose_threshold, top_spans


def test_the_beam_misses_what_the_exact_search_finds() -> None:
    start, end = np.array([5, 2, 0.5, 0.1]), np.array([3, 4, 0.2, 2.5])  # john smith was here
    assert [(a, b) for _, a, b in top_spans(start, end, longest=3, n=4)] == [(0, 1), (0, 0), (1, 1), (0, 2)]
    scores = {(a, b): s for s, a, b in top_spans(start, end, longest=3, n=99)}
    assert scores[0, 1] == 9.0 and scores[0, 0] == 8.0 and scores[1, 1] == 6.0
    assert scores[0, 2] == pytest.approx(5.2) and scores[1, 3] == 4.5 and (0, 3) not in scores


@pytest.mark.parametrize("seed", range(20))
def test_top_spans_equal_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, longest = int(rng.integers(1, 15)), int(rng.integers(1, 18))
    start, end = rng.normal(size=n), rng.normal(size=n)
    brute = sorted(
        ((start[i] + end[j], i, j) for i in range(n) for j in range(i, min(n, i + longest))),
        key=lambda x: -x[0],
    )
    found = top_spans(start, end, longest, 6)
    assert [(i, j) for _, i, j in found] == [(i, j) for _, i, j in brute[:6]]
    assert [s for s, _, _ in found] == pytest.approx([s for s, _, _ in brute[:6]])


def test_windows_are_pooled_by_characters_and_no_answer_is_the_lowest() -> None:
    characters = np.array([[0, 4], [5, 10], [11, 14]])
    one = np.log(np.array([[0.1, 0.8, 0.05, 0.05], [0.1, 0.1, 0.7, 0.1]]))
    two = np.log(np.array([[0.5, 0.3, 0.2], [0.5, 0.4, 0.1]]))
    ranked, none = best_spans([(one, characters), (two, characters[1:])], longest=3, n=10)
    assert ranked[0][1] == (0, 10) and ranked[0][0] == pytest.approx(np.log(0.56))
    scores = {place: score for score, place in ranked}
    assert scores[5, 10] == pytest.approx(np.log(0.3 * 0.4))  # seen better by the second window
    assert len(scores) == len(ranked) and none == pytest.approx(2 * np.log(0.1))
    assert best_spans([(np.zeros((2, 1)), np.zeros((0, 2)))], 30, 20) == ([], 0.0)


@pytest.mark.parametrize("seed", range(10))
def test_threshold_is_the_best_of_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    margins = rng.normal(size=12).round(1).tolist()
    golds = [["Rome"] if rng.random() < 0.6 else [] for _ in margins]
    texts = [str(rng.choice(["Rome", "Paris"])) for _ in margins]

    def f1(t: float) -> float:
        return score_answers(
            golds, ["" if m > t else x for m, x in zip(margins, texts, strict=True)], "squad"
        )["f1"]

    chosen = f1(choose_threshold(margins, texts, golds, "squad"))
    assert chosen == pytest.approx(max(f1(t) for t in np.arange(-5, 5, 0.05)))


def test_a_threshold_is_a_number_beside_an_empty_passage() -> None:
    """Its margin is infinite: no span can be said of it."""
    found = choose_threshold([-1.0, 2.0, math.inf], ["a", "b", ""], [["a"], ["b"], []], "squad")
    assert math.isfinite(found) and 2.0 < found < math.inf


def test_the_place_of_an_answer_in_its_training_window_tells_nothing() -> None:
    n, room, start, end = 200, 20, 100, 102
    draws = [place_window(n, room, start, end, generator(3, "window", k)) for k in range(4000)]
    assert min(draws) >= 0 and max(draws) <= n - room
    inside = Counter(start - at for at in draws if at <= start and end < at + room)
    assert set(inside) == set(range(18))  # every place that holds all of it
    expected = sum(inside.values()) / 18
    assert 0.5 < sum(inside.values()) / 4000 < 0.6  # half on purpose, 18 of 181 of the rest
    chi = sum((count - expected) ** 2 / expected for count in inside.values())
    assert chi < 40.8  # 17 degrees of freedom, p = .001


def test_windows_at_the_edges_and_without_an_answer() -> None:
    first = [place_window(30, 20, 0, 1, generator(0, "window", k)) for k in range(200)]
    assert set(first) <= set(range(11)) and first.count(0) > 90
    none = Counter(place_window(30, 20, -1, -1, generator(0, "window", k)) for k in range(2000))
    assert set(none) == set(range(11)) and max(none.values()) < 2 * min(none.values())
    long = {place_window(60, 20, 5, 40, generator(0, "window", k)) for k in range(500)}
    assert len(long) == 41  # an answer longer than the window: anywhere

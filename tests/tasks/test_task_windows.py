"""Windows cover everything, words are never divided, owners have most context, pairs are cut longest first."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmask.tasks.windows import fit_pair, owners, spans, word_spans


def test_spans_worked() -> None:
    assert spans(10, 6, overlap=3) == [(0, 6), (3, 9), (6, 10)]  # T = 12, a question of 3, a step of 3
    assert list(owners(10, spans(10, 6, 3))) == [0, 0, 0, 0, 0, 1, 1, 1, 2, 2]
    assert spans(500, 361, 361 - 128) == [(0, 361), (128, 489), (256, 500)]
    assert [s for s, _ in spans(800, 361, 361 - 128)] == [0, 128, 256, 384, 512]
    assert spans(800, 361, 361 - 128)[-1] == (512, 800)
    assert spans(0, 5, 2) == [(0, 0)] and spans(5, 5, 2) == [(0, 5)]


@pytest.mark.parametrize(
    ("a", "b", "budget", "left"), [(7, 5, 9, (5, 4)), (5, 5, 7, (4, 3)), (3, 4, 9, (3, 4))]
)
def test_pairs_worked(a: int, b: int, budget: int, left: tuple[int, int]) -> None:
    assert fit_pair(a, b, budget) == left


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 130))
def test_pairs_are_cut_one_piece_at_a_time(a: int, b: int, budget: int) -> None:
    x, y = a, b
    while x + y > budget:
        x, y = (x - 1, y) if x > y else (x, y - 1)
    assert fit_pair(a, b, budget) == (x, y)


@given(st.integers(0, 300), st.integers(1, 50), st.integers(0, 60))
def test_spans_cover_every_piece(n: int, room: int, overlap: int) -> None:
    found = spans(n, room, overlap)
    assert set().union(*(range(a, b) for a, b in found)) == set(range(n))
    assert all(b - a <= room for a, b in found)
    for (a, b), (c, _) in zip(found, found[1:], strict=False):
        assert a < c <= b and (b - c == overlap or overlap >= room)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=80), st.integers(6, 30), st.integers(0, 12))
def test_word_spans_cover_every_word_and_fit(lengths: list[int], room: int, overlap: int) -> None:
    found = word_spans(lengths, room, overlap)
    assert set().union(*(range(a, b) for a, b in found)) == set(range(len(lengths)))
    assert all(sum(lengths[a:b]) <= room for a, b in found)
    assert all(a < c and b < d for (a, b), (c, d) in zip(found, found[1:], strict=False))
    assert len(owners(len(lengths), found)) == len(lengths)


@given(st.integers(1, 200), st.integers(2, 40), st.data())
def test_the_owner_has_most_context(n: int, room: int, data: st.DataObject) -> None:
    found = spans(n, room, data.draw(st.integers(0, room - 1)))
    owner = owners(n, found)
    for unit in range(n):
        context = [min(unit - a, b - 1 - unit) if a <= unit < b else -1 for a, b in found]
        assert context[owner[unit]] == max(context) and context[owner[unit]] >= 0
    assert np.all(np.diff(owner) >= 0)

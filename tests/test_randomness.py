"""Coordinates, not state: the same place gives the same draws anywhere, and different places different ones."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmask.randomness import generator, permutation_slice, permuted


def test_same_draws_in_another_process() -> None:
    code = "from unmask.randomness import generator; print(generator(7, 'masks', 123456).integers(0, 2**62))"
    other = int(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    )
    assert other == generator(7, "masks", 123456).integers(0, 2**62)


def test_neighbours_share_no_draw() -> None:
    draws = np.concatenate([generator(0, "a", n).integers(0, 2**63, 1000) for n in range(20)])
    assert len(np.unique(draws)) == len(draws)
    assert generator(0, "a", 1).random() != generator(0, "b", 1).random() != generator(1, "a", 1).random()


def test_draws_over_places_are_uniform() -> None:
    draws = np.array([generator(0, "uniform", n).random() for n in range(4000)])
    assert abs(draws.mean() - 0.5) < 5 * np.sqrt(1 / 12 / 4000)
    assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < 5 / np.sqrt(4000)


@given(st.integers(1, 3000), st.integers(0, 2**40))
def test_permutation_is_a_bijection(size: int, seed: int) -> None:
    assert sorted(permutation_slice(0, size, size, seed, "order").tolist()) == list(range(size))


@given(st.integers(1, 10**15), st.data())
def test_one_element_is_that_of_the_slice(size: int, data: st.DataObject) -> None:
    n = data.draw(st.integers(0, size - 1))
    end = min(size, n + 5)
    part = permutation_slice(n, end, size, 3, "order")
    assert [permuted(i, size, 3, "order") for i in range(n, end)] == part.tolist()
    assert ((part >= 0) & (part < size)).all()


def test_permutations_are_spread() -> None:
    """Where element 0 of 10 lands over 5,000 seeds: chi-square with 9 degrees of freedom stays below 40."""
    landed = np.bincount([permuted(0, 10, seed, "spread") for seed in range(5000)], minlength=10)
    assert ((landed - 500) ** 2 / 500).sum() < 40
    fixed = np.mean(permutation_slice(0, 10000, 10000, 0, "spread") == np.arange(10000))
    assert fixed < 0.001


@pytest.mark.parametrize(("n", "size"), [(5, 5), (-1, 5), (0, 0)])
def test_outside_of_the_range_is_refused(n: int, size: int) -> None:
    with pytest.raises(ValueError, match="part of range"):
        permuted(n, size, 0, "order")

"""Worked vectors, and laws of the bootstrap."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest

from unmask.evaluation.statistics import bootstrap, expected_best, mcnemar, spread, standard_error


def test_mcnemar_worked() -> None:
    assert mcnemar(15, 5) == pytest.approx(0.0414, abs=5e-5)
    assert mcnemar(8, 2) == pytest.approx(0.1094, abs=5e-5)
    assert mcnemar(30, 20) == pytest.approx(2 * sum(comb(50, k) for k in range(21)) / 2**50)
    assert mcnemar(14, 6) == mcnemar(6, 14) == pytest.approx(0.115, abs=5e-4)
    assert mcnemar(0, 0) == 1.0


def test_expected_best_worked() -> None:
    assert expected_best([72, 60, 70, 65], 2) == pytest.approx(69.3125)
    assert expected_best([72, 60, 70, 65], 1) == pytest.approx(66.75)


def test_standard_error_worked() -> None:
    assert 100 * standard_error(0.68, 277) == pytest.approx(2.80, abs=5e-3)


def test_spread() -> None:
    s = spread([70.0, 80.0, 74.0])
    assert (s.median, s.low, s.high, s.seeds) == (74.0, 70.0, 80.0, (70.0, 80.0, 74.0))
    with pytest.raises(ValueError):
        spread([])


def test_bootstrap_interval_is_that_of_the_mean_difference() -> None:
    rng = np.random.default_rng(0)
    first = rng.normal(0, 1, 400)
    second = first + rng.normal(0.3, 1, 400)
    d = bootstrap(first, second)
    gap = second - first
    assert d.difference == pytest.approx(gap.mean())
    half = 1.96 * gap.std() / 20
    assert d.low == pytest.approx(gap.mean() - half, abs=0.02) and d.high == pytest.approx(
        gap.mean() + half, abs=0.02
    )
    assert d.not_above < 0.01 and bootstrap(first, first).not_above == 1.0
    assert d == bootstrap(first, second)


def test_pairing_and_seeds_matter() -> None:
    rng = np.random.default_rng(1)
    hard = rng.random(300) < 0.5
    first, second = hard.astype(float), np.maximum(hard, rng.random(300) < 0.05).astype(float)
    paired, broken = bootstrap(first, second), bootstrap(first, second[rng.permutation(300)])
    assert paired.high - paired.low < 0.6 * (broken.high - broken.low)
    lucky = np.stack([np.full(300, 0.5), np.full(300, 0.9)])
    wide = bootstrap(np.full(300, 0.5), lucky)
    assert wide.low == pytest.approx(0.0) and wide.high == pytest.approx(0.4)
    with pytest.raises(ValueError):
        bootstrap(first, second[:-1])

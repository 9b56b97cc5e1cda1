"""Worked vectors."""

from __future__ import annotations

from math import comb

import pytest

from unmask.evaluation.statistics import expected_best, mcnemar, spread, standard_error


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

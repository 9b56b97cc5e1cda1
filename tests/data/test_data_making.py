"""Rows made from text: the label is told by nothing but what it says."""

from collections import Counter

import numpy as np
import pytest
from scipy.stats import ks_2samp

from unmask.data import MASK
from unmask.data.making import Named, Word, blank_rows, pair_rows, places, question_rows
from unmask.randomness import generator


def neighbours(count: int, documents: int) -> list[tuple[str, str, int]]:
    draw = generator(1, "test", 0)
    sizes = draw.integers(5, 80, size=(count, 2))
    return [
        (f"{i:04d}a" + "x" * int(a), f"{i:04d}b" + "y" * int(a + b), i % documents)
        for i, (a, b) in enumerate(sizes)
    ]


def test_pairs_are_half_true_and_keep_the_lengths() -> None:
    given = neighbours(2000, 900)
    rows = pair_rows(given, generator(0, "pairs", 0))
    true, false = ([r for r in rows if r.label == label] for label in ("follows", "other"))
    assert len(true) == len(false) == 1000
    partner = {first: (second, source) for first, second, source in given}
    home = {second: source for _, second, source in given}
    assert all(partner[r.first] == (r.second, r.source) for r in true)
    assert all(home[r.second] != r.source for r in false)
    assert sorted(r.first for r in rows) == sorted(g[0] for g in given)
    assert sorted(r.second for r in rows) == sorted(g[1] for g in given)
    for measure in (lambda r: len(r.first), lambda r: len(r.second), lambda r: len(r.second) - len(r.first)):
        assert ks_2samp([measure(r) for r in true], [measure(r) for r in false]).pvalue > 0.01
    together = [
        np.corrcoef([[len(r.first), len(r.second)] for r in half], rowvar=False)[0, 1]
        for half in (true, false)
    ]
    assert min(together) > 0.5 and abs(together[0] - together[1]) < 0.06
    runs = sum(a.label != b.label for a, b in zip(rows, rows[1:], strict=False))
    assert 900 < runs < 1100  # the labels are mixed: 1000 changes expected, standard deviation 22


def test_pairs_of_one_document_have_no_stranger() -> None:
    with pytest.raises(ValueError, match="one document"):
        pair_rows(neighbours(10, 1), generator(0, "pairs", 0))


def test_blanks_are_balanced_and_hide_exactly_the_word() -> None:
    words = [Word("Dogs", "noun", True), Word("don't", None, True), Word("run", "verb"), Word(".", None)]
    rows = blank_rows([words] * 300, ["noun", "verb"], 101, generator(0, "blanks", 0))
    assert Counter(r.label for r in rows) == {"noun": 51, "verb": 50}
    assert {(r.text, r.label) for r in rows} == {
        (f"{MASK} don't run.", "noun"),
        (f"Dogs don't {MASK}.", "verb"),
    }
    assert {r.sentence for r in rows} == {"Dogs don't run."}


def test_places_of_a_name() -> None:
    assert places("Ann", "Ann, Anna and Joann met Ann.") == (0, 24)
    assert places("江泽民", "和江泽民说，江泽民") == (1, 6)
    assert places("Ann", "") == ()


def test_questions_hide_a_name_that_stands_in_the_passage_without_the_sentence() -> None:
    document = [
        Named("The town lies near Ulm.", ("Ulm",)),
        Named("Later Bea Roth came to Ulm from Bonn.", ("Bea Roth", "Ulm", "Bonn")),
        Named("Here Bea Roth wrote.", ("Bea Roth",)),
        Named("x" * 90, ()),
    ]
    rows = question_rows(document, " ", 60, lambda s: len(s.names) == 3, generator(0, "q", 0))
    assert len(rows) == 1
    row = rows[0]
    assert row.passage == "The town lies near Ulm. Here Bea Roth wrote."
    assert row.answer in ("Ulm", "Bea Roth")  # Bonn stands nowhere else
    assert row.question.replace(MASK, row.answer) == row.sentence == document[1].text
    assert row.answer not in row.question
    assert all(row.passage[s:].startswith(row.answer) for s in row.starts) and row.starts


def test_the_only_name_of_a_passage_is_not_asked_for() -> None:
    document = [Named("Near Ulm.", ("Ulm",)), Named("She saw Ulm.", ("Ulm",))]
    assert question_rows(document, " ", 60, lambda s: True, generator(0, "q", 0)) == []

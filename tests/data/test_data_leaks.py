"""The check between test rows and training text: exact, anywhere in a document, blind to case, width and space."""

import random

import pytest

from unmask.corpus.exclude import fold
from unmask.data.leaks import found_in


def test_found_anywhere_and_folded() -> None:
    documents = [
        "Before. The QUICK brown\nfox jumps over the lazy dog again. After.",
        "一九九八年，中国的发展Ａ１",
    ]
    texts = [
        "the quick brown fox jumps over the lazy dog",
        "九八年,中国的发展a1",
        "fox jumps",
        "an absent sentence here",
    ]
    assert found_in(texts, documents) == set(texts[:3])


def test_no_match_across_two_documents_or_by_the_first_characters_alone() -> None:
    documents = ["abcdefgh", "ijklmnop", "abcdefghijklmnopqrstuvwxyz-other-end"]
    assert found_in(["ghijklmnop"], documents[:2]) == set()
    assert found_in(["abcdefghijklmnopqrstuvwxyz-this-end"], documents) == set()


def test_agrees_with_plain_search() -> None:
    draw = random.Random(3)
    documents = ["".join(draw.choice("ab。") for _ in range(draw.randrange(40))) for _ in range(300)]
    texts = {"".join(draw.choice("ab。") for _ in range(n)) for n in (8, 8, 9, 23, 24, 25) for _ in range(60)}
    texts |= {d[2:] for d in documents if len(d) > 30} | {d for d in documents if len(d) > 10}
    expected = {t for t in texts if any(fold(t) in fold(d) for d in documents)}
    assert 100 < len(expected) < len(texts)
    assert found_in(texts, documents) == expected


def test_a_text_too_short_to_prove_anything() -> None:
    with pytest.raises(ValueError, match="8 characters"):
        found_in(["too few"[:6]], ["too few"])

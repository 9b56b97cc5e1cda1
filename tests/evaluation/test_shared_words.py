"""Shared words: as a plain search over word lists finds them, whatever the script, the case, the place."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest

from unmask.evaluation import leaks
from unmask.evaluation.leaks import GRAM, SHORTEST, Looked, units

HAN = "的一是不了人我在有他这为之大来以个中上们到说国和地也子时道出而要于就下得可你年生"


def words(text: str) -> list[str]:
    """The plain way: letters and digits together, every Chinese character alone."""
    return re.findall(r"[\u4e00-\u9fff]|[a-z0-9]+", leaks.fold(text))


def plain(text: str, others: list[str]) -> tuple[int, int]:
    """N-grams of a text, and how many of them stand in others; by lists of words."""
    own = words(text)
    width = min(GRAM, len(own))
    if width < SHORTEST:
        return 0, 0
    held = {tuple(w[i : i + width]) for w in map(words, others) for i in range(len(w) - width + 1)}
    sought = [tuple(own[i : i + width]) for i in range(len(own) - width + 1)]
    return len(sought), sum(one in held for one in sought)


def mixed(draw: random.Random, count: int) -> str:
    out = []
    for _ in range(count):
        out.append(draw.choice(["a", "bc", "def", "7", draw.choice(HAN)]))
        out.append(draw.choice([" ", " ", ", ", "\n", ". ", "  — "]))
    return "".join(out)


def test_words_of_a_text() -> None:
    found = units("Ｔｈｅ QUICK, “brown”\tfox’s 3rd; 北京的é ไทย")
    cut = [found.text[a:b] for a, b in zip(found.begins, found.ends, strict=True)]
    assert cut == ["the", "quick", "brown", "fox", "s", "3rd", "北", "京", "的", "é", "ไ", "ท", "ย"]
    same = units("the quick brown fox s 3rd 北京的 é ไทย!")
    assert np.array_equal(found.hashes, same.hashes)
    assert len(set(found.hashes.tolist())) == len(cut)
    assert len(units("").hashes) == len(units(" ,. \n").hashes) == 0


@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_a_plain_search(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if seed % 2:  # many batches, and texts in overlapping pieces
        monkeypatch.setattr(leaks, "CHUNK", 400)
        monkeypatch.setattr(leaks, "OVERLAP", 200)
    draw = random.Random(seed)
    others = [mixed(draw, draw.randrange(60)) for _ in range(60)]
    texts = [mixed(draw, n) for n in (0, 1, 7, 8, 9, 12, 13, 14, 30)]
    for _ in range(40):  # a stretch of another text, in other case and with other marks
        source = words(draw.choice(others))
        at, size = draw.randrange(max(1, len(source))), draw.randrange(6, 20)
        piece = [w.upper() if draw.random() < 0.3 else w for w in source[at : at + size]]
        texts.append(f"{mixed(draw, draw.randrange(5))}{'; '.join(piece)} {mixed(draw, draw.randrange(5))}")
    looked = Looked(texts)
    looked.search(others[:25])
    looked.search(others[25:], first=25)
    total, hit = looked.counts()
    want = [plain(text, others) for text in texts]
    assert list(zip(total.tolist(), hit.tolist(), strict=True)) == want
    assert 5 < sum(found > 0 for _, found in want) < len(texts)
    for number, (grams, found) in enumerate(want):
        one = looked.shared(number)
        assert (one.grams, one.found, one.whole) == (grams, found, 0 < grams == found)
        if found:
            assert plain(one.passage, [others[one.where]])[1] or plain(one.passage, others)[1]
            assert len(words(one.passage)) >= min(GRAM, len(words(texts[number])))
        else:
            assert (one.passage, one.where) == ("", -1)


def test_no_words_across_two_texts_and_none_that_are_unknown() -> None:
    row = [f"w{n}" for n in range(26)]
    looked = Looked([" ".join(row), " ".join([*row[:6], "\ufffd", *row[7:13]])])
    looked.search([" ".join(row[:12]), " ".join(row[12:])])
    assert looked.counts()[1].tolist() == [2, 0]
    looked.search([" ".join([*row[:6], "\ufffd", *row[7:13]])])
    total, hit = looked.counts()
    assert total.tolist() == [14, 0] and hit.tolist() == [2, 0]


def test_the_longest_passage_and_where_it_was_seen_first() -> None:
    row = [f"w{n}" for n in range(60)]
    looked = Looked([" ".join(row)])
    looked.search(
        ["nothing", "Before: " + " ".join(row[20:50]) + " after", " ".join(row[:13]), " ".join(row[20:33])]
    )
    one = looked.shared(0)
    assert (one.grams, one.found) == (48, 18 + 1)
    assert one.passage == " ".join(row[20:50]) and one.where == 2


def test_a_long_text_is_cut_without_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    row = " ".join(f"w{n}" for n in range(3000))
    monkeypatch.setattr(leaks, "CHUNK", 1000)
    monkeypatch.setattr(leaks, "OVERLAP", 150)
    looked = Looked([row])
    looked.search([row])
    assert looked.shared(0).whole

"""Noise: worked vectors with scripted draws, laws of chance with bounds, properties over any row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmask.noise import (
    SPAN_LENGTHS,
    _span_draws,
    ceiling_count,
    choose_each,
    choose_ngrams,
    choose_spans,
    choose_tokens,
    choose_words,
    disturb,
    exact_count,
    random_ids,
    rounded_count,
    runs_of,
    take_spans,
    words_of,
)
from unmask.randomness import generator
from unmask.tokens import Vocab

GOLDEN = json.loads((Path(__file__).parent / "golden" / "noise.json").read_text())


class Script:
    """A generator that says what it is told to, in order, and fails when it is asked for more."""

    def __init__(self, permutation: Any = (), random: Any = (), integers: Any = ()) -> None:
        self.next_permutation, self.randoms, self.integrals = permutation, list(random), list(integers)

    def permutation(self, _: Any) -> np.ndarray:
        return np.array(self.next_permutation)

    def random(self, size: Any = None) -> Any:
        if size is None:
            return self.randoms.pop(0)
        return np.array([self.randoms.pop(0) for _ in range(int(np.prod(size)))]).reshape(size)

    def integers(self, high: int, size: Any = None) -> Any:
        if size is None:
            return self.integrals.pop(0)
        return np.array([self.integrals.pop(0) for _ in range(size)], dtype=np.int64)


def fate(draws: list[float]) -> float:
    """BERT's two draws as one: below .8 mask, below .9 swap, else keep."""
    return draws[0] if draws[0] < 0.8 else 0.8 + 0.2 * (1 - draws[1])


def vocab_of(size: int, mask: int, special: list[int]) -> Vocab:
    flags = np.zeros(size, dtype=bool)
    flags[special] = True
    return Vocab(
        size=size, kind="wordpiece", pad=0, unk=100, cls=101, sep=102, mask=mask, special=flags, opens=~flags
    )


BERT = vocab_of(30522, 103, [0, 100, 101, 102, 103])


def flags(tokens: int, *off: int, value: bool = True) -> np.ndarray:
    found = np.full(tokens, value)
    found[list(off)] = not value
    return found


def test_how_many() -> None:
    for tokens, count in GOLDEN["exact_count"].items():
        assert exact_count(int(tokens), 0.15) == count
    for tokens, draw, count in GOLDEN["rounded_count"]:
        assert rounded_count(tokens, 0.15, Script(random=[draw])) == count  # type: ignore[arg-type]
    for tokens, count in GOLDEN["ceiling_count"].items():
        assert ceiling_count(int(tokens), 0.15) == count
    assert ceiling_count(200, 0.07) == 14  # 14.000000000000002 in floating point
    assert np.allclose(SPAN_LENGTHS, GOLDEN["span_lengths"], atol=5e-5)
    assert abs(SPAN_LENGTHS @ np.arange(1, 11) - 3.797) < 5e-4


def test_single_tokens_worked() -> None:
    case = GOLDEN["bert_1"]
    ids = np.array(case["ids"])
    candidates = np.flatnonzero((ids != 101) & (ids != 102))
    rest = [p for p in candidates if p not in case["order"]]
    rng: Any = Script([*case["order"], *rest], [fate(f) for f in case["fates"]], case["random"])
    positions = choose_tokens(candidates, exact_count(len(ids), 0.15), rng)
    assert positions.tolist() == case["positions"]
    assert ids[positions].tolist() == case["targets"]
    assert disturb(ids, positions, rng, BERT).tolist() == case["seen"]
    assert not rng.integrals and not rng.randoms


def test_whole_words_worked() -> None:
    case = GOLDEN["bert_2"]
    ids = np.array(case["ids"])
    words = words_of((ids == 101) | (ids == 102), flags(20, *case["continues"]))
    rng: Any = Script(case["order"], [fate(f) for f in case["fates"]])
    positions = choose_words(words, 3, rng)
    assert positions.tolist() == case["positions"]
    assert disturb(ids, positions, rng, BERT).tolist() == case["seen"]


def test_whole_words_chinese_worked() -> None:
    case = GOLDEN["wwm_1"]
    words = words_of(flags(20, 0, 19, value=False), flags(20, *case["continues"]))
    assert len(words) == 11
    rng: Any = Script(case["order"])
    assert choose_words(words, exact_count(20, 0.15), rng).tolist() == case["positions"]


def test_ngrams_worked() -> None:
    draw = {1: 0.5, 2: 0.6, 3: 0.9}  # below 6/11, below 9/11, above
    case, ids = GOLDEN["albert_1"], np.array(GOLDEN["bert_1"]["ids"])
    words = words_of((ids == 101) | (ids == 102), flags(20))
    rng: Any = Script(case["order"], [draw[n] for n in case["sizes"]])
    positions = choose_ngrams(words, 3, 3, rng)
    assert positions.tolist() == case["positions"] and ids[positions].tolist() == case["targets"]

    case = GOLDEN["albert_2"]
    words = words_of(flags(20, *case["special"], value=False), flags(20, *case["continues"]))
    rng = Script(case["order"], [draw[n] for n in case["sizes"]])
    assert choose_ngrams(words, 3, 3, rng).tolist() == case["positions"]


@pytest.mark.parametrize("name", ["span_1", "span_2"])
def test_spans_worked(name: str) -> None:
    case = GOLDEN[name]
    ids = np.arange(case["first"], case["first"] + case["tokens"])
    words = words_of(np.zeros(20, dtype=bool), flags(20, *case["continues"]))
    positions = take_spans([(n, anchor) for n, anchor in case["draws"]], words, ceiling_count(20, 0.15))
    assert positions.tolist() == case["positions"] and runs_of(positions).tolist() == case["runs"]
    rng: Any = Script((), [f[0] for f in case["fates"]], case["random"])
    assert disturb(ids, positions, rng, BERT, together=True).tolist() == case["seen"]


def test_each_token_by_its_coin_worked() -> None:
    case = GOLDEN["modern_1"]
    ids, draws = np.array(case["ids"]), np.array(case["draws"])
    rng: Any = Script((), draws, case["random"])
    positions = choose_each(np.arange(10), 0.3, rng)
    assert positions.tolist() == case["positions"]
    rng = Script((), draws[positions] / 0.3, case["random"])
    assert disturb(ids, positions, rng, vocab_of(50368, 50284, [50281])).tolist() == case["seen"]


def test_a_span_does_not_jump_a_special_token() -> None:
    words = words_of(flags(10, 0, 4, 9, value=False), flags(10))  # [CLS] a b c [SEP] d e f g [SEP]
    assert take_spans([(10, 1), (1, 6)], words, 5).tolist() == [2, 3, 8]


def test_an_ngram_over_a_chosen_word_is_skipped_whole() -> None:
    words = words_of(np.zeros(9, dtype=bool), np.ones(9, dtype=bool))
    rng: Any = Script([5, 4, 0], [0.5, 0.6, 0.5])  # word 5 alone, words 4 and 5, word 0 alone
    assert choose_ngrams(words, 4, 3, rng).tolist() == [0, 5]


def test_a_word_ends_at_a_special_token() -> None:
    starts = flags(8, 2, 5)  # a piece that continues a word stands first behind the [SEP] at 4
    words = words_of(flags(8, 0, 4, 7, value=False), starts)
    assert words.positions.tolist() == [1, 2, 3, 5, 6] and words.bounds.tolist() == [0, 2, 3, 4, 5]


@st.composite
def texts(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    size = draw(st.integers(3, 60))
    special = np.array(draw(st.lists(st.booleans(), min_size=size, max_size=size)))
    starts = np.array(draw(st.lists(st.booleans(), min_size=size, max_size=size)))
    special[0], special[1] = True, False
    return special, starts


@given(texts(), st.integers(0, 20), st.integers(0, 1000))
def test_choices_of_any_row(text: tuple[np.ndarray, np.ndarray], count: int, seed: int) -> None:
    special, starts = text
    words = words_of(special, starts)
    pieces = [
        set(words.positions[a:b].tolist()) for a, b in zip(words.bounds, words.bounds[1:], strict=False)
    ]
    assert sorted(p for piece in pieces for p in piece) == np.flatnonzero(~special).tolist()
    room = min(count, len(words.positions))
    for positions in (
        choose_tokens(words.positions, count, generator(seed, "a", 0)),
        choose_spans(words, count, generator(seed, "b", 0)),
        choose_words(words, count, generator(seed, "c", 0)),
        choose_ngrams(words, count, 3, generator(seed, "d", 0)),
    ):
        assert (np.diff(positions) > 0).all() and not special[positions].any() and len(positions) <= room
    assert len(choose_tokens(words.positions, count, generator(seed, "a", 0))) == room
    assert len(choose_spans(words, count, generator(seed, "b", 0))) == room
    for positions in (
        choose_words(words, count, generator(seed, "c", 0)),
        choose_ngrams(words, count, 3, generator(seed, "d", 0)),
    ):
        taken = set(positions.tolist())
        assert all(piece <= taken or not piece & taken for piece in pieces)  # whole words
    taken = set(choose_words(words, count, generator(seed, "c", 0)).tolist())
    assert all(
        len(piece) > count - len(taken) or piece <= taken for piece in pieces
    )  # nothing that fits is left


def test_shares_of_the_replacement() -> None:
    n = 100_000
    ids = np.full(n, 500)
    seen = disturb(ids, np.arange(n), generator(1, "shares", 0), BERT)
    for share, found in (
        (0.8, (seen == 103).mean()),
        (0.1 * (1 - 1 / 30522), ((seen != 103) & (seen != 500)).mean()),
    ):
        assert abs(found - share) < 4 * (share * (1 - share) / n) ** 0.5
    assert (seen[seen != 103] < 30522).all()
    together = disturb(ids, np.flatnonzero(np.arange(n) % 4), generator(2, "shares", 0), BERT, together=True)
    runs = together.reshape(-1, 4)[:, 1:]
    masked = (runs == 103).all(1)
    assert ((runs == 103).any(1) == masked).mean() > 0.999  # one fate a run; a random [MASK] is rare
    assert abs(masked.mean() - 0.8) < 4 * (0.16 / len(runs)) ** 0.5


def test_random_tokens_are_uniform_and_none_that_never() -> None:
    never = np.zeros(20, dtype=bool)
    never[[0, 3, 4, 19]] = True
    counts = np.bincount(random_ids(160_000, 20, never, generator(3, "ids", 0)), minlength=20)
    assert (counts[never] == 0).all()
    assert np.abs(counts[~never] - 10_000).max() < 5 * (10_000 * 15 / 16) ** 0.5
    assert np.bincount(random_ids(10_000, 20, None, generator(3, "ids", 0)), minlength=20).min() > 300


def test_the_law_of_spans_and_ngrams() -> None:
    words = words_of(np.zeros(2000, dtype=bool), np.ones(2000, dtype=bool))
    first = [take_spans([(n, 700)], words, 10).size for n in (1, 4, 10)]
    assert first == [1, 4, 10]
    lengths = [
        len(choose_ngrams(words_of(np.zeros(9, bool), np.ones(9, bool)), 3, 3, _first_of(i)))
        for i in range(3)
    ]
    assert lengths == [1, 2, 3]
    draws = _span_draws(50, generator(4, "spans", 0))
    drawn = np.array([next(draws) for _ in range(100_000)])
    for length, share in enumerate(SPAN_LENGTHS, 1):
        assert abs((drawn[:, 0] == length).mean() - share) < 4 * (share * (1 - share) / 1e5) ** 0.5
    assert np.abs(np.bincount(drawn[:, 1], minlength=50) - 2000).max() < 5 * (2000 * 0.98) ** 0.5
    lengths = [_sizes_of_first(rng_number) for rng_number in range(20_000)]
    for length, share in ((1, 6 / 11), (2, 3 / 11), (3, 2 / 11)):
        assert abs(np.mean(np.array(lengths) == length) - share) < 4 * (share * (1 - share) / 2e4) ** 0.5


_NINE = words_of(np.zeros(9, dtype=bool), np.ones(9, dtype=bool))
_RNG = generator(5, "ngrams", 0)


def _sizes_of_first(_: int) -> int:
    """How long the n-gram at word 2 is, if it is the only one tried."""
    return len(choose_ngrams(_NINE, 3, 3, cast(Any, Script([2], [float(_RNG.random())]))))


def _first_of(size: int) -> Any:
    """Draws that ask for an n-gram of `size` + 1 words at word 2 and nothing else."""
    return Script([2], [[0.1, 0.7, 0.95][size]])


def test_same_generator_same_noise() -> None:
    ids = np.arange(200, 328)
    runs = [
        disturb(ids, choose_tokens(np.arange(128), 19, g), g, BERT)
        for g in (generator(7, "noise", 5), generator(7, "noise", 5))
    ]
    assert np.array_equal(*runs) and ids[0] == 200 and (ids == np.arange(200, 328)).all()
    none = np.zeros(0, dtype=np.int64)
    assert np.array_equal(disturb(ids, none, generator(7, "noise", 5), BERT, together=True), ids)

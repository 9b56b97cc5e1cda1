"""Rows: worked vectors, every token once, purity in (seed, n), the laws of pairs, refusals."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unmask import rows as rows_module
from unmask.errors import UnmaskError
from unmask.rows import Pair, full_sentences, pairs_of_document, sentence_pairs, truncated, windows

GOLDEN = json.loads((Path(__file__).parent / "golden" / "rows.json").read_text())
CLS, SEP = 101, 102


class Memory:
    """A corpus in memory with what rows read of a store: documents as lists of sentences of ids."""

    def __init__(self, documents: list[list[list[int]]]) -> None:
        self.tokenizer = SimpleNamespace(vocab=SimpleNamespace(cls=CLS, sep=SEP))
        self.lengths = np.array([sum(map(len, d)) for d in documents], dtype=np.int64)
        self.documents, self.tokens = len(documents), int(self.lengths.sum())
        self._stored = []
        for sentences in documents:
            tokens = np.array([t for s in sentences for t in s], dtype=np.uint16)
            ends = (
                np.cumsum([len(s) for s in sentences], dtype=np.int32) if sentences else np.zeros(0, np.int32)
            )
            self._stored.append(
                SimpleNamespace(tokens=tokens, sentence_ends=ends, word_starts=tokens % 3 != 0)
            )

    def document(self, i: int) -> Any:
        return self._stored[i]


def corpus(sizes: list[list[int]]) -> Any:
    """Documents of sentences of these sizes; every token is another one, from 200 on."""
    number = iter(range(200, 65000))
    return Memory([[[next(number) for _ in range(size)] for size in sentences] for sentences in sizes])


def same(a: Any, b: Any) -> bool:
    return all(
        np.array_equal(getattr(a, name), getattr(b, name))
        for name in ("ids", "special", "word_starts", "segments", "lengths", "label")
    )


DOCUMENTS = st.lists(st.lists(st.integers(1, 40), max_size=6), min_size=1, max_size=12).filter(
    lambda d: any(map(sum, d))
)


@settings(max_examples=150, deadline=None)
@given(
    DOCUMENTS, st.integers(10, 40), st.sampled_from(["isolated", "joined", "sentences"]), st.integers(0, 3)
)
def test_every_token_is_in_one_row_of_an_epoch(
    sizes: list[list[int]], length: int, way: str, epoch: int
) -> None:
    store = corpus(sizes)
    made = (
        full_sentences(store, length, 5)
        if way == "sentences"
        else windows(store, length, 5, isolate=way == "isolated")
    )
    seen = []
    for n in range(epoch * len(made), (epoch + 1) * len(made)):
        row = made(n)
        total = len(row.ids)
        assert total <= length and row.lengths.sum() == total == len(row.special) == len(row.word_starts)
        assert row.ids.dtype == np.int64 and row.segments is None and row.label is None
        assert ((row.ids < 200) == row.special).all() and (
            row.word_starts == (row.special | (row.ids % 3 != 0))
        ).all()
        assert row.ids[0] == CLS and row.ids[-1] == SEP and total > 2
        ends = np.cumsum(row.lengths)
        if way == "isolated":
            assert (row.ids[ends - 1] == SEP).all() and (row.ids[ends - row.lengths] == CLS).all()
            assert row.special.sum() == 2 * len(row.lengths) and (row.lengths > 2).all()
        else:
            assert len(row.lengths) == 1 and (row.ids == CLS).sum() == 1
        seen.append(row.ids[~row.special])
    assert sorted(np.concatenate(seen).tolist()) == list(range(200, 200 + store.tokens))


@settings(max_examples=100, deadline=None)
@given(DOCUMENTS, st.integers(10, 40))
def test_windows_are_full_and_their_pieces_not_tiny(sizes: list[list[int]], length: int) -> None:
    store = corpus(sizes)
    made = windows(store, length, 0, isolate=True)
    rows = [made.window(w) for w in range(len(made))]
    assert all(len(row.ids) >= length - 5 for row in rows[:-1])
    short = sum(int((row.lengths - 2 < 4).sum()) for row in rows)
    assert short == sum(0 < size < 4 for size in map(sum, sizes))
    joined = windows(store, length, 0, isolate=False)
    assert all(len(joined.window(w).ids) >= length - 5 for w in range(len(joined) - 1))


def test_a_long_document_fills_windows_exactly() -> None:
    made = windows(corpus([[1000]]), 32, 0, isolate=True)
    assert [len(made.window(w).ids) for w in range(len(made) - 1)] == [32] * (len(made) - 1)


@pytest.mark.parametrize("name", ["roberta_1", "roberta_1_documents"])
def test_full_sentences_worked(name: str) -> None:
    case = GOLDEN[name]
    made = full_sentences(corpus(case["documents"]), case["block"] + 2, 0)
    assert [list(at) for at in zip(made.documents.tolist(), made.offsets.tolist(), strict=True)][:-1] == case[
        "starts"
    ]


def test_full_sentences_cross_documents_with_a_separator() -> None:
    row = full_sentences(corpus([[4, 3], [5]]), 20, 0)(0)
    assert np.flatnonzero(row.ids == SEP).tolist() == [8, 14] and row.lengths.tolist() == [15]


class Script:
    """Draws by what they are for: the document's two, the table of its chunks, a row's own."""

    def __init__(self, random: list[Any], integers: list[int]) -> None:
        self.randoms, self.integrals = random, integers

    def random(self, size: Any) -> np.ndarray:
        if isinstance(size, int):
            return np.array([self.randoms.pop(0) for _ in range(size)])
        table = np.full(size, 0.9)
        if self.randoms:
            table[: len(self.randoms)] = self.randoms[: size[0]]
        self.randoms = [0.5, 0.0]  # the next document: not short
        return table

    def integers(self, high: int) -> int:
        assert (found := self.integrals.pop(0)) < high
        return found


@pytest.mark.parametrize("name", ["bert_4a", "bert_4b", "albert_3"])
def test_sentence_pairs_worked(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = GOLDEN[name]

    def scripted(seed: int, purpose: str, n: int) -> Script:
        if purpose == "pairs":
            return Script([*case["document"], *case["chunks"]], [])
        return Script(list(case["rows"][n]["random"]), list(case["rows"][n]["integers"]))

    monkeypatch.setattr(rows_module, "generator", scripted)
    monkeypatch.setattr(rows_module, "_shuffled", lambda n, size, seed, purpose: n)
    made = sentence_pairs(Memory(GOLDEN["documents"]), GOLDEN["length"], 0, case["kind"])  # type: ignore[arg-type]
    for n, expected in enumerate(case["rows"]):
        row = made(n)
        assert row.ids.tolist() == expected["ids"] and row.label == expected["label"]
        assert row.segments is not None and row.segments.tolist() == expected["segments"]
        assert row.lengths.tolist() == [len(row.ids)] and (row.special == (row.ids >= CLS)).all()


def test_pairs_of_a_document_worked() -> None:
    ends = [4, 7, 12, 14]
    assert pairs_of_document(ends, 10, "next", [(0.1, 0.7), (0.5, 0.1)]) == [
        Pair(0, 1, 3, "kept"),
        Pair(3, 4, 4, "other"),
    ]
    assert pairs_of_document(ends, 10, "next", [(0.1, 0.3), (0.1, 0.6)]) == [
        Pair(0, 1, 1, "other"),
        Pair(1, 2, 4, "kept"),
    ]
    assert pairs_of_document(ends, 10, "order", [(0.9, 0.3), (0.1, 0.6)]) == [
        Pair(0, 2, 3, "swapped"),
        Pair(3, 4, 4, "other"),
    ]
    assert truncated(4, 8, 10, [0.2, 0.9]) == (slice(0, 4), slice(1, 7))
    assert truncated(5, 5, 9, [0.7]) == (slice(0, 5), slice(0, 4))  # a tie: the second
    assert truncated(3, 3, 9, []) == (slice(0, 3), slice(0, 3))


@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=30),
    st.integers(2, 60),
    st.sampled_from(["next", "order"]),
    st.integers(0, 99),
)
def test_pairs_lose_no_sentence(sizes: list[int], target: int, kind: Any, seed: int) -> None:
    draws = np.random.default_rng(seed).random((len(sizes), 2)).tolist()
    at = 0
    for pair in pairs_of_document(np.cumsum(sizes).tolist(), target, kind, draws):
        assert pair.begin == at < pair.middle <= pair.end
        if pair.fate == "other":
            assert pair.end == pair.middle and (kind == "next" or pair.middle == pair.begin + 1)
        else:
            assert pair.middle < pair.end and (sum(sizes[at : pair.end - 1]) < target or pair.end - at == 2)
        at = pair.end
    assert at == len(sizes)


MANY = [[6] * 8 for _ in range(250)]


@pytest.mark.parametrize("kind", ["next", "order"])
def test_the_laws_of_pairs(kind: Any) -> None:
    store = corpus(MANY)
    made = sentence_pairs(store, 24, 3, kind)
    owner = np.repeat(np.arange(250), 48)
    labels, coins = [], []
    for n in range(3 * len(made)):
        row = made(n)
        assert len(row.ids) <= 24 and row.segments is not None and row.label in (0, 1)
        first, second = (row.ids[~row.special & (row.segments == s)] for s in (0, 1))
        assert len(first) and len(second)
        assert row.ids[0] == CLS and np.flatnonzero(row.ids == SEP).tolist() == [
            len(first) + 1,
            len(row.ids) - 1,
        ]
        same_document = owner[first[0] - 200] == owner[second[0] - 200]
        alone = len(first) <= 6 and not same_document
        labels.append(row.label)
        if row.label == 0:
            assert same_document and first[-1] < second[0]
        elif kind == "next":
            assert not same_document
        else:
            assert alone or (same_document and first[0] > second[-1])
        if kind == "order" and same_document:
            coins.append(row.label)
    if kind == "order":
        assert abs(np.mean(coins) - 0.5) < 4 * 0.5 / len(coins) ** 0.5
    assert 0.45 < np.mean(labels) < 0.72  # a sentence alone is always 1


def test_the_coin_of_next_is_fair() -> None:
    made = sentence_pairs(corpus([[10, 10]] * 1000), 24, 1, "next", short=0.0)
    # every document: two sentences; a false pair is followed by a sentence alone, which is false too
    false = sum(made(n).label or 0 for n in range(len(made)))
    heads = false / 2
    assert abs(heads / 1000 - 0.5) < 4 * 0.5 / 1000**0.5 and len(made) - false == 1000 - heads


def test_short_targets_are_as_frequent_as_asked() -> None:
    whole = sentence_pairs(corpus([[3] * 30] * 400), 60, 2, "order", short=0.0)
    assert {len(whole(n).ids) for n in range(len(whole))} >= {60} and len(whole) == 2 * 400
    chunks = np.array(
        [-(-30 // -(-target // 3)) for target in range(2, 58)]
    )  # of a document with this target
    found = len(sentence_pairs(corpus([[3] * 30] * 400), 60, 2, "order", short=1.0)) / 400
    assert abs(found - chunks.mean()) < 4 * chunks.std() / 400**0.5


@pytest.mark.parametrize("make", [windows, full_sentences, sentence_pairs])
def test_row_n_is_a_function_of_seed_and_n(make: Any) -> None:
    sizes = [[5, 9, 3, 12, 7]] * 40
    made, again = make(corpus(sizes), 24, 9), make(corpus(sizes), 24, 9)
    count = len(made)
    numbers = [0, 3 * count + 1, 1, count - 1, count, 3 * count + 1, 2]
    rows = {n: made(n) for n in numbers}
    for n in sorted(set(numbers), reverse=True):
        assert same(rows[n], again(n)) and same(rows[n], made(n))
    other = make(corpus(sizes), 24, 10)
    for elsewhere in ([other(n) for n in range(20)], [made(count + n) for n in range(20)]):
        assert not all(same(made(n), row) for n, row in enumerate(elsewhere))


def test_refusals() -> None:
    with pytest.raises(UnmaskError, match="1 document with text"):
        sentence_pairs(corpus([[5, 5, 5], []]), 24, 0)
    with pytest.raises(UnmaskError, match="single sentence"):
        sentence_pairs(corpus([[5], [7], [9]]), 24, 0)
    with pytest.raises(UnmaskError, match='"swap"'):
        sentence_pairs(corpus([[5, 5], [7, 7]]), 24, 0, "swap")  # type: ignore[arg-type]
    with pytest.raises(UnmaskError, match="short is 2"):
        sentence_pairs(corpus([[5, 5], [7, 7]]), 24, 0, short=2)
    with pytest.raises(UnmaskError, match="no tokens"):
        windows(corpus([[]]), 24, 0)
    for make in (windows, full_sentences, sentence_pairs):
        with pytest.raises(UnmaskError, match="at least 10"):
            make(corpus([[5, 5], [5, 5]]), 9, 0)  # type: ignore[operator]

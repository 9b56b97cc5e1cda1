"""Words that are put through the tokenizer once: what comes out is what the library gives, always."""

from __future__ import annotations

import json
from itertools import chain, pairwise

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from unmask.tokens import Tokenizer
from unmask.tokens import tokenizer as module
from unmask.tokens.known import Known, known_cuts
from unmask.tokens.train import train_tokenizer

TEXT = [
    "The cats don't see the cat's naïve café, \"they\" said; it's 12,345.67 (or so)…",
    "Das Übel ist groß und die Straße lang — sehr lang.",
    "今天天气很好，我们去公园散步。“好的！”他说：「走吧」。",
    "tab\there  and   spaces \u3000wide\u00a0nbsp\u200bzero e\u0301 =\u0338 , \u0301x \u0301",
    "Ελληνικά ΟΔΟΣ हिन्दी में लिखा ภาษาไทย 한국어 텍스트 日本語のテキスト",
]
ALPHABET = (
    "abcdeABÉéß Σς0129 .,;!?'\"-_()[]{}<>=~^|\t\n\r\x0b\x1c\x00\u0301\u0338\u0327\u3000\u00a0\u200b\u200d"
    "中文字，。、“”！？①ｱ한ก\u0e31😀\ufe0f—…"
)
WORDS = [
    "the",
    "don't",
    "café",
    "naïve",
    "[MASK]",
    "we'll",
    "1,000",
    "中文",
    "\u0301",
    " ",
    "  ",
    "\n",
    "=\u0338",
]


def made(kind: str, lowercase: bool = False) -> Tokenizer:
    return train_tokenizer(TEXT * 3, kind, 600, lowercase=lowercase)


TOKENIZERS = {
    "wordpiece": made("wordpiece"),
    "lower": made("wordpiece", lowercase=True),
    "bpe": made("bpe"),
}


def library(tokenizer: Tokenizer, texts: list[str]) -> tuple[list[int], list[tuple[int, int]], list[int]]:
    inner = tokenizers.Tokenizer.from_str(tokenizer.content)
    inner.encode_special_tokens = True
    found = inner.encode_batch(texts, add_special_tokens=False)
    ids = list(chain.from_iterable(e.ids for e in found))
    return ids, list(chain.from_iterable(e.offsets for e in found)), [len(e) for e in found]


def check(tokenizer: Tokenizer, known: Known, texts: list[str]) -> None:
    found = known.encode(texts)
    assert found is not None
    ids, offsets, counts = library(tokenizer, texts)
    assert found[0].tolist() == ids
    assert list(map(tuple, found[1].tolist())) == offsets
    assert found[2].tolist() == counts


@pytest.mark.parametrize("together", [1, 100, 1 << 18])
@pytest.mark.parametrize("name", TOKENIZERS)
def test_text_of_many_scripts(name: str, together: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unmask.tokens.known._TOGETHER", together)
    tokenizer = TOKENIZERS[name]
    known = Known(tokenizer._inner, known_cuts(json.loads(tokenizer.content)))
    for _ in range(2):  # the second time every word is known
        check(tokenizer, known, [*TEXT, "", " ", TEXT[0] * 3, "x" * 200])
    check(tokenizer, known, [])
    check(tokenizer, known, ["", ""])


KEPT = {name: Known(t._inner, known_cuts(json.loads(t.content))) for name, t in TOKENIZERS.items()}
PIECES = st.lists(st.one_of(st.text(ALPHABET, max_size=12), st.sampled_from(WORDS)), max_size=12).map("".join)


@pytest.mark.parametrize("name", TOKENIZERS)
@settings(max_examples=150)
@given(texts=st.lists(PIECES, max_size=6))
def test_any_text(name: str, texts: list[str]) -> None:
    check(TOKENIZERS[name], KEPT[name], texts)  # the words of earlier examples are known by now


@pytest.mark.parametrize("name", TOKENIZERS)
@settings(max_examples=60)
@given(texts=st.lists(st.text(max_size=20), max_size=4))
def test_any_code_point(name: str, texts: list[str]) -> None:
    check(TOKENIZERS[name], KEPT[name], texts)


def test_too_many_words_start_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unmask.tokens.known._MOST", 40)
    tokenizer = TOKENIZERS["wordpiece"]
    known = Known(tokenizer._inner, "bert")
    for n in range(30):
        check(tokenizer, known, [f"word{n} and another{n} {TEXT[n % 2]}"])
    assert known._count <= 40
    assert known.encode([" ".join(f"a{n}" for n in range(100))]) is None  # more than fit: the library's


def test_words_without_end_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = TOKENIZERS["wordpiece"]
    known = Known(tokenizer._inner, "bert")
    check(tokenizer, known, ["x" * 65_535])  # offsets are kept in 16 bits
    assert known.encode(["x" * 65_536]) is None
    monkeypatch.setattr("unmask.tokens.known._MOST_CHARACTERS", 200)
    begins = []
    for n in range(30):
        check(tokenizer, known, [f"{n}" * 30 + f" word{n} {TEXT[n % 2]}"])
        begins.append(int(known._begin[known._count]))
    assert max(begins) <= 200
    assert sum(b < a for a, b in pairwise(begins)) > 3  # it started anew, and found the same


@pytest.mark.parametrize(("name", "kind"), [("wordpiece", "bert"), ("bpe", "bytes")])
def test_more_tokens_than_there_is_room_for_start_anew(
    name: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A character may have several tokens; their places are as bounded as those of characters."""
    monkeypatch.setattr("unmask.tokens.known._MOST_TOKENS", 60)
    tokenizer = TOKENIZERS[name]
    known = Known(tokenizer._inner, kind)
    counts = []
    for n in range(30):
        check(tokenizer, known, [f"word{n} \U0001f984{n}"])
        counts.append(int(known._first[known._count]))
    assert max(counts) <= 60
    assert sum(b < a for a, b in pairwise(counts)) > 1
    assert known.encode([" ".join(f"a{n}" for n in range(100))]) is None


def test_one_hash_for_two_words_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Known, "_hash", lambda self, codes, begins, lengths: np.ones(len(begins), np.uint64))
    assert Known(TOKENIZERS["wordpiece"]._inner, "bert").encode(["two words"]) is None


def test_unknown_ways_of_cutting_are_left_to_the_library() -> None:
    data = json.loads(TOKENIZERS["wordpiece"].content)
    assert known_cuts(data) == "bert"
    assert known_cuts({**data, "pre_tokenizer": {"type": "Whitespace"}}) == ""
    assert known_cuts({**data, "post_processor": {"type": "RobertaProcessing"}}) == ""
    plain = {"id": 7, "content": "new york", "special": False}
    assert known_cuts({**data, "added_tokens": [*data["added_tokens"], plain]}) == ""
    assert known_cuts(json.loads(made("unigram").content)) == ""


def test_a_tokenizer_takes_it_for_long_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEAST", 0)
    tokenizer = made("wordpiece")
    texts = [*TEXT, "A [MASK] in the text"]
    ids, _, counts = library(tokenizer, texts)
    found = tokenizer.encode_flat(texts)
    assert found[0].tolist() == ids and found[2].tolist() == counts
    assert tokenizer._known is not None and tokenizer._known._count > 0
    asked = tokenizer.encode_flat(texts, specials=True)[0].tolist()
    assert tokenizer.vocab.mask in asked and tokenizer.vocab.mask not in ids
    assert tokenizer.encode_flat(TEXT, specials=True)[0].tolist() == library(tokenizer, TEXT)[0]

"""Tokenizers: the same in every process, lossless where they promise it, open in transformers, words in any script."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from unmask.errors import UnmaskError
from unmask.tokens import KINDS, Tokenizer, load_tokenizer, token_starts, train_tokenizer
from unmask.tokens.sample import Sample
from unmask.tokens.train import LONGEST_WORD, _bound_words

LINES = [
    "The cat sat on the mat, and the dog (a big one) barked at it.",
    "Unbelievable stories are believed; nobody knows why they're told again and again.",
    "我爱北京天安门，天安门上太阳升。今天的天气很好，我们去公园。",
    "Der Hund läuft über die Straße [und] zurück.",
] * 5
TEXT = "The dog, unbelievably: 我爱北京天安门。 [MASK] again\nStraße"


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return train_tokenizer(LINES, request.param, 576)


def test_specials_and_size(tokenizer: Tokenizer) -> None:
    vocab = tokenizer.vocab
    assert (vocab.pad, vocab.unk, vocab.cls, vocab.sep, vocab.mask) == (0, 1, 2, 3, 4)
    assert vocab.size % 64 == 0
    assert len(vocab.special) == len(vocab.opens) == vocab.size
    assert vocab.special[:5].all()
    names = [tokenizer.token(i) for i in range(vocab.size)]
    assert [name.startswith("[unused") for name in names] == (
        vocab.special & (np.arange(vocab.size) > 4)
    ).tolist()
    assert [tokenizer.id(name) for name in names] == list(range(vocab.size))
    assert not (vocab.opens & vocab.special).any()
    with pytest.raises(UnmaskError, match="not in the vocabulary"):
        tokenizer.token(vocab.size)


def test_text_never_gives_a_special_token(tokenizer: Tokenizer) -> None:
    hostile = " ".join([tokenizer.token(i) for i in np.flatnonzero(tokenizer.vocab.special)])
    ids = tokenizer.encode(hostile).ids
    allowed = ~tokenizer.vocab.special
    allowed[tokenizer.vocab.unk] = True
    assert allowed[ids].all()
    with_mask = tokenizer.encode("the [MASK] dog", specials=True).ids
    assert (with_mask == tokenizer.vocab.mask).sum() == 1


def test_offsets_are_those_of_the_original_text(tokenizer: Tokenizer) -> None:
    text = "cafe\u0301 Straße 我爱 dog"  # the e and its accent become one character inside
    encoded = tokenizer.encode(text)
    assert encoded.offsets.dtype == np.int32
    assert encoded.ids.dtype == np.int32
    dog = encoded.offsets[encoded.offsets[:, 0] >= text.index("dog") - 1]
    assert dog[-1, 1] == len(text)
    covered = {i for begin, end in encoded.offsets for i in range(begin, end)}
    assert {i for i, c in enumerate(text) if not c.isspace() and c != "\u0301"} <= covered


def test_word_starts_in_two_scripts(tokenizer: Tokenizer) -> None:
    text = "The dog barked 天安门上 again"
    encoded = tokenizer.encode(text)
    spans = encoded.offsets[encoded.word_starts].tolist()
    words = [0, 4, 8, 15, 18, 20]  # The, dog, barked, 天安门, 上, again
    assert len(spans) == len(words)
    for (begin, end), word in zip(spans, words, strict=True):  # a piece may carry the space before its word
        assert begin <= word < end or text[begin:end].isspace() and end == word


def test_several_pieces_of_one_character_are_one_start() -> None:
    starts = np.array([True, True, False, True])
    offsets = np.array([[0, 1], [0, 1], [1, 2], [1, 2], [2, 4], [4, 4]], np.int32)
    assert token_starts(starts, offsets).tolist() == [True, False, True, False, True, False]


@settings(max_examples=40)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_any_text_is_encoded(tokenizer: Tokenizer, text: str) -> None:
    alone = tokenizer.encode(text)
    beside = tokenizer.encode_batch(["other", text])[1]
    assert alone.ids.tolist() == beside.ids.tolist()
    assert alone.word_starts.tolist() == beside.word_starts.tolist()
    assert len(alone.ids) == len(alone.offsets) == len(alone.word_starts)
    assert ((alone.offsets >= 0) & (alone.offsets <= len(text))).all()
    assert not len(alone.ids) or alone.word_starts[0]


@settings(max_examples=60)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_bytes_lose_nothing(text: str) -> None:
    import unicodedata

    normal = unicodedata.normalize("NFC", text)
    assert _bpe().decode(_bpe().encode(normal).ids) == normal


_held: list[Tokenizer] = []


def _bpe() -> Tokenizer:
    if not _held:
        _held.append(train_tokenizer(LINES, "bpe", 576))
    return _held[0]


def test_newlines() -> None:
    kept = {kind: train_tokenizer(LINES, kind, 576).keeps_newlines for kind in KINDS}
    assert kept == {"wordpiece": False, "bpe": True, "unigram": False, "characters": False}


def test_characters_are_characters() -> None:
    tokenizer = train_tokenizer(LINES, "characters", 512)
    assert [tokenizer.token(i) for i in tokenizer.encode("天 dog 龘").ids] == ["天", "d", "o", "g", "[UNK]"]
    assert tokenizer.decode(tokenizer.encode("天安门").ids) == "天安门"


def test_lowercase() -> None:
    tokenizer = train_tokenizer(LINES, "wordpiece", 576, lowercase=True)
    assert tokenizer.encode("THE DOG").ids.tolist() == tokenizer.encode("the dog").ids.tolist()
    cased = train_tokenizer(LINES, "wordpiece", 576)
    assert cased.encode("THE DOG").ids.tolist() != cased.encode("the dog").ids.tolist()


def test_same_vocabulary_in_another_process() -> None:
    """Hash maps in the trainers differ from process to process; the tokenizers must not."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_tokens as t;"
        "print(*[t.train_tokenizer(t.LINES, kind, 576).fingerprint for kind in t.KINDS])"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).parent)]
    others = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert others == [train_tokenizer(LINES, kind, 576).fingerprint for kind in KINDS]


def test_saved_and_opened_by_transformers(tokenizer: Tokenizer, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer.save(tmp_path, longest=128)
    again = load_tokenizer(tmp_path)
    assert again.fingerprint == tokenizer.fingerprint
    assert again.encode(TEXT).ids.tolist() == tokenizer.encode(TEXT).ids.tolist()
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert (theirs.mask_token, theirs.mask_token_id) == ("[MASK]", 4)
    assert (theirs.pad_token_id, theirs.cls_token_id, theirs.sep_token_id, theirs.unk_token_id) == (
        0,
        2,
        3,
        1,
    )
    assert theirs.model_max_length == 128
    assert len(theirs) == tokenizer.vocab.size
    plain = "The dog barked, 我爱北京"
    ids = tokenizer.encode(plain).ids.tolist()
    assert theirs(plain)["input_ids"] == [2, *ids, 3]
    pair = theirs(plain, plain)
    assert pair["input_ids"] == [2, *ids, 3, *ids, 3]
    assert pair["token_type_ids"] == [0] * (len(ids) + 2) + [1] * (len(ids) + 1)
    assert theirs("the [MASK]")["input_ids"][-2] == 4
    tokenizer.save(tmp_path, segments=False)
    assert "token_type_ids" not in transformers.AutoTokenizer.from_pretrained(tmp_path)(plain)


def foreign(file: Path, names: list[str]) -> None:
    inner = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({n: i for i, n in enumerate(names)}, unk_token=names[0])
    )
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    inner.add_special_tokens([name for name in names if name.startswith("<")])
    inner.save(str(file))


def test_foreign_names(tmp_path: Path) -> None:
    file = tmp_path / "tokenizer.json"
    foreign(file, ["<unk>", "<s>", "</s>", "<pad>", "<mask>", "word"])
    vocab = load_tokenizer(file).vocab
    assert (vocab.unk, vocab.cls, vocab.sep, vocab.pad, vocab.mask) == (0, 1, 2, 3, 4)
    assert vocab.special.tolist() == [True] * 5 + [False]
    foreign(file, ["<unk>", "<s>", "</s>", "<pad>", "<hole>", "word"])
    with pytest.raises(UnmaskError, match=r"no special token for mask — expected mask: \[MASK\] or <mask>"):
        load_tokenizer(file)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"mask_token": {"content": "<hole>"}}))
    assert load_tokenizer(tmp_path).vocab.mask == 4


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(UnmaskError, match="has no tokenizer"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UnmaskError, match="it holds no model"):
        load_tokenizer(tmp_path)
    with pytest.raises(UnmaskError, match='unknown kind.*Did you mean "wordpiece"'):
        train_tokenizer(LINES, "word-piece", 512)
    with pytest.raises(UnmaskError, match="too small"):
        train_tokenizer(LINES, "bpe", 128)
    with pytest.raises(UnmaskError, match="no text"):
        train_tokenizer(["", " \n"], "wordpiece", 512)


def test_characters_by_table_are_those_of_the_library() -> None:
    """Every code point up to the Han characters, alone and together; text out of NFC is left to the library."""
    fast = train_tokenizer(LINES, "characters", 128)
    slow = train_tokenizer(LINES, "characters", 128)
    slow.__dict__["_characters"] = None  # the cached property
    assert fast._characters is not None
    assert train_tokenizer(LINES, "characters", 128, lowercase=True)._characters is None
    assert train_tokenizer(LINES, "wordpiece", 576)._characters is None
    every = [c for c in map(chr, range(0x3400)) if unicodedata.is_normalized("NFC", c)]
    for texts in ([TEXT, "", " \n", "[MASK]天"], every, ["a\u0301 e", "天"], [], [""]):
        for found, expected in zip(fast.encode_flat(texts), slow.encode_flat(texts), strict=True):
            assert found.dtype == expected.dtype
            assert np.array_equal(found, expected)


def test_sample_is_bounded_and_uniform() -> None:
    """Of 200 texts 50 fit: each is in the sample of about a quarter of 400 seeds (5 standard errors)."""
    taken = np.zeros(200)
    for seed in range(400):
        sample = Sample(500, seed, "test")
        for number in range(200):
            sample.add(f"{number:010d}")
        texts = sample.texts()
        assert texts == sorted(texts)
        assert len(texts) == 50
        taken[[int(text) for text in texts]] += 1
    assert np.abs(taken / 400 - 0.25).max() < 5 * np.sqrt(0.25 * 0.75 / 400)


def test_training_takes_no_more_than_its_sample() -> None:
    many = train_tokenizer((line for _ in range(50) for line in LINES), "wordpiece", 576, sample_bytes=2000)
    assert many.fingerprint == train_tokenizer(LINES * 50, "wordpiece", 576, sample_bytes=2000).fingerprint
    assert many.vocab.size <= 576


@pytest.mark.parametrize("kind", KINDS)
def test_a_word_without_end_takes_time_in_proportion(kind: str, tmp_path: Path) -> None:
    """The trainers take seconds for a word of 50,000 letters, four times that for twice as many."""
    began = time.process_time()
    tokenizer = train_tokenizer([*LINES, "a" * 200_000], kind, 512)
    assert time.process_time() - began < 3
    tokenizer.save(tmp_path)  # its pieces are no longer than a stranger's may be
    assert load_tokenizer(tmp_path).fingerprint == tokenizer.fingerprint


def test_only_words_beyond_the_bound_come_in_parts() -> None:
    text = f"{'x' * LONGEST_WORD} y {'z' * (2 * LONGEST_WORD + 1)} w"
    assert _bound_words([text, "a b"]) == [
        f"{'x' * LONGEST_WORD} y {'z' * LONGEST_WORD}",
        "z" * LONGEST_WORD,
        "z w",
        "a b",
    ]


@pytest.mark.parametrize("lowercase", [False, True])
def test_unigram_outlasts_more_characters_than_pieces(lowercase: bool) -> None:
    """Private and unassigned ones are not counted as text, but the library would take them all."""
    lines = [
        "hello " + "".join(chr(0xE000 + n) for n in range(70)),
        "".join(chr(0x100 + n) for n in range(90)),
    ]
    tokenizer = train_tokenizer(lines, "unigram", 64, lowercase=lowercase)
    assert tokenizer.vocab.size == 64
    assert tokenizer.encode("hello").ids.size

"""Cleaning, duplicates, exclusion, sentences, words and the ledger."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from unmask.corpus import sentences
from unmask.corpus.clean import clean
from unmask.corpus.dedup import Seen, hashes
from unmask.corpus.exclude import Excluded, fold
from unmask.corpus.ledger import Ledger, LedgerError
from unmask.corpus.sentences import detect_language, sentence_ends, split_sentences
from unmask.corpus.words import word_starts


def marked(text: str, language: str = "auto") -> str:
    return "".join(
        ("|" if start else "") + c for start, c in zip(word_starts(text, language), text, strict=True)
    )


def test_clean_worked() -> None:
    text, removed = clean("  cafe\u0301\x00 a\x07\r\n\r\n\x0cb\u2028c\ufeff \ud800\n")
    assert text == "café a\nb\nc"
    assert removed == {f"control character U+{code}": 1 for code in ("0000", "0007", "FEFF", "D800")}


@given(st.text())
def test_clean_is_settled(text: str) -> None:
    once, _ = clean(text)
    assert clean(once) == (once, {})
    assert unicodedata.is_normalized("NFC", once)
    assert "\n\n" not in once


@given(st.lists(st.lists(st.integers(0, 40), max_size=30), max_size=30))
def test_seen_is_a_set(batches: list[list[int]]) -> None:
    seen, known = Seen(), set[int]()
    for batch in batches:
        fresh = seen.first(np.array(batch, np.uint64))
        for value, new in zip(batch, fresh, strict=True):
            assert new == (value not in known)
            known.add(value)
    assert len(seen) == len(known)


def test_hashes_differ() -> None:
    assert len(np.unique(hashes([str(i) for i in range(10000)]))) == 10000
    assert hashes(["a"]).tolist() == hashes(["a"]).tolist()


LONG = "The quick brown fox jumps over the lazy dog."


@pytest.mark.parametrize(
    ("lines", "gone"),
    [
        (["keep me", f"before {LONG} after", "keep me too"], {1}),
        (["The QUICK   brown fox", "jumps over the lazy dog.", "other"], {0, 1}),
        (["ｔｈｅ quick brown fox jumps over the lazy dog."], {0}),
        (["The quick brown fox jumps over the lazy cat."], set()),
        (["Good.", "Good. And more."], {0}),
        (["", ""], set()),
    ],
)
def test_excluded(lines: list[str], gone: set[int]) -> None:
    excluded = Excluded([LONG, "good."])
    assert excluded.touched([lines]) == [gone]
    # Neighbours change nothing, and no text is found across two documents.
    assert excluded.touched([["ok"], lines, lines, [], ["ok"]]) == [set(), gone, gone, set(), set()]
    assert excluded.touched([[LONG[:20]], [LONG[20:]]]) == [set(), set()]


@given(st.text(min_size=1, max_size=60), st.text(max_size=40), st.text(max_size=40))
def test_what_is_excluded_is_found(needle: str, before: str, after: str) -> None:
    """Planted anywhere, a long text is found; what is found does hold it."""
    lines = (before + " " + needle + " " + after).split("\n")
    found = Excluded([needle]).touched([lines])[0]
    folded = fold(needle)
    if len(folded) >= 16 and folded in "".join(map(fold, lines)):
        assert found
    if not any(
        fold(piece) and fold(piece) in "".join(map(fold, lines)) for piece in (needle, *needle.split("\n"))
    ):
        assert not found


@given(st.text(st.sampled_from("aA！Ｚ１＜\u0338\u0301é ﾊﾞ㌔～\u3000\uff5f")))
def test_fold_is_nfkc(text: str) -> None:
    once = "".join(unicodedata.normalize("NFKC", text).casefold().split())
    assert fold(text) == unicodedata.normalize("NFKC", once)


@given(st.text())
@example("Ⅽ¸")
@example("\u0345\u1fcd")
@example("İ\u05bf")
def test_fold_hides_no_case(text: str) -> None:
    assert fold(fold(text)) == fold(text)
    assert fold("ΐ".upper()) == fold("ΐ")
    assert fold("co\u00adope\u200bration Ä") == "cooperationä"


def test_sentences_worked() -> None:
    assert split_sentences("Dr. Smith came. He left!", "en") == ["Dr. Smith came. ", "He left!"]
    chinese = ["他说：“你好。”", "然后走了！", "你是谁？"]
    assert split_sentences("".join(chinese), "zh") == chinese


@given(
    st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"])),
    st.sampled_from(["en", "zh", "th"]),
)
@example("a.  b 。」 c\u3000d?\x85", "zh")
def test_no_character_of_a_line_is_lost(line: str, language: str) -> None:
    pieces = split_sentences(line, language)
    assert "".join(pieces) == line
    assert all(pieces)
    assert sentence_ends(line, language)[-1:] == ([len(line)] if line else [])


@pytest.mark.parametrize("space", "\u00a0\u2009\u202f\u3000")
def test_a_wide_space_before_a_stop_is_no_panic(space: str) -> None:
    for line in (f"Plan J{space}. It rained. We left.", f"A{space}{space}.", f"A {space}."):
        assert "".join(split_sentences(line, "en")) == line
    assert split_sentences(f"Plan J{space}. It rained. We left.", "en")[-1] == "We left."


def test_a_panic_of_the_library_makes_one_sentence_of_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def panics(language: str, line: str) -> list[str]:
        raise type("PanicException", (BaseException,), {})("end byte index 7")

    monkeypatch.setattr(sentences, "_segmenter", lambda: panics)
    assert split_sentences("One. Two.", "en") == ["One. Two."]


def test_language() -> None:
    assert detect_language(["This is an English sentence about the weather."]) == "en"
    assert detect_language(["今天天气很好，我们一起去公园散步吧。"]) == "zh"
    assert detect_language([]) == "en"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, world!  I don't.", "|Hello|,| world|!|  I| don|'|t|."),
        ("我爱北京天安门。", "|我|爱|北京|天安门|。"),
        ("用PyTorch训练模型", "|用|PyTorch|训练|模型"),
        ("日本語のテスト", "|日|本|語|の|テ|ス|ト".replace("テ|ス|ト", "テ|ス|ト")),
        ("ภาษา", "|ภ|า|ษ|า"),
        ("葛\U000e0100城", "|葛\U000e0100|城"),
        ("ꦲꦏ꧀ꦱꦫ", "|ꦲ|ꦏ꧀|ꦱ|ꦫ"),
        ("cafe\u0301s été", "|cafe\u0301s| été"),
        ("हिन्दी भाषा", "|हिन्दी| भाषा"),
        ("a\nb", "|a|\n|b"),
        ("Привет мир", "|Привет| мир"),
        ("", ""),
        ("  ", "  "),
    ],
)
def test_words_worked(text: str, expected: str) -> None:
    assert marked(text) == expected


def test_han_in_japanese_text_is_not_cut_by_the_chinese_dictionary() -> None:
    assert marked("東京都", "ja") == "|東|京|都"
    assert marked("北京市", "zh") in ("|北京市", "|北京|市")


@given(st.text())
def test_words_are_never_long_without_spaces(text: str) -> None:
    """Words start where the text does, and no word holds white space but at its beginning."""
    starts = word_starts(text)
    assert len(starts) == len(text)
    if text.strip() and not unicodedata.category(text.lstrip()[0]).startswith(("M", "C")):
        assert starts[0]


def test_ledger_holds_its_law() -> None:
    ledger = Ledger()
    stage = ledger.stage("clean")
    for number in range(30):
        stage.take()
        stage.add("dropped" if number % 2 else "kept", "odd" if number % 2 else "", f"sample {number}")
    ledger.check()
    again = Ledger.from_json(ledger.to_json())
    assert again.to_json() == ledger.to_json()
    again.merge(ledger)
    assert again.stage("clean").came == 60
    assert again.stage("clean").counts["dropped"] == {"odd": 30}
    assert len(again.stage("clean").samples["dropped"]["odd"]) == 20
    stage.take()
    with pytest.raises(LedgerError, match="31 documents came in, 30"):
        ledger.check()

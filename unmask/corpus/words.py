"""Where words start, in any script.

Whole-word masking needs words, and tokens do not tell them: touching tokens of a Chinese line are not one
word, and a byte-level piece may hold half a character. So words are found in the characters of the text:

- spaced scripts: a run of letters, digits, symbols and the marks upon them is a word;
- every punctuation mark is a word, and so is every newline (as BERT's pre-tokenizer cuts them);
- Chinese: the words of jieba (its dictionary and its hidden Markov model, by `rjieba`);
- other scripts without spaces (kana, Thai, Lao, Khmer, Burmese, and Han in Japanese text): every character
  with the marks upon it is a word, because no segmenter is at hand. A word is never a whole sentence.

The start of a word is moved to the white space before it, so that a piece which carries its space (`Ġword`,
`▁word`) and one which does not (`word`) are both found to open the word.
"""

from __future__ import annotations

import unicodedata
from functools import cache

import numpy as np
from numpy.typing import NDArray

SPACE, LETTER, MARK, ALONE, HAN, UNSPACED = range(6)

_HAN = ((0x3400, 0x4DC0), (0x4E00, 0xA000), (0xF900, 0xFB00), (0x3005, 0x3008), (0x20000, 0x323B0))
_UNSPACED = (
    (0x0E00, 0x0F00),  # Thai, Lao
    (0x1000, 0x10A0),  # Burmese
    (0x1950, 0x19E0),  # Tai Le, New Tai Lue
    (0x1A20, 0x1AB0),  # Tai Tham
    (0x1B00, 0x1B80),  # Balinese
    (0x1780, 0x1800),  # Khmer
    (0x3040, 0x3100),  # hiragana, katakana
    (0x31F0, 0x3200),  # katakana extensions
    (0xA000, 0xA4D0),  # Yi
    (0xA980, 0xA9E0),  # Javanese
    (0xA9E0, 0xAA00),  # Burmese extended, B
    (0xAA60, 0xAA80),  # Burmese extended, A
    (0xFF66, 0xFFA0),  # half-width katakana
    (0x1B000, 0x1B170),  # kana supplements
)
_TOP = 0x32400  # code points from here on are letters to us (private use, what is not yet assigned), but for selectors


@cache
def _classes() -> NDArray[np.uint8]:
    """The class of every code point below `_TOP`; made once a process (about 60 ms)."""
    table = np.full(_TOP, LETTER, np.uint8)
    for begin, end in _HAN:
        table[begin:end] = HAN
    for begin, end in _UNSPACED:
        table[begin:end] = UNSPACED
    for code in range(_TOP if _TOP < 0x20000 else 0x20000):
        category = unicodedata.category(chr(code))
        if category in ("Mn", "Mc", "Me", "Cf"):
            table[code] = MARK
        elif category[0] == "P":
            table[code] = ALONE
        elif category[0] == "Z":
            table[code] = SPACE
    for code in (*range(0x21, 0x30), *range(0x3A, 0x41), *range(0x5B, 0x61), *range(0x7B, 0x7F)):
        table[code] = ALONE
    for code in (0x09, 0x0B, 0x0C, 0x0D, 0x85):
        table[code] = SPACE
    table[0x0A] = ALONE
    table[0x3005:0x3008] = HAN
    return table


def classes(text: str) -> NDArray[np.uint8]:
    """The class of every character.

    Returns `[len(text)]` uint8 of `SPACE`, `LETTER`, `MARK`, `ALONE`, `HAN`, `UNSPACED`.
    """
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    found = _classes()[np.minimum(codes, _TOP - 1)]
    # Variation selectors and tags belong to what stands before them.
    if len(codes) and codes.max() >= 0xE0000:
        found[(codes >= 0xE0000) & (codes < 0xE01F0)] = MARK
    return found


def word_starts(text: str, language: str = "auto") -> NDArray[np.bool_]:
    """True at the first character of every word, or at the white space before it.

    Returns `[len(text)]` bool. `language` matters for Han characters alone: `"ja"` makes each a word, any
    other has them cut by jieba unless the text holds kana and the language is `"auto"`.
    """
    kind = classes(text)
    if not len(kind):
        return np.zeros(0, np.bool_)
    marks = np.flatnonzero(kind == MARK)
    if len(marks):  # one that nothing stands before in its line is a letter
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
        kind[marks[(marks == 0) | (codes[marks - 1] == 0x0A)]] = LETTER
    carried = _carried(kind)
    before = np.empty_like(carried)
    before[0], before[1:] = SPACE, carried[:-1]
    opens = (kind != SPACE) & (kind != MARK)
    same = (kind == LETTER) & (before == LETTER)
    starts = opens & ~same
    han = kind == HAN
    if han.any() and not _japanese(text, language):
        starts &= ~han | (before != HAN) | _chinese_bounds(text, han)
    return _take_space(starts, kind)


def _carried(kind: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The class of the last character that is not a mark, at every character."""
    marks = kind == MARK
    if not marks.any():
        return kind
    last = np.maximum.accumulate(np.where(marks, 0, np.arange(len(kind))))
    return np.asarray(kind[last])


def _take_space(starts: NDArray[np.bool_], kind: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Move every start to the beginning of the white space that stands before it."""
    space = kind == SPACE
    if not space.any():
        return starts
    place = np.arange(len(kind))
    previous = np.maximum.accumulate(np.where(space, -1, place))  # the last character that is not a space
    moved = np.zeros_like(starts)
    where = np.flatnonzero(starts)
    before = np.where(where > 0, previous[where - 1], -1)
    moved[before + 1] = True
    return moved


def _japanese(text: str, language: str) -> bool:
    if language != "auto":
        return language == "ja"
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    return bool(((codes >= 0x3041) & (codes < 0x3097)).any())


def _chinese_bounds(text: str, han: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """True where a word of jieba begins; only the runs of Han characters are given to it."""
    import rjieba  # a large dictionary: loaded only where there is Chinese

    edges = np.flatnonzero(np.diff(han.astype(np.int8), prepend=0, append=0)).tolist()
    joined = "\n".join(text[begin:end] for begin, end in zip(edges[::2], edges[1::2], strict=True))
    words = rjieba.cut(joined, True)
    begins = np.zeros(len(words) + 1, np.int64)
    np.cumsum([len(word) for word in words], out=begins[1:])
    if begins[-1] != len(joined):  # the segmenter lost characters: every character is a word
        return han
    inside = np.zeros(len(joined) + 1, np.bool_)
    inside[begins] = True
    codes = np.frombuffer(joined.encode("utf-32-le"), np.uint32)
    bounds = np.zeros(len(text), np.bool_)
    bounds[han] = inside[:-1][codes != 0x0A]
    return bounds

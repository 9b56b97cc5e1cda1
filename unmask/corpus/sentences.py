"""Sentences and languages.

Sentences come from `sentencex` (rules for some 300 languages; it knows 。！？ with the closing quotes and brackets
behind them), languages from `py3langid`. A split loses nothing: the pieces of a line, laid together, are the line.

The time of `sentencex` grows with the square of a line's sentences (a Chinese novel in one line took minutes), so a
long line goes to it in stretches: the last sentence of a stretch, which may go on, begins the next one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from functools import cache
from itertools import accumulate
from typing import cast

_CHUNK = 300  # characters that a language is judged on at a time
_CHUNKS = 64
STRETCH = 10_000  # characters of a line that sentences are looked for in at once
# At a capital, a wide space and a stop sentencex 1.0.32 panics.
_STUMBLES = re.compile(r"[^\S\x00-\x7f](?=\.)")


def split_sentences(line: str, language: str = "en") -> list[str]:
    """The sentences of a line (no newline inside), each with the space behind it; joined they are the line."""
    if len(line) <= STRETCH:
        return _split(line, language)
    found: list[str] = []
    begin = 0
    while len(line) - begin > STRETCH:
        pieces = _split(line[begin : begin + STRETCH], language)
        found += pieces[:-1] or pieces  # a stretch without an end is a sentence
        begin += sum(map(len, pieces[:-1] or pieces))
    return found + _split(line[begin:], language)


@cache
def _segmenter() -> Callable[[str, str], list[str]]:
    from sentencex import segment

    return cast("Callable[[str, str], list[str]]", segment)


def _split(line: str, language: str) -> list[str]:
    if not line:
        return []
    plain = _STUMBLES.sub(" ", line)
    try:
        pieces = [piece for piece in _segmenter()(language, plain) if piece]
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # of the library, which is no Exception
            raise
        return [line]
    if "".join(pieces) != plain:
        return [line]
    ends = list(accumulate(map(len, pieces)))
    return [line[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]


def sentence_ends(line: str, language: str = "en") -> list[int]:
    """Where the sentences of a line end, in characters; the last is `len(line)`."""
    return list(accumulate(len(piece) for piece in split_sentences(line, language)))


def detect_language(texts: Iterable[str]) -> str:
    """The language of most of the texts (ISO 639-1), by the beginnings of the first 64; `"en"` if none."""
    votes: Counter[str] = Counter()
    for text, _ in zip(texts, range(_CHUNKS), strict=False):
        chunk = text[:_CHUNK].strip()
        if chunk:
            votes[str(_classify(chunk))] += len(chunk)
    return min(votes, key=lambda language: (-votes[language], language)) if votes else "en"


def _classify(text: str) -> str:
    import py3langid

    return str(py3langid.classify(text)[0])

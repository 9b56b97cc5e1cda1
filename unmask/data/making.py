"""Labelled rows from plain text, the same for every language: sentence pairs, blanked words, blanked names.

No annotator is needed, and none is claimed: each label is read off the text or off tags that it carries. The
pairs are the next-sentence task of BERT (section 3.1 of the paper) with one difference: there the other
sentence is any sentence of the corpus, here the wrong second sentences are the second sentences of other pairs,
exchanged between neighbours in length, so that neither half, nor its length beside the other, tells the label.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from unmask.data import MASK


@dataclass(frozen=True)
class Pair:
    """Two sentences and whether the second follows the first; `source` numbers the document of the first."""

    first: str
    second: str
    source: int
    label: str


def pair_rows(neighbours: Sequence[tuple[str, str, int]], rng: np.random.Generator) -> list[Pair]:
    """Half of `neighbours` (first, second, document) as they are, half with exchanged seconds, in random order.

    Both halves keep their own firsts and seconds, so each side has the same law in both; a second goes to the
    pair that is next in the length of its second and comes from another document, so the two lengths keep
    their joint law as well.
    """
    order = rng.permutation(len(neighbours))
    half = len(order) // 2
    rows = [Pair(a, b, source, "follows") for a, b, source in (neighbours[i] for i in order[:half].tolist())]
    apart = sorted((neighbours[i] for i in order[half:].tolist()), key=lambda n: (len(n[1]), n[1]))
    seconds = [(second, source) for _, second, source in apart]
    seconds = seconds[1:] + seconds[:1]
    for i, (_, _, source) in enumerate(apart):
        if seconds[i][1] != source:
            continue
        for j in (
            k for step in range(1, len(apart)) for k in (i + step, i - step)
        ):  # the nearest that suits both
            if 0 <= j < len(apart) and seconds[j][1] != source and seconds[i][1] != apart[j][2]:
                seconds[i], seconds[j] = seconds[j], seconds[i]
                break
        else:
            raise ValueError("every pair comes from one document: no second sentence of another one")
    rows += [Pair(first, seconds[i][0], source, "other") for i, (first, _, source) in enumerate(apart)]
    return [rows[i] for i in rng.permutation(len(rows)).tolist()]


@dataclass(frozen=True)
class Word:
    """A word as it stands in the text: its kind (None: never blanked) and whether a space follows it."""

    text: str
    kind: str | None
    space: bool = False


@dataclass(frozen=True)
class Blank:
    """A sentence with one word replaced by the mask; `label` is the word's kind."""

    text: str
    label: str
    sentence: str


def spell(words: Sequence[Word]) -> str:
    """The sentence as text."""
    return "".join(w.text + " " * w.space for w in words).strip()


def blank_rows(
    sentences: Iterable[Sequence[Word]], kinds: Sequence[str], count: int, rng: np.random.Generator
) -> list[Blank]:
    """Up to `count` sentences with one word blanked, each kind equally often, in random order.

    A sentence gives one row: a kind is drawn evenly among its kinds that still have room, then a word of that
    kind. One mask stands for the whole word, however long, so the mask does not tell the word's length.
    """
    room = {kind: count // len(kinds) + (i < count % len(kinds)) for i, kind in enumerate(kinds)}
    rows: list[Blank] = []
    for words in sentences:
        open_kinds = [k for k in kinds if room[k] and any(w.kind == k for w in words)]
        if open_kinds:
            kind = open_kinds[int(rng.integers(len(open_kinds)))]
            at = [i for i, w in enumerate(words) if w.kind == kind]
            i = at[int(rng.integers(len(at)))]
            blanked = [*words[:i], Word(MASK, None, words[i].space), *words[i + 1 :]]
            rows.append(Blank(spell(blanked), kind, spell(words)))
            room[kind] -= 1
        if len(rows) == count:
            break
    return [rows[i] for i in rng.permutation(len(rows)).tolist()]


@dataclass(frozen=True)
class Named:
    """A sentence and the names in it, as they are written."""

    text: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Asked:
    """A sentence with a name blanked, the text around it, every place of the name there.

    around: the passage's two sides, before and after the sentence, as they stand in the document.
    """

    question: str
    passage: str
    answer: str
    starts: tuple[int, ...]
    sentence: str
    around: tuple[str, str]


def places(name: str, text: str) -> tuple[int, ...]:
    """Where `name` begins in `text`, never inside a longer word; Chinese characters have no word edges."""
    found = []
    at = text.find(name)
    while at >= 0:
        if not _inside_word(text[max(at - 1, 0) : at]) and not _inside_word(text[at + len(name) :][:1]):
            found.append(at)
        at = text.find(name, at + 1)
    return tuple(found)


def _inside_word(character: str) -> bool:
    return character.isalnum() and not "\u3400" <= character <= "\u9fff"


def question_rows(
    document: Sequence[Named],
    glue: str,
    longest: int,
    usable: Callable[[Named], bool],
    rng: np.random.Generator,
) -> list[Asked]:
    """Every question that a document gives, one a sentence, in random order.

    The name stands once in its sentence and again in the passage: the nearest sentences before and after
    it, at most `longest` characters, without the sentence itself. The passage must hold another name too, so
    that the only name is never the answer.
    """
    rows = []
    for i in rng.permutation(len(document)).tolist():
        here = document[i]
        if not here.names or not usable(here):
            continue
        first, last = _around(document, i, longest, len(glue))
        before, after = (
            glue.join(s.text for s in part) for part in (document[first:i], document[i + 1 : last])
        )
        passage = glue.join(part for part in (before, after) if part)
        others = {name for j in range(first, last) if j != i for name in document[j].names}
        fits = []
        for name in sorted(set(here.names)):
            again = {other for other in others if name not in other and other not in name}
            if again and len(places(name, here.text)) == here.text.count(name) == 1 and places(name, passage):
                fits.append(name)
        if fits:
            name = fits[int(rng.integers(len(fits)))]
            question = here.text.replace(name, MASK)
            rows.append(Asked(question, passage, name, places(name, passage), here.text, (before, after)))
    return rows


def _around(document: Sequence[Named], i: int, longest: int, glue: int) -> tuple[int, int]:
    """The widest run of sentences around i, grown by turns to both sides, with at most `longest` characters."""
    first, last, size = i, i + 1, 0
    grown = True
    while grown:
        grown = False
        if first and size + len(document[first - 1].text) + glue <= longest:
            first, grown = first - 1, True
            size += len(document[first].text) + glue
        if last < len(document) and size + len(document[last].text) + glue <= longest:
            last, grown = last + 1, True
            size += len(document[last - 1].text) + glue
    return first, last

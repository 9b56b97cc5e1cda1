"""Words of tagged sentences that a model will be asked: each with its part of speech, its row and its frequency.

Source: Chiang, Huang and Lee 2020 and their released code: words are cut into pieces one by one, and a word counts as
right only if all its pieces are. Differs: the file is checked against its own text; words with an unknown piece are
left out and counted (the original takes [UNK] for right where it gives [UNK] back, and its casing makes many); a long
sentence is divided, not cut; the words of a class are drawn, the same for every snapshot and run. NumPy alone.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unmask.errors import UnmaskError
from unmask.randomness import generator
from unmask.tasks.read import Sentence, kind_of, read_sentences, read_text
from unmask.tasks.tag import word_pieces
from unmask.tokens import Tokenizer

#: universal parts of speech that are words; punctuation, symbols and X are counted apart
WORDS = (
    "ADJ",
    "ADP",
    "ADV",
    "AUX",
    "CCONJ",
    "DET",
    "INTJ",
    "NOUN",
    "NUM",
    "PART",
    "PRON",
    "PROPN",
    "SCONJ",
    "VERB",
)
OTHER = ("PUNCT", "SYM", "X")
LEAST = 20  # words of a class below which nothing is said of it


@dataclass(frozen=True)
class Word:
    """One word that is asked: where its pieces stand in its row, and its class."""

    row: int
    places: np.ndarray  # [k] places among the row's pieces, [CLS] not counted
    ids: np.ndarray  # [k]
    label: str
    frequency: float  # share of its piece in the text, 0 for words of several pieces


@dataclass(frozen=True)
class Sample:
    """Rows of pieces (no special tokens) and the words that are asked in them."""

    rows: list[np.ndarray]
    words: list[Word]
    classes: dict[str, list[int]]  # class → numbers of its words
    counts: dict[str, int]  # what became of the words of the file
    unknown: dict[str, float]  # class → share of its words with an unknown piece
    sentences: list[int]  # row → number of its sentence: a long one is several rows


def read_conllu(path: Path) -> list[Sentence]:
    """The sentences of a CoNLL-U file whose words make up its own text.

    Raises UnmaskError, with the line, for another format, words that are not numbered 1, 2, 3 …, words that do not
    make up the sentence's `# text`, and tags that are no universal parts of speech.
    """
    text = read_text(path)
    if kind_of(path) != "conllu" and "\t" not in text:
        raise UnmaskError(
            f"{path} is no CoNLL-U file — expected ten columns divided by tabs — name another file"
        )
    _aligned(text, str(path))
    sentences = read_sentences(path)
    known = {*WORDS, *OTHER}
    for sentence in sentences:
        for word, tag in zip(sentence.words, sentence.tags, strict=True):
            if tag not in known:
                raise UnmaskError(
                    f'{path}, the sentence of line {sentence.line}: the tag of "{word}" is "{tag}" — expected a '
                    f"universal part of speech ({', '.join(WORDS)} …) in the fourth column — mend the file"
                )
    return sentences


def _aligned(text: str, path: str) -> None:
    said: str | None = None
    begin, surface, number, until = 0, "", 0, 0
    for line, row in enumerate([*text.split("\n"), ""], 1):
        row = row.removesuffix("\r")
        if row.startswith("#"):
            name, found, value = row[1:].partition("=")
            said = value if found and name.strip() == "text" else said
        elif row.strip():
            cells = row.split("\t")
            begin = begin or line
            if len(cells) != 10:
                raise UnmaskError(
                    f"{path}, line {line}: {len(cells)} columns — a CoNLL-U word has 10, divided by tabs"
                )
            if spread := re.fullmatch(r"(\d+)-(\d+)", cells[0]):
                surface, until = surface + cells[1], int(spread[2])
            elif cells[0].isdigit():
                number += 1
                if int(cells[0]) != number:
                    raise UnmaskError(
                        f"{path}, line {line}: word number {cells[0]} where {number} was expected — words are numbered "
                        "1, 2, 3 … in a sentence — restore the line that is missing"
                    )
                surface += cells[1] if number > until else ""
        else:
            bare, whole = re.sub(r"\s", "", surface), re.sub(r"\s", "", said or "")
            if said is not None and bare != whole:
                shorter = min(len(bare), len(whole))
                at = next((i for i in range(shorter) if bare[i] != whole[i]), shorter)
                ours, theirs = (x[max(0, at - 8) : at + 8] for x in (bare, whole))
                raise UnmaskError(
                    f"{path}, the sentence of line {begin}: its words do not make up its text "
                    f'("{ours}" beside "{theirs}") — words and text must be aligned — mend the file'
                )
            said, begin, surface, number, until = None, 0, "", 0, 0


def sample(
    sentences: Sequence[Sentence],
    tokenizer: Tokenizer,
    *,
    longest: int,
    most: int,
    unigram: np.ndarray | None,
    names: Sequence[str] = WORDS,
    seed: int = 0,
) -> Sample:
    """At most `most` words of each class in `names` (0: all), drawn with the seed, and the rows they stand in.

    Words with other tags are counted. longest: pieces of a row. unigram [V]: shares of the pieces in the text of the
    pre-training; without it those of this file. Raises UnmaskError where no class has `LEAST` words.
    """
    pieces = word_pieces([s.words for s in sentences], tokenizer)
    if unigram is None:
        counted = np.bincount(
            np.concatenate([p for words in pieces for p in words]), minlength=tokenizer.vocab.size
        )
        unigram = counted / counted.sum()
    rows: list[np.ndarray] = []
    found: dict[str, list[Word]] = {name: [] for name in names}
    counts: Counter[str] = Counter(sentences=len(sentences))
    unknown: Counter[str] = Counter()
    origin: list[int] = []
    for number, (sentence, words) in enumerate(zip(sentences, pieces, strict=True)):
        for chunk in _chunks(words, longest):
            if not chunk:
                continue
            row = np.concatenate([words[n] for n in chunk])
            ends = np.cumsum([len(words[n]) for n in chunk])
            for n, end in zip(chunk, ends, strict=True):
                tag, ids = sentence.tags[n], words[n]
                if tag not in found:
                    counts["punctuation, symbols and X"] += 1
                elif (ids == tokenizer.vocab.unk).any():
                    counts["with an unknown piece"] += 1
                    unknown[tag] += 1
                else:
                    places = np.arange(end - len(ids), end)
                    share = float(unigram[ids[0]]) if len(ids) == 1 and ids[0] < len(unigram) else 0.0
                    found[tag].append(Word(len(rows), places, ids, tag, share))
            rows.append(row)
            origin.append(number)
        counts["words"] += len(words)
        counts["longer than the model"] += sum(len(w) > longest for w in words)
    held = {name: own for name, own in found.items() if len(own) >= LEAST}
    counts[f"of a class with fewer than {LEAST}"] = sum(
        len(own) for own in found.values() if len(own) < LEAST
    )
    if not held:
        raise UnmaskError(
            f"no class has {LEAST} words in {len(sentences)} sentences ({counts['with an unknown piece']} words "
            "have a piece that the tokenizer does not know) — give a longer file, or one in the model's language"
        )
    shares = {n: unknown[n] / (unknown[n] + len(found[n])) for n in held}
    return _drawn(rows, held, most, seed, dict(counts), shares, origin)


def _chunks(words: list[np.ndarray], longest: int) -> list[list[int]]:
    """Numbers of words that fit into a row together; words that fit into none are left out."""
    chunks: list[list[int]] = [[]]
    size = 0
    for n, ids in enumerate(words):
        if len(ids) > longest:
            continue
        if size + len(ids) > longest:
            chunks.append([])
            size = 0
        chunks[-1].append(n)
        size += len(ids)
    return chunks


def _drawn(
    rows: list[np.ndarray],
    held: dict[str, list[Word]],
    most: int,
    seed: int,
    counts: dict[str, int],
    unknown: dict[str, float],
    sentences: list[int],
) -> Sample:
    words: list[Word] = []
    classes: dict[str, list[int]] = {}
    for k, (name, own) in enumerate(held.items()):
        if most and len(own) > most:
            chosen = np.sort(generator(seed, "embryo words", k).choice(len(own), most, replace=False))
            own = [own[int(n)] for n in chosen]
        counts["not drawn"] = counts.get("not drawn", 0) + len(held[name]) - len(own)
        classes[name] = list(range(len(words), len(words) + len(own)))
        words += own
    counts["asked"] = len(words)
    return Sample(rows, words, classes, counts, unknown, sentences)

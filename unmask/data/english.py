"""The English quickstart: Wikipedia to pre-train on, and labelled sets from Wikipedia and the UD treebank EWT.

Every labelled row lies wholly outside the pre-training text, training rows included: the articles are divided
once, by seed, into the text and three pools of whole articles that give the rows of `pair` and `answer`; `blank`,
`genre` and `tag` come from the treebank, whose documents keep the published division. Rows of development and
test sets with a sentence that stands anywhere in the text or in the training pool are dropped (`leaks`).
"""

from __future__ import annotations

import json
import lzma
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import sentencex

from unmask.corpus import Document
from unmask.corpus.exclude import fold
from unmask.data import Rows, TaskFiles, making, path, writing
from unmask.data.leaks import found_in
from unmask.data.making import Asked, Named, Word
from unmask.errors import UnmaskError, nearest
from unmask.randomness import generator

ROWS = {
    "blank": Rows(2000, 400, 1000),
    "genre": Rows(500, 300, 800),
    "tag": Rows(500, 300, 1000),
    "pair": Rows(2000, 400, 1000),
    "answer": Rows(2000, 300, 600),
}
POOLS = {"train": 1300, "dev": 400, "test": 1100}  # articles; all others are the pre-training text
PAIRS_AN_ARTICLE = {"train": 3, "dev": 2, "test": 2}
QUESTIONS_AN_ARTICLE = {"train": 4, "dev": 3, "test": 3}
QUESTION, PASSAGE = (40, 160), 360  # characters: together about a row of 128 word pieces

KINDS = {
    "NOUN": "noun",
    "PROPN": "name",
    "VERB": "verb",
    "ADJ": "adjective",
    "ADV": "adverb",
    "ADP": "preposition",
    "PRON": "pronoun",
    "DET": "determiner",
}
GENRES = ("answers", "email", "newsgroup", "reviews", "weblog")
CALENDAR = frozenset(
    "January February March April May June July August September October November December "
    "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
)
NAME = re.compile(r"(?<!\w)[A-Z][\w-]*\w(?: [A-Z][\w-]*\w)*")
WHOLE = re.compile(r"[\"“(]?[A-Z0-9].*[.!?][\"”)]?", re.DOTALL)


def articles() -> Iterator[Document]:
    """All shipped articles in their order; `id` ends in the page id (…/?curid=ID opens the page)."""
    with lzma.open(path("en", "wiki", "articles.jsonl.xz"), "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            yield Document(text=row["text"], id=f"en_wiki/{row['id']}", source="en_wiki")


def documents(seed: int) -> Iterator[Document]:
    """The pre-training text: the articles that are in no pool of labelled rows."""
    texts = list(articles())
    pooled = {i for pool in _pools(len(texts), seed).values() for i in pool}
    yield from (document for i, document in enumerate(texts) if i not in pooled)


def _pools(count: int, seed: int) -> dict[str, list[int]]:
    order = generator(seed, "english articles", 0).permutation(count).tolist()
    pools = {}
    for part, size in POOLS.items():
        pools[part], order = order[:size], order[size:]
    return pools


@dataclass(frozen=True)
class Tree:
    """A sentence of the treebank: its words as tokens, and as they are spelt in the text."""

    document: str
    tokens: tuple[str, ...]
    tags: tuple[str, ...]
    words: tuple[Word, ...]

    @cached_property
    def text(self) -> str:
        return making.spell(self.words)


def trees(part: str) -> list[Tree]:
    """The treebank's sentences of "train", "dev" or "test", in file order.

    Words inside a contraction (``do`` + ``n't``) are tokens of their own; in the spelling they are one word that
    is never blanked.
    """
    found = []
    document = ""
    word = cache(Word)  # a word comes back often
    text = lzma.decompress(path("en", "ewt", f"{part}.conllu.xz").read_bytes()).decode("utf-8")
    for block in text.strip().split("\n\n"):
        tokens, tags, words = [], [], []
        inside = 0  # the last number of the contraction that is being read
        for line in block.split("\n"):
            if line.startswith("# newdoc id = "):
                document = line.removeprefix("# newdoc id = ")
            if line.startswith("#"):
                continue
            number, form, _, tag, *_, misc = line.split("\t")
            space = misc != "SpaceAfter=No"
            if "-" in number:
                inside = int(number.split("-")[1])
                words.append(word(form, None, space))
                continue
            tokens.append(form)
            tags.append(tag)
            if int(number) > inside:
                words.append(word(form, KINDS.get(tag) if form.isalpha() else None, space))
        found.append(Tree(document, tuple(tokens), tuple(tags), tuple(words)))
    return found


def split(text: str) -> list[list[Named]]:
    """Paragraphs → sentences with their names.

    A name is a run of capitalised words that neither opens its sentence nor is of the calendar; a single word
    that the article also writes in lower case is none.
    """
    paragraphs = [[s.strip() for s in sentencex.segment("en", p)] for p in text.split("\n")]
    lower = set(re.findall(r"(?<!\w)[a-z][\w-]*", text))
    return [[Named(s, _names(s, lower)) for s in sentences if s] for sentences in paragraphs]


def _names(sentence: str, lower: set[str]) -> tuple[str, ...]:
    found = []
    for match in NAME.finditer(sentence):
        name = match.group()
        words = name.split()
        if (
            match.start() > 1
            and not CALENDAR & set(words)
            and not (len(words) == 1 and name.lower() in lower)
        ):
            found.append(name)
    return tuple(found)


def _whole(sentence: str, shortest: int, longest: int) -> bool:
    """A full sentence that leaves no quotation or bracket open: such a loose end would tell what follows."""
    return (
        shortest <= len(sentence) <= longest
        and WHOLE.fullmatch(sentence) is not None
        and sentence.count('"') % 2 == 0
        and sentence.count("“") == sentence.count("”")
        and sentence.count("(") == sentence.count(")")
    )


def _neighbours(article: list[list[Named]], number: int, most: int) -> list[tuple[str, str, int]]:
    pairs = []
    for paragraph in article:
        i = 0
        while i + 1 < len(paragraph):
            first, second = paragraph[i].text, paragraph[i + 1].text
            fits = _whole(first, 30, 220) and _whole(second, 30, 220)
            if fits:
                pairs.append((first, second, number))
            i += 2 if fits else 1  # no sentence is in two pairs
    return pairs[:most]


def write_tasks(folder: Path, seed: int, rows: Mapping[str, Rows] = ROWS) -> list[TaskFiles]:
    """Write the labelled sets named in `rows` under `folder`, one folder each; the same seed, the same bytes.

    Raises `UnmaskError` where the shipped text cannot give so many rows.
    """
    for name in rows:
        if name not in ROWS:
            raise UnmaskError(
                f'there is no set "{name}" — the sets are {", ".join(ROWS)}.{nearest(name, ROWS)}'
            )
    texts = [document.text for document in articles()]
    pools = _pools(len(texts), seed)
    pooled = {i for pool in pools.values() for i in pool}
    seen = [text for i, text in enumerate(texts) if i not in pooled] + [texts[i] for i in pools["train"]]
    # Only what is asked for is made; each set is drawn by itself, so the others do not change its rows.
    bank = {
        part: _trees(part, seed) if {"blank", "genre", "tag"} & set(rows) else [] for part in writing.PARTS
    }
    seen += [tree.text for tree in bank["train"]]
    pairs: dict[str, list[tuple[str, str, int]]] = {}
    asked: dict[str, list[Asked]] = {}
    for part in writing.PARTS:
        pairs[part], asked[part] = [], []
        for i in pools[part] if {"pair", "answer"} & set(rows) else []:
            article = split(texts[i])
            pairs[part] += _neighbours(article, i, PAIRS_AN_ARTICLE[part])
            rng = generator(seed, "english questions", i)
            flat = [sentence for paragraph in article for sentence in paragraph]
            if "answer" not in rows:
                continue
            usable = making.question_rows(flat, " ", PASSAGE, lambda s: _whole(s.text, *QUESTION), rng)
            asked[part] += usable[: QUESTIONS_AN_ARTICLE[part]]
    tree_texts = writing.texts_of(bank, _tree_texts)
    leaked = found_in(
        tree_texts | writing.texts_of(pairs, _pair_texts) | writing.texts_of(asked, writing.asked_texts), seen
    )
    bank = writing.kept(bank, _tree_texts, leaked)
    pairs = writing.kept(pairs, _pair_texts, leaked)
    asked = writing.kept(asked, writing.asked_texts, leaked, writing.asked_sentence)
    made = []
    for name, wanted in rows.items():
        if name == "blank":
            made.append(_blank(folder, bank, wanted, seed))
        elif name == "genre":
            made.append(_genre(folder, bank, wanted, seed))
        elif name == "tag":
            made.append(_tag(folder, bank, wanted))
        elif name == "pair":
            made.append(_pair(folder, pairs, wanted, seed))
        else:
            made.append(_answer(folder, asked, wanted, seed))
    return made


def _trees(part: str, seed: int) -> list[Tree]:
    """The sentences of 4 to 40 tokens and 12 or more characters, shuffled."""
    every = trees(part)
    order = generator(seed, "english trees", writing.PARTS.index(part)).permutation(len(every)).tolist()
    return [t for t in (every[i] for i in order) if 4 <= len(t.tokens) <= 40 and len(fold(t.text)) >= 12]


def _tree_texts(tree: Tree) -> tuple[str, ...]:
    return (tree.text,)


def _pair_texts(pair: tuple[str, str, int]) -> tuple[str, ...]:
    return pair[:2]


def _blank(folder: Path, bank: Mapping[str, list[Tree]], wanted: Rows, seed: int) -> TaskFiles:
    made = {}
    for n, (part, count) in enumerate(writing.sizes(wanted).items()):
        rng = generator(seed, "english blanks", n)
        rows = making.blank_rows((t.words for t in bank[part]), list(KINDS.values()), count, rng)
        made[part] = writing.enough(rows, count, f"blank, {part}")
    return writing.write(
        folder,
        "blank",
        "classify",
        {part: writing.classify_file(rows) for part, rows in made.items()},
        labels=KINDS.values(),
        metric="accuracy",
        about="Which of eight kinds of word is blanked out of a sentence (UD English EWT, universal part-of-speech "
        "tags, each kind equally often); close to the pre-training objective itself.",
        excluded=[row.sentence for part in ("dev", "test") for row in made[part]],
    )


def _genre(folder: Path, bank: Mapping[str, list[Tree]], wanted: Rows, seed: int) -> TaskFiles:
    made: dict[str, list[tuple[str, str]]] = {}
    for n, (part, count) in enumerate(writing.sizes(wanted).items()):
        rows = writing.balanced([(t.text, t.document.split("-")[0]) for t in bank[part]], GENRES, count)
        order = generator(seed, "english genres", n).permutation(len(rows)).tolist()
        made[part] = writing.enough([rows[i] for i in order], count, f"genre, {part}")
    return writing.write(
        folder,
        "genre",
        "classify",
        {part: writing.classify_file(rows) for part, rows in made.items()},
        labels=GENRES,
        metric="accuracy",
        about="Which of five kinds of web text a single sentence comes from (UD English EWT, each equally often, "
        "divided by document).",
        excluded=[text for part in ("dev", "test") for text, _ in made[part]],
    )


def _tag(folder: Path, bank: Mapping[str, list[Tree]], wanted: Rows) -> TaskFiles:
    made = {
        part: writing.enough(bank[part], count, f"tag, {part}")
        for part, count in writing.sizes(wanted).items()
    }
    return writing.write(
        folder,
        "tag",
        "tag",
        {part: writing.tag_file([(t.tokens, t.tags) for t in rows]) for part, rows in made.items()},
        labels={tag for rows in made.values() for t in rows for tag in t.tags},
        metric="accuracy",
        about="The part of speech of every word (UD English EWT, universal tags, the published division by document).",
        excluded=[t.text for part in ("dev", "test") for t in made[part]],
    )


def _pair(folder: Path, bank: Mapping[str, list[tuple[str, str, int]]], wanted: Rows, seed: int) -> TaskFiles:
    made = {}
    for n, (part, count) in enumerate(writing.sizes(wanted).items()):
        rng = generator(seed, "english pairs", n)
        neighbours = [bank[part][i] for i in rng.permutation(len(bank[part])).tolist()]
        made[part] = making.pair_rows(writing.enough(neighbours, count, f"pair, {part}"), rng)
    return writing.write(
        folder,
        "pair",
        "pair",
        {part: writing.pair_file(rows) for part, rows in made.items()},
        labels=("follows", "other"),
        metric="accuracy",
        about="Does the second sentence follow the first, or is it from another article (Wikipedia; half each, no "
        "article of the pre-training text).",
        excluded=[text for part in ("dev", "test") for row in made[part] for text in (row.first, row.second)],
    )


def _answer(folder: Path, bank: Mapping[str, list[Asked]], wanted: Rows, seed: int) -> TaskFiles:
    made = {}
    for n, (part, count) in enumerate(writing.sizes(wanted).items()):
        order = generator(seed, "english answers", n).permutation(len(bank[part])).tolist()
        made[part] = writing.enough([bank[part][i] for i in order], count, f"answer, {part}")
    return writing.write(
        folder,
        "answer",
        "answer",
        {part: writing.answer_file(rows) for part, rows in made.items()},
        labels=(),
        metric="f1",
        about="Find in the text around a sentence the name that is blanked out of it (Wikipedia, names by their "
        "capital letters; made by rule, no reader has checked the answers).",
        excluded=[
            text for part in ("dev", "test") for row in made[part] for text in writing.asked_texts(row)
        ],
    )

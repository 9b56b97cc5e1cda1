"""From examples to rows and back: what each task frames, what becomes of long texts, how windows are joined."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tokenizers

from unmask.jobs.source import frame_of
from unmask.models import Shape, sized
from unmask.randomness import generator
from unmask.tasks import TASKS, Answer, Classify, Frame, Labels, Pair, Tag
from unmask.tasks.examples import Example, Examples, Window
from unmask.tasks.tag import word_pieces
from unmask.tokens import Tokenizer, train_tokenizer

CLASSES = Labels("classes", ("a", "b"), (1.0, 1.0))
TAGS = Labels("tags", ("B-X", "I-X", "O"), (1.0, 1.0, 1.0), "BIO")
LONG = "the cat sat on the mat in Rome and Paris a dog ran home unbelievable " * 4


def one(*texts: str, gold: object = "a") -> Examples:
    return Examples("f.tsv", (Example("2", 2, texts, gold),))


def test_classify_windows_cover_the_text_and_weigh_one(tokenizer: Tokenizer, frame: Frame) -> None:
    task, ids = Classify(), tokenizer.encode(LONG).ids
    made = task.rows(one(LONG), tokenizer, CLASSES, frame, length=22, overlap=5, training=True)
    assert [f.kind for f in made.fates] == ["split"] and len(made.rows) > 2
    assert all(len(w.ids) <= 22 for w in made.rows)
    first, *rest = (w.ids[1:-1] for w in made.rows)
    assert list(np.concatenate([first, *(r[5:] for r in rest)])) == list(ids)
    assert sum(w.weights[0] for w in made.rows) == pytest.approx(1.0)
    short = task.rows(one("the cat"), tokenizer, CLASSES, frame, length=22, overlap=5, training=True)
    assert [f.kind for f in short.fates] == ["kept"] and len(short.rows) == 1


def test_windows_of_a_class_are_pooled_by_mean_log_probability() -> None:
    row = Window(0, np.zeros(1), None, np.zeros(1), np.zeros(1), np.zeros(1), np.ones(1))
    said = Classify().join(one("x"), [row, row], [np.log([0.9, 0.1]), np.log([0.4, 0.6])], CLASSES)
    a, b = (0.9 * 0.4) ** 0.5, (0.1 * 0.6) ** 0.5
    assert said[0]["label"] == "a" and said[0]["probabilities"]["a"] == pytest.approx(a / (a + b))
    score = Labels("score", ("score",), (1.0,), centre=3.0, scale=2.0)
    assert Classify().join(one("x"), [row, row], [np.array([1.0]), np.array([0.0])], score) == [
        {"score": 4.0}
    ]


def test_pairs_are_cut_longest_first_and_counted(tokenizer: Tokenizer, frame: Frame) -> None:
    a, b = "the cat sat on the mat in Rome", "a dog ran home"
    n, m = len(tokenizer.encode(a).ids), len(tokenizer.encode(b).ids)
    made = Pair().rows(one(a, b), tokenizer, CLASSES, frame, length=n + 3, overlap=0, training=True)
    assert [f.kind for f in made.fates] == ["cut"] and len(made.rows[0].ids) == n + 3
    row = Pair().example(made.rows[0], tokenizer.vocab, generator(0, "x", 0))
    assert list(row["segments"]) == list(row["parts"])
    first = int((row["parts"] == 0).sum()) - 2
    assert list(row["ids"][1 : 1 + first]) == list(tokenizer.encode(a).ids[:first])
    assert min(first, n - first) >= 0 and first + (len(row["ids"]) - first - 3) == n
    whole = Pair().rows(one(a, b), tokenizer, CLASSES, frame, length=n + m + 3, overlap=0, training=True)
    assert [f.kind for f in whole.fates] == ["kept"]


def test_parts_of_a_family_without_segments(tokenizer: Tokenizer) -> None:
    double = Frame(tokenizer.vocab, segments=False, separators=2)
    made = Pair().rows(
        one("the cat", "a dog"), tokenizer, CLASSES, double, length=48, overlap=0, training=True
    )
    row = Pair().example(made.rows[0], tokenizer.vocab, generator(0, "x", 0))
    assert "segments" not in row
    n, m = len(tokenizer.encode("the cat").ids), len(tokenizer.encode("a dog").ids)
    assert list(row["parts"]) == [0] * (n + 2) + [1] * (m + 2)


def sentence(words: list[str], tags: list[str] | None = None) -> Examples:
    return Examples("f.conll", (Example("1", 1, tuple(words), None if tags is None else tuple(tags)),))


def test_tags_stand_on_first_pieces(tokenizer: Tokenizer, frame: Frame) -> None:
    words = ["the", "catsatmat", "cat"]
    made = Tag().rows(
        sentence(words, ["O", "B-X", "I-X"]), tokenizer, TAGS, frame, length=48, overlap=8, training=True
    )
    counts = [len(tokenizer.encode(w).ids) for w in words]
    assert counts[1] > 1
    assert list(made.rows[0].positions) == [1, 1 + counts[0], 1 + counts[0] + counts[1]]
    assert list(made.rows[0].targets) == [2, 0, 1]


@pytest.mark.parametrize(("length", "overlap"), [(16, 0), (16, 5), (24, 12), (48, 20)])
def test_words_in_are_labels_out(tokenizer: Tokenizer, frame: Frame, length: int, overlap: int) -> None:
    rng = np.random.default_rng(length + overlap)
    words = [str(w) for w in rng.choice(["the", "cat", "unbelievable", "Rome", "\u200b", "cat" * 20], 70)]
    examples = sentence(words)
    made = Tag().rows(examples, tokenizer, TAGS, frame, length=length, overlap=overlap, training=False)
    assert sorted(np.concatenate([w.units for w in made.rows])) == list(range(70))  # each word once
    assert all(len(w.ids) <= length for w in made.rows)
    pieces = word_pieces([words], tokenizer)[0]
    for w in made.rows:
        assert [w.ids[p] for p in w.positions] == [pieces[u][0] for u in w.units]
    truth = rng.integers(0, 3, 70)
    outputs = [np.log(np.eye(3)[truth[w.units]] * 0.9 + 1e-9) for w in made.rows]
    said = Tag().join(examples, made.rows, outputs, TAGS)[0]
    assert said["tags"] == [TAGS.names[t] for t in truth] and len(said["probabilities"]) == 70


def test_byte_level_words_are_given_their_space() -> None:
    bpe = train_tokenizer(["the cat sat on the mat"] * 9, "bpe", 600)
    first, second = word_pieces([["cat", "cat"]], bpe)[0]
    assert list(second) == list(bpe.encode("the cat").ids[len(bpe.encode("the").ids) :])
    assert list(first) == list(bpe.encode("cat").ids) != list(second)


def question(passage: str, answer: str | None, ask: str = "the cat") -> Examples:
    gold = () if answer is None else ((answer, passage.index(answer)),)
    return Examples("q.json", (Example("q1", 0, (ask, passage), gold),))


SPANS = Labels("spans", scheme="squad")


def test_answers_are_mapped_to_pieces_and_back(tokenizer: Tokenizer, frame: Frame) -> None:
    examples = question("a dog ran home in Rome and Paris", "Rome and Paris")
    made = Answer().rows(examples, tokenizer, SPANS, frame, length=48, overlap=8, training=True)
    row = Answer().example(made.rows[0], tokenizer.vocab, generator(0, "window", 0))
    start, end = int(row["start_positions"][0]), int(row["end_positions"][0])
    assert list(row["ids"][start : end + 1]) == list(tokenizer.encode("Rome and Paris").ids)
    scores = np.full((2, 1 + len(made.rows[0].units)), -9.0)
    first = int(row["passage_positions"][0])
    scores[0, 1 + start - first] = scores[1, 1 + end - first] = 0.0
    said = Answer().join(examples, made.rows, [scores], SPANS)[0]
    assert (said["answer"], said["start"]) == ("Rome and Paris", 18)
    assert Answer().score([said], examples, SPANS) == {"em": 100.0, "f1": 100.0}


def test_windows_of_a_passage_cover_it_and_find_the_answer_anywhere(
    tokenizer: Tokenizer, frame: Frame
) -> None:
    passage = LONG + "saw Paris home"
    examples = question(passage, "saw Paris")
    made = Answer().rows(examples, tokenizer, SPANS, frame, length=32, overlap=8, training=False)
    assert [f.kind for f in made.fates] == ["split"] and all(len(w.ids) <= 32 for w in made.rows)
    seen = {tuple(c) for w in made.rows for c in w.units.tolist()}
    assert seen == {tuple(c) for c in tokenizer.encode(passage).offsets.tolist()}
    outputs = []
    for w in made.rows:  # a model that is sure: CLS where the answer is not
        scores = np.full((2, 1 + len(w.units)), -20.0)
        if w.targets[0] >= 0:
            scores[0, 1 + w.targets[0]] = scores[1, 1 + w.targets[1]] = 0.0
        else:
            scores[:, 0] = 0.0
        outputs.append(scores)
    said = Answer().join(examples, made.rows, outputs, SPANS)[0]
    assert said["answer"] == "saw Paris" and passage[said["start"] :].startswith("saw Paris")


def test_training_windows_of_a_long_passage_move(tokenizer: Tokenizer, frame: Frame) -> None:
    made = Answer().rows(
        question(LONG + "saw Paris home", "saw Paris"),
        tokenizer,
        SPANS,
        frame,
        length=32,
        overlap=8,
        training=True,
    )
    assert len(made.rows) == 1 and [f.kind for f in made.fates] == ["split"]
    want = list(tokenizer.encode("saw Paris").ids)
    held = 0
    for n in range(60):
        row = Answer().example(made.rows[0], tokenizer.vocab, generator(0, "window", n))
        again = Answer().example(made.rows[0], tokenizer.vocab, generator(0, "window", n))
        assert all(np.array_equal(row[k], again[k]) for k in row)
        assert len(row["ids"]) == 32 and row["ids"][-1] == tokenizer.vocab.sep and len(row["segments"]) == 32
        start, end = int(row["start_positions"][0]), int(row["end_positions"][0])
        if start:
            held += 1
            assert list(row["ids"][start : end + 1]) == want
        else:
            assert end == 0
    assert 20 < held < 50


def test_answers_without_a_place_are_dropped_from_training_alone(tokenizer: Tokenizer, frame: Frame) -> None:
    lost = Examples("q.json", (Example("q1", 0, ("the", "a dog"), (("cat", None),)),))
    made = Answer().rows(lost, tokenizer, SPANS, frame, length=32, overlap=8, training=True)
    assert not made.rows and [f.kind for f in made.fates] == ["dropped"] and "q1" in made.fates[0].sample
    assert len(Answer().rows(lost, tokenizer, SPANS, frame, length=32, overlap=8, training=False).rows) == 1


def test_no_answer_wins_by_the_threshold_that_dev_chose() -> None:
    task, labels = Answer(), Labels("spans", scheme="squad", threshold=0.0)
    examples = Examples(
        "q", tuple(Example(str(n), 0, ("q", "Rome"), g) for n, g in enumerate([(("Rome", 0),), ()]))
    )
    said = [{"answer": "", "best": "Rome", "margin": 1.0}, {"answer": "", "best": "Rome", "margin": 3.0}]
    settled, chosen = task.settle(said, examples, labels)
    assert [p["answer"] for p in settled] == ["Rome", ""] and chosen.threshold == pytest.approx(2.0)
    assert task.settle(said, examples, SPANS) == (said, SPANS)


@pytest.mark.parametrize("name", list(TASKS))
def test_settings_are_json(name: str) -> None:
    from unmask.settings import from_json, to_json

    task = TASKS[name]()
    assert from_json(TASKS[name], to_json(task), "x") == task
    for labels in (CLASSES, TAGS, SPANS):
        assert from_json(Labels, to_json(labels), "x") == labels


def test_the_pair_head_goes_by_size(shape: Shape, tokenizer: Tokenizer) -> None:
    from dataclasses import replace

    def style(task: Pair, layers: int) -> str:
        return str(task.network(replace(shape, layers=layers), tokenizer.vocab, CLASSES).head.style)

    assert (style(Pair(), 2), style(Pair(), 8)) == ("compare", "pooler")
    assert (style(Pair(head="first"), 2), style(Pair(head="compare"), 8)) == ("pooler", "compare")


@pytest.mark.parametrize("kind", ["TemplateProcessing", "RobertaProcessing"])
@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_two_texts_lie_as_their_tokenizer_puts_them(tokenizer: Tokenizer, family: str, kind: str) -> None:
    """Whoever opens the model elsewhere has the tokenizer alone; RoBERTa's own has two [SEP] between, ours one."""
    data, vocab = json.loads(tokenizer.content), tokenizer.vocab
    if kind == "RobertaProcessing":
        ends = {"sep": ["[SEP]", vocab.sep], "cls": ["[CLS]", vocab.cls]}
        data["post_processor"] = {"type": kind, **ends, "trim_offsets": True, "add_prefix_space": True}
    own = Tokenizer(json.dumps(data), tokenizer.roles)
    frame = frame_of(own, sized(family, "tiny", vocab.size, 64))
    assert frame.separators == (2 if kind == "RobertaProcessing" else 1)
    a, b = "the cat sat", "a dog ran home"
    ids, segments = frame.row(own.encode(a).ids, own.encode(b).ids)
    there = tokenizers.Tokenizer.from_str(json.dumps(data)).encode(a, b)
    assert ids.tolist() == there.ids
    if family == "bert" and kind == "TemplateProcessing":
        assert segments is not None and segments.tolist() == there.type_ids

# ruff: noqa: E501 (strategies, a line each)
"""The ledger under test: in = kept + split + cut + dropped at every stage, whatever the input; and nothing else is lost.

The sums are checked while the program runs; here they are compared with what a test counts itself, and every stage with
the one that it feeds.
"""

from __future__ import annotations

import json
import lzma
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unmask.corpus import readers, streams
from unmask.corpus.ledger import OUTCOMES, Ledger
from unmask.errors import UnmaskError
from unmask.store import Store, gather
from unmask.store.build import build
from unmask.tasks import TASKS, Answer, Frame, Labels, Tag
from unmask.tasks.examples import Example, Examples
from unmask.tasks.questions import questions
from unmask.tasks.read import read_text
from unmask.tokens import Tokenizer, train_tokenizer

FUZZ = settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
WORDS = "the old new film is good sad long story plot bird house near tree".split()
# Text with everything that a stage takes out: controls, marks, lines that return, texts that are excluded, long ones.
SECRET = "a secret line that must not be learnt"
LINES = st.one_of(
    st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join),
    st.sampled_from(
        [
            SECRET,
            f"before {SECRET} after",
            "one line that returns and returns " * 4,
            "",
            " \t",
            "\x07",
            "e" + "\u0301" * 50,
            "x" * 300,
        ]
    ),
    st.text(max_size=20),
)
TEXTS = st.lists(LINES, max_size=6).map("\n".join)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer([" ".join(WORDS)] * 9, "wordpiece", 128)


@pytest.fixture(scope="module", autouse=True)
def small() -> Any:
    """Limits so low that generated text meets them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(readers, "LONGEST_DOCUMENT", 200)
        patch.setattr(streams, "LONGEST_LINE", 2000)
        patch.setattr(gather, "BATCH_BYTES", 300)
        patch.setattr(gather, "FILE_BYTES", 900)
        yield


def total(stage: dict[str, Any], *outcomes: str) -> int:
    return sum(told["count"] for outcome in outcomes for told in stage[outcome].values())


def test_every_stage_of_a_corpus(tmp_path: Path, tokenizer: Tokenizer) -> None:
    """What comes out of a stage goes into the next; the first counts the rows, the last the documents of the shards."""
    file = tmp_path / "a.jsonl"
    (tmp_path / "secret.txt").write_text(SECRET, encoding="utf-8")
    numbers = iter(range(10**6))

    @FUZZ
    @given(st.lists(TEXTS, min_size=1, max_size=25), st.booleans(), st.sampled_from([0.0, 0.2]))
    def run(texts: list[str], deduplicate: bool, heldout: float) -> None:
        long = '{"text": "' + "y" * 3000 + '"}'
        rows = [json.dumps({"id": n, "text": text}) for n, text in enumerate(texts)] + [long]
        file.write_text("\n".join(rows) + "\n", encoding="utf-8")
        out = tmp_path / f"out {next(numbers)}"
        try:
            store = build([file], out, tokenizer=tokenizer, exclude=[tmp_path / "secret.txt"], deduplicate=deduplicate,
                          repeated_line_bytes=40, heldout=heldout, processes=1)  # fmt: skip
        except UnmaskError as error:
            assert "no document" in str(error) or "holds no text" in str(error) or "no token" in str(error)
            return
        data = json.loads((out / "ledger.json").read_text(encoding="utf-8"))
        Ledger.from_json(data).check()
        stages = {stage["name"]: stage for stage in data["stages"]}
        for stage in stages.values():
            assert stage["in"] == total(stage, *OUTCOMES)
        read = stages["read"]
        assert read["in"] == len(rows)
        assert read["dropped"]["a line longer than 2,000 bytes"]["count"] == 1
        assert total(read, "dropped") == 1 + sum(not text.strip() for text in texts)
        clean = stages["clean"]
        assert clean["in"] >= total(read, "kept") + 2 * total(read, "split")
        last = total(clean, "kept", "cut")
        characters = stages["clean characters"]
        assert total(characters, "cut", "split") == 0 and characters["in"] > 0
        if deduplicate:
            assert stages["whole duplicates"]["in"] == last
            last = total(stages["whole duplicates"], "kept")
        assert stages["documents after their lines"]["in"] == last
        last = total(stages["documents after their lines"], "kept", "cut")
        assert stages["tokens"]["in"] == last
        held = Store(out, "heldout").documents
        assert total(stages["tokens"], "kept") == store.documents + held
        assert SECRET not in "".join(
            Store(out, part).text(i)
            for part in ("train", "heldout")
            for i in range(Store(out, part).documents)
        )

    run()


@FUZZ
@given(
    st.lists(
        st.sampled_from(
            ["good.txt", "link.txt", "pipe.jsonl", "note.md", "empty.txt", "deep/good.txt", "deep/loop.csv"]
        ),
        unique=True,
    )
)
def test_files_of_a_folder(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    from unmask.corpus.sources import find_sources

    home = tmp_path_factory.mktemp("folder") / "in"
    (home / "deep").mkdir(parents=True)
    (home.parent / "outside.txt").write_text("outside")
    for name in names:
        kind = name.rpartition("/")[2].partition(".")[0]
        if kind == "link":
            (home / name).symlink_to(home.parent / "outside.txt")
        elif kind == "loop":
            (home / name).symlink_to(home / name)
        elif kind == "pipe":
            os.mkfifo(home / name)
        else:
            (home / name).write_text("a text" if kind == "good" else "")
    stage = Ledger().stage("files", "files")
    try:
        found = find_sources([home], stage)
    except UnmaskError:
        found = []
    stage.check()
    assert stage.came == len(names) and stage.total("kept") == len(found)
    assert {str(Path(file).relative_to(home)) for file in found} == {
        n for n in names if n.endswith(("good.txt", "empty.txt"))
    }


@FUZZ
@given(st.text(max_size=3000), st.sampled_from(["line", "blank", "file"]))
def test_running_text_of_any_shape(tmp_path_factory: pytest.TempPathFactory, text: str, layout: str) -> None:
    """However it is cut, all characters but line ends come, in order."""
    file = tmp_path_factory.mktemp("text") / "a.txt"
    file.write_bytes(text.encode("utf-8", "replace"))
    stage = Ledger().stage("read")
    try:
        found = [document.text for document in readers.read_documents([str(file)], layout, "text", stage)]
    except UnmaskError as error:
        assert not text.strip("\ufeff \n") or "holds no text" in str(error)
        return
    stage.check()
    came = file.read_bytes().decode("utf-8").removeprefix("\ufeff")
    assert "".join("".join(found).split()) == "".join(came.split())


LABELS = {
    "classify": Labels("classes", ("a", "b"), (1.0, 1.0)), "pair": Labels("classes", ("a", "b"), (1.0, 1.0)),
    "tag": Labels("tags", ("B-X", "I-X", "O"), (1.0,) * 3, "BIO"), "answer": Labels("spans", scheme="squad", threshold=0.0),
}  # fmt: skip
ANY = st.text(max_size=30) | st.lists(st.sampled_from(WORDS), max_size=80).map(" ".join)


@pytest.mark.parametrize("name", list(TASKS))
@pytest.mark.parametrize("training", [True, False])
def test_rows_of_every_task(tokenizer: Tokenizer, name: str, training: bool) -> None:
    """One fate an example; no row is longer than the model; only a dropped example has no row."""
    task, frame = TASKS[name](), Frame(tokenizer.vocab)

    def example(number: int, a: str, b: str, place: int) -> Example:
        if name == "tag":
            words = tuple(f"{a} {b}".split() or ["x"])
            return Example(str(number), number, words, ("O",) * len(words))
        if name == "answer":
            text = b[place : place + 5].strip()
            gold = ((text, b.find(text)),) if text else ()
            return Example(str(number), number, (a, b), gold)
        return Example(str(number), number, (a, b)[: 1 if name == "classify" else 2], "a")

    @FUZZ
    @given(
        st.lists(st.tuples(ANY, ANY, st.integers(0, 40)), min_size=1, max_size=6),
        st.integers(16, 40),
        st.integers(0, 8),
    )
    def run(drawn: list[tuple[str, str, int]], length: int, overlap: int) -> None:
        items = tuple(example(number, *parts) for number, parts in enumerate(drawn))
        made = task.rows(
            Examples("f", items),
            tokenizer,
            LABELS[name],
            frame,
            length=length,
            overlap=overlap,
            training=training,
        )
        assert len(made.fates) == len(items)
        assert Counter(fate.kind for fate in made.fates).total() == len(items)
        assert {fate.kind for fate in made.fates} <= set(OUTCOMES)
        shown = {row.example for row in made.rows}
        for number, fate in enumerate(made.fates):
            assert (number in shown) == (fate.kind != "dropped")
        if not training or name != "answer":  # a training passage is cut when it is drawn
            assert all(len(row.ids) <= length for row in made.rows)

    run()


ODD_WORDS = st.sampled_from(
    [
        *WORDS,
        "unbelievablylongwordofmanypieces" * 3,
        "\u200b",
        "\x07",
        "[MASK]",
        "…",
        "中文",
        "\u0301",
        "a" * 300,
    ]
)


def test_sentences_of_3000_words(tokenizer: Tokenizer) -> None:
    """As many tags as words, each from its own word, for any words and windows."""
    labels = LABELS["tag"]
    frame = Frame(tokenizer.vocab)

    @settings(FUZZ, max_examples=10)
    @given(st.lists(ODD_WORDS, min_size=1, max_size=60), st.integers(16, 128), st.data())
    def run(some: list[str], length: int, data: st.DataObject) -> None:
        overlap = data.draw(st.integers(0, length // 2))
        words = tuple((some * 3000)[:3000])
        examples = Examples("f", (Example("1", 1, words, None), Example("2", 2, words[:1], None)))
        made = Tag().rows(examples, tokenizer, labels, frame, length=length, overlap=overlap, training=False)
        # The tag that is said is a function of the word's number: any slip of a window shows.
        said = [np.log(np.eye(3)[row.units % 3] * 0.9 + 0.05) for row in made.rows]
        found = Tag().join(examples, made.rows, said, labels)
        assert [len(row["tags"]) for row in found] == [3000, 1]
        assert found[0]["tags"] == [labels.names[n % 3] for n in range(3000)]
        for row in made.rows:  # and each position holds the first piece of its own word
            firsts = [
                tokenizer.encode(words[n]).ids[:1].tolist() or [tokenizer.vocab.unk]
                for n in row.units.tolist()
            ]
            assert row.ids[row.positions].tolist() == [ids[0] for ids in firsts]

    run()


def unseen(task: Answer, examples: Examples, tokenizer: Tokenizer, length: int, overlap: int) -> list[str]:
    """Ids of the questions whose answer lies whole in no window: its pieces, and so its characters."""
    made = task.rows(
        examples,
        tokenizer,
        LABELS["answer"],
        Frame(tokenizer.vocab),
        length=length,
        overlap=overlap,
        training=False,
    )
    found = set()
    for row in made.rows:
        first, last = row.targets.tolist()
        if first >= 0:
            item = examples.items[row.example]
            text, start = item.gold[0]
            begin, end = row.units[first, 0], row.units[last, 1]
            if begin <= start and start + len(text) <= end and text in item.texts[1][begin:end]:
                found.add(row.example)
    return [item.id for number, item in enumerate(examples.items) if number not in found]


def test_every_answer_lies_in_a_window(tokenizer: Tokenizer) -> None:
    """An answer of at most as many pieces as two windows share lies whole in one."""

    @FUZZ
    @given(
        st.lists(st.sampled_from(WORDS), min_size=1, max_size=120),
        st.integers(0, 119),
        st.integers(1, 3),
        st.integers(36, 60),
    )
    def run(words: list[str], at: int, count: int, length: int) -> None:
        passage, at = " ".join(words), at % len(words)
        text = " ".join(words[at : at + count])
        start = len(" ".join(words[:at])) + (at > 0)
        examples = Examples("f", (Example("q", 0, ("which film is it", passage), ((text, start),)),))
        overlap = len(tokenizer.encode(text).ids)
        assert unseen(Answer(), examples, tokenizer, length, overlap) == []

    run()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("drcd_dev", "characters"),
        ("drcd_test", "characters"),
        ("xquad_en", "wordpiece"),
        ("drcd_dev", "bpe"),
        ("xquad_en", "bpe"),
    ],
)
def test_every_answer_of_published_sets(name: str, kind: str) -> None:
    """DRCD and XQuAD, rows of 384 tokens that share 128: each answer lies whole in a window."""
    file = Path(os.environ["DATA"]) / "qa" / f"{name}.json.xz"
    text = lzma.decompress(file.read_bytes()).decode("utf-8")
    assert read_text(file) == text
    found = questions(text, str(file))
    trained = train_tokenizer(dict.fromkeys(question.passage for question in found), kind, 8192)
    examples = Answer().examples(found, str(file), True)
    assert len(examples) == len(found) > 1000
    assert unseen(Answer(), examples, trained, 384, 128) == []

"""A corpus folder: what goes in comes out, whatever the number of processes, and damage is found."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unmask.alone import alone
from unmask.corpus import Document, readers
from unmask.errors import UnmaskError
from unmask.store import Store, build, encode, gather, shards
from unmask.store.encode import Piece, encode_documents
from unmask.store.worker import Workers
from unmask.tokens import Tokenizer, train_tokenizer

WORDS = "the cat dog sat mat while seven birds sang loudly old trees near our house today".split()


def story(number: int) -> str:
    rng = np.random.default_rng(number)
    lines = []
    for _ in range(3):
        sentences = [" ".join(rng.choice(WORDS, 6)).capitalize() + "." for _ in range(2)]
        lines.append(" ".join(sentences))
    return "\n".join(lines)


STORIES = [Document(story(number), f"story {number}", "memory") for number in range(60)]
CHINESE = "我爱北京天安门。他说：“走吧！”我们走了。\n今天的天气很好。"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer([document.text for document in STORIES] + [CHINESE] * 20, "wordpiece", 256)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer) -> Path:
    out = tmp_path_factory.mktemp("corpus") / "out"
    build.build(documents=STORIES, out=out, tokenizer=tokenizer, heldout=0.1, processes=1)
    return out


def test_documents_come_back(folder: Path, tokenizer: Tokenizer) -> None:
    train, heldout = Store(folder), Store(folder, part="heldout")
    assert (train.documents, heldout.documents) == (54, 6)
    known = {document.id: document.text for document in STORIES}
    found = {}
    for store in (train, heldout):
        assert store.tokens == store.lengths.sum()
        for i in range(store.documents):
            stored = store.document(i)
            assert stored.tokens.dtype == np.uint16
            assert (
                len(stored.tokens) == len(stored.word_starts) == stored.sentence_ends[-1] == store.lengths[i]
            )
            text = known[store.id(i)]
            expected = [tokenizer.encode(line) for line in text.split("\n")]
            assert stored.tokens.tolist() == np.concatenate([e.ids for e in expected]).tolist()
            assert stored.word_starts.tolist() == np.concatenate([e.word_starts for e in expected]).tolist()
            assert len(stored.sentence_ends) == 6
            assert (tokenizer.id(".") == stored.tokens[stored.sentence_ends - 1]).all()
            found[store.id(i)] = text
    assert found == known
    with pytest.raises(IndexError):
        train.document(54)


def test_views_not_copies(folder: Path) -> None:
    stored = Store(folder).document(5)
    assert not stored.tokens.flags.owndata
    assert not stored.tokens.flags.writeable
    assert not stored.sentence_ends.flags.owndata


def test_counts(folder: Path) -> None:
    store = Store(folder)
    counted = np.bincount(
        np.concatenate([store.document(i).tokens for i in range(store.documents)]),
        minlength=store.tokenizer.vocab.size,
    )
    assert (store.unigram == counted).all()
    shares = counted[counted > 0] / counted.sum()
    assert store.unigram_entropy == pytest.approx(-(shares * np.log(shares)).sum())
    store.verify()
    ledger = json.loads((folder / "ledger.json").read_text())
    last = ledger["stages"][-1]
    assert last["in"] == 60
    assert {reason: told["count"] for reason, told in last["kept"].items()} == {
        "for training": 54,
        "held out": 6,
    }


def contents(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


@pytest.fixture(scope="module")
def corpus_text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    text = tmp_path_factory.mktemp("text") / "in.txt"
    text.write_text("\n\n".join([document.text for document in STORIES] + [CHINESE]), encoding="utf-8")
    return text


@pytest.fixture(scope="module")
def one(corpus_text: Path) -> Path:
    """The corpus of small pieces and shards, made by one process."""
    out = corpus_text.with_name("one")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gather, "BATCH_BYTES", 1500)
        patch.setattr(gather, "FILE_BYTES", 4000)
        store = build.build([corpus_text], out, vocab_size=256, processes=1)
    assert len(store.manifest["shards"]["train"]) > 2
    assert store.documents == 60
    return out


def test_processes_do_not_change_a_byte(
    tmp_path: Path, corpus_text: Path, one: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gather, "BATCH_BYTES", 1500)
    monkeypatch.setattr(gather, "FILE_BYTES", 4000)
    build.build([corpus_text], tmp_path / "two", vocab_size=256, processes=2)
    assert contents(tmp_path / "two") == contents(one)


def test_text_is_encoded_while_more_is_gathered(
    tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The language of the first batch is not that of the text: what was encoded by it is not used."""
    monkeypatch.setattr(gather, "BATCH_BYTES", 300)
    monkeypatch.setattr(gather, "FILE_BYTES", 4000)
    texts = [story.text for story in STORIES[:2]] + [CHINESE.replace("\n", f"{n}。\n") for n in range(300)]
    documents = [Document(text, str(number), "memory") for number, text in enumerate(texts)]
    begun: list[Piece] = []

    class Watched(Workers):
        def begin(self, piece: Piece) -> None:
            begun.append(piece)
            super().begin(piece)

    def result(self: Workers, piece: Piece, tokenizer: Tokenizer) -> object:
        assert piece in self._begun
        return Workers.result(self, piece, tokenizer)

    monkeypatch.setattr(build, "Workers", Watched)
    for processes in (1, 2):
        if processes == 2:
            monkeypatch.setattr(Watched, "result", result, raising=False)
        out = tmp_path / str(processes)
        store = build.build(
            documents=documents, out=out, tokenizer=tokenizer, heldout=0.1, processes=processes
        )
    half = len(begun) // 2
    assert begun[:half] == [Piece(p.file.replace("/2/", "/1/"), p.at, p.language) for p in begun[half:]]
    assert {piece.language for piece in begun[half : half + half // 2]} == {"en"}
    assert {piece.language for piece in begun[half + half // 2 :]} == {"zh"} == {store.manifest["language"]}
    assert contents(tmp_path / "1") == contents(tmp_path / "2")


def test_a_stopped_build_goes_on(
    tmp_path: Path, corpus_text: Path, one: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gather, "BATCH_BYTES", 1500)
    monkeypatch.setattr(gather, "FILE_BYTES", 4000)
    text = corpus_text
    wrote: list[str] = []
    stop_after = 3

    class Watched(shards.Shard):
        def close(self) -> dict[str, object] | None:
            if self._writer is not None:
                if len(wrote) == stop_after:
                    raise KeyboardInterrupt
                wrote.append(self.file.name)
            return super().close()

    out = tmp_path / "out"
    monkeypatch.setattr(shards, "Shard", Watched)
    with pytest.raises(KeyboardInterrupt):
        build.build([text], out, vocab_size=256, processes=1)
    with pytest.raises(UnmaskError, match="unfinished corpus"):
        Store(out)
    with pytest.raises(UnmaskError, match="other settings .vocab_size 256 there, 320 now"):
        build.build([text], out, vocab_size=320, processes=1)
    assert "train-00000.arrow" in wrote
    wrote.clear()
    stop_after = 1000
    build.build([text], out, vocab_size=256, processes=1)
    assert wrote and "train-00000.arrow" not in wrote
    assert contents(out) == contents(one)
    wrote.clear()
    assert build.build([text], out, vocab_size=256).fingerprint == Store(one).fingerprint
    assert not wrote
    text = tmp_path / "in.txt"
    text.write_text("something else")
    with pytest.raises(UnmaskError, match="other settings .inputs"):
        build.build([text], out, vocab_size=256)


def test_a_stopped_build_keeps_nothing_of_another_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Documents from memory and standard input have no name to be told by: what they hold is."""
    monkeypatch.setattr(gather, "BATCH_BYTES", 1500)
    monkeypatch.setattr(gather, "FILE_BYTES", 4000)
    closed = 0

    class Watched(shards.Shard):
        def close(self) -> dict[str, object] | None:
            nonlocal closed
            closed += 1
            if closed == 3:
                raise KeyboardInterrupt
            return super().close()

    monkeypatch.setattr(shards, "Shard", Watched)
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        build.build(documents=STORIES[:30], out=out, vocab_size=256, processes=1)
    assert (out / "building" / "shard-00000.json").exists()
    found = build.build(documents=STORIES[30:], out=out, vocab_size=256, processes=1)
    fresh = build.build(documents=STORIES[30:], out=tmp_path / "fresh", vocab_size=256, processes=1)
    assert found.fingerprint == fresh.fingerprint and contents(out) == contents(tmp_path / "fresh")


def test_one_build_a_folder(tmp_path: Path, tokenizer: Tokenizer) -> None:
    (tmp_path / "out" / "building").mkdir(parents=True)
    with (
        alone(tmp_path / "out" / "building"),
        pytest.raises(UnmaskError, match="another process works in"),
    ):
        build.build(documents=STORIES, out=tmp_path / "out", tokenizer=tokenizer)
    assert build.build(documents=STORIES, out=tmp_path / "out", tokenizer=tokenizer).documents == 59


def test_very_many_files_are_one_line_of_the_settings(
    tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "_MANY", 10)
    for n, story in enumerate(STORIES[:12]):
        (tmp_path / f"{n:02d}.txt").write_text(story.text)
    out = tmp_path / "out"
    first = build.build([tmp_path], out, tokenizer=tokenizer, layout="file", processes=1)
    kept = json.loads((out / "manifest.json").read_text())["settings"]["inputs"]
    assert kept["files"] == 12 and len(json.dumps(kept)) < 400
    (tmp_path / "07.txt").write_text(STORIES[20].text)
    with pytest.raises(UnmaskError, match="other settings .inputs"):
        build.build([tmp_path], out, tokenizer=tokenizer, layout="file", processes=1)
    assert first.documents > 5


def test_a_build_that_failed_before_its_text_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    table = tmp_path / "rows.csv"
    table.write_text("review\n" + "\n".join(story(n).replace("\n", " ") for n in range(20)) + "\n")
    with pytest.raises(UnmaskError, match=r'no column "text" .*--column'):
        build.build([table], tmp_path / "out", vocab_size=256)
    assert not (tmp_path / "out").exists()
    (tmp_path / "own").mkdir()
    with pytest.raises(UnmaskError, match="no column"):
        build.build([table], tmp_path / "own", vocab_size=256)
    assert (tmp_path / "own").is_dir() and not any((tmp_path / "own").iterdir())
    assert build.build([table], tmp_path / "out", vocab_size=256, column="review").documents


def test_the_name_of_a_file_is_no_text_to_exclude(tmp_path: Path, corpus_text: Path) -> None:
    with pytest.raises(UnmaskError, match="names a file — give Path"):
        build.build([corpus_text], tmp_path / "out", exclude=[str(corpus_text)])
    texts = ["word " * 80 + ".txt", "書" * 100, "a\x00b.txt", "README.md", "nowhere.txt"]
    assert build.build([corpus_text], tmp_path / "out", vocab_size=256, exclude=texts).documents


def test_an_excluded_text_is_not_brought_together_by_lines_that_go(
    tmp_path: Path, tokenizer: Tokenizer
) -> None:
    first, second, again = (
        "a very particular sentence",
        "about the small red house",
        "seven birds sang loudly " * 6,
    )
    documents = [
        *STORIES,
        Document(again, "before", ""),
        Document(f"{first}\n{again}\n{second}\nEnd.", "leak", ""),
    ]
    store = build.build(
        documents=documents, out=tmp_path / "out", tokenizer=tokenizer, exclude=[first + second], heldout=0
    )
    assert "particular" not in store.text(store.documents - 1) and "red" not in store.text(
        store.documents - 1
    )


def test_excluded_texts_are_cleaned_as_the_corpus_is(tmp_path: Path, tokenizer: Tokenizer) -> None:
    """Control characters are taken out of the corpus; a test row that holds them must be found all the same."""
    row = "He said \x93a very particular sentence\x94 about the red house"
    (tmp_path / "test.jsonl").write_text(json.dumps({"text": row + "\ud83d"}))
    documents = [*STORIES, Document(f"Before it.\n{row}\nAfter it.", "leak", "")]
    for number, exclude in enumerate(([row], [tmp_path / "test.jsonl"])):
        store = build.build(
            documents=documents,
            out=tmp_path / f"out{number}",
            tokenizer=tokenizer,
            exclude=exclude,
            heldout=0,
        )
        lines = store.tokenizer.decode(store.document(store.documents - 1).tokens)
        assert (
            "particular" not in lines and lines.lower() == "it. it."
        )  # what is known of the two other lines


def test_a_disk_that_is_clearly_too_small_is_told_before_the_work(
    tmp_path: Path, corpus_text: Path, tokenizer: Tokenizer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    needed = Store(folder).tokens * 2.125  # of 54 of the 60 stories
    for room, fits in ((0.5, False), (1.2, True)):
        usage = SimpleNamespace(free=int(room * needed))
        monkeypatch.setattr(shards.shutil, "disk_usage", lambda where, usage=usage: usage)
        if fits:
            assert build.build(documents=STORIES, out=out, tokenizer=tokenizer).documents == 59
        else:
            with pytest.raises(UnmaskError, match="of room, and the tokens of .* need at least"):
                build.build(documents=STORIES, out=out, tokenizer=tokenizer)
            assert not list(out.glob("*.arrow"))


def test_a_few_huge_files_give_held_out_documents(
    tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "LONGEST_DOCUMENT", 500)
    for book in range(2):
        lines = [line for story in STORIES[book * 30 : book * 30 + 30] for line in story.text.split("\n")]
        (tmp_path / f"book {book}.txt").write_text("\n".join(lines))
    out = tmp_path / "out"
    train = build.build([tmp_path], out, tokenizer=tokenizer, layout="file", processes=1)
    held = Store(out, part="heldout")
    assert held.documents == 1 and train.documents > 5
    assert 0 < held.tokens < 0.2 * train.tokens
    files, read = json.loads((out / "ledger.json").read_text())["stages"][:2]
    assert (files["name"], files["in"], read["name"]) == ("files", 2, "read")
    assert (read["in"], sum(told["count"] for told in read["split"].values())) == (2, 2)


def test_documents_from_memory_are_compared_by_their_text(tmp_path: Path, tokenizer: Tokenizer) -> None:
    first = build.build(documents=STORIES, out=tmp_path / "out", tokenizer=tokenizer)
    again = build.build(documents=iter(STORIES), out=tmp_path / "out", tokenizer=tokenizer)
    assert first.fingerprint == again.fingerprint
    with pytest.raises(UnmaskError, match="corpus of another text"):
        build.build(documents=STORIES[:50], out=tmp_path / "out", tokenizer=tokenizer)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.doc").write_text("years of work")
    with pytest.raises(UnmaskError, match="is not a corpus"):
        build.build(documents=STORIES, out=tmp_path / "mine", tokenizer=tokenizer)


def test_what_is_taken_out(tmp_path: Path, tokenizer: Tokenizer) -> None:
    secret = "Seven birds sang loudly in our old house."
    long_line = "The mat the cat sat while the dog sat near the trees in our house today. " * 2
    texts = [
        "The cat sat.\n" + secret + "\nThe dog sat.", "The cat sat.\n" + secret + "\nThe dog sat.",
        "Dog.\n" + long_line, "Mat.\n" + long_line, "Seven\x07 birds.", "\x07", "  ",
    ]  # fmt: skip
    rows = tmp_path / "in.jsonl"
    rows.write_text("".join(json.dumps({"id": i, "text": text}) + "\n" for i, text in enumerate(texts)))
    tests = tmp_path / "tests.txt"
    tests.write_text("seven birds   sang LOUDLY in our old house.\n")
    said: list[str] = []
    store = build.build(
        [rows], tmp_path / "out", tokenizer=tokenizer, exclude=[tests], heldout=0, say=said.append
    )
    assert [store.text(i) for i in range(store.documents)] == [
        "The cat sat. The dog sat.", "Dog. " + long_line.strip(), "Mat.", "Seven birds."
    ]  # fmt: skip
    assert said[0] == '1 source (.jsonl), column "text"' or said[0].startswith(
        "understood: 1 source (.jsonl)"
    )
    stages = {s["name"]: s for s in json.loads((tmp_path / "out" / "ledger.json").read_text())["stages"]}
    assert stages["read"]["dropped"]["no text"]["samples"] == ["6"]
    assert stages["clean characters"]["dropped"]["control character U+0007"]["count"] == 2
    assert stages["whole duplicates"]["dropped"]["exact duplicate"] == {"count": 1, "samples": ["1"]}
    assert stages["lines"]["dropped"]["holds an excluded text"] == {"count": 1, "samples": [secret]}
    assert stages["lines"]["dropped"]["repeated line"]["count"] == 1
    for stage in stages.values():
        parts = (
            told["count"]
            for outcome in ("kept", "split", "cut", "dropped")
            for told in stage[outcome].values()
        )
        assert stage["in"] == sum(parts)


@pytest.mark.parametrize("damage", ["size", "bytes", "missing", "counts", "tokenizer", "manifest"])
def test_damage_is_found(folder: Path, tmp_path: Path, damage: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    shard, manifest = copy / "train-00000.arrow", copy / "manifest.json"
    if damage == "size":
        shard.write_bytes(shard.read_bytes() + b"\0")
    elif damage == "bytes":
        data = bytearray(shard.read_bytes())
        data[len(data) // 3] ^= 1
        shard.write_bytes(bytes(data))
    elif damage == "missing":
        shard.unlink()
    elif damage == "counts":
        data = json.loads(manifest.read_text())
        data["parts"]["train"]["tokens"] += 1
        manifest.write_text(json.dumps(data))
    elif damage == "tokenizer":
        train_tokenizer(["other text altogether"], "characters", 64).save(copy / "tokenizer")
    else:
        manifest.write_text("{")
    told = {
        "size": "bytes, but manifest.json says",
        "bytes": "has changed",
        "missing": "is missing",
        "counts": "manifest.json",
        "tokenizer": "tokenizer",
        "manifest": "manifest.json",
    }
    if damage == "bytes":
        assert Store(copy).documents  # only its hash tells
        with pytest.raises(UnmaskError, match=told[damage]):
            Store(copy).verify()
    else:
        with pytest.raises(UnmaskError, match=told[damage]):
            _ = Store(copy).tokenizer  # read when it is first needed


def test_part_and_folder_errors(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UnmaskError, match='Did you mean "heldout"'):
        Store(folder, part="held-out")
    with pytest.raises(UnmaskError, match="not a corpus folder"):
        Store(tmp_path)


def test_chinese_sentences_and_words(tokenizer: Tokenizer) -> None:
    done = encode_documents(["a", "b"], [CHINESE, "The cat sat. The dog sat."], tokenizer, "zh")
    pieces = [tokenizer.token(i) for i in done.tokens]
    first = pieces[: done.lengths[0]]
    ends = done.sentence_ends[: done.sentences[0]]
    assert ["".join(first[a:b]) for a, b in zip([0, *ends], ends, strict=False)] == [
        "我爱北京天安门。", "他说：“走吧！”", "我们走了。", "今天的天气很好。"
    ]  # fmt: skip
    assert done.sentences.tolist() == [4, 2]
    words = np.flatnonzero(done.word_starts[:8]).tolist()
    assert words == [0, 1, 2, 4, 7]  # 我 爱 北京 天安门 。


@settings(max_examples=60)
@given(st.lists(st.text("ab .!\n。我们\u0301?\t天", min_size=1, max_size=40), min_size=1, max_size=5))
def test_sentences_and_documents_tile_the_tokens(texts: list[str]) -> None:
    for kind in ("wordpiece", "bpe"):
        tokenizer = _held.setdefault(kind, train_tokenizer([CHINESE, "a b ab. abba! baab"], kind, 512))
        done = encode_documents([str(i) for i in range(len(texts))], texts, tokenizer, "zh")
        assert done.lengths.sum() == len(done.tokens) == len(done.word_starts)
        assert done.sentences.sum() == len(done.sentence_ends)
        place = 0
        for length, count in zip(done.lengths, done.sentences, strict=True):
            ends = done.sentence_ends[place : place + count]
            assert (np.diff(ends, prepend=0) > 0).all()
            assert (ends[-1] if count else 0) == length
            place += count


_held: dict[str, Tokenizer] = {}


def test_documents_are_the_same_however_many_are_worked_out_at_once(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [
        CHINESE,
        "\u0301abc \u0301d",
        "The cat sat. The dog sat.\n\nIt ran away.",
        "",
        "天天",
        "a" * 300,
        "我们走了。\nOh.",
    ]
    ids = [str(number) for number in range(len(texts))]
    whole = encode_documents(ids, texts, tokenizer, "zh")
    assert whole.ids == ids
    for most in (1, 20, 70):
        monkeypatch.setattr(encode, "_TOGETHER", most)
        cut = encode_documents(ids, texts, tokenizer, "zh")
        assert cut.ids == ids
        for name in ("tokens", "lengths", "sentence_ends", "sentences", "word_starts"):
            one, other = getattr(whole, name), getattr(cut, name)
            assert one.dtype == other.dtype and np.array_equal(one, other), (most, name)


SCRIPT = """
import sys, unmask
from unmask.store import gather
gather.BATCH_BYTES, gather.FILE_BYTES = 1500, 4000
text, out = sys.argv[1:]
print(unmask.build([text], out, vocab_size=256, processes=2).documents)
"""


def test_a_build_needs_no_guarded_main(tmp_path: Path, corpus_text: Path, one: Path) -> None:
    """A script on standard input has no file that a worker could import, and its folder no say in what they do."""
    (tmp_path / "json.py").write_text("raise SystemExit('a file of the working folder was imported')")
    command = [sys.executable, "-", str(corpus_text), str(tmp_path / "out")]
    environment = os.environ | {"PYTHONPATH": str(Path(build.__file__).parents[2]), "PYTHONSAFEPATH": "1"}
    done = subprocess.run(
        command, input=SCRIPT, capture_output=True, text=True, cwd=tmp_path, env=environment, check=True
    )
    assert (done.stdout, done.stderr) == ("60\n", "")
    assert contents(tmp_path / "out") == contents(one)


def test_a_worker_that_dies_is_told(
    tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer.save(tmp_path / "tokenizer")
    pieces = [Piece(str(tmp_path / "nothing.arrow"), at, "en") for at in range(9)]
    with Workers(tmp_path, 2) as workers, pytest.raises(UnmaskError, match=r"worker process ended \(-9\)"):
        workers.start(2)
        for worker in workers._started:
            worker.kill()
        for piece in pieces:
            workers.begin(piece)
        for piece in pieces:
            workers.result(piece, tokenizer)


def test_what_a_worker_says_is_not_taken_for_its_death(tmp_path: Path, tokenizer: Tokenizer) -> None:
    tokenizer.save(tmp_path / "tokenizer")
    pieces = [Piece(str(tmp_path / "nothing.arrow"), at, "en") for at in range(9)]
    with Workers(tmp_path, 2) as workers, pytest.raises(UnmaskError, match="nothing.arrow is damaged"):
        for piece in pieces:
            workers.begin(piece)
        for piece in pieces:
            workers.result(piece, tokenizer)


def test_a_vocabulary_of_more_than_16_bits(tokenizer: Tokenizer, tmp_path: Path) -> None:
    data = json.loads(tokenizer.content)
    vocab = data["model"]["vocab"]
    words = [f"w{n}" for n in range(70_000)]
    vocab.update({word: len(vocab) + n for n, word in enumerate(words)})
    large = Tokenizer(json.dumps(data))
    made = [Document(" ".join(words[n::10_000]), str(n), "made") for n in range(9_970, 10_000)]
    store = build.build(documents=made, out=tmp_path / "corpus", tokenizer=large, heldout=0.0, processes=1)
    for n, document in enumerate(made):
        assert [large.token(i) for i in store.document(n).tokens.tolist()] == document.text.split()
    assert store.document(0).tokens.max() > 1 << 16

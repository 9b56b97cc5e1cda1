"""The embryo end to end on tiny seeds of a run; its rules on made curves; what does not fit is refused at once."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from unmask.corpus import Document
from unmask.errors import UnmaskError
from unmask.jobs.pretrain import pretrain
from unmask.jobs.snapshots import snapshots
from unmask.recipes import Bert
from unmask.report import report
from unmask.report.read import read_run
from unmask.report.sections.embryo import section
from unmask.run import Run
from unmask.store.build import build
from unmask.tokens import load_tokenizer
from unmask.train import Training
from unmask.yardstick.embryo import job
from unmask.yardstick.embryo.bodies import bodies_of
from unmask.yardstick.embryo.look import masked_says, reader_with, seen_hits
from unmask.yardstick.embryo.order import bins, control, half, learnt
from unmask.yardstick.embryo.probes import accuracy, layers_of, probe_of, states
from unmask.yardstick.embryo.tagged import Sample, Word, read_conllu, sample

NOUNS = "cat dog house river garden stone tree boat".split()
VERBS = "sees likes finds takes moves holds".split()
TINY = Training(steps=30, batch=8, length=32, precision="fp32", snapshots=5, learning_rate=3e-3)


def sentence(draw: random.Random) -> list[tuple[str, str]]:
    words = [("the", "DET"), (draw.choice(NOUNS), "NOUN"), (draw.choice(VERBS), "VERB")]
    return [*words, ("a", "DET"), (draw.choice(NOUNS), "NOUN"), (".", "PUNCT")]


def conllu(count: int, seed: int = 5) -> str:
    draw, lines = random.Random(seed), []
    for _ in range(count):
        words = sentence(draw)
        lines.append("# text = " + " ".join(w for w, _ in words[:-1]) + ".")
        lines += [f"{n}\t{w}\t{w}\t{tag}" + "\t_" * 6 for n, (w, tag) in enumerate(words, 1)]
        lines.append("")
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus, two seeds of a run, and the tagged sentences."""
    root, draw = tmp_path_factory.mktemp("embryo"), random.Random(0)
    texts = [
        "\n".join(" ".join(w for w, _ in sentence(draw)[:-1]) + "." for _ in range(8)) for _ in range(30)
    ]
    build(
        documents=[Document(text, f"{n}", "made") for n, text in enumerate(texts)],
        out=root / "corpus", vocab_size=90, heldout=0.1, processes=1,
    )  # fmt: skip
    for seed in (0, 1):
        pretrain(
            Bert(pairs="none"), root / "corpus", out=root / f"run{seed}", size="tiny",
            training=replace(TINY, seed=seed),
        )  # fmt: skip
    (root / "tags.conllu").write_text(conllu(60))
    return root


def body_vocab(root: Path) -> int:
    return bodies_of([root / "run0"])[0].shape.vocab


def test_two_seeds_are_watched_and_shown(root: Path, tmp_path: Path) -> None:
    draw = random.Random(3)
    marked = "\n".join(f"the O\n{draw.choice(NOUNS)} B-thing\nsees O\nme O\n" for _ in range(40))
    (tmp_path / "names.conll").write_text(marked)
    (tmp_path / "lines.txt").write_text("the [MASK] sees a dog.\n")
    said: list[dict[str, Any]] = []
    found = job.embryo(
        [root / "run0", root / "run1"], root / "tags.conllu", words=40, entities=tmp_path / "names.conll",
        sentences=tmp_path / "lines.txt", watch=said.append,
    )  # fmt: skip
    kept = Run.open(root / "run0").evaluations()["embryo"]
    assert kept == json.loads(json.dumps(found))
    assert found["runs"][0]["step"] == [0, 1, 3, 9, 30] and found["runs"][1]["seed"] == 1
    assert set(found["classes"]) == {"DET", "NOUN", "VERB"}
    assert found["counts"]["words"] == 360 and found["counts"]["punctuation, symbols and X"] == 60
    det = found["classes"]["DET"]
    fell = det["surprisal"]["nats"][0]
    assert fell[-1] < fell[0] and det["surprisal"]["learnt"]["tokens"] is not None
    assert np.isclose(
        fell[0], np.log(body_vocab(root)), rtol=0.05
    )  # before the first update all pieces are alike
    assert det["surprisal"]["beyond"][0][-1] > 0 > det["surprisal"]["beyond"][0][0]
    assert det["words"] == 40 and det["masked"]["accuracy"][0][-1] > det["masked"]["accuracy"][0][0]
    for run in (0, 1):
        low, mean, high = (np.array(det["masked"][key][run]) for key in ("low", "accuracy", "high"))
        assert (low <= mean + 1e-9).all() and (mean <= high + 1e-9).all()
    for name in ("part of speech", "entity"):
        probe = found["probes"][name]
        assert np.array(probe["accuracy"]).shape == (2, 5, 2) and np.array(probe["random"]).shape == (3, 2)
        assert np.array(probe["accuracy"]).max() > probe["majority"]
    assert set(found["probes"]["entity"]["labels"]) == {"O", "thing"}
    assert [len(one[0]) for one in found["fills"][0]["snapshots"]] == [5] * 5
    assert any("parts of speech asked" in event.get("text", "") for event in said)
    assert "DET" in "\n".join(job.lines(found))
    page = report([root / "run0"], tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Surprisal of masked words in nats" in page and "nats below frequency alone" in page
    assert "How run0 was born" in page and page.count('<div class="viewer card">') == 1
    assert page.count('<tr><th scope="row">step ') == 5  # without scripts every moment stands
    assert section(read_run(root / "run0"), {"classes": {}}) is None


def test_hits_are_the_definition(root: Path) -> None:
    (body,) = bodies_of([root / "run0"])
    tagged = sample(
        read_conllu(root / "tags.conllu"), body.source.tokenizer, longest=30, most=12, unigram=None
    )
    reader = reader_with(
        body.recipe, body.shape, body.source.frame, body.snapshots[-1].weights(), torch.float32
    )
    vocab, masked, seen, surprisal = body.source.tokenizer.vocab, [], [], []
    for word in tagged.words:
        ids = np.concatenate([[vocab.cls], tagged.rows[word.row], [vocab.sep]])
        for shown, out in (
            (ids, seen),
            (np.where(np.isin(np.arange(len(ids)), 1 + word.places), vocab.mask, ids), masked),
        ):
            with torch.no_grad():
                logits = reader.head(reader.encoder(torch.from_numpy(shown), torch.tensor([len(shown)])))
            out.append(bool((logits.argmax(-1).numpy()[1 + word.places] == word.ids).all()))
        surprisal.append(
            -float(logits.log_softmax(-1)[1 + word.places, word.ids].sum())
        )  # the last is the masked one
    hits, nats = masked_says(reader, tagged)
    assert hits.tolist() == masked and seen_hits(reader, tagged).tolist() == seen
    assert any(masked) and not all(masked)
    np.testing.assert_allclose(nats, surprisal, rtol=1e-4)


def test_the_last_snapshot_is_the_model_and_states_are_its_layers(root: Path) -> None:
    (body,) = bodies_of([root / "run0"])
    reader = reader_with(
        body.recipe, body.shape, body.source.frame, body.snapshots[-1].weights(), torch.float32
    )
    ids = torch.tensor([2, 10, 11, 12, 3])
    with torch.inference_mode():
        mine = reader.encoder(ids, torch.tensor([5]))
        torch.testing.assert_close(mine, body.source.loaded.encoder().eval()(ids, torch.tensor([5])))
    tagged = sample(
        read_conllu(root / "tags.conllu"), body.source.tokenizer, longest=30, most=9, unigram=None
    )
    first, last = states(reader, tagged, [1, 2])
    word = tagged.words[4]
    row = torch.from_numpy(np.concatenate([[2], tagged.rows[word.row], [3]]))
    with torch.inference_mode():
        whole = reader.encoder(row, torch.tensor([len(row)]))
    np.testing.assert_allclose(last[4], whole[1 + word.places].mean(0), atol=1e-5)
    assert not np.allclose(first[4], last[4])


def test_where_half_of_the_gain_is() -> None:
    tokens = np.array([0.0, 100, 1000, 10_000])
    assert half(np.array([0.0, 0.0, 0.4, 0.4]), tokens) == pytest.approx(100 * 10**0.5)
    assert half(np.array([0.1, 0.5, 0.5, 0.5]), tokens) == pytest.approx(10)  # from 1 token, not from 0
    assert half(np.array([0.3, 0.3, 0.9, 0.31]), tokens) is None  # no gain in the end
    hits = np.zeros((4, 50))
    hits[2:, :40] = 1
    found = learnt([hits, hits], [tokens, tokens * 4])
    assert found.tokens == pytest.approx(np.median([100 * 10**0.5, 400 * 10**0.5]))
    assert found.low is not None and found.high is not None and found.low <= found.tokens <= found.high
    assert learnt([np.zeros((4, 9))], [tokens]) == learnt([np.zeros((4, 9))], [tokens], seed=4)
    assert learnt([np.zeros((4, 9))], [tokens]).tokens is None


def test_a_control_has_the_frequencies_of_its_class() -> None:
    frequency = np.repeat([0.01, 0.02, 0.3, 0.0], 20)
    classes = {"A": [*range(8), *range(20, 26), 45], "B": [n for n in range(80) if n not in range(8)][:40]}
    where = bins(frequency)
    assert where[-1] == -1 and where[0] != where[20]
    found = control(classes, "A", where)
    assert (
        found is not None and found.own.sum() == pytest.approx(1) and found.others.sum() == pytest.approx(1)
    )
    for b in np.unique(where):  # the same share of the weight in every bin
        assert found.own[where == b].sum() == pytest.approx(found.others[where == b].sum())
    assert found.covered == pytest.approx(14 / 15)  # one word of A is alone in its bin
    assert control({"A": [0, 1]}, "A", where) is None


def test_a_probe_finds_what_is_there_and_not_what_is_not(root: Path) -> None:
    tokenizer = load_tokenizer(root / "run0" / "model")
    probe = probe_of(sample(read_conllu(root / "tags.conllu"), tokenizer, longest=30, most=0, unigram=None))
    rows = {w.row for w, t in zip(probe.sample.words, probe.training, strict=True) if t}
    assert not rows & {w.row for w, t in zip(probe.sample.words, probe.training, strict=True) if not t}
    noise = np.random.default_rng(0).normal(size=(len(probe.target), 6))
    assert accuracy(probe, noise) < probe.majority + 15
    noise[:, 0] += 8 * probe.target
    assert accuracy(probe, noise) > 95
    assert layers_of(12) == [3, 6, 9, 12] and layers_of(2) == [1, 2] and layers_of(24) == [6, 12, 18, 24]


@pytest.mark.parametrize(("labels", "rows"), [("aaaa", 4), ("abab", 1)])
def test_a_probe_needs_two_classes_and_words_to_test(labels: str, rows: int) -> None:
    """Told before any snapshot is opened: with one class, or all words in one row, there is nothing to measure."""
    ids = np.array([7])
    words = [Word(n % rows, np.array([0]), ids, label, 0.1) for n, label in enumerate(labels)]
    classes = {c: [n for n, label in enumerate(labels) if label == c] for c in sorted(set(labels))}
    with pytest.raises(UnmaskError, match="a probe learns two classes"):
        probe_of(Sample([ids] * rows, words, classes, {}, {}, list(range(rows))))


def test_a_sentence_of_several_rows_is_in_one_half() -> None:
    ids = np.array([7])
    words = [Word(n, np.array([0]), ids, "ab"[n % 2], 0.1) for n in range(60)]
    classes = {c: [n for n in range(60) if "ab"[n % 2] == c] for c in "ab"}
    for seed in range(5):
        probe = probe_of(Sample([ids] * 60, words, classes, {}, {}, [n // 3 for n in range(60)]), seed)
        assert probe.training.sum() == 30
        assert set(probe.training.reshape(20, 3).sum(1).tolist()) == {0, 3}


def test_words_are_counted_and_unknown_ones_left_out(root: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(root / "run0" / "model")
    (tmp_path / "a.conllu").write_text(conllu(40).replace("boat", "Жбан"))
    found = sample(read_conllu(tmp_path / "a.conllu"), tokenizer, longest=4, most=0, unigram=None)
    assert found.counts["with an unknown piece"] > 0 and 0 < found.unknown["NOUN"] < 1
    drawn = sample(read_conllu(tmp_path / "a.conllu"), tokenizer, longest=4, most=9, unigram=None)
    for one in (found, drawn):  # every word of the file is somewhere
        assert (
            sum(n for what, n in one.counts.items() if what not in ("sentences", "words"))
            == one.counts["words"]
        )
    assert drawn.counts["not drawn"] > 0
    assert max(len(row) for row in found.rows) <= 4  # long sentences are divided, no word is lost
    for word in found.words:
        assert (found.rows[word.row][word.places] == word.ids).all()
    again = sample(read_conllu(tmp_path / "a.conllu"), tokenizer, longest=4, most=30, unigram=None)
    assert all(len(numbers) <= 30 for numbers in again.classes.values())


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda text: text.replace("# text = the", "# text = this", 1), "do not make up its text"),
        (lambda text: text.replace("\n3\t", "\n4\t", 1), "word number 4 where 3 was expected"),
        (lambda text: text.replace("\tNOUN\t", "\tN\t", 1), 'is "N" — expected a universal part of speech'),
        (lambda text: text.replace("\t_\t_\n", "\t_\n", 1), "9 columns"),
        (lambda text: "the cat\nsees\n", "no CoNLL-U file"),
    ],
)
def test_a_file_that_is_not_aligned_is_refused_before_anything(
    root: Path, tmp_path: Path, spoil: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bad.txt").write_text(spoil(conllu(30)))
    monkeypatch.setattr(job, "_look", lambda *_: pytest.fail("a snapshot was opened"))
    with pytest.raises(UnmaskError, match=message):
        job.embryo([root / "run0"], tmp_path / "bad.txt")


def test_runs_that_cannot_be_watched(root: Path, tmp_path: Path) -> None:
    none = pretrain(
        Bert(pairs="none"), root / "corpus", out=tmp_path / "none", size="tiny",
        training=replace(TINY, steps=1, snapshots=0),
    )  # fmt: skip
    with pytest.raises(UnmaskError, match="has 0 snapshots.*--snapshots 24"):
        job.embryo([none.folder], root / "tags.conllu")
    other = pretrain(
        Bert(pairs="none", rate=0.3), root / "corpus", out=tmp_path / "other", size="tiny",
        training=replace(TINY, steps=1),
    )  # fmt: skip
    with pytest.raises(UnmaskError, match=r"differ in recipe\.rate, training\.steps"):
        job.embryo([root / "run0", other.folder], root / "tags.conllu")
    with pytest.raises(UnmaskError, match="no run is named"):
        job.embryo([], root / "tags.conllu")
    with pytest.raises(UnmaskError, match="0 .all. or more"):
        job.embryo([root / "run0"], root / "tags.conllu", words=-1)
    (tmp_path / "plain.txt").write_text("no blank here\n")
    with pytest.raises(UnmaskError, match="line 1.*has no .MASK."):
        job.embryo([root / "run0"], root / "tags.conllu", sentences=tmp_path / "plain.txt")
    with pytest.raises(UnmaskError, match="data is not given"):
        job.embryo([root / "run0"], root / "tags.conllu", task="glue:RTE")
    (tmp_path / "none.conll").write_text("the O\ncat O\n\n")
    with pytest.raises(UnmaskError, match="marks no entity"):
        job.embryo([root / "run0"], root / "tags.conllu", entities=tmp_path / "none.conll")


def test_a_task_at_the_snapshots(root: Path, tmp_path: Path) -> None:
    draw = random.Random(2)
    rows = [
        f"the {draw.choice(NOUNS)} {verb} a {draw.choice(NOUNS)}\t{verb}" for verb in ("sees", "likes") * 30
    ]
    for name in ("train", "dev"):
        (tmp_path / f"{name}.tsv").write_text("text\tlabel\n" + "\n".join(rows) + "\n")
    (tmp_path / "own.toml").write_text(
        'name = "own"\nabout = "made"\n[[task]]\nname = "verbs"\nkind = "classify"\nmetrics = ["accuracy"]\n'
        'labels = ["sees", "likes"]\ntext_a = "text"\nlabel = "label"\n'
        'train = { file = "train.tsv" }\ndev = { file = "dev.tsv" }\n'
    )
    found = job.embryo(
        [root / "run1"], root / "tags.conllu", words=20, task=f"{tmp_path / 'own.toml'}:verbs", data=tmp_path,
        task_snapshots=2, task_seeds=1, task_steps=2,
    )  # fmt: skip
    task = found["task"]
    assert [one["snapshot"] for one in task["scores"]] == [0, len(snapshots(root / "run1")) - 1]
    assert task["metric"] == "accuracy" and task["majority"] == 50.0 and task["seeds"] == 1
    shown = section(read_run(root / "run1"), json.loads(json.dumps(found)))
    assert (
        shown is not None
        and len(shown.tables) == 2
        and "updates of pre-training" in str(shown.figures[-1].caption)
    )

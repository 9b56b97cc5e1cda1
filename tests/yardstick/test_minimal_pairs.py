"""Pseudo-log-likelihoods against definitions and against transformers; ties; files; the job and its section."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from unmask.errors import UnmaskError
from unmask.jobs.source import Source, open_source
from unmask.models import sized
from unmask.models.weights import save_pretrained
from unmask.recipes.network import Network
from unmask.report.read import read_run
from unmask.report.sections.minimal_pairs import section
from unmask.run import Run
from unmask.tokens import train_tokenizer
from unmask.yardstick import likelihood
from unmask.yardstick import minimal_pairs as job
from unmask.yardstick.likelihood import cut, reader_of, scores
from unmask.yardstick.masked import SCORINGS, Sentence, hidden, inputs
from unmask.yardstick.pairs import BLIMP_PAIRS, Pair, Pairs, read_pairs
from unmask.yardstick.published_pairs import PHENOMENA, TABLE
from unmask.yardstick.verdicts import judge, verdicts

TEXTS = [
    "the cats sleep near the old riverbank",
    "the cats sleeps near the old riverbank",
    "a dog barks",
    "a dog bark",
    "every gardener has planted her flowers",
    "every gardener have planted her flowers",
]


def small(folder: Path, family: str) -> Path:
    """A tiny model folder with weights that are not at their start, so that norms and biases count."""
    tokenizer = train_tokenizer(TEXTS * 3, "wordpiece", 64)
    shape = replace(sized(family, "tiny", tokenizer.vocab.size, 40), width=32, heads=2, inner=48)
    if family == "albert":
        shape = replace(shape, embedding=16)
    torch.manual_seed(1)
    network = Network(shape, pair=False)
    for parameter in network.parameters():
        parameter.data.add_(0.2 * torch.randn_like(parameter))
    save_pretrained(folder, family, network, shape, tokenizer, heads="tokens")
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Source]:
    root = tmp_path_factory.mktemp("models")
    names = ("bert", "roberta", "albert", "modernbert")
    return {name: open_source(small(root / name, name)) for name in names}


def alone(model: Any, source: Source, sentence: Sentence, form: str) -> float:
    """One sentence by the definition: a forward pass a piece, all logits, log-softmax in fp64."""
    vocab, words = source.tokenizer.vocab, sentence.words
    total = 0.0
    for place, target in enumerate(sentence.ids):
        ids = np.concatenate([[vocab.cls], sentence.ids, [vocab.sep]])
        for other in range(len(sentence.ids)):
            same = words[other] == words[place]
            if other == place or (form != "original" and same and (form == "whole_word" or other > place)):
                ids[1 + other] = vocab.mask
        with torch.no_grad():
            logits = model(torch.from_numpy(ids)[None]).logits[0, 1 + place].double()
        total += float(logits.log_softmax(-1)[int(target)])
    return total


@pytest.mark.parametrize("family", ["bert", "roberta", "albert", "modernbert"])
def test_all_three_forms_are_the_definition_in_transformers(models: dict[str, Source], family: str) -> None:
    from transformers import AutoModelForMaskedLM

    source = models[family]
    sentences = cut(TEXTS, source.tokenizer, 40, str)
    assert any(len(np.unique(s.words)) < len(s.ids) for s in sentences)  # words of several pieces
    found = scores(reader_of(source), sentences, SCORINGS)
    theirs = AutoModelForMaskedLM.from_pretrained(source.folder).eval()
    expected = [[alone(theirs, source, s, form) for s in sentences] for form in SCORINGS]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)
    assert not np.allclose(found[0], found[1]) and not np.allclose(found[1], found[2])


def test_batches_change_nothing(models: dict[str, Source], monkeypatch: pytest.MonkeyPatch) -> None:
    source = models["bert"]
    sentences = cut(TEXTS, source.tokenizer, 40, str)
    found = scores(reader_of(source), sentences, ["within_word"])
    monkeypatch.setattr(likelihood, "TOKENS", 1)  # a row a batch
    np.testing.assert_allclose(
        scores(reader_of(source), sentences[::-1], ["within_word"])[:, ::-1], found, atol=1e-4
    )


def test_what_is_masked() -> None:
    words = np.array([[0, 1, 1, 1, 2]])
    assert hidden(words, "original")[0].astype(int).tolist() == np.eye(5, dtype=int).tolist()
    assert hidden(words, "within_word")[0][1].tolist() == [False, True, True, True, False]
    assert hidden(words, "within_word")[0][3].tolist() == [False, False, False, True, False]
    assert all(
        hidden(words, "whole_word")[0][t].tolist() == [False, True, True, True, False] for t in (1, 2, 3)
    )


def test_a_pair_that_differs_in_one_word_shares_the_input_without_it(models: dict[str, Source]) -> None:
    vocab = models["bert"].tokenizer.vocab
    pair = [Sentence(np.array([7, 8, 9]), np.arange(3)), Sentence(np.array([7, 10, 9]), np.arange(3))]
    (found,) = inputs(pair, vocab, ["original"])
    assert len(found.rows) == 5 and len(found.asked) == 5 and len(found.of) == 6
    shared = found.of[(found.target == 8) | (found.target == 10)]
    assert shared[0] == shared[1]
    assert found.rows[found.asked[shared[0], 0]].tolist() == [vocab.cls, 7, vocab.mask, 9, vocab.sep]
    (three,) = inputs(pair, vocab, SCORINGS)  # words of one piece: the forms ask the same
    assert len(three.rows) == 5 and len(three.of) == 18


def made(count: int = 4) -> Pairs:
    items = [Pair(f"good {n}", f"bad {n}", f"p{n % 2}", f"f{n % 2}", f"line {n}") for n in range(count)]
    return Pairs("made", tuple(items), "0")


def test_a_constant_scorer_gets_exactly_half_in_any_order() -> None:
    pairs, same = made(6), np.full(6, -3.7)
    found = judge(pairs, range(6), same, same)
    assert found.whole.accuracy == 50.0 and found.whole.ties == 100.0
    assert all(one.accuracy == 50.0 for one in (*found.phenomena.values(), *found.paradigms.values()))
    good, bad = np.array([1.0, 2, 3, 4, 5, 6]), np.array([2.0, 1, 3, 0, 0, 9])
    assert verdicts(good, bad).tolist() == [0, 1, 0.5, 1, 1, 0]
    right, turned = judge(pairs, range(6), good, bad), judge(pairs, range(6), bad, good)
    assert right.whole.accuracy + turned.whole.accuracy == pytest.approx(100)


def test_the_whole_is_the_mean_over_paradigms_however_large_they_are() -> None:
    items = [Pair("a", "b", "large", "x", "")] * 8 + [Pair("a", "b", "small", "x", "")] * 2
    pairs = Pairs("made", tuple(items), "0")
    good = np.array([1.0] * 8 + [0.0] * 2)
    found = judge(pairs, range(10), good, np.full(10, 0.5))
    assert found.whole.accuracy == found.phenomena["x"].accuracy == 50.0 and found.whole.pairs == 10


def test_a_model_of_zeros_ties_where_lengths_agree(models: dict[str, Source]) -> None:
    source = models["bert"]
    reader = reader_of(source)
    for parameter in (*reader.encoder.parameters(), *reader.head.parameters()):
        parameter.data.zero_()
    size = source.loaded.shape.vocab
    sentences = [Sentence(np.array([7, 8, 9]), np.arange(3)), Sentence(np.array([9, 10, 7]), np.arange(3))]
    found = scores(reader, sentences, ["original"])[0]
    assert found[0] == found[1] == pytest.approx(-3 * np.log(size))


def test_blimp_ships_whole() -> None:
    pairs = read_pairs()
    assert len(pairs) == BLIMP_PAIRS and len(pairs.paradigms()) == 67
    assert all(len(numbers) == 1000 for numbers in pairs.paradigms().values())
    assert sorted(pairs.phenomena()) == sorted(PHENOMENA) and pairs.equal == 7
    assert len(pairs.first(200)) == 67 * 200
    sizes = [len(pairs.phenomena()[name]) for name in PHENOMENA]
    for row in TABLE:  # the printed whole is the mean over paradigms
        whole = np.average(row.values, weights=sizes)
        assert whole == pytest.approx(row.whole, abs=0.6), row.name


def test_own_files_and_what_is_wrong_with_them(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("good\tbad\tphenomenon\nhe runs\the run\tverbs\nx y\ty x\torder\n")
    (tmp_path / "b.jsonl").write_text('{"good": "one", "bad": "two"}\n')
    both = read_pairs(tmp_path)
    assert [p.phenomenon for p in both.items] == ["verbs", "order", "b"]
    assert both.items[0] == Pair("he runs", "he run", "verbs", "verbs", f"{tmp_path / 'a.tsv'}, line 2")
    (tmp_path / "c.tsv").write_text("good\tbad\nhe runs\t \n")
    with pytest.raises(UnmaskError, match="line 2: an empty sentence"):
        read_pairs(tmp_path / "c.tsv")
    (tmp_path / "d.tsv").write_text("right\twrong\na\tb\n")
    with pytest.raises(UnmaskError, match='no column "good"'):
        read_pairs(tmp_path / "d.tsv")
    (tmp_path / "e.jsonl").write_text(
        '{"good": "a", "bad": "b", "paradigm": "p", "phenomenon": "x"}\n'
        '{"good": "a", "bad": "b", "paradigm": "p", "phenomenon": "y"}\n'
    )
    with pytest.raises(UnmaskError, match="one phenomenon a paradigm"):
        read_pairs(tmp_path / "e.jsonl")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnmaskError, match="no file of pairs"):
        read_pairs(tmp_path / "empty")


def test_the_job_keeps_its_result_and_the_page_shows_it(models: dict[str, Source], tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", verb="pretrain", settings={"recipe": {"name": "bert"}}, parameters=77)
    run.log({"step": 3, "seconds": 60.0, "tokens": 5000, "loss": 3.0})
    small(run.folder / "model", "bert")
    (tmp_path / "own.tsv").write_text(
        "good\tbad\tphenomenon\n"
        + "".join(f"{a}\t{b}\tagreement\n" for a, b in zip(TEXTS[::2], TEXTS[1::2], strict=True))
    )
    said: list[str] = []
    found = job.minimal_pairs(
        run.folder,
        tmp_path / "own.tsv",
        untrained_seeds=2,
        precision="bf16",
        watch=lambda event: said.append(event.get("text", "")),
    )
    kept = json.loads((run.folder / "evaluation" / "minimal-pairs.own.json").read_text())
    assert kept == json.loads(json.dumps(found))
    assert any("3 pairs of own.tsv" in text and "about" in text for text in said)
    assert found["precision"]["used"] == "bf16" and found["precision"]["largest_difference"] < 1.0
    assert found["seen"] == {"tokens": 5000, "seconds": 60.0, "words": None}
    drawn = found["untrained"]["scorings"]["original"]
    assert len(drawn) == 2 and drawn[0]["whole"]["pairs"] == 3
    text = "\n".join(job.lines(found))
    assert "agreement" in text and "mean over paradigms" in text
    shown = section(read_run(run.folder), {**kept, "pairs": {**kept["pairs"], "name": "BLiMP"}})
    assert shown is not None and len(shown.tables) == 2 and "agreement" in json.dumps(shown.figures[0].spec)
    assert any("published" in str(cell) for row in shown.tables[1].rows for cell in row)
    assert section(read_run(run.folder), {"pairs": {}}) is None


def test_the_good_sentence_is_the_one_that_should_be_likelier(
    models: dict[str, Source], tmp_path: Path
) -> None:
    run = Run.create(tmp_path / "run", verb="pretrain", settings={"recipe": {"name": "bert"}}, parameters=77)
    small(run.folder / "model", "bert")
    source = open_source(run.folder)
    assert source.loaded.tokenizer is not None
    sentences = cut(TEXTS, source.loaded.tokenizer, 40, str)
    found = scores(reader_of(source), sentences, ["original"])[0]
    likelier = [
        (a, b) if x > y else (b, a)
        for a, b, x, y in zip(TEXTS[::2], TEXTS[1::2], found[::2], found[1::2], strict=True)
    ]
    for turned, accuracy in ((False, 100.0), (True, 0.0)):
        lines = ["\t".join(pair[::-1] if turned else pair) + "\tagreement\n" for pair in likelier]
        (tmp_path / "own.tsv").write_text("good\tbad\tphenomenon\n" + "".join(lines))
        told = job.minimal_pairs(
            run.folder, tmp_path / "own.tsv", untrained_seeds=1, precision="fp32", watch=lambda event: None
        )
        assert told["scorings"]["original"]["whole"]["accuracy"] == accuracy


def test_fewer_pairs_are_scored_as_in_the_whole_and_kept_apart(
    models: dict[str, Source], tmp_path: Path
) -> None:
    run = Run.create(tmp_path / "run", verb="pretrain", settings={"recipe": {"name": "bert"}}, parameters=77)
    small(run.folder / "model", "bert")
    (tmp_path / "own.tsv").write_text(
        "good\tbad\tphenomenon\n"
        + "".join(
            f"{a}\t{b}\t{'one' if n % 2 else 'two'}\n"
            for n, (a, b) in enumerate(zip(TEXTS, reversed(TEXTS), strict=True))
        )
    )
    found = job.minimal_pairs(
        run.folder, tmp_path / "own.tsv", each=2, untrained_seeds=1, untrained_each=1, precision="fp32"
    )
    assert found["pairs"]["count"] == 4 and found["untrained"]["pairs"] == 2
    assert [p.stem for p in (run.folder / "evaluation").iterdir()] == ["minimal-pairs.own.first-2"]
    assert "4 pairs of own.tsv (the first 2 of every paradigm)" in job.lines(found)[0]
    with pytest.raises(UnmaskError, match="at least 1"):
        job.minimal_pairs(run.folder, each=0)


def test_what_cannot_be_scored_is_refused_before_anything_runs(
    models: dict[str, Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "scores", lambda *_: pytest.fail("something ran"))
    (tmp_path / "long.tsv").write_text(f"good\tbad\na\tb\nshort\t{'cats ' * 50}\n")
    with pytest.raises(UnmaskError, match=r"long\.tsv, line 3.* pieces — the model reads 1 to 38"):
        job.minimal_pairs(models["bert"].folder, tmp_path / "long.tsv")
    with pytest.raises(UnmaskError, match='Did you mean "whole_word"'):
        job.minimal_pairs(models["bert"].folder, scoring=["whole_wrod"])  # type: ignore[list-item]
    with pytest.raises(UnmaskError, match="0 or more"):
        job.minimal_pairs(models["bert"].folder, untrained_seeds=-1)
    body = tmp_path / "body"
    network = Network(models["bert"].loaded.shape, pair=False)
    save_pretrained(
        body, "bert", network, models["bert"].loaded.shape, models["bert"].tokenizer, heads="body"
    )
    with pytest.raises(UnmaskError, match="no masked-LM head"):
        job.minimal_pairs(body, tmp_path / "long.tsv")

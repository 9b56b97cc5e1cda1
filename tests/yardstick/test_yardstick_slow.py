"""The yardstick on real text, English and Chinese: reads the data sets under $DATA (make slow)."""

from __future__ import annotations

import json
import lzma
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from unmask.corpus import Document
from unmask.jobs.pretrain import pretrain
from unmask.recipes import Albert, Bert
from unmask.report import report
from unmask.store.build import build
from unmask.train import Training
from unmask.yardstick.embryo.job import embryo
from unmask.yardstick.minimal_pairs import minimal_pairs
from unmask.yardstick.pairs import read_pairs

pytestmark = pytest.mark.slow
SHORT = Training(steps=400, batch=16, length=64, learning_rate=2e-3, snapshots=8)


@pytest.fixture(scope="module")
def data() -> Path:
    if "DATA" not in os.environ:
        pytest.fail("DATA is not set; say where the data sets are")
    return Path(os.environ["DATA"])


def documents(path: Path, count: int) -> Iterator[Document]:
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        for n, line in enumerate(islice(lines, count)):
            row = json.loads(line)
            yield Document(row["text"], f"{n}", path.name)


def body(root: Path, recipe: Bert | Albert, texts: Path, count: int, kind: str, language: str) -> Path:
    build(
        documents=documents(texts, count), out=root / "corpus", tokenizer=kind, vocab_size=4000, language=language,
        heldout=0.01, processes=1,
    )  # fmt: skip
    return pretrain(recipe, root / "corpus", out=root / "run", size="tiny", training=SHORT).folder


def test_an_english_birth(data: Path, tmp_path: Path) -> None:
    run = body(tmp_path, Bert(pairs="none"), data / "corpus" / "en_wiki.jsonl.xz", 1500, "wordpiece", "en")
    found = embryo([run], data / "ud" / "en_ewt_dev.conllu.xz", words=150)
    assert found["counts"]["sentences"] == 2001 and found["counts"]["words"] == 25147
    assert {"DET", "ADP", "NOUN", "PROPN", "VERB"} <= set(found["classes"])
    end = {name: one["masked"]["accuracy"][0][-1] for name, one in found["classes"].items()}
    assert (
        max(end["DET"], end["ADP"]) > end["NOUN"] and end["DET"] > end["PROPN"]
    )  # function words come first
    probe = found["probes"]["part of speech"]
    assert max(probe["accuracy"][0][-1]) > probe["majority"] + 20
    report([run], tmp_path / "page.html")


def test_a_chinese_birth(data: Path, tmp_path: Path) -> None:
    run = body(tmp_path, Albert(), data / "corpus" / "zh_wiki.jsonl.xz", 59, "characters", "zh")
    found = embryo([run], data / "ud" / "zh_gsd_dev.conllu.xz", words=150)
    assert found["counts"]["sentences"] == 500 and found["counts"]["words"] == 12665
    assert {"NOUN", "VERB", "PART", "ADP"} <= set(found["classes"])
    assert all(one["unknown"] < 0.2 for name, one in found["classes"].items() if name != "PROPN")
    assert found["classes"]["NOUN"]["masked"]["several"] is not None  # words of several characters
    for one in found["classes"].values():
        assert 0 <= min(one["seen"]["accuracy"][0]) and max(one["seen"]["accuracy"][0]) <= 1
    report([run], tmp_path / "page.html")


def test_the_shipped_pairs_are_the_published_ones_and_a_trained_body_beats_chance(
    data: Path, tmp_path: Path
) -> None:
    assert read_pairs(data / "minimal_pairs" / "blimp.jsonl.xz").digest == read_pairs().digest
    run = body(tmp_path, Bert(pairs="none"), data / "corpus" / "en_wiki.jsonl.xz", 1500, "wordpiece", "en")
    pairs = read_pairs()
    few = tmp_path / "few.jsonl"
    few.write_text(
        "\n".join(
            json.dumps({"good": p.good, "bad": p.bad, "paradigm": p.paradigm, "phenomenon": p.phenomenon})
            for p in (pairs.items[n] for n in pairs.first(20))
        )
    )
    found = minimal_pairs(run, few, scoring=["original"], untrained_seeds=2)
    assert found["pairs"]["count"] == 1340 and found["scorings"]["original"]["whole"]["paradigms"] == 67
    assert found["seen"]["words"] is not None and found["seen"]["words"] < found["seen"]["tokens"]
    drawn = [one["whole"]["accuracy"] for one in found["untrained"]["scorings"]["original"]]
    assert all(40 < value < 60 for value in drawn)
    assert found["scorings"]["original"]["whole"]["accuracy"] > 47

"""Leaks from rows to what a model learnt from: found whatever the tokenizer, told where, never passed over."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from unmask.corpus import Document
from unmask.jobs.finetune import finetune
from unmask.jobs.leaks import leaks, origins, said
from unmask.jobs.pretrain import pretrain
from unmask.jobs.tuned import FineTuning
from unmask.recipes import Roberta
from unmask.store import Store
from unmask.store.build import build
from unmask.tasks import Classify, Examples
from unmask.tasks.examples import Example
from unmask.tokens.spelling import Spelling
from unmask.training import Training

HAN = "的一是不了人我在有他这为之大来以个中上们到说国和地也子时道出而要于就下得可你年生"
WORDS = "cat Dog house river garden stone tree boat bird road hill lake sun moon star rain".split()
TINY = Training(steps=2, batch=4, length=32, precision="fp32")


def sentence(draw: random.Random, n: int, han: bool) -> str:
    return (
        "".join(draw.choice(HAN) for _ in range(n)) if han else " ".join(draw.choice(WORDS) for _ in range(n))
    )


def texts(kind: str) -> tuple[list[str], list[str]]:
    """Documents, and rows: whole in a document, in part, a word changed in each 13, too short, elsewhere."""
    draw, han = random.Random(3), kind == "characters"
    documents = ["\n".join(sentence(draw, 14, han) for _ in range(6)) for _ in range(30)]
    join = "" if han else " "
    lines = [documents[n].replace("\n", join) for n in range(5)]
    cut = [list(line) if han else line.split() for line in lines]
    other = {"生": "年"} if han else {"rain": "moon"}
    new = next(iter(other))
    changed = [other.get(w, new) if n % 12 == 6 else w for n, w in enumerate(cut[2])]
    rows = [
        join.join(cut[0][3:40]).upper(),
        join.join(
            [*cut[1][5:25], *(list(sentence(draw, 20, han)) if han else sentence(draw, 20, han).split())]
        ),
        join.join(changed),
        join.join(cut[3][:5]),
        join.join(cut[4][30:40]).replace(join or "\0", join * 3),
        sentence(draw, 40, han),
    ]
    return documents, rows


def examples(rows: list[str], where: str = "rows") -> Examples:
    return Examples(where, tuple(Example(str(n), n, (row,), "x") for n, row in enumerate(rows, 1)))


@pytest.fixture(scope="module", params=["wordpiece", "bpe", "unigram", "characters"])
def made(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, list[str]]:
    """A corpus folder, a run that names it, rows."""
    root = tmp_path_factory.mktemp(request.param)
    documents, rows = texts(request.param)
    given = [Document(text, f"d{n}", "made") for n, text in enumerate(documents)]
    store = build(
        documents=given,
        out=root / "corpus",
        tokenizer=request.param,
        vocab_size=512,
        heldout=0.0,
        processes=1,
    )
    (root / "run").mkdir()
    about = {"verb": "pretrain", "settings": {}, "corpus": {"path": str(root / "corpus")}}
    about["corpus"]["fingerprint"] = store.fingerprint
    (root / "run/run.json").write_text(json.dumps(about))
    return root / "corpus", root / "run", rows


def test_found_in_the_corpus(made: tuple[Path, Path, list[str]]) -> None:
    corpus, run, rows = made
    found = leaks({"train": examples(["nothing"]), "test": examples(rows)}, run)
    (own,) = found["corpora"]
    part = own["parts"]["test"]
    assert own["checked"] and own["documents"] == 30
    assert (part["touched"], part["whole"], part["too_short"]) == (3, 2, 1)
    by = {sample["row"]: sample for sample in part["samples"]}
    assert (
        set(by) == {"1", "2", "5"}
        and by["1"]["share"] == by["5"]["share"] == 1
        and 0 < by["2"]["share"] < 0.5
    )
    assert (by["1"]["where"], by["2"]["where"]) == ("document d0", "document d1")
    plain = "".join(rows[0].casefold().split())
    assert "".join(by["1"]["passage"].split()) == plain
    train = found["parts"]["test"]["train"]
    assert (train["touched"], train["duplicates"]) == (0, 0)
    assert any("3 share them with the pre-training text (2 from end to end)" in line for line in said(found))


def test_spelt_as_the_tokenizer_decodes(made: tuple[Path, Path, list[str]]) -> None:
    store = Store(made[0])
    spelling = Spelling(store.tokenizer, str.casefold)
    for n in range(store.documents):
        theirs = store.text(n).casefold()
        assert "".join(spelling.text(store.document(n).tokens).split()) == "".join(theirs.split())


def test_found_in_train() -> None:
    draw = random.Random(1)
    lines = [sentence(draw, 30, False) for _ in range(6)]
    train = examples([*lines, "short one"])
    dev = examples(
        [lines[2].upper().replace(" ", "\u3000"), "SHORT   one", "a" + lines[3], sentence(draw, 30, False)]
    )
    found = leaks({"train": train, "dev": dev}, Path("nowhere"))
    own = found["parts"]["dev"]["train"]
    assert (own["duplicates"], own["touched"], own["whole"], own["too_short"]) == (2, 2, 1, 1)
    assert own["duplicate_samples"][0]["where"] == "row 3" and own["samples"][0]["where"] == "row 3"
    assert [c["checked"] for c in found["corpora"]] == [False]
    assert any("was not checked: nowhere does not say" in line for line in said(found))
    assert leaks({"train": train, "dev": dev}, Path("nowhere"), body=False)["corpora"] == []


def test_words_and_passages_that_many_rows_share() -> None:
    row = [f"w{n}" for n in range(20)]
    train = Examples("a", (Example("1", 1, tuple(row), ("O",) * 20),))
    dev = Examples("b", tuple(Example(str(n), n, tuple(row[n : n + 15]), ("O",) * 15) for n in range(4)))
    assert leaks({"train": train, "dev": dev}, Path("x"), words=True)["parts"]["dev"]["train"]["whole"] == 4
    passage = " ".join(row)
    asked = [Example(f"q{n}", n, (f"what is {n}?", passage), ("w1",)) for n in range(3)]
    found = leaks({"train": Examples("a", (asked[0],)), "dev": Examples("b", tuple(asked[1:]))}, Path("x"))
    own = found["parts"]["dev"]["train"]
    assert (own["touched"], own["duplicates"]) == (2, 0)


def test_what_a_model_stands_on(made: tuple[Path, Path, list[str]], tmp_path: Path) -> None:
    corpus, run, _ = made

    def put(name: str, about: dict[str, Any]) -> Path:
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(json.dumps(about))
        return tmp_path / name

    told = json.loads((run / "run.json").read_text())
    on = put("on", {**told, "settings": {"source": str(run / "model")}})
    tuned = put("tuned", {"verb": "finetune", "settings": {"model": str(on)}})
    assert [o.store is not None for o in origins(tuned / "model")] == [True, True]
    foreign = put("foreign", {**told, "settings": {"source": "bert-base"}})
    assert [o.why for o in origins(foreign)] == ["", "bert-base does not say what it was pre-trained on"]
    gone = put("gone", {**told, "corpus": {**told["corpus"], "path": str(tmp_path / "away")}})
    other = put("other", {**told, "corpus": {**told["corpus"], "fingerprint": "0"}})
    assert (
        ["not there" in o.why for o in origins(gone)]
        == ["has changed" in o.why for o in origins(other)]
        == [True]
    )
    around = put("around", {"verb": "finetune", "settings": {"model": str(tmp_path / "around")}})
    assert origins(around) == [] or len(origins(around)) <= 16
    (around / "run.json").write_text("{")
    assert "does not say" in origins(around)[0].why


def test_a_fine_tuning_says_it_and_keeps_it(tmp_path: Path) -> None:
    documents, rows = texts("wordpiece")
    given = [Document(text, f"d{n}", "made") for n, text in enumerate(documents)]
    build(documents=given, out=tmp_path / "corpus", vocab_size=200, heldout=0.1, processes=1)
    body = pretrain(Roberta(), tmp_path / "corpus", out=tmp_path / "body", size="tiny", training=TINY)
    draw = random.Random(9)
    labelled = [f"{sentence(draw, 9, False)}\t{'yes' if n % 2 else 'no'}" for n in range(24)]
    (tmp_path / "train.tsv").write_text("\n".join(["text\tlabel", *labelled]))
    (tmp_path / "test.tsv").write_text(
        "\n".join(["text\tlabel", labelled[0], *(f"{row}\tyes" for row in rows)])
    )
    lines: list[str] = []
    quick = FineTuning(steps=2, workers=1, precision="fp32", length=32)
    common: dict[str, Any] = {
        "model": body.folder,
        "train": tmp_path / "train.tsv",
        "test": tmp_path / "test.tsv",
    }
    common |= {"seeds": 1, "training": quick, "watch": lambda event: lines.append(event.get("text", ""))}
    run = finetune(Classify(), out=tmp_path / "tuned", **common)
    kept = run.evaluations()["leaks"]
    assert kept["parts"]["test"]["train"]["duplicates"] == 1
    store = Store(tmp_path / "corpus")
    held = {store.id(n) for n in range(store.documents)}  # the others are held out of pre-training
    want = len({"d0", "d1", "d4"} & held)
    assert kept["corpora"][0]["parts"]["test"]["touched"] == want > 0
    assert any(line.startswith("leaks: of 7 rows of test, 1 stand in train once more") for line in lines)
    control = finetune(Classify(), out=tmp_path / "control", from_scratch=True, **common)
    assert control.evaluations()["leaks"]["corpora"] == []


def test_speed_and_memory() -> None:
    """Ten megabytes against a thousand rows: bounded by the rows, not by what is searched."""
    import time
    import tracemalloc

    from unmask.evaluation.leaks import Looked

    draw = random.Random(0)
    block = " ".join(f"{draw.choice(WORDS)}{draw.randrange(999)}" for _ in range(140_000))
    rows = [block[n * 100 : n * 100 + 90] for n in range(1000)]
    looked = Looked(rows)
    looked.search([block])
    tracemalloc.start()
    started = time.process_time()
    looked.search(block + str(n) for n in range(9))
    seconds, peak = time.process_time() - started, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert looked.counts()[1].any()
    assert seconds < 10 and peak < 200e6, (seconds, peak)

"""A suite from files to verdicts on a tiny body: GLUE's layouts, halves, resuming, the server's files, bad input."""

from __future__ import annotations

import json
import random
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from unmask.errors import UnmaskError
from unmask.models import Shape, sized
from unmask.models.encoder import Encoder
from unmask.models.heads import TokensHead
from unmask.models.weights import save_pretrained
from unmask.tokens import train_tokenizer
from unmask.yardstick import runner
from unmask.yardstick.runner import run_suite
from unmask.yardstick.setting import Point, Setting
from unmask.yardstick.suites import Suite, load_suite
from unmask.yardstick.table import table

WORDS = "red blue cat dog runs in house tree big small saw the a good bad".split()
QUICK = Setting(seeds=2, steps=4, batch=8, rates="5e-3", workers=1, precision="fp32")
ROWS = 24


class Body(nn.Module):
    """An encoder and its masked-LM head, as a pre-training leaves them."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.encoder = Encoder(shape)
        self.head = TokensHead(self.encoder)


@pytest.fixture(scope="module")
def body(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("body")
    tokenizer = train_tokenizer([" ".join(WORDS)] * 9, "wordpiece", 120)
    shape = Shape(tokenizer.vocab.size, 16, 1, 2, 32, 48)
    torch.manual_seed(0)
    save_pretrained(folder / "model", "bert", Body(shape), shape, tokenizer, "tokens")
    (folder / "run.json").write_text(json.dumps({"verb": "pretrain", "settings": {}}), encoding="utf-8")
    return folder


def text(draw: random.Random) -> str:
    return " ".join(draw.choice(WORDS) for _ in range(5))


def glue(root: Path, names: tuple[str, ...]) -> Suite:
    """A few rows of some tasks in the benchmark's own layouts, and the suite with these counts."""
    draw = random.Random(0)

    def put(name: str, header: str | None, row: Callable[[int], list[str]]) -> None:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = ([header] if header else []) + ["\t".join(row(n)) for n in range(ROWS)]
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    nli = ["entailment", "neutral", "contradiction"]
    pad = [""] * 6
    if "CoLA" in names:
        for part in ("train", "dev"):
            put(f"CoLA/{part}.tsv", None, lambda n: ["gj04", str(n % 2), "", text(draw)])
        put("CoLA/test.tsv", "index\tsentence", lambda n: [str(n), text(draw)])
    if "MRPC" in names:
        for part in ("train", "dev"):
            put(
                f"MRPC/{part}.tsv",
                "Quality\ta\tb\tc\td",
                lambda n: [str(n % 2), "1", "2", text(draw), text(draw)],
            )
        put("MRPC/test.tsv", "index\ta\tb\tc\td", lambda n: [str(n), "1", "2", text(draw), text(draw)])
    if "STS-B" in names:
        for part in ("train", "dev"):
            put(
                f"STS-B/{part}.tsv",
                "index" + "\tx" * 9,
                lambda n: [str(n), *pad, text(draw), text(draw), f"{n % 6}.000"],
            )
        put("STS-B/test.tsv", "index" + "\tx" * 8, lambda n: [str(n), *pad, text(draw), text(draw)])
    if "MNLI" in names:
        put("MNLI/train.tsv", "index" + "\tx" * 11,
            lambda n: [str(n), *pad, "", text(draw), text(draw), "x", nli[n % 3]])  # fmt: skip
        for part in ("dev_matched", "dev_mismatched"):
            put(f"MNLI/{part}.tsv", "index" + "\tx" * 15,
                lambda n: [str(n), *pad, "", text(draw), text(draw), *["x"] * 5, nli[n % 3]])  # fmt: skip
        for part in ("test_matched", "test_mismatched"):
            put(f"MNLI/{part}.tsv", "index" + "\tx" * 9, lambda n: [str(n), *pad, "", text(draw), text(draw)])
        put("diagnostic/diagnostic.tsv", "index\ta\tb", lambda n: [str(n), text(draw), text(draw)])
    put("RTE/test.tsv", "index\ta\tb", lambda n: [str(n), text(draw), text(draw)])  # a test file alone
    suite = load_suite("glue")
    return replace(
        suite,
        task=tuple(
            replace(
                t,
                train=replace(t.train, rows=ROWS) if t.train else None,
                dev=tuple(replace(p, rows=ROWS) for p in t.dev),
                test=tuple(replace(p, rows=ROWS) for p in t.test),
            )
            for t in suite.task
        ),
    )


def run(
    suite: Suite, body: Path, data: Path, out: Path, setting: Setting = QUICK, **more: Any
) -> tuple[Any, list[str]]:
    said: list[str] = []
    found = run_suite(
        suite, body, data=data, out=out, setting=setting, name="glue",
        watch=lambda e: said.append(e["text"]) if e["event"] == "say" else None, **more,
    )  # fmt: skip
    return found, said


@pytest.fixture(scope="module")
def done(body: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, list[str], Path, Suite]:
    root = tmp_path_factory.mktemp("glue")
    suite = glue(root / "data", ("CoLA", "STS-B", "MNLI"))
    found, said = run(suite, body, root / "data", root / "out", submission=root / "send")
    return found, said, root, suite


def test_every_task_has_both_starts_with_ranges_and_a_verdict(done: Any) -> None:
    found, _, root, _ = done
    assert [t["name"] for t in found["tasks"]] == ["CoLA", "STS-B", "MNLI"]
    for t in found["tasks"]:
        for arm in t["starts"].values():
            assert len(arm["value"]["seeds"]) == 2 and arm["steps"] == 4 and arm["learning_rate"] == 5e-3
            assert arm["interval"][0] <= arm["value"]["median"] + 30
        assert (
            t["comparison"]["verdict"] in ("better", "worse", "open")
            and t["comparison"]["holm"] >= t["comparison"]["p"]
        )
        assert t["rows"]["train"] == ROWS
    mnli = found["tasks"][2]
    assert set(mnli["starts"]["scratch"]["metrics"]) == {"accuracy m", "accuracy mm"}
    assert mnli["rows"]["select"] + mnli["rows"]["report"] == 2 * ROWS
    assert json.loads((root / "out/glue.json").read_text()) == json.loads(json.dumps(found))


def test_the_mean_is_not_called_glue(done: Any) -> None:
    found, said, _, _ = done
    means = found["means"]
    assert not means["complete"] and means["name"] == "mean of 3 of 9 tasks, which is no GLUE score"
    assert means["missing"] == ["SST-2", "MRPC", "QQP", "QNLI", "RTE", "WNLI"]
    one = means["starts"]["pretrained"]
    values = [t["starts"]["pretrained"]["value"]["median"] for t in found["tasks"]]
    each = [t["starts"]["pretrained"]["value"]["seeds"] for t in found["tasks"]]
    assert one["mean"] == pytest.approx(median(sum(by_seed) / 3 for by_seed in zip(*each, strict=True)))
    assert one["seeds"]["low"] <= one["mean"] <= one["seeds"]["high"]
    assert one["relation"] == pytest.approx(
        sum(v / h for v, h in zip(values, (66.4, 92.65, 92.4), strict=True)) / 3
    )
    assert any("RTE is left out: RTE/train.tsv, RTE/dev.tsv" in line for line in said)
    shown = table(found)
    assert "left out: SST-2" in shown and "which is no GLUE score" in shown and "chosen on one half" in shown


def test_it_goes_to_the_runs_evaluations_for_the_page(done: Any, body: Path) -> None:
    assert json.loads((body / "evaluation/glue.json").read_text())["suite"] == "GLUE"


def test_the_servers_files(done: Any) -> None:
    found, _, root, _ = done
    send = root / "send"
    assert found["submission"]["constant"] == ["RTE.tsv"] and found["submission"]["archive"] is None
    assert set(found["submission"]["files"]) == {
        "CoLA.tsv", "STS-B.tsv", "MNLI-m.tsv", "MNLI-mm.tsv", "AX.tsv", "RTE.tsv",
    }  # fmt: skip
    allowed = {"CoLA": {"0", "1"}, "RTE": {"entailment"}, "AX": {"entailment", "neutral", "contradiction"}}
    for name in found["submission"]["files"]:
        head, *rows = (send / name).read_text().splitlines()
        assert head == "index\tprediction" and [row.split("\t")[0] for row in rows] == [
            str(n) for n in range(ROWS)
        ]
        answers = {row.split("\t")[1] for row in rows}
        if name == "STS-B.tsv":
            assert all(0 <= float(x) <= 5 for x in answers)
        elif name.removesuffix(".tsv") in allowed:
            assert answers <= allowed[name.removesuffix(".tsv")]
    assert not list(send.glob(".*")) and not list(send.glob("*.zip"))


def timeless(tasks: Any) -> Any:
    """Without seconds: the seed that answers the server's tests was trained once more, to have its model."""
    plain = json.loads(json.dumps(tasks))
    for task in plain:
        for arm in task["starts"].values():
            del arm["seconds"]
    return plain


def test_what_is_finished_is_not_repeated(done: Any, body: Path) -> None:
    found, _, root, suite = done
    before = {p: p.stat().st_mtime_ns for p in (root / "out/cells").rglob("predictions.json")}
    assert len(before) == 3 * 2 * 2
    again, said = run(suite, body, root / "data", root / "out")
    assert {p: p.stat().st_mtime_ns for p in before} == before
    assert any("6 of 6 fine-tunings were finished before" in line for line in said)
    assert timeless(again["tasks"]) == timeless(found["tasks"])
    with pytest.raises(UnmaskError, match="another limit_train"):
        run(suite, body, root / "data", root / "out", replace(QUICK, limit_train=10))


def test_a_whole_benchmark_is_called_by_its_name_and_packed(body: Path, tmp_path: Path) -> None:
    suite = glue(tmp_path / "data", ("CoLA",))
    suite = replace(suite, task=tuple(t for t in suite.task if t.name == "CoLA"))
    setting = replace(QUICK, seeds=1, from_scratch=False, published=True, rates="", steps=2)
    found, said = run(suite, body, tmp_path / "data", tmp_path / "out", setting, submission=tmp_path / "send")
    assert found["means"]["complete"] and found["means"]["name"] == "GLUE score"
    assert "same whole dev set" in found["protocol"] and found["tasks"][0]["rows"]["report"] == ROWS
    assert found["tasks"][0]["starts"]["pretrained"]["tried"] == 4 and "comparison" not in found["tasks"][0]
    assert zipfile.ZipFile(tmp_path / "send/submission.zip").namelist() == ["CoLA.tsv"]


def test_a_run_that_says_one_thing_has_failed(body: Path, tmp_path: Path) -> None:
    suite = glue(tmp_path / "data", ("MRPC",))
    train = tmp_path / "data/MRPC/train.tsv"
    head, first, *rows = train.read_text("utf-8").splitlines()  # the rows begin with 0 and 1 in turn
    train.write_text("\n".join([head, "1" + first[1:], *("0" + row[1:] for row in rows)]) + "\n", "utf-8")
    setting = replace(QUICK, seeds=1, tasks="mrpc", rates="2e-2", steps=12)
    found, _ = run(suite, body, tmp_path / "data", tmp_path / "out", setting)
    (t,) = found["tasks"]
    assert t["starts"]["scratch"]["failed"] == [0] and found["means"]["starts"]["scratch"]["failed"] == 1
    assert t["comparison"]["words"].startswith("one seed a start") and t["comparison"]["verdict"] == "open"
    assert t["majority"] == pytest.approx(
        100 * (0 + 0.5) / 2
    )  # always "0": F1 of class 1 is 0, accuracy a half


def test_the_head_is_chosen_with_the_rate_where_a_task_has_several(body: Path, tmp_path: Path) -> None:
    suite = glue(tmp_path / "data", ("MRPC",))
    setting = replace(QUICK, seeds=1, from_scratch=False, heads="auto,layers")
    found, said = run(suite, body, tmp_path / "data", tmp_path / "out", setting)
    (t,) = found["tasks"]
    arm = t["starts"]["pretrained"]
    assert arm["tried"] == 2 and arm["head"] in ("auto", "layers")
    places = sorted(p.name for p in (tmp_path / "out/cells/MRPC/pretrained").iterdir())
    assert len(places) == 2 and sum("_head-layers" in name for name in places) == 1
    assert any("rate, head and epochs" in line for line in said) and ", head and" in found["protocol"]
    assert all(
        point.head == "auto" for point in setting.grid(sized("bert", "mini", 100, 64), 100, heads=False)
    )
    with pytest.raises(UnmaskError, match='Did you mean "layers"'):
        replace(QUICK, heads="layer")


def test_two_workers_give_what_one_gives(body: Path, tmp_path: Path) -> None:
    suite = glue(tmp_path / "data", ("CoLA",))
    setting = replace(QUICK, seeds=1, tasks="CoLA")
    one, _ = run(suite, body, tmp_path / "data", tmp_path / "one", setting)
    two, said = run(suite, body, tmp_path / "data", tmp_path / "two", replace(setting, workers=2))
    for a, b in zip(one["tasks"], two["tasks"], strict=True):
        for start in ("scratch", "pretrained"):
            assert a["starts"][start]["value"] == b["starts"][start]["value"]
    assert any("2 of 2 fine-tunings" in line for line in said)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: (data / "CoLA/dev.tsv").write_text("a\t1\t\tYes.\n"), "has 1 rows — 24 were expected"),
        (lambda data: (data / "CoLA/dev.tsv").write_text("a\t7\t\tYes.\n" * ROWS), 'label is "7"'),
        (lambda data: (data / "CoLA/dev.tsv").unlink(), "CoLA/dev.tsv not in"),
        (lambda data: (data / "CoLA/train.tsv").write_text("a\t1\t\tYes.\n" * ROWS), "no row labelled 0"),
    ],
)
def test_bad_input_before_any_training(body: Path, tmp_path: Path, change: Any, message: str) -> None:
    suite = glue(tmp_path / "data", ("CoLA",))
    change(tmp_path / "data")
    with pytest.raises(UnmaskError, match=message):
        run(suite, body, tmp_path / "data", tmp_path / "out", replace(QUICK, tasks="CoLA"))
    assert not (tmp_path / "out/cells").exists()


def test_what_is_asked_with_anothers_model_needs_that_one(body: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "diagnostic"
    folder.mkdir(parents=True)
    ax = next(t for t in load_suite("glue").task if t.name == "AX")
    for part in (*ax.dev, *ax.report, *ax.test):
        place = tmp_path / "data" / part.file
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("index\tsentence1\tsentence2\n", encoding="utf-8")
    with pytest.raises(UnmaskError, match="AX has no training of its own — name MNLI too"):
        run_suite(
            "glue", body, data=tmp_path / "data", out=tmp_path / "out", setting=replace(QUICK, tasks="AX")
        )


def test_lengths_have_cells_of_their_own() -> None:
    ready = SimpleNamespace(
        task=next(t for t in load_suite("glue").task if t.name == "CoLA"),
        files={"train": Path("a"), "select": Path("b")},
        parts={},
    )
    point = Point(1e-4, 1.0)
    made = [
        runner.make_cell(ready, "pretrained", point, 0, model=Path("m"), out=Path("o"), setting=s, keep=False).folder
        for s in (QUICK, replace(QUICK, length=32), replace(QUICK, length=64))
    ]  # fmt: skip
    assert len(set(made)) == 3


def test_wrong_folders_and_names(body: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for data, setting, message in (
        (tmp_path / "dta", QUICK, 'Did you mean "data"'),
        (tmp_path / "data", QUICK, "holds no task of GLUE"),
        (tmp_path / "data", replace(QUICK, tasks="CoLa,RTEE"), 'no task "RTEE".*Did you mean "RTE"'),
    ):
        with pytest.raises(UnmaskError, match=message):
            run_suite("glue", body, data=data, out=tmp_path / "out", setting=setting)


def test_tags_and_answers_too(body: Path, tmp_path: Path) -> None:
    draw = random.Random(1)
    data = tmp_path / "data"
    data.mkdir()
    for part in ("train", "dev"):
        sentences = [
            "".join(f"{w} {'B-X' if w == 'cat' else 'O'}\n" for w in ["cat", *text(draw).split()])
            for _ in range(8)
        ]
        (data / f"{part}.conll").write_text("\n".join(sentences), encoding="utf-8")
        passages = [f"{text(draw)} cat {text(draw)}" for _ in range(8)]
        articles = [
            {"title": str(n), "paragraphs": [{"context": p, "qas": [
                {"id": f"{part}{n}", "question": "the cat",
                 "answers": [{"text": "cat", "answer_start": p.index("cat")}]}
            ]}]} for n, p in enumerate(passages)
        ]  # fmt: skip
        (data / f"{part}.json").write_text(json.dumps({"data": articles}), encoding="utf-8")
    (tmp_path / "own.toml").write_text(
        'name = "Own"\n'
        '[[task]]\nname = "tags"\nkind = "tag"\nmetrics = "entity_f1"\ntrain = "train.conll"\ndev = "dev.conll"\n'
        '[[task]]\nname = "spans"\nkind = "answer"\nmetrics = ["em", "f1_answer"]\n'
        'train = "train.json"\ndev = "dev.json"\n',
        encoding="utf-8",
    )
    found = run_suite(
        tmp_path / "own.toml",
        body,
        data=data,
        out=tmp_path / "out",
        setting=replace(QUICK, seeds=1, from_scratch=False),
    )
    assert [t["rows"]["report"] for t in found["tasks"]] == [4, 4] and found["means"]["complete"]
    assert found["means"]["starts"]["pretrained"]["relation"] is None
    assert (body / "evaluation/suite.own.json").is_file()

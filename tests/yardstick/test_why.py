"""A study from files to evaluation and page: equal updates, exact ends, nothing repeated, bad input first."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from unmask.errors import UnmaskError
from unmask.jobs.tuned import FineTuning
from unmask.models import Shape
from unmask.models.encoder import Encoder
from unmask.models.heads import TokensHead
from unmask.models.weights import save_pretrained
from unmask.report import report
from unmask.run import read_json
from unmask.tasks import Classify
from unmask.tokens import train_tokenizer
from unmask.yardstick.why.crew import bench_of, words_of
from unmask.yardstick.why.job import why
from unmask.yardstick.why.starts import begin, moving
from unmask.yardstick.why.study import STARTS, Cell, Study, places
from unmask.yardstick.why.train import train
from unmask.yardstick.why.words import table

WORDS = "red blue cat dog runs in house tree big small saw the a".split()
STUDY = Study(
    steps=24, rows="24,all", seeds=2, rates="3e-3,1e-2", head_rates="1e-2", sample=16, workers=1,
    precision="fp32", surface=True, plane="bend",
)  # fmt: skip


class Body(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.encoder = Encoder(shape)
        self.head = TokensHead(self.encoder)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A body in a run folder, and labelled files."""
    root = tmp_path_factory.mktemp("why")
    tokenizer = train_tokenizer([" ".join([*WORDS, "good", "bad"])] * 9, "wordpiece", 200)
    shape = Shape(tokenizer.vocab.size, 32, 2, 2, 64, 40)
    torch.manual_seed(5)
    save_pretrained(root / "body/model", "bert", Body(shape), shape, tokenizer, "tokens")
    (root / "body/run.json").write_text(json.dumps({"verb": "pretrain", "settings": {}}))
    draw = random.Random(0)
    for name, n in (("train", 120), ("dev", 40), ("test", 60)):
        lines = ["text\tlabel"]
        for _ in range(n):
            kind = draw.choice(["good", "bad"])
            lines.append(f"{kind} {' '.join(draw.choices(WORDS, k=5))}\t{kind}")
        (root / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


def study(root: Path, out: Path, settings: Study = STUDY, **files: Any) -> tuple[dict[str, Any], list[str]]:
    said: list[str] = []
    given = {"dev": root / "dev.tsv", "test": root / "test.tsv", **files}
    result = why(
        Classify(), model=root / "body", train=root / "train.tsv", out=out, name="toy", study=settings,
        watch=lambda e: said.append(e["text"]) if e["event"] == "say" else None, **given,
    )  # fmt: skip
    return result, said


@pytest.fixture(scope="module")
def done(made: Path) -> tuple[dict[str, Any], list[str]]:
    return study(made, made / "out")


def test_every_start_takes_the_same_updates_and_is_scored_on_the_same_rows(
    made: Path, done: tuple[dict[str, Any], list[str]]
) -> None:
    result, said = done
    assert set(result["starts"]) == set(STARTS)
    cells = [read_json(p) for p in (made / "out/cells").glob("*/cell.json")]
    assert {c["steps"] for c in cells} == {24} and {c["skipped"] for c in cells} == {0}
    # rates are tried with all rows: (2 + 2 + 1 + 2) · 2 seeds; then four starts with 24 rows, two seeds
    assert len(cells) == 14 + 8
    for own in result["starts"].values():
        for points in (c["points"] for c in own["curves"]):
            assert [x["step"] for x in points] == list(places(24))
        assert len(own["scores"]["120"]["seeds"]) == 2
    moved = {s: own["moved"] for s, own in result["starts"].items()}
    assert moved["pretrained"] == moved["scratch"] == moved["embeddings"] > 20 * moved["frozen"] > 0
    assert result["rows"] == {"train": 120, "dev": 40, "test": 60} and result["reported"] == "test"
    assert result["starts"]["pretrained"]["scores"]["120"]["low"] > result["majority"] + 10
    assert result["compared"]
    for pair in result["compared"]:
        first, second = (
            sum(scores) / len(scores)
            for scores in (
                result["starts"][pair[side]]["scores"]["120"]["seeds"] for side in ("first", "second")
            )
        )
        assert pair["difference"] == pytest.approx(second - first)
    # the cost is said before the first training
    first = next(n for n, text in enumerate(said) if text.startswith("trainings that choose"))
    assert any("22 trainings of 24 updates" in text for text in said[:first])
    assert any("losses each" in text for text in said[:first])


def test_rates_are_chosen_on_dev_and_other_cells_never_read_the_test(
    made: Path, done: tuple[dict[str, Any], list[str]]
) -> None:
    result, _ = done
    for start, grid in result["grids"].items():
        best = max(grid["rates"], key=lambda r: (r["dev"]["median"], -r["rate"]))
        assert grid["chosen"] == best["rate"] == result["starts"][start]["rate"]
        assert grid["edge"] == (len(grid["rates"]) > 1)
    for folder in (made / "out/cells").iterdir():
        cell = read_json(folder / "cell.json")
        chosen = cell["rate"] == result["starts"][cell["start"]]["rate"]
        assert (folder / "score.json").is_file() == chosen
        assert not (folder / "weights.safetensors").exists()


def test_the_ends_of_the_way_are_the_measured_losses_exactly(done: tuple[dict[str, Any], list[str]]) -> None:
    result, _ = done
    assert [w["start"] for w in result["ways"]] == ["pretrained", "scratch"]
    for way in result["ways"]:
        points = result["starts"][way["start"]]["curves"][0]["points"]
        assert way["gaps"] == [0.0, 0.0]
        assert way["losses"][way["alphas"].index(0.0)] == points[0]["train"]
        assert way["losses"][way["alphas"].index(1.0)] == points[-1]["train"]
        s = way["surface"]
        row, across = s["losses"][s["up"].index(0.0)], s["across"]
        assert row[across.index(0.0)] == points[0]["train"] and row[across.index(1.0)] == points[-1]["train"]
        path = s["trajectory"]
        assert (path[0]["x"], path[0]["y"]) == (0, 0) and path[0]["step"] == 0
        assert path[-1]["step"] == 24 and path[-1]["x"] == pytest.approx(1, abs=1e-6)
        assert path[-1]["y"] == pytest.approx(0, abs=1e-6) and 0.5 < s["inside"] <= 1.0001
        assert s["norms"][0] == pytest.approx(s["norms"][1], rel=1e-4)


def test_a_finished_and_a_cut_off_study_go_on_where_they_are(
    made: Path, done: tuple[dict[str, Any], list[str]], tmp_path: Path
) -> None:
    shutil.copytree(made / "out", tmp_path / "out")
    cells = tmp_path / "out/cells"
    before = {p.parent.name: p.stat().st_mtime_ns for p in cells.glob("*/cell.json")}
    again, said = study(made, tmp_path / "out")
    assert {p.parent.name: p.stat().st_mtime_ns for p in cells.glob("*/cell.json")} == before
    assert any("22 trainings were finished before" in text for text in said)
    assert {k: v for k, v in again.items() if k != "seconds"} == {
        k: v for k, v in done[0].items() if k != "seconds"
    }
    # a training that was cut off is made again, to the same numbers
    cut = next(cells.glob("pretrained-rows24-*-seed0"))
    whole = read_json(cut / "cell.json")
    shutil.rmtree(cut)
    cut.mkdir()
    study(made, tmp_path / "out")
    assert read_json(cut / "cell.json")["curve"] == whole["curve"]
    with pytest.raises(UnmaskError, match="other settings"):
        study(made, tmp_path / "out", Study(steps=25, workers=1))


def test_workers_give_what_one_process_gives(
    made: Path, done: tuple[dict[str, Any], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    small = Study(
        **{**STUDY.__dict__, "rows": "all", "seeds": 1, "rates": "1e-2", "surface": False, "workers": 2}
    )
    torch.set_num_threads(1)
    beside, _ = study(made, tmp_path / "two", small)
    alone, _ = study(made, tmp_path / "one", Study(**{**small.__dict__, "workers": 1}))
    for start in STARTS:
        assert beside["starts"][start]["curves"] == alone["starts"][start]["curves"]
    assert [w["gaps"] for w in beside["ways"]] == [[0.0, 0.0]] * 2


def test_what_each_start_loads_and_moves(made: Path) -> None:
    words = words_of(Classify(), STUDY, {"model": made / "body", "train": made / "train.tsv",
                                         "dev": made / "dev.tsv", "test": None}, made / "none")  # fmt: skip
    bench = bench_of(words)
    assert bench.reported == "half of dev" and len(bench.p.parts["dev"].examples) == 20
    models = {start: begin(bench.p, start, 3) for start in STARTS}
    weights = {start: dict(model.named_parameters()) for start, model in models.items()}

    def same(a: str, b: str, name: str) -> bool:
        return torch.equal(weights[a][name], weights[b][name])

    for name in weights["scratch"]:
        table_of = name.startswith(("encoder.tokens", "encoder.places", "encoder.segments", "encoder.norm"))
        assert same("pretrained", "frozen", name)
        assert same("embeddings", "pretrained" if table_of else "scratch", name)
        assert same("pretrained", "scratch", name) == (
            not name.startswith("encoder.") or "norm" in name or name.endswith(".bias")
        )
    assert all(name.startswith("head.") for name in moving(models["frozen"]))
    # a frozen body is the same after training as before
    result, moved = train(bench, Cell("frozen", 1e-2, 120, 0), lambda event: None)
    assert all(name.startswith("head.") for name in moved) and result["moved"] < 200


CASES: list[tuple[str, dict[str, Any], Callable[[Path], None], str]] = [
    ("rows", {"settings": Study(rows="121", workers=1)}, lambda root: None, "there are 120"),
    ("dev", {"dev": Path("none.tsv")}, lambda root: None, "none.tsv"),
    ("label", {}, lambda root: (root / "dev.tsv").write_text("text\tlabel\na\tugly\n") and None, "ugly"),
    ("model", {}, lambda root: (root / "body/model/model.safetensors").write_bytes(b"12345678") and None, "model"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "given", "spoil", "words"), CASES)
def test_bad_input_is_told_before_any_training(
    made: Path, tmp_path: Path, name: str, given: dict[str, Any], spoil: Callable[[Path], None], words: str
) -> None:
    root = tmp_path / "root"
    shutil.copytree(made, root, ignore=shutil.ignore_patterns("out"))
    spoil(root)
    settings = given.pop("settings", STUDY)
    with pytest.raises(UnmaskError, match=words):
        study(root, root / "out", settings, **given)
    assert not (root / "out/cells").exists()


def test_words_and_page(made: Path, done: tuple[dict[str, Any], list[str]], tmp_path: Path) -> None:
    result, _ = done
    text = table(result)
    assert "from scratch" in text and "120 rows" in text and "24 rows" in text
    assert read_json(made / "body/evaluation/why.toy.json")["metric"] == "accuracy"
    shutil.copytree(made / "body", tmp_path / "body")
    (tmp_path / "body/evaluation/why.toy.json").write_text(json.dumps(result))  # other tests write it too
    page = report([tmp_path / "body"], tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Why toy: body" in page and "embeddings alone" in page
    assert page.count('class="chart" id="study-0-') == 6  # curves, score, rows, ways, two surfaces


def test_a_damaged_evaluation_does_not_stop_the_page(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "body", tmp_path / "body")
    path = tmp_path / "body/evaluation/why.half.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"name": "<b>", "starts": {"scratch": {}}, "ways": [{}]}))
    assert "Why &lt;b&gt;" in report([tmp_path / "body"], tmp_path / "page.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_sentiment_of_the_data_folder(tmp_path: Path, made: Path) -> None:
    """Every start learns something of 400 rows of published sentiment with an untrained tiny body."""
    from unmask.yardstick.why.suite import of_suite

    data = Path(os.environ["DATA"])
    name, task, files, _ = of_suite("glue-data:SST-2", data / "glue", tmp_path / "out")
    assert files["train"] is not None
    result = why(
        task, model=made / "body", train=files["train"], dev=files["dev"], test=files["test"],
        out=tmp_path / "out", name=name,
        study=Study(steps=40, rows="100,400", seeds=1, rates="3e-3", head_rates="1e-2", workers=1),
    )  # fmt: skip
    assert result["rows"]["test"] == 436 and result["sizes"] == [100, 400]
    assert FineTuning().batch == result["batch"]

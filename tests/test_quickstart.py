"""The main job on a small text of one's own, and the words and numbers of its last screen."""

import json
from pathlib import Path

import pytest

from unmask import quickstart as module
from unmask.errors import UnmaskError
from unmask.quickstart import PLANS, Job, Plan, blanks, command, quickstart

WORDS = "river stone bird cloud tree house road light water field".split()


def texts(folder: Path) -> Path:
    folder.mkdir()
    for n in range(30):
        lines = [
            f"The {WORDS[(n + k) % 10]} near the {WORDS[(n * k) % 10]} is {n + k} years old. It stands there."
            for k in range(8)
        ]
        (folder / f"{n}.txt").write_text("\n".join(lines))
    return folder


def test_own_text_and_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        "text,label",
        *(f"A {WORDS[n % 10]} of number {n} was {'good' if n % 2 else 'bad'},{n % 2}" for n in range(60)),
    ]
    (tmp_path / "rows.csv").write_text("\n".join(rows) + "\n")
    monkeypatch.setattr(module, "SEEDS", 1)
    monkeypatch.setattr(module, "OWN", Plan(6, 1e-3, 1e-3))
    said: list[str] = []

    def watch(event: dict[str, object]) -> None:
        if event["event"] == "say":
            said.append(str(event["text"]))

    last = quickstart(
        out=tmp_path / "run",
        steps=5,
        text=[str(texts(tmp_path / "texts"))],
        classify=tmp_path / "rows.csv",
        watch=watch,
    )
    assert any("tag: skipped" in line for line in said)
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    (task,) = results["tasks"]
    assert task["task"] == "classify" and task["metric"] == "accuracy"
    assert {"median", "low", "high", "seeds"} <= task["scratch"].keys() & task["pretrained"].keys()
    stored = json.loads((tmp_path / "run/tasks/classify/pretrained/evaluation/finetune.json").read_text())
    assert task["pretrained"] == stored["scores"]["dev"]["accuracy"]
    assert stored["start"] == "pretrained" and stored["steps"] == 6
    assert task["part"] == "dev" and set(task["flat"]) <= {"scratch", "pretrained"}  # no test rows were given
    assert "accuracy on dev" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    page = tmp_path / "run" / "report.html"
    assert page.exists() and str(page) in last
    assert "unmask finetune classify" in last


def test_what_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(UnmaskError, match="zh or en"):
        quickstart(language="fr", out=tmp_path / "run", watch=lambda event: None)
    with pytest.raises(UnmaskError, match="--text"):
        quickstart(classify=tmp_path / "rows.csv", out=tmp_path / "run", watch=lambda event: None)
    assert not (tmp_path / "run").exists()


def test_both_starts_differ_in_start_and_rate_alone() -> None:
    job = Job("pair", "pair", Path("a"), Path("b"), Path("c"), {"text_a": "first"}, Plan(9, 1e-3, 2e-3))
    one, two = (command(job, Path("body"), Path("out"), start, 0) for start in ("scratch", "pretrained"))
    assert set(one) - set(two) == {"out/pair/scratch", "0.001", "--from-scratch"}
    assert set(two) - set(one) == {"out/pair/pretrained", "0.002"}


def test_every_language_has_the_four_shapes() -> None:
    from unmask.quickstart import LANGUAGES

    for language, plans in PLANS.items():
        assert len(plans) >= 4 and plans.keys() <= LANGUAGES[language].ROWS.keys()


def test_blanks_as_lines() -> None:
    fill = {
        "text": "a [MASK] c",
        "truth": "b",
        "before": [{"token": "x"}],
        "after": [{"token": "b"}, {"token": "y"}],
    }
    assert blanks([fill]) == [
        "Blanks, filled before and after:",
        "  a [MASK] c   (it was: b)",
        "    before: x   after: b, y",
        "",
    ]
    assert blanks([]) == []

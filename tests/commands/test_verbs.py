"""The command line end to end: text to corpus to run to answers; what a user does wrong ends with a sentence."""

from __future__ import annotations

import json
import os
import random
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from unmask.__main__ import main
from unmask.commands import VERBS
from unmask.recipes import RECIPES
from unmask.tasks import TASKS


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with texts, a corpus of them and a run of five updates on it, made by the verbs."""
    folder = tmp_path_factory.mktemp("verbs")
    draw = random.Random(1)
    things = "the cat dog tree house sees likes finds a small large old new garden river stone".split()
    lines = [". ".join(" ".join(draw.choices(things, k=8)) for _ in range(4)) + f". {n}." for n in range(200)]
    (folder / "text.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    rows = [f"{draw.choice(things)} {word} {draw.choice(things)}\t{word}" for word in ("cat", "dog") * 20]
    (folder / "rows.tsv").write_text("text\tlabel\n" + "\n".join(rows) + "\n", encoding="utf-8")
    corpus = ["corpus", str(folder / "text.txt"), "--out", str(folder / "corpus"), "--vocab-size", "400"]
    assert main([*corpus, "--processes", "1"]) == 0
    assert main(["pretrain", "bert", str(folder / "corpus"), "--out", str(folder / "run"), *SHORT]) == 0
    return folder


SHORT = "--size tiny --steps 5 --length 32 --batch 4 --rate 0.3".split()


def test_every_recipe_and_task_is_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pretrain", "--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"│ {name} " in shown for name in RECIPES)
    assert main(["finetune", "--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"│ {name} " in shown for name in TASKS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    kinds = {"pretrain": list(RECIPES), "verify-resume": list(RECIPES), "finetune": list(TASKS)}.get(
        verb, [""]
    )
    for kind in kinds:
        assert main([verb, *kind.split(), "--help"]) == 0
        shown = capsys.readouterr().out
        assert f"Example: unmask {verb}" in shown
        assert "[default: None]" not in shown


def test_a_run_holds_what_was_asked_for(folder: Path) -> None:
    about = json.loads((folder / "run" / "run.json").read_text())
    recipe, training = about["settings"]["recipe"], about["settings"]["training"]
    assert (recipe["name"], recipe["rate"], training["steps"], training["batch"]) == ("bert", 0.3, 5, 4)
    assert about["verb"] == "pretrain" and "finished" in about


def test_a_run_knows_the_command_as_it_was_typed(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "two words"
    line = ["pretrain", "bert", str(folder / "corpus"), "--out", str(out), "--size", "tiny", "--steps", "1"]
    assert main([*line, "--length", "32", "--batch", "4"]) == 0
    command = json.loads((out / "run.json").read_text())["command"]
    assert shlex.split(command) == ["unmask", *line, "--length", "32", "--batch", "4"]


def test_like_takes_the_source_too(folder: Path, tmp_path: Path) -> None:
    short = ["--steps", "1", "--batch", "2"]
    first = ["pretrain", "bert", str(folder / "corpus"), "--from", str(folder / "run"), "--length", "32"]
    assert main([*first, "--out", str(tmp_path / "on"), *short]) == 0
    again = ["pretrain", "bert", "--like", str(tmp_path / "on"), "--out", str(tmp_path / "b"), "--seed", "1"]
    assert main([*again, *short]) == 0
    assert json.loads((tmp_path / "b" / "run.json").read_text())["settings"]["source"] == str(folder / "run")


def test_a_misspelt_size_is_a_sentence(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pretrain", "bert", str(folder / "corpus"), "--size", "smal"]) == 2
    assert 'Did you mean "small"' in capsys.readouterr().err


def test_fill(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fill", str(folder / "run"), "the [MASK] sees a <mask>", "--top", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[0] for line in lines] == ["1", "2"]
    assert all(line.count("%") == 3 for line in lines)


def test_like_takes_the_settings_of_a_run(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    like = ["--like", str(folder / "run")]
    assert (
        main(["pretrain", "bert", *like, "--out", str(tmp_path / "b"), "--steps", "2", "--mask", "0.7"]) == 0
    )
    settings = json.loads((tmp_path / "b" / "run.json").read_text())["settings"]
    recipe, training = settings["recipe"], settings["training"]
    assert (recipe["rate"], recipe["mask"], training["length"], training["steps"]) == (0.3, 0.7, 32, 2)
    assert settings["corpus"] == str(folder / "corpus") and settings["size"] == "tiny"
    assert main(["pretrain", "roberta", *like]) == 2
    assert "`pretrain bert`" in capsys.readouterr().err
    assert main(["pretrain", "bert", "--like", str(tmp_path / "absent")]) == 2
    assert "run folder was expected" in capsys.readouterr().err


def test_finetune_evaluate_predict_report(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, rows = tmp_path / "tuned", str(folder / "rows.tsv")
    words = [
        "finetune",
        "classify",
        str(folder / "run"),
        rows,
        "--out",
        str(out),
        "--steps",
        "4",
        "--seeds",
        "1",
    ]
    assert main([*words, "--workers", "1"]) == 0
    capsys.readouterr()
    assert main(["evaluate", str(out), rows]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["rows"] == 40 and 0 <= found["scores"]["accuracy"] <= 100
    assert main(["predict", str(out), rows, "--out", str(tmp_path / "said" / "p.jsonl")]) == 0
    assert main(["predict", str(out), rows, "--out", str(tmp_path)]) == 2  # before anything is predicted
    assert main(["predict", str(out), rows, "--out", os.devnull]) == 0 and Path(os.devnull).is_char_device()
    said = [json.loads(line) for line in (tmp_path / "said" / "p.jsonl").read_text().splitlines()]
    assert len(said) == 40 and {row["label"] for row in said} <= {"cat", "dog"}
    capsys.readouterr()
    page = tmp_path / "page.html"
    assert main(["report", str(folder / "run"), str(out), "--out", str(page)]) == 0
    assert capsys.readouterr().out.strip() == str(page)
    assert "<html" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("pretrian", 'Did you mean "pretrain"'),
        ("pretrain brt corpus", 'Did you mean "bert"'),
        ("pretrain bert corpus --raet 0.1", "Did you mean --rate"),
        ("pretrain bert corpus --budget soon", '"soon" is no duration'),
        ("pretrain bert corpus --steps 3 --budget 5m", "both steps and budget"),
        ("pretrain bert nowhere", "nowhere"),
        ("pretrain bert", "requires an argument"),
        ("fill nowhere text", "nowhere"),
        ("evaluate nowhere rows.tsv", "nowhere"),
        ("report nowhere", "nowhere"),
        ("plan nowhere", "nowhere"),
        ("corpus nowhere.txt", "nowhere.txt is not there"),
        ("finetune classify nowhere rows.tsv", "nowhere"),
        ("quickstart --language de", "de"),
    ],
)
def test_mistakes_end_with_a_sentence(
    words: str,
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words.split()) == 2
    caught = capsys.readouterr()
    last = caught.err.splitlines()[-1]
    assert last.startswith("unmask: ") and message in last
    assert "Traceback" not in caught.err and caught.out == ""
    with pytest.raises(Exception, match=r".") as error:
        main([*words.split(), "--debug"])
    assert error.tb is not None


def test_a_stop_says_how_to_go_on(folder: Path, tmp_path: Path) -> None:
    words = ["pretrain", "bert", str(folder / "corpus"), "--out", str(tmp_path / "run"), "--size", "tiny"]
    command = [sys.executable, "-m", "unmask", *words, "--budget", "5m", "--length", "32", "--batch", "4"]
    going = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    metrics = tmp_path / "run" / "metrics.jsonl"
    for _ in range(600):
        if metrics.exists() and metrics.stat().st_size:
            break
        time.sleep(0.1)
    going.send_signal(signal.SIGINT)
    _, said = going.communicate(timeout=60)
    assert going.returncode == 130
    assert "the same command" in said and "Traceback" not in said
    assert list((tmp_path / "run" / "checkpoints").glob("step-*"))

"""Bad input through the command line: a sentence that says where and what to do, exit code 2, and nothing lost."""

from __future__ import annotations

import io
import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForTokenClassification

from unmask.__main__ import main

Said = tuple[int, str, str]  # exit code, standard output, standard error
Say = Callable[..., Said]
ROWS = [f"a film {n},{'yes' if n % 2 else 'no'}\n" for n in range(12)]
GOOD = "text,label\n" + "".join(ROWS)
QUICK = ["--steps", "2", "--seeds", "1", "--workers", "1", "--precision", "fp32"]


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One tiny corpus, a model of two updates on it, and a classifier with labels that mean harm."""
    home = tmp_path_factory.mktemp("hostile")
    lines = [
        f"The {a} film is {b}. A story of the {a} {b} plot.\n\n"
        for a in "old new sad".split()
        for b in "good bad long".split()
    ]
    (home / "text.txt").write_text("".join(lines) * 4, encoding="utf-8")
    made = [
        "corpus",
        str(home / "text.txt"),
        "--out",
        str(home / "corpus"),
        "--vocab-size",
        "300",
        "--no-deduplicate",
    ]
    assert main([*made, "--processes", "1"]) == 0
    run = [
        "pretrain",
        "bert",
        str(home / "corpus"),
        "--out",
        str(home / "bert"),
        "--size",
        "tiny",
        "--steps",
        "2",
    ]
    assert main([*run, "--length", "32", "--batch", "4"]) == 0
    evil = GOOD.replace("yes", "../../x").replace("no\n", "<script>alert(1)</script>\n")
    evil = evil.replace("a film 3", "=cmd|' /C calc'!A0 \0 \u202e").replace(
        "a film 4", "</script> \u2066 [SEP] [PAD]"
    )
    (home / "evil.csv").write_text(evil, encoding="utf-8")
    tune = ["finetune", "classify", "--model", str(home / "bert"), "--train", str(home / "evil.csv")]
    assert main([*tune, "--out", str(home / "tuned"), *QUICK]) == 0
    return home


@pytest.fixture
def say(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Say:
    """Run a command line; `given` is its standard input."""

    def run(*words: object, given: bytes = b"") -> Said:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(given), encoding="utf-8"))
        capfd.readouterr()
        code = main([str(word) for word in words])
        caught = capfd.readouterr()
        return code, caught.out, caught.err

    return run


def complaint(said: Said, *parts: str) -> None:
    """Exit code 2, no traceback, nothing on standard output, and one last line with all the parts."""
    code, out, err = said
    last = err.strip().splitlines()[-1] if err.strip() else ""
    assert code == 2, err
    assert out == "" and "Traceback" not in err and last.startswith("unmask: ")
    for part in parts:
        assert part in last


def squad(*questions: Any, context: Any = "the old film is good") -> str:
    return json.dumps(
        {"data": [{"title": "t", "paragraphs": [{"context": context, "qas": list(questions)}]}]}
    )


def asked(**more: Any) -> dict[str, Any]:
    return {"id": "q1", "question": "which film", "answers": [{"text": "old", "answer_start": 4}], **more}


DEEP = "[" * 100_000 + "]" * 100_000
FILES: list[tuple[str, str, str | bytes, tuple[str, ...]]] = [
    ("classify", "a.csv", "", ("a.csv is empty",)),
    ("classify", "a.csv", "review,stars\nx,1\n", ('no column "text"', "review, stars", "--text")),
    ("classify", "a.csv", "text,lable\nx,1\n", ('no column "label"', 'Did you mean "lable"')),
    (
        "classify",
        "a.csv",
        b"text,label\na,b\n\xff,c\n",
        ("a.csv is not UTF-8: byte 15 is 0xff (line 3)", "iconv"),
    ),
    ("classify", "a.csv", GOOD.encode("utf-16"), ("not UTF-8: byte 0", "UTF-16")),
    ("classify", "a.csv", 'text,label\n"a film,yes\nb,no\n', ("line 2", "a cell with quotes")),
    ("classify", "a.csv", GOOD + "x,\n", ("line 14: the label is empty",)),
    ("classify", "a.csv", GOOD + "x,y,z\n", ("line 14: 3 columns", "text, label")),
    ("classify", "a.csv", GOOD + f"x,{'9' * 5000}\n", ("a label has 5,000 characters", "99999…")),
    ("classify", "a.csv", "text,label\na,1.5\nb,5e300\n", ("5e+300", "another unit")),
    ("classify", "a.csv", "text,label\na,yes\nb,yes\n", ('every label is "yes"',)),
    ("classify", "a.jsonl", '{"text": ' + DEEP + ', "label": "a"}\n', ("line 1: not JSON (nested too deep",)),
    (
        "classify",
        "a.jsonl",
        f'{{"text": "a", "label": {"9" * 5000}}}\n',
        ("line 1: not JSON (a number with thousands of digits",),
    ),
    (
        "classify",
        "a.jsonl",
        '{"text": "\\ud83d", "label": "a"}\n',
        ("line 1: not JSON (half of a surrogate pair",),
    ),
    ("classify", "a.jsonl", '{"text": "a", "label": "b"}\n{"text"\n', ("line 2: not JSON",)),
    ("tag", "a.conll", "the O\nfilm X O\n\n", ("line 2: 3 columns — the first word has 2",)),
    ("tag", "a.conll", "the\nfilm\n", ("line 1: one column",)),
    ("answer", "a.json", DEEP, ("line 1: not JSON (nested too deep",)),
    ("answer", "a.json", squad("x"), ('"question"',)),
    ("answer", "a.json", squad(asked(), context=["x"]), ('a paragraph of article 0 lacks "context"',)),
    ("answer", "a.json", squad(asked(answers=["old"])), ('question "q1": an answer lacks "text"',)),
    ("answer", "a.json", squad(asked(answers={"text": "old"})), ('question "q1": "answers" is no list',)),
    ("answer", "a.json", squad(asked(answers=[])), ('question "q1" has no answer', "is_impossible")),
    ("answer", "a.json", json.dumps({"data": [{"paragraphs": [{"context": "a"}]}]}), ('lacks "qas"',)),
    ("answer", "a.json", json.dumps([{"context_text": "a", "qas": [{"query_text": "q"}]}]), ('"query_id"',)),
    (
        "answer",
        "a.json",
        squad(asked(answers=[{"text": "new", "answer_start": 4}])),
        ('question "q1"', '"new" is not at character 4', 'there stands "old"', "not in the passage"),
    ),
]


@pytest.mark.parametrize(("task", "name", "content", "parts"), FILES)
def test_files_of_rows(
    home: Path, tmp_path: Path, say: Say, task: str, name: str, content: str | bytes, parts: tuple[str, ...]
) -> None:
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    before, out = file.read_bytes(), tmp_path / "run"
    complaint(
        say("finetune", task, "--model", home / "bert", "--train", file, "--out", out, *QUICK),
        str(file),
        *parts,
    )
    assert file.read_bytes() == before and not out.exists()


def test_a_label_of_dev_that_train_lacks(home: Path, tmp_path: Path, say: Say) -> None:
    (tmp_path / "train.csv").write_text(GOOD)
    (tmp_path / "dev.csv").write_text("text,label\na,no\nb,yess\n")
    words = ["--model", home / "bert", "--train", tmp_path / "train.csv", "--dev", tmp_path / "dev.csv"]
    said = say("finetune", "classify", *words, "--out", tmp_path / "run", *QUICK)
    complaint(said, 'dev.csv, line 3: the label "yess"', 'Did you mean "yes"')
    assert not (tmp_path / "run").exists()


def test_labels_that_mean_harm_are_only_names(home: Path, say: Say) -> None:
    names = {"../../x", "<script>alert(1)</script>"}
    config = json.loads((home / "tuned/model/config.json").read_text())
    assert set(config["id2label"].values()) == names
    inside = {path.name for path in home.iterdir()}
    assert inside == {"text.txt", "corpus", "bert", "evil.csv", "tuned"}
    assert not [path for path in home.parent.rglob("x") if path.name == "x"]
    code, out, _ = say("predict", home / "tuned", given="=1+1\n\0\u202e a\nplain\n".encode())
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and [row["text"] for row in rows] == ["=1+1", "\0\u202e a", "plain"]
    assert {row["label"] for row in rows} <= names
    page = home / "page.html"
    assert say("report", home / "bert", home / "tuned", "--out", page)[0] == 0
    assert "<script>alert(1)" not in page.read_text(encoding="utf-8")
    page.unlink()


def test_unseen_marks_do_not_reach_the_terminal(home: Path, tmp_path: Path, say: Say) -> None:
    (tmp_path / "a.csv").write_text(GOOD.replace("yes", "y\x1b[31m\u202ees") + "x,other\n", encoding="utf-8")
    (tmp_path / "dev.csv").write_text("text,label\na,\x1b[2Jno\n", encoding="utf-8")
    words = ["--model", home / "bert", "--train", tmp_path / "a.csv", "--dev", tmp_path / "dev.csv"]
    said = say("finetune", "classify", *words, "--out", tmp_path / "run", *QUICK)
    complaint(said, "\\u001b[2Jno", "\\u202e")
    assert "\x1b" not in said[2] and "\u202e" not in said[2]


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--learning-rat", "1"], ["--learning-rate"]),
        (["--learning-rate", "nan"], ["learning_rate is nan"]),
        (["--epochs", "inf"], ["epochs is inf"]),
        (["--steps", "0"], ["steps is 0"]),
        (["--steps", "many"], ["many"]),
        (["--batch", "9" * 20], ["batch is 9999"]),
        (["--clip", "-1"], ["clip is -1"]),
        (["--seed", "-1"], ["seed is -1"]),
        (["--warmup", "2"], ["warmup is 2"]),
        (["--precision", "fp16"], ["fp16"]),
        (["--length", "4"], ["length is 4"]),
        (["--seeds", "0"], ["seeds is 0"]),
    ],
)
def test_options(home: Path, tmp_path: Path, say: Say, words: list[str], parts: list[str]) -> None:
    (tmp_path / "a.csv").write_text(GOOD)
    given = ["--model", home / "bert", "--train", tmp_path / "a.csv", "--out", tmp_path / "run"]
    complaint(say("finetune", "classify", *given, *words), *parts)
    assert not (tmp_path / "run").exists()


def test_a_budget_that_no_step_fits(home: Path, tmp_path: Path, say: Say) -> None:
    words = ["--out", tmp_path / "run", "--size", "tiny", "--length", "32", "--budget", "0.0001s"]
    complaint(
        say("pretrain", "bert", home / "corpus", *words),
        "budget is",
        "at least one step must fit",
        "give more time",
    )
    assert not (tmp_path / "run").exists()


def test_a_run_folder_that_is_a_file(home: Path, tmp_path: Path, say: Say) -> None:
    file, rows = tmp_path / "file", tmp_path / "a.csv"
    file.write_text("mine")
    rows.write_text(GOOD)
    tune = ["finetune", "classify", "--model", home / "bert", "--train", rows, *QUICK]
    complaint(say(*tune, "--out", file), "file is a file", "another --out")
    complaint(say(*tune, "--out", file / "run"), "is a file")
    complaint(
        say("pretrain", "bert", home / "corpus", "--out", file, "--steps", "1", "--size", "tiny"), "is a file"
    )
    complaint(say("corpus", home / "text.txt", "--out", file), str(file))
    complaint(say("evaluate", file, rows), "holds no model")
    complaint(say("predict", home / "tuned", rows, "--out", file / "x.jsonl"), str(file))
    complaint(say("predict", home / "tuned", tmp_path), "is a folder")
    assert file.read_text() == "mine" and rows.read_text() == GOOD


def damaged(home: Path, folder: Path, change: Callable[[bytes], bytes]) -> Path:
    """The model's folder with other weights."""
    shutil.copytree(home / "bert/model", folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(change(weights.read_bytes()))
    return folder


WEIGHTS: list[Callable[[bytes], bytes]] = [
    lambda raw: b"",
    lambda raw: raw[: len(raw) // 2],
    lambda raw: raw[:20] + bytes([raw[20] ^ 0xFF]) + raw[21:],
    lambda raw: struct.pack("<Q", 2**62) + raw[8:],
    lambda raw: struct.pack("<Q", struct.unpack("<Q", raw[:8])[0] + 8) + raw[8:],
    lambda raw: raw.replace(b'"shape":[', b'"shape":[9', 1),
    lambda raw: raw[:-8] + b"\xff" * 8,  # not a number
]


@pytest.mark.parametrize("change", WEIGHTS)
def test_damaged_weights(home: Path, tmp_path: Path, say: Say, change: Callable[[bytes], bytes]) -> None:
    complaint(say("fill", damaged(home, tmp_path / "m", change), "a [MASK]"), str(tmp_path / "m"))


def test_a_pickle_is_not_opened(home: Path, tmp_path: Path, say: Say) -> None:
    folder = damaged(home, tmp_path / "m", lambda raw: b"cos\nsystem\n(S'touch pwned'\ntR.")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    complaint(say("fill", folder, "a [MASK]"), "pytorch_model.bin, a pickle", "safetensors")


def changed(home: Path, folder: Path, name: str, change: Callable[[Any], Any]) -> Path:
    """The model's folder with one JSON file changed."""
    shutil.copytree(home / "bert/model", folder)
    (folder / name).write_text(json.dumps(change(json.loads((folder / name).read_text()))))
    return folder


def more_pieces(data: Any) -> Any:
    data["model"]["vocab"] |= {f"zz{n}": len(data["model"]["vocab"]) + n for n in range(500)}
    return data


def no_specials(data: Any) -> Any:
    vocab = data["model"]["vocab"]
    data["model"]["vocab"] = {("x" + k if k.startswith("[") else k): v for k, v in vocab.items()}
    return {**data, "added_tokens": []}


@pytest.mark.parametrize(
    ("name", "change", "part"),
    [
        ("tokenizer.json", more_pieces, "do not belong together"),
        ("tokenizer.json", no_specials, "no special token for"),
        ("tokenizer.json", lambda data: [], "tokenizer.json"),
        ("config.json", lambda data: {**data, "hidden_size": 10**9}, "config.json"),
        ("config.json", lambda data: {**data, "hidden_size": -5}, "-5"),
    ],
)
def test_folders_that_do_not_fit(
    home: Path, tmp_path: Path, say: Say, name: str, change: Callable[[Any], Any], part: str
) -> None:
    rows = tmp_path / "a.csv"
    rows.write_text(GOOD)
    folder = changed(home, tmp_path / "m", name, change)
    complaint(
        say("finetune", "classify", "--model", folder, "--train", rows, "--out", tmp_path / "run", *QUICK),
        part,
    )
    assert not (tmp_path / "run").exists()


def test_predict_evaluate_and_fill(home: Path, tmp_path: Path, say: Say) -> None:
    tuned, rows = home / "tuned", tmp_path / "a.csv"
    rows.write_text("text,label\na,other\n")
    complaint(say("predict", tuned), "standard input is empty")
    complaint(say("predict", tuned, given=b"\n \n"), "standard input is empty")
    complaint(say("predict", tuned, given=b"a\n\xe9\n"), "standard input is not UTF-8: byte 2")
    complaint(say("predict", home / "bert", given=b"a\n"), "no task.json")
    complaint(say("evaluate", tuned, rows), 'line 2: the label "other"', "../../x")
    complaint(say("fill", home / "bert"), "standard input is empty")
    complaint(say("fill", home / "bert", given=b"\xe9 [MASK]\n"), "line 1 is not UTF-8")
    complaint(say("fill", home / "bert", "no blank"), "has no mask")
    complaint(say("fill", tuned, "a [MASK]"), "no masked-LM head")
    code, out, err = say("predict", tuned, given=b"one\n\ntwo\n")
    assert code == 0 and len(out.splitlines()) == 2 and "1 blank lines are no rows" in err


def test_a_finished_run_is_not_taken_for_one_of_other_rows(home: Path, tmp_path: Path, say: Say) -> None:
    rows, out = tmp_path / "a.csv", tmp_path / "run"
    rows.write_text(GOOD)
    tune = ["finetune", "classify", "--model", home / "bert", "--train", rows, "--out", out, *QUICK]
    assert say(*tune)[0] == 0
    written = (out / "model/model.safetensors").read_bytes()
    code, _, err = say(*tune)
    assert code == 0 and "nothing to do" in err
    rows.write_text(GOOD + "one more,yes\n")
    complaint(say(*tune), "has changed since: train", "another --out")
    assert (out / "model/model.safetensors").read_bytes() == written


def test_long_sentences_of_unspaced_characters(home: Path, tmp_path: Path, say: Say) -> None:
    """As many tags come out as words went in, a line without spaces is read as the training file was, and it opens."""
    rows, out = tmp_path / "a.conll", tmp_path / "run"
    rows.write_text("我 S\n爱 S\n北 B\n京 E\n\n" * 6, encoding="utf-8")
    tune = ["finetune", "tag", "--model", home / "bert", "--train", rows, "--out", out, *QUICK]
    assert say(*tune)[0] == 0
    code, said, _ = say("predict", out, given=("我爱北京" * 750 + "\n我 爱\n").encode())
    found = [json.loads(line) for line in said.splitlines()]
    assert code == 0 and [len(row["tags"]) for row in found] == [3000, 2]
    assert found[0]["words"] == list("我爱北京" * 750)
    peer = AutoModelForTokenClassification.from_pretrained(out / "model")
    assert list(peer.config.id2label.values()) == ["B", "E", "S"]

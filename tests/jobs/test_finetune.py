"""A fine-tuning from files to a folder: scores, the kept model, predictions, seeds beside each other, bad input."""

from __future__ import annotations

import io
import json
import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from unmask.errors import UnmaskError
from unmask.jobs.adapt import model_folder
from unmask.jobs.fill import fill
from unmask.jobs.finetune import finetune
from unmask.jobs.predict import evaluate, predict
from unmask.jobs.tuned import FineTuning, default_rate, load_task
from unmask.models import Shape, sized
from unmask.models.encoder import Encoder
from unmask.models.heads import TokensHead
from unmask.models.weights import load_pretrained, save_pretrained
from unmask.run import Run, read_json
from unmask.tasks import Answer, Classify, Pair, Tag
from unmask.tokens import train_tokenizer

WORDS = "red blue cat dog runs in house tree big small saw the a".split()
TOWNS = ["Paris", "London", "Rome"]
QUICK = FineTuning(steps=30, learning_rate=5e-3, dropout=0.0, workers=1, precision="fp32")


class Body(nn.Module):
    """An encoder and its masked-LM head, as a pre-training leaves them."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.encoder = Encoder(shape)
        self.head = TokensHead(self.encoder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model and labelled files of every task."""
    root = tmp_path_factory.mktemp("finetune")
    tokenizer = train_tokenizer([" ".join([*WORDS, *TOWNS, "good", "bad"])] * 9, "wordpiece", 200)
    shape = Shape(tokenizer.vocab.size, 32, 2, 2, 64, 40)
    torch.manual_seed(0)
    save_pretrained(root / "pre/model", "bert", Body(shape), shape, tokenizer, "tokens")
    draw = random.Random(0)

    def text(n: int) -> list[str]:
        return [draw.choice(WORDS) for _ in range(n)]

    def put(name: str, rows: list[list[str]]) -> None:
        (root / name).write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")

    for name, n in (("train", 200), ("test", 60)):
        kinds = [draw.choice(["good", "bad"]) for _ in range(n)]
        texts = [text(6) for _ in kinds]
        put(
            f"{name}.tsv",
            [["text", "label"], *([" ".join([k, *t]), k] for k, t in zip(kinds, texts, strict=True))],
        )
        scores = [f"{1.5 + 2.5 * (k == 'good')}" for k in kinds]
        put(
            f"{name}-score.tsv",
            [
                ["text", "label"],
                *([" ".join([k, *t]), s] for k, t, s in zip(kinds, texts, scores, strict=True)),
            ],
        )
        pairs = [[" ".join(t), " ".join([k, *t]), k] for k, t in zip(kinds, texts, strict=True)]
        put(f"{name}-pair.tsv", [["text_a", "text_b", "label"], *pairs])
        lines: list[str] = []
        questions: list[dict[str, Any]] = []
        for i in range(n // 2):
            words = text(draw.choice([6, 60]))
            words.insert(draw.randrange(len(words)), draw.choice(TOWNS))
            lines += [f"{w} {'B-LOC' if w in TOWNS else 'O'}" for w in words] + [""]
            town = next(w for w in words if w in TOWNS)
            passage = " ".join(words)
            qa = {
                "id": f"{name}{i}",
                "question": "the house",
                "answers": [{"text": town, "answer_start": passage.index(town)}],
            }
            questions.append({"title": f"t{i}", "paragraphs": [{"context": passage, "qas": [qa]}]})
        (root / f"{name}.conll").write_text("\n".join(lines), encoding="utf-8")
        (root / f"{name}.json").write_text(json.dumps({"data": questions}), encoding="utf-8")
    return root


CASES: list[tuple[Any, str, str]] = [
    (Classify(), "train.tsv", "accuracy"),
    (Classify(), "train-score.tsv", "pearson"),
    (Pair(), "train-pair.tsv", "accuracy"),
    (Tag(), "train.conll", "f1"),
    (Answer(), "train.json", "f1"),
]


@pytest.mark.parametrize(("task", "train", "metric"), CASES)
def test_from_files_to_predictions(folder: Path, tmp_path: Path, task: Any, train: str, metric: str) -> None:
    test = folder / train.replace("train", "test")
    steps = 80 if task.NAME in ("answer", "classify") else 30
    training = FineTuning(
        steps=steps, learning_rate=5e-3, dropout=0.0, workers=1, precision="fp32", evaluate_every=steps // 2
    )
    said: list[str] = []
    run = finetune(
        task,
        model=folder / "pre",
        train=folder / train,
        test=test,
        out=tmp_path / "run",
        training=training,
        seeds=2,
        watch=lambda e: said.append(e["text"]) if e["event"] == "say" else None,
    )
    found = run.evaluations()["finetune"]
    scores = found["scores"]["test"][metric]
    assert (found["metric"], found["start"], found["no_better"]) == (metric, "pretrained", False)
    assert len(scores["seeds"]) == 2 and scores["low"] <= scores["median"] <= scores["high"]
    assert scores["low"] > found["majority"][metric] + 20
    stages = {s["name"]: s for s in found["ledger"]["stages"]}
    assert stages["test: rows"]["in"] == found["rows"]["test"]
    assert any("held out" in s for s in said) and any(
        "classes" in s or "scores" in s or "tags" in s or "questions" in s for s in said
    )
    metrics = run.metrics()
    assert {m["step"] for m in metrics if "dev" in m} == {steps // 2, steps}
    assert all({"seed", "step", "seconds", "loss"} <= set(m) for m in metrics if "loss" in m)
    assert not (run.folder / "seeds").exists()
    # what was saved is what was scored
    again = evaluate(run.folder, test)["scores"][metric]
    assert again == pytest.approx(scores["seeds"][found["best_seed"]], abs=0.2)
    rows = list(predict(run.folder, test))
    assert len(rows) == found["rows"]["test"]
    if task.NAME == "tag":
        assert all(len(r["words"]) == len(r["tags"]) == len(r["probabilities"]) for r in rows)
    elif task.NAME == "answer":
        assert all(0 <= r["probability"] <= 1 and r["candidates"] for r in rows)
    elif metric == "accuracy":
        assert all(sum(r["probabilities"].values()) == pytest.approx(1) for r in rows)
        assert load_pretrained(model_folder(run.folder)).labels == ("bad", "good")
    else:
        assert {round(r["score"]) for r in rows} <= {1, 2, 3, 4, 5}  # in the label's own unit


def test_bf16_moves_probabilities_by_less_than_is_said(folder: Path, tmp_path: Path) -> None:
    training = FineTuning(steps=80, learning_rate=5e-3, dropout=0.0, workers=1, precision="fp32")
    out = tmp_path / "run"
    finetune(
        Classify(), model=folder / "pre", train=folder / "train.tsv", out=out, training=training, seeds=1
    )
    exact = list(predict(out, folder / "test.tsv", precision="fp32"))
    rough = list(predict(out, folder / "test.tsv", precision="bf16"))
    apart = [
        abs(a["probabilities"]["good"] - b["probabilities"]["good"])
        for a, b in zip(exact, rough, strict=True)
    ]
    assert 0 < max(apart) < 0.02
    assert [row["text"] for row in exact] == [row["text"] for row in rough]


def test_workers_give_what_one_process_gives(folder: Path, tmp_path: Path) -> None:
    results = []
    for workers in (1, 2):
        training = FineTuning(steps=6, learning_rate=2e-3, workers=workers, precision="fp32")
        run = finetune(
            Classify(),
            model=folder / "pre",
            train=folder / "train.tsv",
            out=tmp_path / str(workers),
            training=training,
            seeds=2,
        )
        results.append(run.evaluations()["finetune"])
    assert (
        results[0]["scores"] == results[1]["scores"] and results[0]["best_steps"] == results[1]["best_steps"]
    )
    assert results[0]["seeds"] == [0, 1]


def test_scratch_is_the_same_but_for_the_body(folder: Path, tmp_path: Path) -> None:
    common: Any = {
        "model": folder / "pre",
        "train": folder / "train.tsv",
        "training": FineTuning(steps=2, workers=1),
        "seeds": 1,
    }
    one = finetune(Classify(), **common, out=tmp_path / "a").evaluations()["finetune"]
    two = finetune(Classify(), **common, out=tmp_path / "b", from_scratch=True).evaluations()["finetune"]
    assert (one["start"], two["start"]) == ("pretrained", "scratch")
    for key in ("shape", "rows", "steps", "learning_rate", "labels", "majority", "seeds"):
        assert one[key] == two[key]


def test_a_run_that_learns_nothing_is_flagged(folder: Path, tmp_path: Path) -> None:
    said: list[str] = []
    training = FineTuning(steps=1, learning_rate=1e-9, workers=1)
    run = finetune(
        Tag(),
        model=folder / "pre",
        train=folder / "train.conll",
        out=tmp_path / "run",
        training=training,
        seeds=1,
        watch=lambda e: said.append(str(e.get("text"))),
    )
    found = run.evaluations()["finetune"]
    assert found["majority"]["f1"] == 0.0
    assert found["no_better"] and any("nothing shows" in s for s in said)


def test_patience_stops_and_the_best_checkpoint_is_kept(folder: Path, tmp_path: Path) -> None:
    training = FineTuning(
        steps=60, learning_rate=5e-3, dropout=0.0, workers=1, evaluate_every=5, patience=2, precision="fp32"
    )
    run = finetune(
        Classify(),
        model=folder / "pre",
        train=folder / "train.tsv",
        out=tmp_path / "run",
        training=training,
        seeds=1,
    )
    looks = [m for m in run.metrics() if "dev" in m]
    best = max(m["dev"]["accuracy"] for m in looks)
    assert looks[-1]["step"] < 60
    assert run.evaluations()["finetune"]["scores"]["dev"]["accuracy"]["median"] == best
    first = next(i for i, m in enumerate(looks) if m["dev"]["accuracy"] == best)
    assert len(looks) == first + 3


def test_standard_input(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = finetune(
        Classify(),
        model=folder / "pre",
        train=folder / "train.tsv",
        out=tmp_path / "run",
        training=QUICK,
        seeds=1,
    )
    assert load_task(run.folder / "model").task == Classify()

    def given(text: str | bytes) -> list[dict[str, Any]]:
        raw = text.encode() if isinstance(text, str) else text
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(raw)))
        return list(predict(run.folder, "-"))

    assert [r["label"] for r in given("good cat\n\nbad dog\r\n")] == ["good", "bad"]
    assert [r["text"] for r in given('{"text": "good cat"}\n')] == ["good cat"]
    with pytest.raises(UnmaskError, match="standard input is not UTF-8: byte 5"):
        given(b"good \xff\n")
    with pytest.raises(UnmaskError, match="standard input is empty"):
        given("")


def test_lines_of_a_text_file_are_sentences_to_tag(folder: Path, tmp_path: Path) -> None:
    run = finetune(
        Tag(),
        model=folder / "pre",
        train=folder / "train.conll",
        out=tmp_path / "run",
        training=QUICK,
        seeds=1,
    )
    (tmp_path / "new.txt").write_text("the cat sleeps\n\na dog\n")
    assert [row["words"] for row in predict(run.folder, tmp_path / "new.txt")] == [
        ["the", "cat", "sleeps"],
        ["a", "dog"],
    ]
    for text in ("the O\ncat O\n\na O\n", "the\ncat\n\na\n"):
        (tmp_path / "spaces.txt").write_text(text)
        assert [row["words"] for row in predict(run.folder, tmp_path / "spaces.txt")] == [
            ["the", "cat"],
            ["a"],
        ]
    (tmp_path / "columns.txt").write_text("the\tO\ncat\tO\n\na\tO\n")
    assert [row["words"] for row in predict(run.folder, tmp_path / "columns.txt")] == [["the", "cat"], ["a"]]


def test_a_label_that_train_lacks_ends_before_any_training(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "dev.tsv").write_text("text\tlabel\na cat\tgood\na dog\tgoood\n")
    with pytest.raises(UnmaskError, match='line 3: the label "goood".*Did you mean "good"'):
        finetune(
            Classify(),
            model=folder / "pre",
            train=folder / "train.tsv",
            dev=tmp_path / "dev.tsv",
            out=tmp_path / "run",
        )
    assert not (tmp_path / "run").exists()


def test_labels_that_occur_once_do_not_stop_a_run_without_dev(folder: Path, tmp_path: Path) -> None:
    rows = [f"a cat {n}\t{'rare' + str(n) if n % 4 == 0 else 'good'}" for n in range(40)]
    (tmp_path / "train.tsv").write_text("text\tlabel\n" + "\n".join(rows) + "\n")
    run = finetune(
        Classify(class_weight="balanced"),
        model=folder / "pre",
        train=tmp_path / "train.tsv",
        out=tmp_path / "run",
        training=FineTuning(steps=1, workers=1),
        seeds=1,
    )
    assert len(run.evaluations()["finetune"]["labels"]) == 11


def test_a_tokenizer_of_another_model(folder: Path, tmp_path: Path) -> None:
    loaded = load_pretrained(folder / "pre/model")
    other = train_tokenizer(["abc def " * 9, " ".join(map(chr, range(0x400, 0x600)))], "wordpiece", 600)
    assert other.vocab.size > loaded.shape.vocab
    save_pretrained(tmp_path / "m", "bert", Body(loaded.shape), loaded.shape, None, "tokens")
    other.save(tmp_path / "m")
    with pytest.raises(UnmaskError, match="do not belong together"):
        finetune(Classify(), model=tmp_path / "m", train=folder / "train.tsv", out=tmp_path / "run")


def test_other_errors(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UnmaskError, match="holds no model"):
        finetune(Classify(), model=tmp_path, train=folder / "train.tsv", out=tmp_path / "run")
    with pytest.raises(UnmaskError, match="overlap is 40"):
        finetune(
            Classify(),
            model=folder / "pre",
            train=folder / "train.tsv",
            out=tmp_path / "run",
            training=FineTuning(overlap=40),
        )
    with pytest.raises(UnmaskError, match="no task.json"):
        next(predict(folder / "pre", folder / "test.tsv"))
    with pytest.raises(UnmaskError, match="steps is 0"):
        FineTuning(steps=0)


def test_rates_fall_with_size() -> None:
    rates = [
        default_rate(sized("bert", size, 30000, 512))
        for size in ("tiny", "mini", "small", "medium", "base", "large")
    ]
    assert rates == [1e-3, 1e-3, 5e-4, 2e-4, 5e-5, 2e-5]


def test_fill(folder: Path) -> None:
    masks = fill(folder / "pre", "the [MASK] saw a <mask>", top=4)
    assert len(masks) == 2 and all(len(guesses) == 4 for guesses in masks)
    for guesses in masks:
        shares = [p for _, p in guesses]
        assert shares == sorted(shares, reverse=True) and 0 < sum(shares) <= 1
        assert not {"[MASK]", "[CLS]", "[PAD]", "[UNK]"} & {token for token, _ in guesses}
    with pytest.raises(UnmaskError, match="has no mask"):
        fill(folder / "pre", "the cat")
    with pytest.raises(UnmaskError, match="the model reads 40"):
        fill(folder / "pre", "[MASK] " * 60)


def test_the_run_says_how_to_repeat_it(folder: Path, tmp_path: Path) -> None:
    run = finetune(
        Classify(),
        model=folder / "pre",
        train=folder / "train.tsv",
        out=tmp_path / "run",
        training=FineTuning(steps=1, workers=1),
        seeds=1,
    )
    about = read_json(run.folder / "run.json")
    assert (
        about["verb"] == "finetune"
        and "unmask.finetune(Classify(" in about["call"]
        and Run.open(run.folder).finished
    )


def test_updates_that_are_not_finite_are_left_out_counted_and_then_end_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, calls, bad = Classify.loss, 0, {3, 4, 20}

    def loss(self: Any, model: Any, batch: Any) -> Any:
        nonlocal calls
        calls += 1
        found = plain(self, model, batch)
        return {k: v + float("nan") for k, v in found.items()} if calls in bad else found

    monkeypatch.setattr(Classify, "loss", loss)
    given: dict[str, Any] = {
        "model": folder / "pre",
        "train": folder / "train.tsv",
        "training": QUICK,
        "seeds": 1,
    }
    said: list[str] = []
    run = finetune(Classify(), out=tmp_path / "a", watch=lambda e: said.append(e.get("text", "")), **given)
    assert run.evaluations()["finetune"]["skipped"] == [3] and any("3 of 30 updates" in text for text in said)
    assert sum(line.get("skipped", 0) for line in run.metrics()) == 3
    assert all(line["loss"] == line["loss"] for line in run.metrics() if "loss" in line)
    bad |= set(range(calls + 6, calls + 99))
    with pytest.raises(
        UnmaskError, match=r"in the 10 updates up to step 15 \(lines [0-9, ]+ and .*train.tsv\)"
    ):
        finetune(Classify(), out=tmp_path / "b", **given)
    assert not (tmp_path / "b" / "model").exists()


def test_a_setting_that_is_named_may_change(folder: Path, tmp_path: Path) -> None:
    given: dict[str, Any] = {"model": folder / "pre", "train": folder / "train.tsv", "seeds": 1}

    def stop(event: dict[str, Any]) -> None:
        if event["event"] == "step":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune(Classify(), out=tmp_path / "r", training=QUICK, watch=stop, **given)
    other = replace(QUICK, steps=8)
    with pytest.raises(UnmaskError, match="--allow-changed steps"):
        finetune(Classify(), out=tmp_path / "r", training=other, **given)
    run = finetune(Classify(), out=tmp_path / "r", training=other, allow_changed=["steps"], **given)
    assert run.settings["steps"] == 8 and run.about["changed"][0]["settings"]["steps"] == {
        "there": 30,
        "now": 8,
    }
    assert Run.open(run.folder).finished


def test_a_stopped_run_keeps_the_seeds_it_finished(folder: Path, tmp_path: Path) -> None:
    training = FineTuning(steps=6, learning_rate=2e-3, workers=1, precision="fp32", evaluate_every=3)
    given: dict[str, Any] = {"model": folder / "pre", "train": folder / "train.tsv", "seeds": 3}
    whole = finetune(Classify(), out=tmp_path / "whole", training=training, **given)

    def stopped(out: Path) -> None:
        def stop(event: dict[str, Any]) -> None:
            if event["event"] == "step" and event["seed"] == 2:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            finetune(Classify(), out=out, training=training, watch=stop, **given)

    def went_on(out: Path, training: FineTuning = training, **more: Any) -> tuple[Run, set[int]]:
        seen: list[dict[str, Any]] = []
        run = finetune(Classify(), out=out, training=training, watch=seen.append, **given, **more)
        return run, {event["seed"] for event in seen if event["event"] == "step"}

    def facts(run: Run) -> Any:
        found = run.evaluations()["finetune"]
        lines = sorted((x["seed"], x["step"], str(x.get("loss")), str(x.get("dev"))) for x in run.metrics())
        return {k: v for k, v in found.items() if k != "seconds"}, lines

    stopped(tmp_path / "r")
    run, trained = went_on(tmp_path / "r")
    assert trained == {2} and facts(run) == facts(whole) and not (run.folder / "seeds").exists()
    for file in ("model.safetensors", "config.json"):
        assert (run.folder / "model" / file).read_bytes() == (whole.folder / "model" / file).read_bytes()

    stopped(tmp_path / "damaged")
    seeds = tmp_path / "damaged" / "seeds"
    worse = next(n for n in (0, 1) if not (seeds / str(n)).exists())  # the better one's model was kept
    (seeds / f"{worse}.json").write_text("{")
    run, trained = went_on(tmp_path / "damaged")
    assert trained == {worse, 2} and facts(run) == facts(whole)

    stopped(tmp_path / "lost")  # between the model of one seed and that of the next
    best = max(
        (0, 1), key=lambda n: read_json(tmp_path / "lost" / "seeds" / f"{n}.json")["done"]["dev"]["accuracy"]
    )
    shutil.rmtree(tmp_path / "lost" / "seeds" / str(best))
    run, trained = went_on(tmp_path / "lost")
    assert best in trained and facts(run) == facts(whole)

    stopped(tmp_path / "other")
    run, trained = went_on(tmp_path / "other", replace(training, steps=4), allow_changed=["steps"])
    assert trained == {0, 1, 2} and {line["step"] for line in run.metrics()} <= {1, 2, 3, 4}


def test_settings_reach_what_they_set_and_dropout_acts_in_training_alone(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from unmask.jobs import adapt

    made: list[dict[str, Any]] = []
    plain, loss, predict = adapt.Optimizer, Classify.loss, Classify.predict
    modes: dict[str, list[tuple[bool, float]]] = {"loss": [], "predict": []}

    def optimizer(parameters: Any, **named: Any) -> Any:
        made.append(named)
        return plain(parameters, **named)

    def watched(name: str, call: Any) -> Any:
        def seen(self: Any, model: Any, *given: Any) -> Any:
            modes[name].append((model.training, model.encoder.dropout))
            return call(self, model, *given)

        return seen

    monkeypatch.setattr(adapt, "Optimizer", optimizer)
    monkeypatch.setattr(Classify, "loss", watched("loss", loss))
    monkeypatch.setattr(Classify, "predict", watched("predict", predict))
    training = FineTuning(
        steps=6,
        workers=1,
        precision="fp32",
        evaluate_every=2,
        weight_decay=0.07,
        dropout=0.2,
        learning_rate=1e-3,
    )
    finetune(
        Classify(),
        model=folder / "pre",
        train=folder / "train.tsv",
        out=tmp_path / "r",
        training=training,
        seeds=1,
    )
    assert made[0]["weight_decay"] == 0.07 and made[0]["beta2"] == 0.999
    assert modes["loss"] == [(True, 0.2)] * 6  # after a look at dev, too
    assert modes["predict"] and all(not training for training, _ in modes["predict"])

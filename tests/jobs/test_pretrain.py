"""A run is one run however often it is stopped; what cannot work is refused; what it leaves opens elsewhere."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from unmask.corpus import Document
from unmask.errors import UnmaskError
from unmask.jobs import pretrain as job
from unmask.jobs.look import Heldout
from unmask.jobs.meter import recorded_places
from unmask.jobs.pretrain import pretrain
from unmask.models.weights import load_pretrained
from unmask.recipes import RECIPES, Albert, Bert, Roberta
from unmask.run import Run
from unmask.store import Store
from unmask.store.build import build
from unmask.train import Training

WORDS = "cat dog house river garden stone tree boat bird road hill lake".split()
GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "curves.json"
TINY = Training(steps=12, batch=4, length=32, precision="fp32", checkpoint_every=0.0)


def documents(count: int, sentences: int, seed: int = 0) -> list[Document]:
    draw = random.Random(seed)
    return [
        Document(
            "\n".join(
                f"The {' '.join(draw.choice(WORDS) for _ in range(5))} is old." for _ in range(sentences)
            ),
            f"{n}",
            "made",
        )
        for n in range(count)
    ]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text") / "corpus"
    build(documents=documents(40, 4), out=folder, vocab_size=100, heldout=0.1, processes=1)
    return folder


@pytest.fixture(scope="module")
def straight(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve steps without a stop."""
    return pretrain(
        Roberta(), corpus, out=tmp_path_factory.mktemp("runs") / "straight", size="tiny", training=TINY
    ).folder


def last(run: Path) -> tuple[bytes, bytes]:
    """The bytes of the newest checkpoint's weights and moments."""
    folder = max((run / "checkpoints").iterdir())
    return (folder / "weights.safetensors").read_bytes(), (folder / "optimizer.safetensors").read_bytes()


STOPS = """
import os, signal, sys
from unmask.jobs.pretrain import Stopped, pretrain
from unmask.recipes import Roberta
from unmask.train import Training
corpus, out, seconds = sys.argv[1:]
training = Training(steps=12, batch=4, length=32, precision="fp32", checkpoint_every=float(seconds))
calls, plain = 0, Roberta.loss
def loss(self, model, batch):
    global calls
    if len(batch["ids"]) and model.training is False and __import__("torch").is_grad_enabled():
        calls += 1
        if calls == at:
            os.kill(os.getpid(), how)
    return plain(self, model, batch)
Roberta.loss = loss
at, how = 5, signal.SIGTERM
try:
    pretrain(Roberta(), corpus, out=out + "/term", size="tiny", training=training)
except Stopped as stop:
    print(stop, flush=True)
calls, at, how = 0, 6, signal.SIGKILL
training = Training(steps=12, batch=4, length=32, precision="fp32", checkpoint_every=0.0)
pretrain(Roberta(), corpus, out=out + "/kill", size="tiny", training=training)
"""


def test_stopped_and_killed_runs_go_on_to_the_same_bytes(
    corpus: Path, straight: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STOPS, str(corpus), str(tmp_path), "999"], capture_output=True, text=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert "stopped after step 5" in done.stdout
    assert [p.name for p in (tmp_path / "term" / "checkpoints").iterdir()] == ["step-00000005"]
    newest = tmp_path / "kill" / "checkpoints" / "step-00000005"
    assert newest.is_dir() and not (tmp_path / "kill" / "model").exists()
    (newest / "weights.safetensors").write_bytes((newest / "weights.safetensors").read_bytes()[:-7])
    for name, step in (("term", 5), ("kill", 4)):
        said: list[str] = []
        run = pretrain(
            Roberta(), corpus, out=tmp_path / name, size="tiny", training=TINY,
            watch=lambda event, said=said: said.append(event.get("text", "")),
        )  # fmt: skip
        assert f"going on from step {step}" in said
        assert any("step-00000005 is damaged" in text for text in said) == (name == "kill")
        assert last(run.folder) == last(straight)
        weights = (run.folder / "model" / "model.safetensors").read_bytes()
        assert weights == (straight / "model" / "model.safetensors").read_bytes()
        lines = [line for line in run.metrics() if "loss" in line]
        assert [line["step"] for line in lines] == sorted({line["step"] for line in lines})
        assert lines[-1]["tokens"] == Run.open(straight).metrics()[-1]["tokens"]


def test_micro_batches_are_the_big_batch(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unmask.jobs.loop.LINE", 0.0)  # a line a step
    found = [
        pretrain(
            Bert(),
            corpus,
            out=tmp_path / f"{k}",
            size="tiny",
            training=replace(TINY, steps=4, batch=5, accumulate=k, checkpoint_every=999.0),
        )
        for k in (1, 3)
    ]
    one, three = (run.load_checkpoint() for run in found)
    assert one is not None and three is not None
    for name, weight in one.tensors["weights"].items():
        if not name.endswith(
            "qkv.bias"
        ):  # of keys: their gradient is 0 but for rounding, and Adam enlarges that
            torch.testing.assert_close(weight, three.tensors["weights"][name], rtol=0, atol=1e-5)
    big, small = (run.metrics() for run in found)
    for key in ("loss", "gradient_norm"):
        expected = [line[key] for line in big if key in line][-1]
        assert [line[key] for line in small if key in line][-1] == pytest.approx(expected, rel=1e-4)


def interrupted(recipe: type, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipe breaks in training call number `at`."""
    plain, calls = recipe.loss, 0  # type: ignore[attr-defined]

    def loss(self: Any, model: Any, batch: Any) -> Any:
        nonlocal calls
        calls += torch.is_grad_enabled()
        if calls == at:
            raise OSError("a machine that fails")
        return plain(self, model, batch)

    monkeypatch.setattr(recipe, "loss", loss)


def test_recorded_places_are_one_a_step_and_give_the_same_bytes(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = count()  # a look at the clock is 20 ms, so that a busy machine changes nothing
    monkeypatch.setattr("unmask.train.time.perf_counter", lambda: 0.02 * next(ticks))
    by_time = replace(TINY, steps=None, budget=3.0)
    with monkeypatch.context() as patch:
        interrupted(Roberta, 4, patch)  # a checkpoint stands after each of three steps
        with pytest.raises(OSError):
            pretrain(Roberta(), corpus, out=tmp_path / "timed", size="tiny", training=by_time)
    with open(tmp_path / "timed" / "metrics.jsonl", "a") as file:  # what was logged after the checkpoint goes
        file.write(json.dumps({"step": 4, "seconds": 1.0, "places": [0.9], "loss": 1.0}) + "\n")
    run = pretrain(Roberta(), corpus, out=tmp_path / "timed", size="tiny", training=by_time)
    places = recorded_places(run.folder)
    assert len(places) == run.metrics()[-1]["step"] > 3
    assert places == sorted(places) and 0 <= places[0] and places[-1] <= 1 and 0.9 not in places[:4]
    again = pretrain(
        Roberta(), corpus, out=tmp_path / "again", size="tiny", training=by_time, replay=run.folder
    )
    assert last(again.folder) == last(run.folder)
    assert recorded_places(again.folder) == places


def test_a_run_by_steps_recorded_no_places(corpus: Path, straight: Path, tmp_path: Path) -> None:
    with pytest.raises(UnmaskError, match="recorded no places"):
        pretrain(Roberta(), corpus, out=tmp_path / "r", size="tiny", replay=straight)
    assert not (tmp_path / "r").exists()


def test_other_settings_are_refused_and_a_finished_run_says_so(corpus: Path, straight: Path) -> None:
    before = sorted(straight.rglob("*")), (straight / "run.json").read_bytes()
    with pytest.raises(
        UnmaskError, match=r"recipe\.rate: 0\.15 there, 0\.3 now; training\.seed: 0 there, 1 now"
    ):
        pretrain(Roberta(rate=0.3), corpus, out=straight, size="tiny", training=replace(TINY, seed=1))
    said: list[str] = []
    free = replace(TINY, checkpoint_every=5.0)  # changes nothing of the result
    run = pretrain(
        Roberta(), corpus, out=straight, size="tiny", training=free,
        watch=lambda event: said.append(event["text"]),
    )  # fmt: skip
    assert run.finished and said == [f"{straight} is finished; nothing to do"]
    assert (sorted(straight.rglob("*")), (straight / "run.json").read_bytes()) == before


@pytest.mark.parametrize("budget", [1e-9, 1e-3])
def test_a_budget_of_less_than_a_step_leaves_nothing_behind(
    corpus: Path, tmp_path: Path, budget: float
) -> None:
    with pytest.raises(UnmaskError, match="at least one step must fit"):
        pretrain(
            Roberta(),
            corpus,
            out=tmp_path / "r",
            size="tiny",
            training=replace(TINY, steps=None, budget=budget),
        )
    assert not (tmp_path / "r").exists()


def test_going_on_from_a_model(corpus: Path, straight: Path, tmp_path: Path) -> None:
    frozen = replace(TINY, steps=1, learning_rate=0.0, warmup=0.0, batch=1)
    run = pretrain(
        Roberta(), corpus, out=tmp_path / "on", size="tiny", training=frozen, source=straight / "model"
    )
    old, new = (Run.open(f).load_checkpoint() for f in (straight, run.folder))
    assert old is not None and new is not None
    before, after = dict(old.tensors["weights"]), dict(new.tensors["weights"])
    # Elsewhere a RoBERTa's places start after the padding id, 0 here: the rows before the first place go.
    places = [w.pop("encoder.places.weight") for w in (before, after)]
    assert torch.equal(places[0][2:], places[1][1:])
    assert before.keys() == after.keys() and all(torch.equal(w, after[n]) for n, w in before.items())
    said: list[str] = []
    again = pretrain(
        Roberta(), corpus, out=tmp_path / "sized", training=frozen, source=straight / "model",
        watch=lambda event: said.append(event.get("text", "")),
    )  # fmt: skip
    assert again.settings["size"] == "tiny" and "size tiny, as" in said[0]  # mini was not the body's
    assert f"source={str(straight / 'model')!r}" in again.about["call"]
    body = tmp_path / "body"
    shutil.copytree(straight / "model", body)
    kept = {k: v for k, v in load_file(body / "model.safetensors").items() if not k.startswith("lm_head")}
    save_file(kept, body / "model.safetensors")
    said.clear()
    pretrain(
        Roberta(), corpus, out=tmp_path / "bare", size="tiny", training=frozen, source=body,
        watch=lambda event: said.append(event.get("text", "")),
    )  # fmt: skip
    assert any("drawn at random" in text for text in said)
    with pytest.raises(UnmaskError, match="trains a bert"):
        pretrain(Bert(pairs="none"), corpus, out=tmp_path / "b", size="tiny", source=straight / "model")
    other = tmp_path / "other"
    build(documents=documents(8, 4, seed=5), out=other, vocab_size=64, heldout=0.0, processes=1)
    with pytest.raises(UnmaskError, match="tokenizer"):
        pretrain(Roberta(), other, out=tmp_path / "o", size="tiny", source=straight / "model")
    assert not (tmp_path / "b").exists() and not (tmp_path / "o").exists()


@pytest.mark.parametrize("name", RECIPES)
def test_the_curve_and_a_model_that_opens_elsewhere(name: str, corpus: Path, tmp_path: Path) -> None:
    """Thirty steps as they were when the curve was written, in fp32, within 2 in 1,000 (processors add differently)."""
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    curve: list[float] = []
    monkey = pytest.MonkeyPatch()
    monkey.setattr("unmask.jobs.loop.LINE", 0.0)  # a line a step
    training = replace(TINY, steps=30, checkpoint_every=999.0)
    run = pretrain(RECIPES[name](), corpus, out=tmp_path / name, size="tiny", training=training)
    monkey.undo()
    lines = run.metrics()
    train, looks = ([line for line in lines if key in line] for key in ("loss", "heldout"))
    curve = [line["loss"] for line in train]
    golden = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    np.testing.assert_allclose(curve, golden[name], rtol=2e-3)

    assert [line["step"] for line in train] == list(range(1, 31))
    assert [line["place"] for line in train] == [(n - 0.5) / 30 for n in range(1, 31)]
    assert all(
        a["tokens"] < b["tokens"] <= a["tokens"] + 4 * 32 for a, b in zip(train, train[1:], strict=False)
    )
    assert all(
        line["loss"] == pytest.approx(sum(line["terms"].values())) and 0 <= line["accuracy"] <= 1
        for line in train
    )
    assert 10 <= len(looks) <= 14 and looks[-1]["step"] == 30
    assert looks[-1]["heldout"]["mlm"] < looks[0]["heldout"]["mlm"]
    assert all(fill.keys() == {"text", "truth", "before", "after"} for fill in run.evaluations()["fills"])
    assert run.evaluations()["fills"] and "[MASK]" in run.evaluations()["fills"][0]["text"]
    assert "fill-mask" in (run.folder / "model" / "README.md").read_text()

    theirs = AutoModelForMaskedLM.from_pretrained(run.folder / "model").eval()
    tokenizer = AutoTokenizer.from_pretrained(run.folder / "model")
    ids = torch.tensor(tokenizer("The cat dog house is old.")["input_ids"])
    loaded = load_pretrained(run.folder / "model")
    store = Store(corpus)
    ours = RECIPES[name]().network(loaded.shape, store.tokenizer.vocab).eval()
    loaded.into(ours)
    with torch.no_grad():
        states = ours.head(ours.encoder(ids, torch.tensor([len(ids)])))
        torch.testing.assert_close(states, theirs(ids[None]).logits[0], rtol=1e-4, atol=1e-4)
    decoded = store.tokenizer.encode("The cat dog house is old.").ids
    assert ids[1:-1].tolist() == decoded.tolist()


@pytest.mark.parametrize(("held", "sentences"), [(1, 4), (5, 1)])
def test_a_held_out_part_without_pairs_fails_nothing(
    held: int, sentences: int, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, vocab = Store(corpus, part="heldout"), Store(corpus).tokenizer.vocab
    chosen = [store.document(n % store.documents) for n in range(held)]
    if sentences == 1:
        chosen = [replace(d, sentence_ends=d.sentence_ends[-1:]) for d in chosen]
    monkeypatch.setattr(store, "documents", held)
    monkeypatch.setattr(store, "lengths", np.array([len(d.tokens) for d in chosen]))
    monkeypatch.setattr(store, "document", lambda n: chosen[n])
    said: list[str] = []

    def look(recipe: Any) -> Heldout:
        return Heldout(recipe, store, 32, torch.device("cpu"), said.append)

    bert = look(Bert())
    network = Bert().network(Bert().shape("tiny", vocab, 32), vocab)
    found = bert.loss(lambda recipe, batch: recipe.loss(network, batch))
    assert found.keys() == {"mlm", "accuracy"} and 0 < found["mlm"] < 20
    assert len(said) == 1 and "without pairs" in said[0]
    albert = look(Albert())
    assert not albert.batches and albert.loss(lambda recipe, batch: {}) == {}
    assert len(said) == 2 and "no held-out loss" in said[1]


def test_a_gradient_that_stays_infinite_ends_the_run(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Roberta.loss
    monkeypatch.setattr(
        Roberta, "loss", lambda s, m, b: {k: v * 1e38 * 1e38 for k, v in plain(s, m, b).items()}
    )
    with pytest.raises(
        UnmaskError, match=r"10 updates up to step 10 \(rows 40 to 79\), after going back 1 times"
    ):
        pretrain(
            Roberta(),
            corpus,
            out=tmp_path / "r",
            size="tiny",
            training=replace(TINY, checkpoint_every=999.0, rollbacks=1),
        )
    assert sum(line.get("skipped", 0) for line in Run.open(tmp_path / "r").metrics()) == 10


def test_steps_and_replay_are_refused(corpus: Path, straight: Path, tmp_path: Path) -> None:
    with pytest.raises(UnmaskError, match=r"both steps \(12\) and replay"):
        pretrain(Roberta(), corpus, out=tmp_path / "r", size="tiny", training=TINY, replay=straight)
    assert not (tmp_path / "r").exists()


def test_settings_that_are_named_may_change(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "r"
    with monkeypatch.context() as patch:
        interrupted(Roberta, 4, patch)
        with pytest.raises(OSError):
            pretrain(Roberta(), corpus, out=out, size="tiny", training=TINY)
    lower = replace(TINY, learning_rate=1e-5)
    before = (out / "run.json").read_bytes()

    def again(training: Training = lower, size: str = "tiny", **given: Any) -> Run:
        return pretrain(Roberta(), corpus, out=out, size=size, training=training, **given)

    with pytest.raises(UnmaskError, match=r"go on with the new ones: --allow-changed training.learning_rate"):
        again()
    with pytest.raises(UnmaskError, match='Did you mean "learning_rate"'):
        again(allow_changed=["lerning_rate"])
    with pytest.raises(UnmaskError, match=r"training.seed: 0 there, 1 now"):  # one is named, another is not
        again(replace(lower, seed=1), allow_changed=["--learning-rate"])
    with pytest.raises(UnmaskError, match="cannot change them in the middle"):
        again(size="mini", allow_changed=["size", "learning_rate"])
    with pytest.raises(UnmaskError, match="another shape"):
        again(replace(lower, length=48), allow_changed=["length", "training.learning_rate"])
    with pytest.raises(UnmaskError, match=r"cannot change them in the middle .training.batch"):
        again(replace(lower, batch=8), allow_changed=["batch", "learning_rate"])
    own = json.loads(before)
    (out / "run.json").write_text(json.dumps({**own, "tokenizer": "0" * 16}))
    with pytest.raises(UnmaskError, match="was trained with another tokenizer"):
        again(allow_changed=["learning_rate"])
    (out / "run.json").write_bytes(before)
    said: list[str] = []
    run = again(allow_changed=["learning_rate"], watch=lambda event: said.append(event.get("text", "")))
    assert "going on from step 3" in said
    assert run.settings["training"]["learning_rate"] == 1e-5 and run.finished
    (changed,) = run.about["changed"]
    assert changed["step"] == 3 and list(changed["settings"]) == ["training.learning_rate"]
    assert changed["settings"]["training.learning_rate"]["now"] == 1e-5
    again()  # and these are its settings now
    with pytest.raises(UnmaskError, match="is finished"):
        again(TINY, allow_changed=["learning_rate"])


def test_a_run_keeps_the_precision_that_auto_meant(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run of a month that is moved to a machine without bf16 must not go on in fp32 without a word."""
    auto, out = replace(TINY, precision="auto"), tmp_path / "r"
    working = {"auto": torch.bfloat16, "bf16": torch.bfloat16, "fp32": torch.float32}
    monkeypatch.setattr(job, "working_precision", lambda precision, device: working[precision])
    with monkeypatch.context() as patch:
        interrupted(Roberta, 4, patch)
        with pytest.raises(OSError):
            pretrain(Roberta(), corpus, out=out, size="tiny", training=auto)
    assert Run.open(out).about["working"] == "bf16"
    working["auto"] = torch.float32
    with pytest.raises(UnmaskError, match="was trained in bf16, and precision auto is fp32 on this machine"):
        pretrain(Roberta(), corpus, out=out, size="tiny", training=auto)
    named = replace(auto, precision="fp32")
    run = pretrain(Roberta(), corpus, out=out, size="tiny", training=named, allow_changed=["precision"])
    assert run.finished and run.about["working"] == "fp32"


def test_a_folder_is_one_process_s(corpus: Path, tmp_path: Path) -> None:
    run = Run.create(tmp_path / "r", verb="pretrain", settings={})
    with run.alone(), pytest.raises(UnmaskError, match="other settings"):
        pretrain(Roberta(), corpus, out=run.folder, size="tiny", training=TINY)
    done = pretrain(Roberta(), corpus, out=tmp_path / "s", size="tiny", training=TINY)
    with done.alone(), pytest.raises(UnmaskError, match="another process works in"):
        pretrain(Roberta(), corpus, out=done.folder, size="tiny", training=TINY)


def test_a_sink_that_fails_ends_nothing(
    corpus: Path, straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(line: dict[str, Any]) -> None:
        raise ConnectionError("away")

    monkeypatch.setattr(job, "opened", lambda *given: contextlib.nullcontext([fails]))
    said: list[str] = []
    run = pretrain(
        Roberta(), corpus, out=tmp_path / "r", size="tiny", training=TINY,
        watch=lambda event: said.append(event.get("text", "")),
    )  # fmt: skip
    assert sum("away" in text for text in said) == 1
    assert last(run.folder) == last(straight)


def test_a_kill_after_the_last_look_repeats_none(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*given: object) -> None:
        raise OSError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(job, "_close", killed)
        with pytest.raises(UnmaskError, match="killed"):
            pretrain(Roberta(), corpus, out=tmp_path / "r", size="tiny", training=TINY)
    run = pretrain(Roberta(), corpus, out=tmp_path / "r", size="tiny", training=TINY)
    looks = [line["step"] for line in run.metrics() if "heldout" in line]
    assert looks[-1] == 12 and len(looks) == len(set(looks))


def test_shard_alone_is_refused_and_leaves_nothing(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(UnmaskError, match="torchrun"):
        pretrain(Roberta(), corpus, out=tmp_path / "r", size="tiny", training=replace(TINY, shard=True))
    assert not (tmp_path / "r").exists()


def test_all_names_are_there() -> None:
    assert all(hasattr(job, name) for name in job.__all__)


def test_the_held_out_loss_is_of_held_out_text(
    corpus: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its rows are those of documents that training never sees, and its blanks those of every other run."""
    held, train = Store(corpus, part="heldout"), Store(corpus)
    made = {}
    for recipe in (Roberta(), Roberta(rate=0.5)):
        found = Heldout(recipe, held, 32, torch.device("cpu"), print)
        texts = []
        for batch in found.batches:
            ids = batch["ids"].clone()
            ids[batch["positions"]] = batch["targets"]
            texts += [row.tolist() for row in torch.split(ids, batch["lengths"].tolist())]
        made[recipe.rate] = texts, [batch["positions"].tolist() for batch in found.batches]
    assert made[0.15] == made[0.5]  # asked at the same places, whatever they train with
    special = set(held.tokenizer.vocab.special)

    def sentences(store: Store) -> set[tuple[int, ...]]:
        documents = [store.document(n) for n in range(store.documents)]
        return {
            tuple(d.tokens[a:b].tolist())
            for d in documents
            for a, b in zip([0, *d.sentence_ends[:-1]], d.sentence_ends, strict=True)
        }

    known, others = sentences(held), sentences(train) - sentences(held)

    def holds(row: list[int], some: set[tuple[int, ...]]) -> bool:
        joined = ",".join(map(str, [t for t in row if t not in special]))
        return any(",".join(map(str, s)) in joined for s in some)

    assert made[0.15][0] and all(holds(row, known) for row in made[0.15][0])
    assert not any(holds(row, others) for row in made[0.15][0])

    given: list[str] = []
    plain = Heldout.__init__

    def init(self: Any, recipe: Any, store: Store, *more: Any) -> None:
        given.append(store.part)
        plain(self, recipe, store, *more)

    monkeypatch.setattr(Heldout, "__init__", init)
    monkeypatch.setattr(job, "choose_blanks", lambda store, longest: given.append(store.part) or [])
    pretrain(Roberta(), corpus, out=tmp_path / "r", size="tiny", training=replace(TINY, steps=2))
    assert given == ["heldout", "heldout"]


def test_sentences_longer_than_the_rows_are_no_blanks(tmp_path: Path) -> None:
    draw = random.Random(0)
    texts = [" ".join(draw.choice(WORDS) for _ in range(20)) + "." for _ in range(40)]
    made = build(
        documents=[Document(text, str(n), "made") for n, text in enumerate(texts)],
        out=tmp_path / "corpus", vocab_size=100, heldout=0.2, processes=1,
    )  # fmt: skip
    run = pretrain(
        Bert(pairs="none"),
        made.folder,
        out=tmp_path / "r",
        size="tiny",
        training=replace(TINY, steps=2, length=16),
    )
    assert run.evaluations()["fills"] == []
    long = pretrain(
        Bert(pairs="none"),
        made.folder,
        out=tmp_path / "s",
        size="tiny",
        training=replace(TINY, steps=2, length=64),
    )
    assert long.evaluations()["fills"]


def test_going_on_from_a_table_with_rows_of_no_token(corpus: Path, tmp_path: Path) -> None:
    run = pretrain(
        Bert(pairs="none"), corpus, out=tmp_path / "a", size="tiny", training=replace(TINY, steps=2)
    )
    folder = run.folder / "model"
    tensors = load_file(folder / "model.safetensors")
    for name, tensor in tensors.items():
        if "word_embeddings" in name or name == "cls.predictions.bias":
            tensors[name] = torch.cat((tensor, torch.ones_like(tensor[:8])))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config["vocab_size"] += 8
    (folder / "config.json").write_text(json.dumps(config))
    more = pretrain(
        Bert(pairs="none"),
        corpus,
        out=tmp_path / "b",
        source=folder,
        size="tiny",
        training=replace(TINY, steps=2),
    )
    assert more.finished


def test_settings_reach_what_they_set(corpus: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plain, seen = job.Optimizer, []

    def made(parameters: Any, **named: Any) -> Any:
        seen.append(named)
        return plain(parameters, **named)

    monkeypatch.setattr(job, "Optimizer", made)
    own = {"weight_decay": 0.07, "beta1": 0.8, "beta2": 0.7}
    training = replace(TINY, steps=2, optimizer="muon", learning_rate=1e-3, clip=1e-9, **own)
    run = pretrain(Roberta(), corpus, out=tmp_path / "r", size="tiny", training=training)
    assert seen == [{"kind": "muon", "working": torch.float32, **own}]
    moved = pretrain(Roberta(), corpus, out=tmp_path / "s", size="tiny", training=replace(training, clip=0.0))
    state = [one.load_checkpoint().tensors["optimizer"] for one in (run, moved)]  # type: ignore[union-attr]
    sizes = [sum(float(v.norm()) for k, v in one.items() if k.startswith("exp_avg/")) for one in state]
    assert 0 < sizes[0] < 1e-8 < 1e-3 < sizes[1]  # gradients that were clipped to next to nothing


def test_a_run_on_the_line_of_frequencies_is_told_so_twice(
    corpus: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Once while it trains and once at its end."""
    monkeypatch.setattr("unmask.jobs.meter.NEAR", 1e9)
    monkeypatch.setattr("unmask.jobs.loop.LINE", 0.0)
    said: list[str] = []
    training = replace(TINY, steps=40, checkpoint_every=999.0)
    watch = lambda event: said.append(str(event.get("text", "")))  # noqa: E731  # a sink
    pretrain(Roberta(), corpus, out=tmp_path / "r", size="tiny", training=training, watch=watch)
    assert sum("sits at" in text for text in said) == 1 and sum("stayed at" in text for text in said) == 1

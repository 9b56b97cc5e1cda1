"""Two processes are one: the same rows, masks and losses, sharded or not; a death ends all, the checkpoint is whole.

One call of torchrun on this machine (gloo) does all the training of the file; another one dies.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from unmask.corpus import Document
from unmask.jobs import feed
from unmask.jobs.pretrain import pretrain
from unmask.recipes import Albert, Bert, Modern
from unmask.run import Run
from unmask.store import Store
from unmask.store.build import build
from unmask.train import Training

WORDS = "cat dog house river garden stone tree boat bird road hill lake".split()
PLAIN = Training(steps=4, batch=5, accumulate=2, length=32, precision="fp32", checkpoint_every=999.0)

TWO = """
import json, sys
from dataclasses import replace
import unmask.jobs.loop
from unmask.jobs.pretrain import pretrain
from unmask.processes import joined
from unmask.recipes import Albert, Bert, Modern, Roberta
from unmask.train import Training
unmask.jobs.loop.LINE = 0.0  # a line a step
corpus, out = sys.argv[1:]
plain = Training(steps=4, batch=5, accumulate=2, length=32, precision="fp32", checkpoint_every=999.0)
shard = replace(plain, shard=True)
with joined():
    pretrain(Bert(), corpus, out=out + "/plain", size="tiny", training=plain)
    pretrain(Bert(), corpus, out=out + "/shard", size="tiny", training=shard)
    pretrain(Albert(), corpus, out=out + "/albert", size="tiny", training=shard)
    pretrain(Modern(), corpus, out=out + "/muon", size="tiny", training=replace(shard, optimizer="muon"))
    few = replace(shard, length=12, batch=2, accumulate=1)
    pretrain(Roberta(rate=0.001), corpus, out=out + "/nothing", size="tiny", training=few)  # no update asks a token
    pretrain(Bert(), corpus, out=out + "/cross", size="tiny", training=shard)  # half of it is done already
"""

DIES = """
import os, sys
from unmask.jobs.pretrain import pretrain
from unmask.recipes import Modern
from unmask.train import Training
corpus, out = sys.argv[1:]
calls, plain = 0, Modern.loss
def loss(self, model, batch):
    global calls
    calls += 1
    if os.environ["RANK"] == "1" and calls == 4:
        os._exit(7)
    return plain(self, model, batch)
Modern.loss = loss
training = Training(steps=9, batch=4, length=32, precision="fp32", checkpoint_every=0.0)
pretrain(Modern(), corpus, out=out, size="tiny", training=training)
"""


def torchrun(code: str, folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """Run the code in two processes."""
    script = folder / "script.py"
    script.write_text(code, encoding="utf-8")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run(
        [*launch, str(script), *map(str, words)],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    draw = random.Random(0)
    lines = [
        "\n".join(f"The {' '.join(draw.choices(WORDS, k=5))} is old." for _ in range(4)) for _ in range(40)
    ]
    made = [Document(text, str(n), "made") for n, text in enumerate(lines)]
    folder = tmp_path_factory.mktemp("text") / "corpus"
    build(documents=made, out=folder, vocab_size=100, heldout=0.1, processes=1)
    return folder


@pytest.fixture(scope="module")
def alone(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs of one process."""
    out = tmp_path_factory.mktemp("alone")
    patch = pytest.MonkeyPatch()
    patch.setattr("unmask.jobs.loop.LINE", 0.0)
    pretrain(Bert(), corpus, out=out / "plain", size="tiny", training=PLAIN)
    pretrain(Albert(), corpus, out=out / "albert", size="tiny", training=PLAIN)
    muon = Training(**{**vars(PLAIN), "optimizer": "muon"})
    pretrain(Modern(), corpus, out=out / "muon", size="tiny", training=muon)
    patch.undo()
    return out


@pytest.fixture(scope="module")
def together(corpus: Path, alone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs of two processes; `cross` is begun by one, unsharded, and ended by two, sharded."""
    out = tmp_path_factory.mktemp("together")
    with pytest.MonkeyPatch.context() as patch:
        plain, calls = Bert.loss, 0

        def loss(self: Any, model: Any, batch: Any) -> Any:
            nonlocal calls
            calls += torch.is_grad_enabled()
            if calls == 5:  # two micro-batches an update: two updates are done
                raise OSError("a machine that fails")
            return plain(self, model, batch)

        patch.setattr(Bert, "loss", loss)
        patch.setattr("unmask.jobs.loop.LINE", 0.0)
        with pytest.raises(OSError):
            begun = Training(**{**vars(PLAIN), "checkpoint_every": 0.0})
            pretrain(Bert(), corpus, out=out / "cross", size="tiny", training=begun)
    assert [p.name for p in sorted((out / "cross" / "checkpoints").iterdir())][-1] == "step-00000002"
    done = torchrun(TWO, out, corpus, out)
    assert done.returncode == 0, done.stderr[-3000:]
    return out


def test_shares_outlast_updates_that_ask_nothing(together: Path) -> None:
    assert Run.open(together / "nothing").finished


@pytest.mark.parametrize(
    ("name", "other", "close"),
    [
        ("plain", "plain", 1e-5),
        ("shard", "plain", 1e-5),
        ("cross", "plain", 1e-5),
        ("albert", "albert", 1e-5),
        ("muon", "muon", 1e-5),
    ],
)
def test_two_processes_are_one(alone: Path, together: Path, name: str, other: str, close: float) -> None:
    one, two = Run.open(alone / other), Run.open(together / name)
    a, b = one.load_checkpoint(), two.load_checkpoint()
    assert a is not None and b is not None and a.step == b.step == 4
    for group in ("weights", "optimizer"):
        assert a.tensors[group].keys() == b.tensors[group].keys()
    lines, others = ([line for line in run.metrics() if "loss" in line] for run in (one, two))
    for line, it in zip(lines, others, strict=True):
        assert line["step"] == it["step"] and line["tokens"] == it["tokens"]
        assert it["loss"] == pytest.approx(line["loss"], abs=close)
        assert it["gradient_norm"] == pytest.approx(line["gradient_norm"], rel=10 * close)  # a sum, no mean
    for key, weight in a.tensors["weights"].items():
        if not key.endswith(
            "qkv.bias"
        ):  # of keys: their gradient is 0 but for rounding, and Adam enlarges that
            torch.testing.assert_close(b.tensors["weights"][key], weight, rtol=0, atol=10 * close)
    for key, moment in a.tensors["optimizer"].items():
        if not key.endswith("qkv.bias"):
            torch.testing.assert_close(b.tensors["optimizer"][key], moment, rtol=1e-3, atol=1e-6, msg=key)
    look, its = ([x["heldout"] for x in run.metrics() if "heldout" in x][-1] for run in (one, two))
    assert its["mlm"] == pytest.approx(look["mlm"], abs=10 * close)
    assert (together / name / "model" / "model.safetensors").exists() and two.finished


def test_the_rows_are_shared_out_and_their_masks_stay(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the number of processes, an update reads the same examples, in as many micro-batches on each."""
    store, recipe = Store(corpus), Bert()

    def update(rank: int, world: int, accumulate: int) -> list[Any]:
        monkeypatch.setattr(feed, "processes", lambda: (rank, world))
        rows = recipe.rows(store, 32, 0)
        made = feed.updates(
            recipe, rows, store.tokenizer.vocab, batch=7, accumulate=accumulate, seed=0, start=3
        )
        return next(made)

    whole = update(0, 1, 1)[0]
    for world, accumulate in ((2, 1), (2, 3), (3, 2)):
        parts = [update(rank, world, accumulate) for rank in range(world)]
        assert {len(micro) for micro in parts} == {accumulate}
        found = sorted(tuple(ids) for micro in parts for batch in micro for ids in cut(batch))
        assert found == sorted(tuple(ids) for ids in cut(whole))


def cut(batch: dict[str, torch.Tensor]) -> list[list[int]]:
    return [part.tolist() for part in batch["ids"].split(batch["lengths"].tolist())]


def test_a_death_ends_all_and_the_checkpoint_is_whole(corpus: Path, tmp_path: Path) -> None:
    done = torchrun(DIES, tmp_path, corpus, tmp_path / "run")
    assert done.returncode != 0 and "exitcode" in done.stderr and "7" in done.stderr
    said: list[str] = []
    run = Run.open(tmp_path / "run")
    found = run.load_checkpoint(said.append)
    assert found is not None and found.step >= 2 and not said and not run.finished
    assert np.isfinite(found.tensors["weights"]["encoder.tokens.weight"].numpy()).all()
    assert json.loads((run.folder / "run.json").read_text())["verb"] == "pretrain"

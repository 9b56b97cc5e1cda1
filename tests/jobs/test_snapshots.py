"""Snapshots stand where the marks say, are the same after a kill, and cost what a measurement says."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from unmask.corpus import Document
from unmask.errors import UnmaskError
from unmask.jobs.pretrain import pretrain
from unmask.jobs.snapshots import Keeper, marks, snapshots
from unmask.recipes import Roberta
from unmask.run import Run
from unmask.store.build import build
from unmask.train import Training

TINY = Training(steps=12, batch=2, length=32, precision="fp32", checkpoint_every=0.0, snapshots=5)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    draw = random.Random(0)
    words = "cat dog house river garden stone tree boat bird road hill lake".split()
    documents = [
        Document(". ".join(" ".join(draw.choices(words, k=6)) for _ in range(6)) + ".", f"{n}", "made")
        for n in range(20)
    ]
    folder = tmp_path_factory.mktemp("text") / "corpus"
    build(documents=documents, out=folder, vocab_size=80, heldout=0.1, processes=1)
    return folder


@pytest.mark.parametrize(("count", "total"), [(24, 10_000), (24, 30), (24, 23), (24, 5), (2, 900), (3, 900)])
def test_marks_are_whole_steps_that_all_differ_and_end_at_the_end(count: int, total: int) -> None:
    found = marks(count, total)
    assert len(found) == min(count - 1, total) and found[-1] == total
    assert all(a < b and b == int(b) for a, b in zip([0.0, *found], found, strict=False))
    steps = [b - a for a, b in zip(found, found[1:], strict=False)]
    assert all(b >= a - 1 for a, b in zip(steps, steps[1:], strict=False))  # ever wider, but for rounding


def test_marks_by_time_are_places() -> None:
    found = marks(24, None)
    assert len(found) == 23 and found[0] == pytest.approx(1e-3) and found[-1] == 1.0
    ratios = [b / a for a, b in zip(found, found[1:], strict=False)]
    assert max(ratios) == pytest.approx(min(ratios)) and marks(0, None) == marks(0, 9) == []


def weights_of(run: Path) -> dict[str, bytes]:
    return {s.path.name: s.path.read_bytes() for s in snapshots(run)}


def test_the_same_snapshots_after_a_kill(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = pretrain(Roberta(), corpus, out=tmp_path / "a", size="tiny", training=TINY)
    found = snapshots(straight.folder)
    assert [s.step for s in found] == [0, 1, 2, 5, 12]
    assert found[-1].tokens == straight.metrics()[-1]["tokens"] and found[0].tokens == 0
    newest = max((straight.folder / "checkpoints").iterdir())
    last = load_file(newest / "weights.safetensors")
    assert all(torch.equal(w, last[name]) for name, w in found[-1].weights().items())
    assert sum("snapshot" in line for line in straight.metrics()) == 4

    plain, calls = Roberta.loss, 0

    def loss(self: Any, model: Any, batch: Any) -> Any:
        nonlocal calls
        calls += torch.is_grad_enabled()
        if calls == 7:
            raise OSError("a machine that fails")
        return plain(self, model, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Roberta, "loss", loss)
        with pytest.raises(OSError):
            pretrain(
                Roberta(),
                corpus,
                out=tmp_path / "b",
                size="tiny",
                training=replace(TINY, checkpoint_every=999.0),
            )
    assert [s.step for s in snapshots(tmp_path / "b")] == [0, 1, 2, 5]  # and no checkpoint: it starts anew
    again = pretrain(Roberta(), corpus, out=tmp_path / "b", size="tiny", training=TINY)
    first, second = (load_all(run.folder) for run in (straight, again))
    assert first.keys() == second.keys()
    assert all(torch.equal(w, second[key]) for key, w in first.items())


def load_all(run: Path) -> dict[str, torch.Tensor]:
    return {f"{s.step}/{name}": w for s in snapshots(run) for name, w in s.weights().items()}


def test_by_time_the_first_and_last_state_are_there_and_bf16_is_half(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = count()  # a look at the clock is 20 ms, so that a busy machine changes nothing
    monkeypatch.setattr("unmask.train.time.perf_counter", lambda: 0.02 * next(ticks))
    by_time = replace(TINY, steps=None, budget=1.5, snapshots=24, precision="bf16", checkpoint_every=999.0)
    run = pretrain(Roberta(), corpus, out=tmp_path / "r", size="tiny", training=by_time)
    found = snapshots(run.folder)
    assert found[0].step == 0 and found[-1].step == run.metrics()[-1]["step"]
    assert 3 <= len(found) <= 25 and [s.place for s in found] == sorted(s.place for s in found)
    parameters = run.about["parameters"]
    assert found[0].path.stat().st_size == pytest.approx(2 * parameters, rel=0.05)


def test_none_are_kept_where_none_are_wanted(corpus: Path, tmp_path: Path) -> None:
    run = pretrain(
        Roberta(), corpus, out=tmp_path / "r", size="tiny", training=replace(TINY, steps=2, snapshots=0)
    )
    assert snapshots(run.folder) == [] and not (run.folder / "snapshots").exists()
    with pytest.raises(UnmaskError, match="first state and the last"):
        replace(TINY, snapshots=1)


def test_a_full_disk_is_told_and_a_damaged_file_is_named(tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "snapshots").write_text("no folder")  # nothing can be written there
    keeper = Keeper(tmp_path, count=3, total=9, start=0, working=torch.float32, say=said.append)
    keeper.keep({"w": torch.ones(2)}, 1, 0.5, 7, 0.1)
    assert len(said) == 1 and "goes on without it" in said[0]
    (tmp_path / "snapshots").unlink()
    keeper.keep({"w": torch.ones(2)}, 1, 0.5, 7, 0.1)
    (found,) = snapshots(tmp_path)
    assert (found.step, found.seconds, found.tokens, found.place) == (1, 0.5, 7, 0.1)
    found.path.write_bytes(found.path.read_bytes()[:9])
    with pytest.raises(UnmaskError, match="damaged"):
        snapshots(tmp_path)
    said.clear()
    again = Keeper(tmp_path, count=3, total=9, start=1, working=torch.float32, say=said.append)
    assert "damaged" in said[0] and again.last == -1  # a run goes on beside it


def test_run_is_what_a_run_was(corpus: Path, tmp_path: Path) -> None:
    """Other snapshots change nothing of the result, so a run may go on with others."""
    run = pretrain(Roberta(), corpus, out=tmp_path / "r", size="tiny", training=replace(TINY, steps=2))
    without = pretrain(
        Roberta(), corpus, out=tmp_path / "w", size="tiny", training=replace(TINY, steps=2, snapshots=0)
    )
    one, two = run.load_checkpoint(), without.load_checkpoint()
    assert one is not None and two is not None and list((run.folder / "snapshots").iterdir())
    for group, tensors in one.tensors.items():
        assert all(torch.equal(value, two.tensors[group][name]) for name, value in tensors.items())
    again = pretrain(
        Roberta(), corpus, out=run.folder, size="tiny", training=replace(TINY, steps=2, snapshots=0)
    )
    assert Run.open(again.folder).finished
